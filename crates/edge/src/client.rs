//! One client's connection, from its first byte: the head is read under limits, then it is handed over or served.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sockeye_link::Connection;
use sockeye_proto::engine::Refusal;
use sockeye_proto::http::{Head, Status, ends_head};
use sockeye_relay::{Origin, Rewind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tracing::debug;

use crate::exchange;
use crate::reply::raw;
use crate::route::Route;
use crate::shared::Shared;

/// A client's connection and what was read from it.
pub(crate) struct Client {
    pub(crate) shared: Arc<Shared>,
    /// Turns true when the edge drains.
    pub(crate) draining: watch::Receiver<bool>,
    pub(crate) peer: SocketAddr,
    /// Whether a worker gave it back.
    pub(crate) returned: bool,
}

/// What the first head asks for.
enum First {
    /// An upgrade to a WebSocket of the engine's: the connection goes to a worker.
    Upgrade(Route),
    /// Anything else: requests, each by its own route.
    Requests,
}

/// Why there is no first head.
enum NoHead {
    TooLarge,
    Malformed,
    /// The client went away, or never said a word.
    Gone,
}

impl Client {
    /// Serves the connection to its end, or until a worker has taken it.
    pub(crate) async fn serve(self, mut stream: TcpStream, mut read: BytesMut) {
        let limits = &self.shared.config.limits;
        let limit = limits.head_bytes_max.get() as usize;
        let head = tokio::time::timeout(limits.head_time_max, self.read_head(&mut stream, &mut read, limit));
        let first = match head.await {
            Ok(Ok(first)) => first,
            Ok(Err(NoHead::Gone)) => return,
            Ok(Err(NoHead::TooLarge)) => return self.reject(stream, raw::TOO_LARGE).await,
            Ok(Err(NoHead::Malformed)) => return self.reject(stream, raw::MALFORMED).await,
            // A browser that connected ahead of need and sent nothing expects no answer.
            Err(_elapsed) if read.is_empty() => return,
            Err(_elapsed) => return self.reject(stream, raw::TOO_SLOW).await,
        };
        let read = read.freeze();
        match first {
            First::Requests => self.serve_requests(stream, read).await,
            First::Upgrade(route) => match Connection::from_tokio(stream, self.peer, read) {
                Ok(connection) => self.hand_over(connection, route).await,
                Err(error) => debug!(%error, "connection lost before its hand-over"),
            },
        }
    }

    async fn read_head(
        &self,
        stream: &mut TcpStream,
        read: &mut BytesMut,
        limit: usize,
    ) -> Result<First, NoHead> {
        let mut seen = 0_usize;
        loop {
            // Parsed when there is something, and again only when an empty line has come: a slow client costs no more than a fast one.
            if !read.is_empty() && (seen == 0 || ends_head(&read[seen.saturating_sub(3)..])) {
                match Head::parse(read) {
                    Ok(Status::Complete((_, length))) if length > limit => return Err(NoHead::TooLarge),
                    Ok(Status::Complete((head, _))) => return Ok(self.classify(&head)),
                    Ok(Status::Partial) => {}
                    Err(error) => {
                        debug!(%error, "malformed head");
                        return Err(NoHead::Malformed);
                    }
                }
            }
            if read.len() >= limit {
                return Err(NoHead::TooLarge);
            }
            seen = read.len();
            read.reserve(READ_BYTES);
            match stream.read_buf(read).await {
                Ok(0) | Err(_) => return Err(NoHead::Gone),
                Ok(_) => {}
            }
        }
    }

    fn classify(&self, head: &Head<'_>) -> First {
        let engine = &self.shared.group().engine_path;
        if head.path().starts_with(engine) && head.is_websocket_upgrade() {
            return First::Upgrade(Route::of(engine, head.method(), head.path(), head.query_string()));
        }
        First::Requests
    }

    /// Passes the connection itself to a worker.
    async fn hand_over(self, connection: Connection, route: Route) {
        let workers = &self.shared.workers;
        let handshake = match route {
            Route::Owner(tag) => {
                let Some(door) = workers.owner(tag) else { return self.refuse(connection).await };
                return match door.pass(connection) {
                    Ok(()) => self.shared.counters.handed_over.add(),
                    // It lives, but drains, has its hands full or no descriptor left: relayed, the upgrade still reaches it.
                    Err(connection) => self.relay(connection).await,
                };
            }
            Route::Unknown => return self.refuse(connection).await,
            Route::Handshake => true,
            Route::Any | Route::Health | Route::HealthText | Route::Ready => false,
        };
        let mut connection = connection;
        let mut search = workers.search(handshake);
        if self.returned {
            search.again();
        }
        while let Some(door) = search.next().await {
            connection = match door.pass(connection) {
                Ok(()) => return self.shared.counters.handed_over.add(),
                Err(connection) => connection,
            };
            search.refused(&door);
        }
        self.shared.counters.unavailable.add();
        if let Ok(stream) = TcpStream::from_std(connection.stream) {
            close(stream, raw::UNAVAILABLE).await;
        }
    }

    /// Serves a connection that no worker took as a whole.
    async fn relay(self, connection: Connection) {
        match TcpStream::from_std(connection.stream) {
            Ok(stream) => self.serve_requests(stream, connection.read).await,
            Err(error) => debug!(%error, "connection lost after its hand-over failed"),
        }
    }

    /// Answers an upgrade whose session nobody has.
    async fn refuse(&self, connection: Connection) {
        self.shared.counters.unknown_sids.add();
        if let Ok(stream) = TcpStream::from_std(connection.stream) {
            close(stream, &Refusal::UnknownSid.upgrade_reply()).await;
        }
    }

    async fn reject(&self, stream: TcpStream, answer: &[u8]) {
        self.shared.counters.bad_heads.add();
        close(stream, answer).await;
    }

    /// Serves requests until the client or the edge has had enough.
    async fn serve_requests(self, stream: TcpStream, read: Bytes) {
        let Self { shared, mut draining, peer, returned: _ } = self;
        let origin = Origin::new(peer).relayed_by("edge").port(shared.address.port());
        let origin = Arc::new(origin);
        let served = Arc::clone(&shared);
        let service = service_fn(move |request| {
            let (shared, origin) = (Arc::clone(&served), Arc::clone(&origin));
            async move { Ok::<_, std::convert::Infallible>(exchange::answer(&shared, &origin, request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(shared.config.limits.idle_time_max)
            .max_header_size(shared.config.limits.head_bytes_max.get() as usize)
            .max_buf_size(BUFFER_BYTES_MAX)
            .serve_connection(TokioIo::new(Rewind::new(read, stream)), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = told(&mut draining) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(%peer, %error, "connection ended early");
        }
    }
}

/// Waits until the edge drains.
async fn told(draining: &mut watch::Receiver<bool>) {
    // An error means that the edge is gone, which is the same to a connection.
    let _ = draining.wait_for(|draining| *draining).await;
}

/// Says a last word and closes, in an order that lets the client read it: what it still sends is taken for a while, since a socket closed with
/// bytes unread resets.
async fn close(mut stream: TcpStream, answer: &[u8]) {
    let said = async {
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        let mut taken = 0;
        let mut scratch = [0; 1024];
        while taken < LINGER_BYTES_MAX {
            match stream.read(&mut scratch).await? {
                0 => break,
                length => taken += length,
            }
        }
        io::Result::Ok(())
    };
    // Cut off or broken: either way the client had its chance.
    let _ = tokio::time::timeout(LINGER_TIME_MAX, said).await;
}

/// What one read of a head asks for; most heads are smaller.
const READ_BYTES: usize = 2048;
/// The most of a request's body that is held at once on its way through.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// How long a client that was refused may go on sending.
const LINGER_TIME_MAX: Duration = Duration::from_secs(1);
/// How much it may send meanwhile.
const LINGER_BYTES_MAX: usize = 256 * 1024;
