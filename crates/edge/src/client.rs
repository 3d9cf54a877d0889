//! One client's connection, from its first byte: the head is read under limits, then it is handed over or served.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sockeye_link::Connection;
use sockeye_proto::ProxyHeader;
use sockeye_proto::engine::Refusal;
use sockeye_proto::http::{Head, Status, ends_head};
use sockeye_relay::{Origin, Rewind, Socket};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::answer::Visit;
use crate::config::{Cidr, Limits, Serves};
use crate::exchange;
use crate::forwarded::{client_of, is_trusted, rewrite};
use crate::group::Group;
use crate::layout::{Answers, Asked};
use crate::place::Terms;
use crate::reply::raw;
use crate::route::Route;
use crate::servers::{Intent, Suggestion};
use crate::shared::Shared;
use crate::swift::{self, Swift};

/// A client's connection and what was read from it.
pub(crate) struct Client {
    pub(crate) shared: Arc<Shared>,
    /// Turns true when the edge drains.
    pub(crate) draining: watch::Receiver<bool>,
    /// What is spoken where it came in.
    pub(crate) terms: Arc<Terms>,
    /// The client, or the proxy that relays it; whom a PROXY header names.
    pub(crate) peer: SocketAddr,
    /// The port that it reached.
    pub(crate) port: Option<u16>,
    /// Whether a worker gave it back.
    pub(crate) returned: bool,
}

/// What the first head asks for.
enum First {
    /// An upgrade to a WebSocket of the engine's of this machine's workers: the connection goes to one of them.
    Upgrade(Arc<Group>, Route, Seen, Vec<Suggestion>),
    /// Anything else: requests, each by its own route.
    Requests,
}

/// What a worker is told with a connection.
struct Seen {
    client: SocketAddr,
    /// The bytes read, where they differ from what came.
    read: Option<Bytes>,
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
    pub(crate) async fn serve(mut self, mut socket: Socket, mut read: BytesMut) {
        let limits = self.shared.layout().config.limits.clone();
        let deadline = Instant::now() + limits.head_time_max;
        if !self.terms.listener.proxy_from.is_empty() && !self.returned {
            let said = timeout_at(deadline, self.introduce(&mut socket, &mut read)).await;
            if !matches!(said, Ok(Some(()))) {
                return self.terms.counters.proxy_refused.add();
            }
        }
        if self.terms.tls.is_some() && !self.returned {
            return Box::pin(self.serve_tls(socket, read, &limits, deadline)).await;
        }
        let Some(first) = self.hear(&mut socket, &mut read, &limits, deadline).await else {
            return;
        };
        let first = match first {
            Ok(first) => first,
            Err(answer) => return self.reject(socket, answer).await,
        };
        let read = read.freeze();
        match (first, socket) {
            (First::Upgrade(group, route, seen, hints), Socket::Tcp(stream)) => {
                let read = seen.read.unwrap_or(read);
                match Connection::from_tokio(stream, seen.client, read) {
                    Ok(connection) => self.hand_over(connection, &group, route, hints).await,
                    Err(error) => debug!(%error, "connection lost before its hand-over"),
                }
            }
            (First::Upgrade(..), socket) => self.serve_requests(socket, read).await,
            (First::Requests, socket) => self.serve_swiftly(socket, read).await,
        }
    }

    /// Serves usual requests without an HTTP library, and what comes after an unusual one with it.
    async fn serve_swiftly(self, socket: Socket, read: Bytes) {
        let layout = self.shared.layout();
        let trusted = is_trusted(&layout.config.trust, self.peer.ip());
        if !swift::is_open(&layout, &self.terms, trusted) {
            drop(layout);
            return self.serve_requests(socket, read).await;
        }
        drop(layout);
        let mut origin = Origin::new(self.peer).relayed_by("edge").disbelieved();
        if let Some(port) = self.port {
            origin = origin.port(port);
        }
        let swift =
            Swift::new(Arc::clone(&self.shared), Arc::clone(&self.terms), &origin, self.draining.clone());
        if let Some((socket, read)) = swift.serve(socket, read).await {
            drop(swift);
            self.serve_requests(socket, read).await;
        }
    }

