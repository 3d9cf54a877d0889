//! One client's connection, from its first byte: the head is read under limits, then it is handed over or served.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sockeye_link::Connection;
use sockeye_proto::ProxyHeader;
use sockeye_proto::engine::Refusal;
use sockeye_proto::http::{Head, Status, ends_head};
use sockeye_relay::{End, Rewind, Socket};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::access_line::Line;
use crate::access_log::Entry;
use crate::answer::Visit;
use crate::config::{Limits, ProxyVersion, Serves};
use crate::door::Door;
use crate::engine::Engine;
use crate::exchange;
use crate::forwarded::{client_of, is_trusted, rewrite};
use crate::group::Group;
use crate::http2::Streams;
use crate::layout::{Answers, Asked, Layout};
use crate::place::Terms;
use crate::reply::raw;
use crate::route::{Route, Words};
use crate::secure::Secure;
use crate::servers::{Intent, Suggestion};
use crate::shared::Shared;
use crate::swift::{self, Swift, Teller};
use crate::tcp::Visitor;

/// A client's connection and what was read from it.
pub(crate) struct Client {
    pub(crate) shared: Arc<Shared>,
    /// Turns true when the edge drains.
    pub(crate) draining: watch::Receiver<bool>,
    /// What is spoken where it came in.
    pub(crate) terms: Arc<Terms>,
    /// The client, or the proxy that relays it; whom a PROXY header names.
    pub(crate) peer: SocketAddr,
    /// The address that it reached, as a PROXY header says.
    pub(crate) target: Option<SocketAddr>,
    /// Whether a worker gave it back.
    pub(crate) returned: bool,
}

/// What the first head asks for.
enum First {
    /// An upgrade to a WebSocket of the engine's of this machine's workers: the connection goes to one of them.
    Upgrade(Arc<Group>, Route, Seen, Vec<Suggestion>),
    /// Streams of HTTP/2, by prior knowledge.
    Streams,
    /// Anything else: requests, each by its own route.
    Requests,
}

/// What a worker is told with a connection.
struct Seen {
    client: SocketAddr,
    engine: Engine,
    /// Its line in the access log, where there is one.
    entry: Option<Box<Entry>>,
    /// The bytes read, where they differ from what came.
    read: Option<Bytes>,
}

