//! One HTTP/1.1 connection to an upstream, driven by whoever uses it.
//!
//! A lane has no task of its own: the future that waits for the response, and after it the response's body, poll the connection. So a request
//! costs no wake of a second task, a client that goes away takes its connection with it, and an idle lane costs nothing but its memory.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use crate::body::Body;
use crate::config::Config;
use crate::error::Breach;
use crate::socket::Socket;
use crate::tally::Open;

/// A connection to one upstream.
pub(crate) struct Lane {
    sender: SendRequest<Body>,
    /// hyper's connection with upgrades, a type without a name. Dropped as soon as it ends: a request that it had not taken yet comes back only then.
    connection: Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>,
    answer_time_max: Duration,
    /// Whether it has carried a request before.
    used: bool,
    /// Whether it may carry another one after the first.
    kept: bool,
    _open: Open,
}

/// Why there is no response.
pub(crate) enum Unanswered {
    /// The connection had ended before a byte was written.
    Unsent(Box<Request<Body>>),
    /// It failed after that.
    Broken(Breach),
}

impl Lane {
    /// Speaks HTTP on a connection. One that is not `kept` carries one request.
    pub(crate) async fn open(
        socket: Socket,
        open: Open,
        config: &Config,
        kept: bool,
    ) -> io::Result<Box<Self>> {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(config.buffer_bytes_max.max(BUFFER_BYTES_MIN) as usize)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(io::Error::other)?;
        let connection: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(connection.with_upgrades());
        let answer_time_max = config.answer_time_max;
        Ok(Box::new(Self {
            sender,
            connection: Some(connection),
            answer_time_max,
            used: false,
            kept,
            _open: open,
        }))
    }

    /// Sends a request and waits for the head of its response.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is done it closes the connection: that is how a client that goes away aborts its request.
    pub(crate) async fn send(
        mut self: Box<Self>,
        request: Request<Body>,
    ) -> Result<(Response<Incoming>, Box<Self>), Unanswered> {
        self.used = true;
        let mut response = pin!(self.sender.try_send_request(request));
        let mut patience = pin!(tokio::time::sleep(self.answer_time_max));
        let mut heard = Instant::now();
        let answered = poll_fn(|cx| {
            self.drive(cx);
            if let Poll::Ready(answered) = response.as_mut().poll(cx) {
                return Poll::Ready(Some(answered));
            }
            // Woken, if not by the clock alone, by a piece of the request that went on its way.
            let (now, before) = (Instant::now(), heard);
            heard = now;
            if patience.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if now >= before + self.answer_time_max {
                return Poll::Ready(None);
            }
            patience.as_mut().reset(now + self.answer_time_max);
            patience.as_mut().poll(cx).map(|()| None)
        })
        .await;
        match answered {
            Some(Ok(response)) => Ok((response, self)),
            Some(Err(mut failed)) => Err(match failed.take_message() {
                Some(request) => Unanswered::Unsent(Box::new(request)),
                None => Unanswered::Broken(Breach::Ended(failed.into_error())),
            }),
            None => Err(Unanswered::Broken(Breach::Silent(self.answer_time_max))),
        }
    }

    /// Lets the connection do what it can now.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        // The outcome reaches whoever waits for the response or reads its body.
        if self.connection.as_mut().is_some_and(|connection| connection.as_mut().poll(cx).is_ready()) {
            self.connection = None;
        }
    }

    /// Waits until the connection is done, as it is soon after a 101.
    pub(crate) async fn end(&mut self) {
        poll_fn(|cx| {
            self.drive(cx);
            if self.connection.is_none() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Whether the connection is open and waits for a request. An end that has come meanwhile is seen here.
    pub(crate) fn is_idle(&mut self) -> bool {
        // Polling with a waker of nobody also lets go of the task that used the lane before.
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.kept && self.connection.is_some() && self.sender.is_ready()
    }

    /// Whether the connection has carried a request before.
    pub(crate) const fn is_used(&self) -> bool {
        self.used
    }
}

/// The smallest buffer that hyper takes.
const BUFFER_BYTES_MIN: u32 = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Tally;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_request_for_an_upstream_that_ended_unnoticed_comes_back_unsent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("upstream.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let socket = tokio::net::UnixStream::connect(path).await.unwrap();
        let open = Tally::default().count();
        let lane = Lane::open(Socket::Unix(socket), open, &Config::default(), true).await.unwrap();
        let (mut upstream, _) = listener.accept().await.unwrap();
        // A connection that has carried a request ends without a word to the next one.
        let answer = async {
            assert!(upstream.read(&mut [0; 1024]).await.unwrap() > 0);
            upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        };
        let first = lane.send(Request::get("/").body(Body::empty()).unwrap());
        let (answered, ()) = tokio::join!(first, answer);
        let Ok((_, mut lane)) = answered else { panic!("the first request is answered") };
        assert!(lane.is_idle());
        drop(upstream);
        // Lets the reactor hear of the end, which hyper then sees before it takes the request.
        tokio::task::yield_now().await;
        let sent = lane.send(Request::get("/").body(Body::empty()).unwrap());
        let failed = tokio::time::timeout(Duration::from_secs(5), sent).await.expect("an end, not a hang");
        assert!(matches!(failed, Err(Unanswered::Unsent(_))));
    }
}
