//! The relay itself: one request, or one upgrade, to an address.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, request};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::address::Address;
use crate::answer::Answer;
use crate::body::{Body, BoxError};
use crate::config::Config;
use crate::cord::Cord;
use crate::error::{Breach, RelayError};
use crate::headers;
use crate::idle::{Idle, Slot};
use crate::lane::{Lane, Unanswered};
use crate::origin::Origin;
use crate::socket::Socket;
use crate::tunnel::{End, Tunnels};
use crate::wire::Wire;

/// How long a process that is being killed is expected to listen still, once its connections have begun to end.
const DYING_MAX: Duration = Duration::from_millis(250);

/// Relays requests to any address over kept-alive connections. Clones share connections, tunnels and counters; when the last one is dropped
/// its tunnels end.
#[derive(Clone)]
pub struct Relay {
    shared: Arc<Shared>,
}

/// One address of a [`Relay`], found once and used many times.
#[derive(Clone)]
pub struct Upstream {
    slot: Arc<Slot>,
    shared: Arc<Shared>,
}

/// What a relay has done, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests that came in, upgrades included.
    pub requests: u64,
    /// Connections opened to upstreams.
    pub connects: u64,
    /// Requests nobody took.
    pub refused: u64,
    /// Requests that broke off before the response's head.
    pub broken: u64,
    /// Idle connections held.
    pub idle: u64,
    /// Tunnels open.
    pub tunnels: u64,
}

struct Shared {
    config: Config,
    idle: Arc<Idle>,
    tunnels: Tunnels,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    requests: AtomicU64,
    connects: AtomicU64,
    refused: AtomicU64,
    broken: AtomicU64,
}

impl Relay {
    /// A relay without a connection yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let idle = Idle::new(&config);
        let shared = Shared { config, idle, tunnels: Tunnels::default(), counters: Counters::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Whether it can show nodes that it is one of them.
    #[must_use]
    pub fn has_node_trust(&self) -> bool {
        self.shared.config.node_trust.is_some()
    }

    /// The door to one address. Cheaper than naming the address at each request.
    #[must_use]
    pub fn to(&self, address: &Address) -> Upstream {
        Upstream { slot: self.shared.idle.slot(address), shared: Arc::clone(&self.shared) }
    }

    /// Sends one request to `to`: see [`Upstream::request`].
    ///
    /// # Errors
    ///
    /// As [`Upstream::request`].
    pub async fn request<B>(
        &self,
        to: &Address,
        request: Request<B>,
        origin: &Origin,
    ) -> Result<Response<Body>, RelayError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.to(to).request(request, origin).await
    }

    /// Sends one upgrade to `to`: see [`Upstream::upgrade`].
    ///
    /// # Errors
    ///
    /// As [`Upstream::upgrade`].
    pub async fn upgrade<B>(
        &self,
        to: &Address,
        request: Request<B>,
        origin: &Origin,
    ) -> Result<Response<Body>, RelayError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.to(to).upgrade(request, origin).await
    }

    /// Closes the idle connections to an address whose listener is gone.
    pub fn forget(&self, address: &Address) {
        self.shared.idle.forget(address);
    }

    /// Ends all tunnels at once.
    pub fn close_tunnels(&self) {
        self.shared.tunnels.close();
    }

    /// How many tunnels are open.
    #[must_use]
    pub fn tunnels(&self) -> u64 {
        self.shared.tunnels.count()
    }

    /// What has happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counters = &self.shared.counters;
        Stats {
            requests: counters.requests.load(Ordering::Relaxed),
            connects: counters.connects.load(Ordering::Relaxed),
            refused: counters.refused.load(Ordering::Relaxed),
            broken: counters.broken.load(Ordering::Relaxed),
            idle: self.shared.idle.count() as u64,
            tunnels: self.shared.tunnels.count(),
        }
    }
}