/// What is noted of a connection that a worker took.
struct Taken {
    engine: Engine,
    entry: Option<Box<Entry>>,
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
        if self.target.is_none()
            && let Socket::Tcp(stream) = &socket
        {
            self.target = stream.local_addr().ok();
        }
        if self.terms.tls.is_some() && !self.returned {
            return Box::pin(self.serve_tls(socket, read, &limits, deadline)).await;
        }
        if let Serves::Tcp { group, send_proxy } = &self.terms.listener.serves {
            let Some(visitor) = self.visitor(group, *send_proxy) else { return };
            return match socket {
                Socket::Tcp(stream) if visitor.group.is_local() => {
                    visitor.hand_over(stream, read.freeze()).await
                }
                socket @ (Socket::Tcp(_) | Socket::Unix(_) | Socket::Tls(_)) => {
                    visitor.carry(End::Socket(socket), read.freeze()).await;
                }
            };
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
                    Ok(connection) => {
                        let taken = Taken { engine: seen.engine, entry: seen.entry };
                        self.hand_over(connection, &group, route, hints, taken).await;
                    }
                    Err(error) => debug!(%error, "connection lost before its hand-over"),
                }
            }
            (First::Streams, socket) => Box::pin(self.serve_streams(socket, read)).await,
            (First::Upgrade(..) | First::Requests, socket) => {
                self.serve_swiftly(socket, read, End::Socket).await;
            }
        }
    }

    /// Serves usual requests without an HTTP library, and what comes after an unusual one with it.
    async fn serve_swiftly<S>(self, stream: S, read: Bytes, end: fn(S) -> End)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if !swift::is_open(&self.terms) {
            return self.serve_requests(stream, read).await;
        }
        let trusted = is_trusted(&self.shared.layout().config.trust, self.peer.ip());
        let port = self.target.map(|target| target.port());
        let teller = Teller::new(self.peer, self.terms.tls.is_some(), port, trusted);
        let (shared, terms) = (Arc::clone(&self.shared), Arc::clone(&self.terms));
        let swift = Swift { shared, terms, teller, draining: self.draining.clone() };
        if let Some((stream, read)) = swift.serve(stream, read, end).await {
            drop(swift);
            self.serve_requests(stream, read).await;
        }
    }

    fn visitor(&self, group: &str, send_proxy: Option<ProxyVersion>) -> Option<Visitor> {
        // A group that another configuration took away takes nobody.
        let group = Arc::clone(self.shared.layout().groups.get(group)?);
        let shared = Arc::clone(&self.shared);
        Some(Visitor { shared, group, peer: self.peer, target: self.target, send_proxy })
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
                        self.target = Some(target);
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
        let Some(config) = &self.terms.tls else { return };
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
        let accept = Secure::accept(Arc::clone(config), socket, read);
        let mut stream = match timeout_at(deadline, accept).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                debug!(peer = %self.peer, %error, "no TLS");
                return failures.add();
            }
            Err(_elapsed) => return failures.add(),
        };
        if let Serves::Tcp { group, send_proxy } = &self.terms.listener.serves {
            let Some(visitor) = self.visitor(group, *send_proxy) else { return };
            return visitor.carry(End::Other(Box::new(stream)), Bytes::new()).await;
        }
        if stream.protocol() == Some(b"h2") {
            return Box::pin(self.serve_streams(stream, Bytes::new())).await;
        }
        let mut read = BytesMut::new();
        match self.hear(&mut stream, &mut read, limits, deadline).await {
            None => {}
            Some(Ok(First::Streams)) => self.serve_requests(stream, read.freeze()).await,
            Some(Ok(First::Upgrade(..) | First::Requests)) => {
                let end = |stream| End::Other(Box::new(stream));
                Box::pin(self.serve_swiftly(stream, read.freeze(), end)).await;
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
            if read.starts_with(PREFACE) && self.terms.http().is_some_and(|http| http.http2) {
                return Ok(First::Streams);
            }
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
                let words = Words::of(head.query_string());
                let route = Route::of(engine, head.method(), head.path(), &words);
                let header = |name: &str| head.values(name).collect();
                let hints = exchange::hints(group, &layout.config.trust, self.peer.ip(), &header);
                let seen = self.see(&layout, head, length, read);
                First::Upgrade(Arc::clone(group), route, seen, hints)
            }
            Some(_) | None => First::Requests,
        }
    }

    /// Who a worker is told that the client is. One that came back was seen before.
    fn see(&self, layout: &Layout, head: &Head<'_>, length: usize, read: &[u8]) -> Seen {
        let trust = &layout.config.trust;
        let trusted = !self.returned && is_trusted(trust, self.peer.ip());
        let client = if trusted { client_of(trust, self.peer, head) } else { self.peer };
        let engine = Engine::of(head.method(), head.query_string());
        let read = if self.returned { None } else { rewrite(head, length, read, trusted, self.peer.ip()) };
        let line = || Line {
            tag: engine.tag(),
            transport: engine.transport(),
            listener: self.terms.listener.name.clone(),
            ..Line::of(head, self.peer.ip(), client.ip())
        };
        Seen { client, engine, entry: layout.log.as_ref().map(|log| Box::new(log.begin(line()))), read }
    }

    /// Passes the connection itself to a worker.
    async fn hand_over(
        self,
        connection: Connection,
        group: &Group,
        route: Route,
        hints: Vec<Suggestion>,
        taken: Taken,
    ) {
        let workers = &group.servers;
        let handshake = match route {
            Route::Owner(tag) => match workers.owner(tag) {
                Some(door) => {
                    return match door.pass(connection) {
                        Ok(()) => self.note_taken(taken, &door),
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
                Ok(()) => return self.note_taken(taken, &door),
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

    fn note_taken(&self, taken: Taken, door: &Door) {
        self.shared.counters.handed_over.add();
        self.terms.counters.upgrades_asked.add();
        taken.engine.count(&self.terms, StatusCode::SWITCHING_PROTOCOLS);
        if let Some(mut entry) = taken.entry {
            if matches!(taken.engine, Engine::Handshake(_)) {
                entry.began(door.tag);
            }
            // What the worker answers is not seen here.
            entry.answered(StatusCode::SWITCHING_PROTOCOLS.as_u16(), Some(&door.name));
            entry.end(0);
        }
    }

    /// Serves a connection that no worker took as a whole.
    async fn relay(self, connection: Connection) {
        match TcpStream::from_std(connection.stream) {
            Ok(stream) => self.serve_swiftly(Socket::Tcp(stream), connection.read, End::Socket).await,
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

    /// Serves streams of HTTP/2 until the client or the edge has had enough.
    async fn serve_streams<S>(self, stream: S, read: Bytes)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let websockets = self.terms.http().is_some_and(|http| http.websocket_over_http2);
        let limits = self.shared.layout().config.limits.clone();
        let Self { shared, mut draining, terms, peer, target, returned: _ } = self;
        let visit = Arc::new(Visit::new(shared, terms, peer, target));
        let service = service_fn(move |request| {
            let visit = Arc::clone(&visit);
            async move { Ok::<_, std::convert::Infallible>(visit.answer(request).await) }
        });
        let mut builder = http2::Builder::new(Streams::default());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(limits.idle_time_max)
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(limits.head_bytes_max.get())
            .max_send_buf_size(BUFFER_BYTES_MAX);
        if websockets {
            builder.enable_connect_protocol();
        }
        let connection = builder.serve_connection(TokioIo::new(Rewind::new(read, stream)), service);
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

    /// Serves requests until the client or the edge has had enough.
    async fn serve_requests<S>(self, stream: S, read: Bytes)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { shared, mut draining, terms, peer, target, returned: _ } = self;
        let limits = shared.layout().config.limits.clone();
        let visit = Arc::new(Visit::new(shared, terms, peer, target));
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

/// RFC 9113 §3.4: how a client begins that knows that HTTP/2 is spoken; of it, the line.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";
/// How many streams a client may have open at once; one more is refused.
const STREAMS_MAX: u32 = 128;
/// What one read of a head asks for; most heads are smaller.
const READ_BYTES: usize = 2048;
/// The most of a request's body that is held at once on its way through.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// How long a client that was refused may go on sending.
const LINGER_TIME_MAX: Duration = Duration::from_secs(1);
/// How much it may send meanwhile.
const LINGER_BYTES_MAX: usize = 256 * 1024;