    /// Hears whom a proxy brings; none if it may not, or says it wrong. Nothing is answered: whoever it is, it is not meant to come here.
    async fn introduce(&mut self, socket: &mut Socket, read: &mut BytesMut) -> Option<()> {
        if !is_trusted(&self.terms.listener.proxy_from, self.peer.ip()) {
            debug!(peer = %self.peer, "not one of those who bring clients here");
            return None;
        }
        loop {
            match ProxyHeader::parse(read) {
                Ok(Some((header, length))) => {
                    if let ProxyHeader::Client { source, target } = header {
                        self.peer = source;
                        self.port = Some(target.port());
                    }
                    read.advance(length);
                    return Some(());
                }
                Ok(None) => {}
                Err(error) => {
                    debug!(peer = %self.peer, %error, "refused");
                    return None;
                }
            }
            read.reserve(READ_BYTES);
            if socket.read_buf(read).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// The same over TLS, which ends here: no worker can take over what only this process can read.
    async fn serve_tls(self, mut socket: Socket, mut read: BytesMut, limits: &Limits, deadline: Instant) {
        let Some(acceptor) = &self.terms.tls else { return };
        let failures = &self.terms.counters.tls_failures;
        if read.is_empty() {
            match timeout_at(deadline, socket.read_buf(&mut read)).await {
                Ok(Ok(length)) if length > 0 => {}
                // A health check or a browser ahead of need: no handshake was tried.
                Ok(_) | Err(_) => return,
            }
        }
        // RFC 8446 §5.1: a handshake begins with 22; a letter begins a method of HTTP.
        if read[0].is_ascii_alphabetic() {
            failures.add();
            return close(socket, raw::PLAIN).await;
        }
        let accept = acceptor.accept(Rewind::new(read.freeze(), socket));
        let mut stream = match timeout_at(deadline, accept).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                debug!(peer = %self.peer, %error, "no TLS");
                return failures.add();
            }
            Err(_elapsed) => return failures.add(),
        };
        let mut read = BytesMut::new();
        match self.hear(&mut stream, &mut read, limits, deadline).await {
            None => {}
            Some(Ok(First::Upgrade(..) | First::Requests)) => {
                self.serve_requests(stream, read.freeze()).await;
            }
            Some(Err(answer)) => Box::pin(self.reject(stream, answer)).await,
        }
    }

