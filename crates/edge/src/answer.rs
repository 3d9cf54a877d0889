//! One request on a connection that the edge serves itself: whose it is, by its host and path.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use http::header::HOST;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use sockeye_files::Files;
use sockeye_relay::{Body, Origin};

use crate::config::Serves;
use crate::exchange::{self, is_ready, is_upgrade};
use crate::forwarded::{self, is_trusted};
use crate::group::Group;
use crate::layout::{Answers, Asked};
use crate::place::Terms;
use crate::redirect;
use crate::reply;
use crate::shared::Shared;

/// One client's connection as its requests see it.
pub(crate) struct Visit {
    pub(crate) shared: Arc<Shared>,
    pub(crate) terms: Arc<Terms>,
    /// Who the client is, as it is told on.
    origin: Origin,
    peer: SocketAddr,
    /// Whether the client is a proxy that is believed.
    trusted: bool,
}

impl Visit {
    /// A visit from `peer`, which reached `port`.
    pub(crate) fn new(shared: Arc<Shared>, terms: Arc<Terms>, peer: SocketAddr, port: Option<u16>) -> Self {
        let mut origin = Origin::new(peer).relayed_by("edge");
        if terms.tls.is_some() {
            origin = origin.scheme("https");
        }
        if let Some(port) = port {
            origin = origin.port(port);
        }
        let trusted = is_trusted(&shared.layout().config.trust, peer.ip());
        if !trusted {
            origin = origin.disbelieved();
        }
        Self { shared, terms, origin, peer, trusted }
    }

    /// Answers one request; never fails, since a failure is an answer too.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let counters = &self.terms.counters;
        counters.requests.add();
        let upgrade = is_upgrade(&request);
        if upgrade {
            counters.upgrades_asked.add();
        }
        let response = match self.choose(&request, upgrade) {
            Next::Reply(response) => response,
            // On the heap while it is under way: a kept connection that waits for its next request holds the room for one.
            Next::Relay(group) => {
                let origin = self.origin_of(&request);
                Box::pin(exchange::relay(&self.shared, &group, &origin, request)).await
            }
            Next::Files(files, group) => Box::pin(self.file(&files, group, request)).await,
        };
        if upgrade && response.status() == StatusCode::SWITCHING_PROTOCOLS {
            counters.upgrades_taken.add();
        }
        response
    }

    /// Who the client of one request is: behind a proxy that is believed, whom it names.
    fn origin_of(&self, request: &Request<Incoming>) -> Cow<'_, Origin> {
        if !self.trusted {
            return Cow::Borrowed(&self.origin);
        }
        let chain = request.headers().get_all("x-forwarded-for").iter().map(HeaderValue::as_bytes);
        let client = forwarded::client(&self.shared.layout().config.trust, self.peer.ip(), chain);
        Cow::Owned(self.origin.clone().on_behalf_of(forwarded::with_port(self.peer, client)))
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
                let origin = self.origin_of(&request);
                Box::pin(exchange::relay(&self.shared, &group, &origin, request)).await
            }
            Some(_) | None => answer.map(Body::new),
        }
    }
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
    hosts == 1 || (hosts == 0 && request.version() < Version::HTTP_11)
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
