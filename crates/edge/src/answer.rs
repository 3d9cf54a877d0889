//! One request on a connection that the edge serves itself: whose it is, by its host and path.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{HOST, REFERER, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use sockeye_files::Files;
use sockeye_relay::{Body, Origin};

use crate::access_line::{Line, shown};
use crate::access_log::Entry;
use crate::config::Serves;
use crate::engine::Engine;
use crate::exchange::{self, is_ready, is_upgrade};
use crate::forwarded::{self, is_trusted};
use crate::group::Group;
use crate::http2::{self, Upgrading};
use crate::layout::{Answers, Asked};
use crate::place::Terms;
use crate::redirect;
use crate::reply;
use crate::shared::Shared;
use crate::tcp;

/// One client's connection as its requests see it.
pub(crate) struct Visit {
    pub(crate) shared: Arc<Shared>,
    pub(crate) terms: Arc<Terms>,
    /// Who the client is, as it is told on.
    origin: Origin,
    peer: SocketAddr,
    /// The address that it reached, where it has one.
    target: Option<SocketAddr>,
    /// Whether the client is a proxy that is believed.
    trusted: bool,
}

impl Visit {
    /// A visit from `peer`, which reached `target`.
    pub(crate) fn new(
        shared: Arc<Shared>,
        terms: Arc<Terms>,
        peer: SocketAddr,
        target: Option<SocketAddr>,
    ) -> Self {
        let mut origin = Origin::new(peer).relayed_by("edge");
        if terms.tls.is_some() {
            origin = origin.scheme("https");
        }
        if let Some(target) = target {
            origin = origin.port(target.port());
        }
        let trusted = is_trusted(&shared.layout().config.trust, peer.ip());
        if !trusted {
            origin = origin.disbelieved();
        }
        Self { shared, terms, origin, peer, target, trusted }
    }

    /// Answers one request; never fails, since a failure is an answer too.
    pub(crate) async fn answer(&self, mut request: Request<Incoming>) -> Response<Body> {
        if request.version() != Version::HTTP_2 {
            return self.answer_one(request).await;
        }
        if !http2::has_its_host(&request) {
            return reply::plain(StatusCode::BAD_REQUEST, "one host expected");
        }
        http2::adapt(&mut request);
        let translates = self.terms.http().is_some_and(|http| http.websocket_over_http2);
        match translates.then(|| Upgrading::begin(&mut request)).flatten() {
            Some(upgrading) => upgrading.end(Box::pin(self.answer_one(request)).await),
            None => Box::pin(self.answer_one(request)).await,
        }
    }

    async fn answer_one(&self, request: Request<Incoming>) -> Response<Body> {
        let counters = &self.terms.counters;
        counters.requests.add();
        let upgrade = is_upgrade(&request);
        if upgrade {
            counters.upgrades_asked.add();
        }
        let engine = Engine::of(request.method().as_str(), request.uri().query().unwrap_or_default());
        let entry = self.shared.layout().log.as_ref().map(|log| log.begin(self.line(&request, engine)));
        let response = match self.choose(&request, upgrade) {
            Next::Reply(response) => response,
            // On the heap while it is under way: a kept connection that waits for its next request holds the room for one.
            Next::Relay(group) => {
                let origin = self.origin_of(&request, &group);
                Box::pin(exchange::relay(&self.shared, &group, &origin, request)).await
            }
            Next::Files(files, group) => Box::pin(self.file(&files, group, request)).await,
        };
        engine.count(&self.terms, response.status());
        match entry {
            None => response,
            Some(entry) => note(entry, response),
        }
    }

    /// What is known of a request before it is answered.
    fn line(&self, request: &Request<Incoming>, engine: Engine) -> Line {
        let uri = request.uri();
        let header = |name| {
            let value: Option<&HeaderValue> = request.headers().get(name);
            value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        Line {
            peer: Some(self.peer.ip()),
            client: Some(self.client_of(request).ip()),
            method: request.method().as_str().to_owned(),
            target: shown(uri.path(), uri.query()),
            version: match request.version() {
                Version::HTTP_2 => "HTTP/2.0",
                Version::HTTP_10 => "HTTP/1.0",
                _ => "HTTP/1.1",
            },
            host: host_of(request).to_owned(),
            referer: header(REFERER),
            agent: header(USER_AGENT),
            tag: engine.tag(),
            transport: engine.transport(),
            listener: self.terms.listener.name.clone(),
            ..Line::default()
        }
    }

    fn client_of(&self, request: &Request<Incoming>) -> SocketAddr {
        if !self.trusted {
            return self.peer;
        }
        let chain = request.headers().get_all("x-forwarded-for").iter().map(HeaderValue::as_bytes);
        let client = forwarded::client(&self.shared.layout().config.trust, self.peer.ip(), chain);
        forwarded::with_port(self.peer, client)
    }

    /// Who the client of one request is: behind a proxy that is believed, whom it names.
    fn origin_of(&self, request: &Request<Incoming>, group: &Group) -> Cow<'_, Origin> {
        let version = group.config.send_proxy;
        if !self.trusted && version.is_none() {
            return Cow::Borrowed(&self.origin);
        }
        let client = self.client_of(request);
        let origin = self.origin.clone().on_behalf_of(client);
        Cow::Owned(match version {
            Some(version) => origin.introduced(tcp::header(version, client, self.target)),
            None => origin,
        })
    }