    /// Reads the first head; none where the client expects no answer, an error where it gets this one.
    async fn hear<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        read: &mut BytesMut,
        limits: &Limits,
        deadline: Instant,
    ) -> Option<Result<First, &'static [u8]>> {
        let limit = limits.head_bytes_max.get() as usize;
        let head = timeout_at(deadline, self.read_head(stream, read, limit)).await;
        match head {
            Ok(Ok(first)) => Some(Ok(first)),
            Ok(Err(NoHead::Gone)) => None,
            Ok(Err(NoHead::TooLarge)) => Some(Err(raw::TOO_LARGE)),
            Ok(Err(NoHead::Malformed)) => Some(Err(raw::MALFORMED)),
            // A browser that connected ahead of need and sent nothing expects no answer.
            Err(_elapsed) if read.is_empty() => None,
            Err(_elapsed) => Some(Err(raw::TOO_SLOW)),
        }
    }

    async fn read_head<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        read: &mut BytesMut,
        limit: usize,
    ) -> Result<First, NoHead> {
        let mut seen = 0_usize;
        loop {
            // Parsed when there is something, and again only when an empty line has come: a slow client costs no more than a fast one.
            if !read.is_empty() && (seen == 0 || ends_head(&read[seen.saturating_sub(3)..])) {
                match Head::parse(read) {
                    Ok(Status::Complete((_, length))) if length > limit => return Err(NoHead::TooLarge),
                    Ok(Status::Complete((head, length))) => return Ok(self.classify(&head, length, read)),
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

    fn classify(&self, head: &Head<'_>, length: usize, read: &[u8]) -> First {
        // One host, as of any request: without it the answer is a 400 of the other way.
        if !head.is_websocket_upgrade() || head.values("host").count() != 1 {
            return First::Requests;
        }
        if matches!(&self.terms.listener.serves, Serves::Http(http) if http.redirect.is_some()) {
            return First::Requests;
        }
        let asked = Asked {
            listener: &self.terms.listener.name,
            host: head.header("host").unwrap_or_default(),
            path: head.path(),
            upgrade: true,
        };
        let layout = self.shared.layout();
        match layout.find(&asked) {
            Some(Answers::Relay(group) | Answers::Files(_, Some(group)))
                if group.is_local() && head.path().starts_with(&group.config.engine_path) =>
            {
                let engine = &group.config.engine_path;
                let route = Route::of(engine, head.method(), head.path(), head.query_string());
                let header = |name: &str| head.values(name).collect();
                let hints = exchange::hints(group, &layout.config.trust, self.peer.ip(), &header);
                let seen = self.see(&layout.config.trust, head, length, read);
                First::Upgrade(Arc::clone(group), route, seen, hints)
            }
            Some(_) | None => First::Requests,
        }
    }

    /// Who a worker is told that the client is. One that came back was seen before.
    fn see(&self, trust: &[Cidr], head: &Head<'_>, length: usize, read: &[u8]) -> Seen {
        if self.returned {
            return Seen { client: self.peer, read: None };
        }
        let trusted = is_trusted(trust, self.peer.ip());
        let client = if trusted { client_of(trust, self.peer, head) } else { self.peer };
        Seen { client, read: rewrite(head, length, read, trusted, self.peer.ip()) }
    }

    /// Passes the connection itself to a worker.
    async fn hand_over(self, connection: Connection, group: &Group, route: Route, hints: Vec<Suggestion>) {
        let workers = &group.servers;
        let handshake = match route {
            Route::Owner(tag) => match workers.owner(tag) {
                Some(door) => {
                    return match door.pass(connection) {
                        Ok(()) => self.count_taken(),
                        // It lives, but drains, has its hands full or no descriptor left: relayed, the upgrade still reaches it.
                        Err(connection) => self.relay(connection).await,
                    };
                }
                // It may be another machine's: any worker knows.
                None if group.config.foreign_sids => false,
                None => return self.refuse(connection).await,
            },
            Route::Unknown => return self.refuse(connection).await,
            Route::Handshake if self.shared.admit().is_err() => return self.hold_off(connection).await,
            Route::Handshake => true,
            Route::Any | Route::Health | Route::HealthText | Route::Ready => false,
        };
        let mut connection = connection;
        let mut search = workers.search(Intent { hints, ..Intent::anybody(handshake) });
        if self.returned {
            search.again();
        }
        while let Some(door) = search.next().await {
            connection = match door.pass(connection) {
                Ok(()) => return self.count_taken(),
                Err(connection) => connection,
            };
            search.refused(&door);
        }
        self.shared.counters.unavailable.add();
        self.hold_off(connection).await;
    }

    /// Answers an upgrade that had better come later.
    async fn hold_off(&self, connection: Connection) {
        self.terms.counters.upgrades_asked.add();
        if let Ok(stream) = TcpStream::from_std(connection.stream) {
            close(stream, raw::UNAVAILABLE).await;
        }
    }

    fn count_taken(&self) {
        self.shared.counters.handed_over.add();
        self.terms.counters.upgrades_asked.add();
        self.terms.counters.upgrades_taken.add();
    }

    /// Serves a connection that no worker took as a whole.
    async fn relay(self, connection: Connection) {
        match TcpStream::from_std(connection.stream) {
            Ok(stream) => self.serve_requests(Socket::Tcp(stream), connection.read).await,
            Err(error) => debug!(%error, "connection lost after its hand-over failed"),
        }
    }

    /// Answers an upgrade whose session nobody has.
    async fn refuse(&self, connection: Connection) {
        self.terms.counters.upgrades_asked.add();
        self.shared.counters.unknown_sids.add();
        if let Ok(stream) = TcpStream::from_std(connection.stream) {
            close(stream, &Refusal::UnknownSid.upgrade_reply()).await;
        }
    }

    async fn reject<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, answer: &[u8]) {
        self.shared.counters.bad_heads.add();
        close(stream, answer).await;
    }

    /// Serves requests until the client or the edge has had enough.
    async fn serve_requests<S>(self, stream: S, read: Bytes)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { shared, mut draining, terms, peer, port, returned: _ } = self;
        let limits = shared.layout().config.limits.clone();
        let visit = Arc::new(Visit::new(shared, terms, peer, port));
        let service = service_fn(move |request| {
            let visit = Arc::clone(&visit);
            async move { Ok::<_, std::convert::Infallible>(visit.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.idle_time_max)
            .max_header_size(limits.head_bytes_max.get() as usize)
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
async fn close<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answer: &[u8]) {
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