impl Upstream {
    /// The address behind this door.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.slot.address
    }

    /// Sends one request and returns the response as soon as its head is there; bodies are streamed both ways.
    ///
    /// Hop-by-hop headers stay behind, an `Upgrade` too. A request is sent again in two cases only, both to the same address: its connection had
    /// ended before a byte was written, or a kept-alive connection broke before the response to a `GET`, `HEAD` or `OPTIONS` without a body.
    ///
    /// # Errors
    ///
    /// [`RelayError::Refused`] hands the request back: nothing of it was sent. After any other error bytes may have reached the upstream.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or the response's body, closes the upstream's connection.
    pub async fn request<B>(&self, request: Request<B>, origin: &Origin) -> Result<Response<Body>, RelayError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (response, lane) = self.carry(request.map(Body::new), origin).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(RelayError::Switched);
        }
        Ok(self.answer(response, lane))
    }

    /// Sends one upgrade, on a connection of its own. A 101 of the upstream's own makes a tunnel of both connections; any other response is an
    /// ordinary one.
    ///
    /// The request must carry hyper's `OnUpgrade`, as it does when its server runs with upgrades. Not a byte that the client sends after the head
    /// reaches the upstream before the 101. The tunnel runs on until both sides have ended, one has failed, or the relay is dropped.
    ///
    /// # Errors
    ///
    /// As [`Upstream::request`].
    pub async fn upgrade<B>(&self, request: Request<B>, origin: &Origin) -> Result<Response<Body>, RelayError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.upgrade_held(request, origin, None, None).await
    }

    /// The same, with a hold on the tunnel; where `accept` is given, a 101 without this `Sec-WebSocket-Accept` is none.
    ///
    /// # Errors
    ///
    /// As [`Upstream::request`].
    pub async fn upgrade_held<B>(
        &self,
        request: Request<B>,
        origin: &Origin,
        cord: Option<Arc<Cord>>,
        accept: Option<&str>,
    ) -> Result<Response<Body>, RelayError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Some(protocol) = request.headers().get(UPGRADE).cloned() else {
            return self.request(request, origin).await;
        };
        self.shared.counters.requests.fetch_add(1, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        let lane = match self.connect(origin).await {
            Ok(lane) => lane,
            Err(source) => return Err(self.refused(request, source)),
        };
        let client = hyper::upgrade::on(&mut request);
        let (mut response, mut lane) = self.carry_upgrade(lane, request, &protocol, origin).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(self.answer(response, lane));
        }
        let switched = response.headers_mut().remove(UPGRADE);
        if !switched.is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(protocol.as_bytes())) {
            return Err(RelayError::Switched);
        }
        let accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT);
        if accept.is_some_and(|accept| accepted.is_none_or(|accepted| accepted != accept)) {
            return Err(RelayError::Switched);
        }
        let upstream = hyper::upgrade::on(&mut response);
        lane.end().await;
        self.shared.tunnels.open(client, upstream, cord);

        headers::strip_hop_by_hop(response.headers_mut());
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        response.headers_mut().insert(UPGRADE, protocol);
        *response.version_mut() = Version::HTTP_11;
        Ok(response.map(|_nothing| Body::empty()))
    }

    /// Opens a connection of its own to the address, for [`Upstream::join`].
    ///
    /// # Errors
    ///
    /// Why there is none, as in [`RelayError::Refused`].
    pub async fn dial(&self) -> std::io::Result<Socket> {
        self.shared.counters.connects.fetch_add(1, Ordering::Relaxed);
        let config = &self.shared.config;
        self.slot.address.connect(config.connect_time_max, config.node_trust.as_ref()).await
    }

    /// Joins a client's connection to one that was dialled, in a tunnel as after an upgrade. `read` was read from the client before.
    pub fn join(&self, client: End, read: Bytes, server: Socket, cord: Option<Arc<Cord>>) {
        self.shared.tunnels.join((client, read), (server, Bytes::new()), cord);
    }

    async fn carry(&self, mut request: Request<Body>, origin: &Origin) -> Result<Answered, RelayError> {
        self.shared.counters.requests.fetch_add(1, Ordering::Relaxed);
        // A connection that said who its client is serves nobody else.
        let lane = match self.slot.wake().filter(|_| origin.introduction.is_none()) {
            Some(lane) => lane,
            None => match self.connect(origin).await {
                Ok(lane) => lane,
                Err(source) => return Err(self.refused(request, source)),
            },
        };
        headers::prepare(&mut request, origin);
        let spare = if lane.is_used() { repeatable(&request) } else { None };
        let again = match lane.send(request).await {
            Ok(answered) => return Ok(answered),
            Err(Unanswered::Unsent(request)) => *request,
            Err(Unanswered::Broken(error)) => match spare {
                Some(head) if died(&error) => Request::from_parts(head, Body::empty()),
                Some(_) | None => return Err(self.broken(error)),
            },
        };
        self.carry_fresh(again, origin).await
    }

    async fn carry_upgrade(
        &self,
        lane: Box<Lane>,
        mut request: Request<Body>,
        protocol: &HeaderValue,
        origin: &Origin,
    ) -> Result<Answered, RelayError> {
        headers::prepare(&mut request, origin);
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        request.headers_mut().insert(UPGRADE, protocol.clone());
        match lane.send(request).await {
            Ok(answered) => Ok(answered),
            Err(Unanswered::Unsent(request)) => Err(self.unsent(*request)),
            Err(Unanswered::Broken(error)) => Err(self.broken(error)),
        }
    }

    /// The second and last try of a prepared request, on a connection of its own.
    async fn carry_fresh(&self, mut request: Request<Body>, origin: &Origin) -> Result<Answered, RelayError> {
        let lane = match self.connect(origin).await {
            Ok(lane) => lane,
            Err(source) => {
                headers::mark_prepared(&mut request);
                return Err(self.refused(request, source));
            }
        };
        match lane.send(request).await {
            Ok(answered) => Ok(answered),
            Err(Unanswered::Unsent(request)) => Err(self.unsent(*request)),
            Err(Unanswered::Broken(error)) => Err(self.broken(error)),
        }
    }

    /// Whether somebody still listens at the address, found by connecting: asked after an answer broke off, it tells a dead upstream from a broken connection. A process that is killed
    /// may end its connections before it stops listening, so a connection that is taken is held for `DYING_MAX` (250 ms); where it ends too, a second one is.
    pub async fn is_listening(&self) -> bool {
        for last in [false, true] {
            match self.dial().await {
                Ok(mut held) => {
                    let ended = async { matches!(held.read(&mut [0]).await, Ok(0) | Err(_)) };
                    if last || !timeout(DYING_MAX, ended).await.unwrap_or(false) {
                        return true;
                    }
                }
                Err(refusal) => return !crate::error::is_nobody(&refusal),
            }
        }
        true
    }

    /// A connection whose bytes the caller frames, kept from before if there is one, and one more request of this relay's count.
    ///
    /// # Errors
    ///
    /// Why there is none: nothing was sent.
    pub async fn wire(&self) -> std::io::Result<Wire> {
        self.shared.counters.requests.fetch_add(1, Ordering::Relaxed);
        match self.slot.wake_wire() {
            Some(wire) => Ok(wire),
            // On the heap: whoever has one kept holds no room for it.
            None => Box::pin(self.fresh_wire()).await,
        }
    }

    /// The same, and one that will not come back: of an upgrade, which takes its connection.
    ///
    /// # Errors
    ///
    /// As [`Upstream::wire`].
    pub async fn wire_to_keep(&self) -> std::io::Result<Wire> {
        self.shared.counters.requests.fetch_add(1, Ordering::Relaxed);
        self.fresh_wire().await
    }

    /// Joins a client's connection to an upstream's that switched: each with the bytes that are to go out first, those read from the client and those for it.
    pub fn join_wire(&self, client: (End, Bytes), server: (Wire, Bytes), cord: Option<Arc<Cord>>) {
        self.shared.tunnels.join(client, (server.0.into_socket(), server.1), cord);
    }

    /// The same, and none that was used before.
    ///
    /// # Errors
    ///
    /// As [`Upstream::wire`].
    pub async fn fresh_wire(&self) -> std::io::Result<Wire> {
        self.shared.counters.connects.fetch_add(1, Ordering::Relaxed);
        let config = &self.shared.config;
        let connected = self.slot.address.connect(config.connect_time_max, config.node_trust.as_ref()).await;
        if connected.is_err() {
            self.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
        }
        connected.map(|socket| Wire::new(socket, self.slot.count()))
    }

    /// Keeps a connection for another request: the answer on it was read to its end, and says that it may be kept.
    pub fn rest(&self, wire: Wire, now: Instant) {
        self.slot.rest_wire(wire, now);
    }

    /// How many requests are under way to the address, bodies of their answers included; tunnels are not.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        self.slot.under_way()
    }

    /// The limits towards upstreams.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Whether a connection can be had.
    pub async fn connects(&self) -> bool {
        self.dial().await.is_ok()
    }

    async fn connect(&self, origin: &Origin) -> std::io::Result<Box<Lane>> {
        let mut socket = self.dial().await?;
        if let Some(introduction) = &origin.introduction {
            socket.write_all(introduction).await?;
        }
        let kept = origin.introduction.is_none();
        Lane::open(socket, self.slot.count(), &self.shared.config, kept).await
    }

    fn answer(&self, response: Response<Incoming>, lane: Box<Lane>) -> Response<Body> {
        let mut response = response.map(|incoming| {
            if incoming.is_end_stream() {
                self.slot.rest(lane);
                return Body::empty();
            }
            Body::new(Answer::new(incoming, lane, Arc::clone(&self.slot)))
        });
        headers::strip_hop_by_hop(response.headers_mut());
        *response.version_mut() = Version::HTTP_11;
        response
    }

    fn unsent(&self, mut request: Request<Body>) -> RelayError {
        headers::mark_prepared(&mut request);
        self.refused(request, std::io::ErrorKind::ConnectionAborted.into())
    }

    fn refused(&self, request: Request<Body>, source: std::io::Error) -> RelayError {
        self.shared.counters.refused.fetch_add(1, Ordering::Relaxed);
        RelayError::Refused { request: Box::new(request), source }
    }

    fn broken(&self, error: Breach) -> RelayError {
        self.shared.counters.broken.fetch_add(1, Ordering::Relaxed);
        RelayError::Broken(error)
    }
}

/// A response's head, and the connection that its body comes from.
type Answered = (Response<Incoming>, Box<Lane>);

/// The head of a request that may be sent twice without harm.
fn repeatable(request: &Request<Body>) -> Option<request::Parts> {
    let idempotent = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !idempotent || !request.body().is_empty() {
        return None;
    }
    let mut head = Request::new(()).into_parts().0;
    head.method = request.method().clone();
    head.uri = request.uri().clone();
    head.headers = request.headers().clone();
    Some(head)
}

/// Whether the connection just ended, in place of a response.
fn died(breach: &Breach) -> bool {
    let Breach::Ended(error) = breach else { return false };
    error.is_incomplete_message() || error.is_canceled() || error.is_closed() || caused_by_io(error)
}

fn caused_by_io(error: &hyper::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}
