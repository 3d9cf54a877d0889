//! Connections as they come in: what is for Engine.IO is read and answered here, without an HTTP library. Everything else, and
//! whatever is unusual in how it is framed, is hyper's, with all bytes read so far; from there no connection comes back.

use crate::asked::Parsed;
use crate::caller::Caller;
use crate::http::respond;
use crate::http_answer::HttpAnswer;
use crate::inquiry::{Inquiry, Step};
use crate::limit::Limit;
use crate::line::{Line, NoHead};
use crate::route::Route;
use crate::site::Site;
use crate::transport::Io;
use crate::upgrade::Upgrade;
use bytes::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sockeye_proto::http::{BodyLength, Head, Status};
use sockeye_relay::{Rewind, Socket};
use std::convert::Infallible;
use std::sync::Arc;

/// A request at the front of a connection.
enum Request {
    /// It is answered here.
    Plain(Box<Plain>),
    /// It wants a WebSocket.
    Upgrade(Box<Upgrade>),
    /// hyper answers it, and all that follow.
    Foreign,
    /// Its head is too long.
    TooLong,
}

struct Plain {
    /// `Err` is the answer already.
    inquiry: Result<Inquiry, Box<HttpAnswer>>,
    body: Body,
    keeps_alive: bool,
}

/// The body of a request.
enum Body {
    /// It is here, or is not wanted.
    Here(Bytes),
    /// So many bytes are to be read.
    Coming(usize),
}

/// Serves one connection until its end, or until a WebSocket has taken it over. `read` was read from it before.
pub(crate) async fn serve(site: Arc<Site>, socket: Socket, read: Bytes, caller: Caller) {
    let config = &site.core.config;
    let max = config.head_bytes_max as usize;
    let mut line = Line::new(socket, read);
    let mut is_first = true;
    loop {
        let request = line.head(max, config.head_timeout, |bytes| look(&site, bytes, caller));
        let request = match request.await {
            Ok(request) => request,
            Err(NoHead::TooLong) => Request::TooLong,
            // A client may leave a connection alone that has served it.
            Err(NoHead::Idle) if !is_first => return,
            Err(NoHead::Late | NoHead::Idle) => {
                site.core.counters.count_limit(Limit::HeadTimeout);
                return line.end(&bare("408 Request Timeout")).await;
            }
            Err(NoHead::Gone) => return,
        };
        is_first = false;
        match request {
            Request::Plain(plain) => {
                if !answer(&site, &mut line, *plain).await {
                    return;
                }
            }
            Request::Upgrade(upgrade) => return switch(&site, line, *upgrade).await,
            Request::Foreign => {
                let (socket, read) = line.into_parts();
                // Boxed: most connections never need it.
                return Box::pin(serve_http(&site, socket, read, caller)).await;
            }
            Request::TooLong => {
                site.core.counters.count_limit(Limit::HeadBytesMax);
                return line.end(&bare("431 Request Header Fields Too Large")).await;
            }
        }
    }
}