    /// Finds what answers; what the edge says itself is said at once.
    fn choose(&self, request: &Request<Incoming>, upgrade: bool) -> Next {
        if !has_its_host(request) {
            return Next::Reply(reply::bad_request("one host expected"));
        }
        let (method, host) = (request.method(), host_of(request));
        if *method == Method::CONNECT {
            return Next::plain(StatusCode::METHOD_NOT_ALLOWED, "this is no forward proxy");
        }
        if let Serves::Http(http) = &self.terms.listener.serves
            && let Some(redirect) = &http.redirect
        {
            return Next::Reply(redirect::answer(redirect, host, target_of(request)));
        }
        let layout = self.shared.layout();
        let path = request.uri().path();
        let asked = Asked { listener: &self.terms.listener.name, host, path, upgrade };
        match layout.find(&asked) {
            None => Next::plain(StatusCode::NOT_FOUND, "nothing is here"),
            Some(Answers::Redirect(redirect)) => {
                Next::Reply(redirect::answer(redirect, host, target_of(request)))
            }
            Some(Answers::Health { .. }) if !is_read(method) => {
                Next::plain(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD expected")
            }
            Some(Answers::Health { ready: false }) => Next::plain(StatusCode::OK, ""),
            Some(Answers::Health { ready: true }) => {
                if layout.groups.values().any(|group| is_ready(&self.shared, group)) {
                    Next::plain(StatusCode::OK, "")
                } else {
                    Next::Reply(reply::unavailable())
                }
            }
            // What is no file's is the group's at once.
            Some(Answers::Files(_, Some(group))) if upgrade || !is_read(method) => {
                Next::Relay(Arc::clone(group))
            }
            Some(Answers::Files(files, group)) => Next::Files(files.clone(), group.clone()),
            Some(Answers::Relay(group)) => Next::Relay(Arc::clone(group)),
        }
    }

    async fn file(
        &self,
        files: &Files,
        group: Option<Arc<Group>>,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let answer = files.serve(&request).await;
        match group {
            Some(group) if answer.status() == StatusCode::NOT_FOUND => {
                let origin = self.origin_of(&request, &group);
                Box::pin(exchange::relay(&self.shared, &group, &origin, request)).await
            }
            Some(_) | None => answer.map(Body::new),
        }
    }
}

/// Has the line of an answer written once it has gone.
fn note(mut entry: Entry, response: Response<Body>) -> Response<Body> {
    let status = response.status();
    let upstream = response.extensions().get::<reply::Via>().map(|via| via.0.clone());
    entry.answered(status.as_u16(), upstream.as_deref());
    entry.began(response.extensions().get::<reply::Began>().map(|began| began.0));
    if status == StatusCode::SWITCHING_PROTOCOLS {
        entry.end(0);
        return response;
    }
    response.map(|body| entry.with(body))
}

/// What is to be done with a request.
enum Next {
    Reply(Response<Body>),
    Relay(Arc<Group>),
    Files(Files, Option<Arc<Group>>),
}

impl Next {
    fn plain(status: StatusCode, text: &'static str) -> Self {
        Self::Reply(reply::plain(status, text))
    }
}

/// RFC 9112 §3.2: a request of HTTP/1.1 names one host, and never several, or two readers might serve two hosts.
fn has_its_host<B>(request: &Request<B>) -> bool {
    let hosts = request.headers().get_all(HOST).iter().count();
    // A stream of HTTP/2 names it beside its fields, and was looked at before.
    let beside = hosts == 0 && request.uri().authority().is_some() && request.uri().scheme().is_some();
    hosts == 1
        || (beside && request.version() >= Version::HTTP_2)
        || (hosts == 0 && request.version() < Version::HTTP_11)
}

/// The host that a request is for; RFC 9112 §3.2.2: that of an absolute target counts.
fn host_of<B>(request: &Request<B>) -> &str {
    let named = || request.headers().get(HOST).and_then(|host| host.to_str().ok());
    request.uri().authority().map(http::uri::Authority::as_str).or_else(named).unwrap_or_default()
}

fn target_of<B>(request: &Request<B>) -> &str {
    request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str)
}

fn is_read(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}