/// Looks at the request at the front of `bytes`, and tells how many of them it takes. `None`: its head is not whole.
fn look(site: &Site, bytes: &[u8], caller: Caller) -> Option<(Request, usize)> {
    let (head, length) = match Head::parse(bytes) {
        Ok(Status::Complete(parsed)) => parsed,
        Ok(Status::Partial) => return None,
        // Whatever this is, hyper has the right answer.
        Err(_) => return Some((Request::Foreign, 0)),
    };
    let config = &site.core.config;
    if length > config.head_bytes_max as usize {
        return Some((Request::TooLong, length));
    }
    let asked = Parsed { head: &head, bytes: &bytes[..length] };
    let Some(rest) = head.path().strip_prefix(&*config.path) else { return Some((Request::Foreign, 0)) };
    if head.asks_for_websocket() && head.body_length() == BodyLength::None {
        let upgrade = Upgrade::of(site, &asked, caller);
        return Some(match upgrade.route() {
            Route::Elsewhere(_) => (Request::Foreign, 0),
            Route::Open(..) | Route::Session(..) | Route::Refused(_) => {
                (Request::Upgrade(Box::new(upgrade)), length)
            }
        });
    }
    // A file of the browser client, perhaps; and what no client of Engine.IO sends has no fast way.
    let is_plain = rest.trim_start_matches('/').is_empty()
        && head.is_http11()
        && head.method() != "HEAD"
        && head.values("expect").next().is_none()
        && head.values("upgrade").next().is_none();
    let body = match (head.method(), head.body_length()) {
        ("POST", BodyLength::Known(body)) if body <= config.max_payload.into() => usize::try_from(body).ok(),
        ("POST", _) => None,
        (_, BodyLength::None | BodyLength::Known(0)) => Some(0),
        (_, BodyLength::Known(_) | BodyLength::Unknown) => None,
    };
    let Some(body) = body.filter(|_| is_plain) else { return Some((Request::Foreign, 0)) };
    let inquiry = Inquiry::of(site, &asked, caller);
    if matches!(&inquiry, Ok(inquiry) if matches!(inquiry.route(), Route::Elsewhere(_))) {
        return Some((Request::Foreign, 0));
    }
    let wanted = matches!(&inquiry, Ok(inquiry) if inquiry.wants_body());
    let (body, taken) = match bytes[length..].get(..body) {
        Some(here) => (Body::Here(if wanted { Bytes::copy_from_slice(here) } else { Bytes::new() }), body),
        None => (Body::Coming(body), 0),
    };
    let keeps_alive = head.keeps_alive();
    Some((Request::Plain(Box::new(Plain { inquiry, body, keeps_alive })), length + taken))
}

/// Answers a plain request; `false` ends the connection.
async fn answer(site: &Site, line: &mut Line, plain: Plain) -> bool {
    let Plain { inquiry, body, mut keeps_alive } = plain;
    let answer = match inquiry {
        Err(answer) => {
            keeps_alive &= matches!(body, Body::Here(_));
            *answer
        }
        Ok(inquiry) => {
            let answer = match (inquiry.step(site).await, body) {
                (Step::Answer(answer), body) => {
                    // What is not read of a request must not be taken for the next.
                    keeps_alive &= matches!(body, Body::Here(_));
                    Some(answer)
                }
                (Step::Poll(answer), _) => {
                    line.watch(async { inquiry.polled(site, answer.await.ok()).await }).await
                }
                (Step::Post(posting), body) => {
                    let body = match body {
                        Body::Here(body) => Ok(body),
                        Body::Coming(length) => line.body(length, site.core.config.body_timeout).await,
                    };
                    keeps_alive &= body.is_ok();
                    line.watch(inquiry.post(site, posting, body)).await
                }
            };
            let Some(answer) = answer else { return false };
            inquiry.finish(site, answer)
        }
    };
    line.answer(&answer, keeps_alive).await.is_ok() && keeps_alive
}

/// Answers a request for a WebSocket, and lets it take the connection over.
async fn switch(site: &Site, line: Line, upgrade: Upgrade) {
    match upgrade.decide(site).await {
        Err(refused) => line.end(&refused.bytes()).await,
        Ok(switch) => {
            let (socket, read) = line.into_parts();
            let head = switch.head();
            switch.proceed(&site.core, Io::Raw(socket), read, Some(head));
        }
    }
}

async fn serve_http(site: &Arc<Site>, socket: Socket, read: Bytes, caller: Caller) {
    let service = service_fn(|request| {
        let site = Arc::clone(site);
        // Boxed: hyper keeps it in the connection, which is idle most of the time.
        async move { Ok::<_, Infallible>(Box::pin(respond(&site, caller, request)).await) }
    });
    let config = &site.core.config;
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        .max_buf_size((config.head_bytes_max as usize).max(8 << 10))
        .serve_connection(TokioIo::new(Rewind::new(read, socket)), service)
        .with_upgrades();
    // Its failures are the client's: a broken request, or a connection that went away.
    if let Err(error) = connection.await {
        tracing::trace!(%error, "connection ended");
    }
}

fn bare(status: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").into_bytes()
}
