//! One request for a group: carried to the server that it belongs to, and tried elsewhere where that is safe.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::header::{ACCEPT_ENCODING, CONNECTION, COOKIE, SEC_WEBSOCKET_KEY, SET_COOKIE, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, request};
use hyper::body::Incoming;
use sockeye_proto::engine::Opened;
use sockeye_proto::{Sid, Tag, ws};
use sockeye_relay::{Body, Breach, Origin, RelayError};
use tracing::debug;

use crate::affinity::{Asker, Hint};
use crate::config::{self, Affinity, Cookie, CookieMode};
use crate::cookie;
use crate::door::{Asking, Door};
use crate::group::Group;
use crate::peek;
use crate::reply;
use crate::route::{Route, Words};
use crate::servers::{Intent, Owner, Suggestion, TunnelOf, UnderWay};
use crate::shared::Shared;

/// Carries a request to a server of a group; never fails, since a failure is an answer too.
pub(crate) async fn relay(
    shared: &Shared,
    group: &Group,
    origin: &Origin,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let engine = &group.config.engine_path;
    let uri = request.uri();
    let words = Words::of(uri.query().unwrap_or(""));
    let route = Route::of(engine, request.method().as_str(), uri.path(), &words);
    let is_engine = words.are_for_engine(engine, uri.path());
    // What was learnt of a session counts it, and finds its server where its sid does not.
    let under_way = match route {
        Route::Owner(_) | Route::Unknown if !group.is_local() => {
            words.sid().map_or(Owner::Unknown, |sid| group.servers.session(sid, Instant::now()))
        }
        Route::Owner(_) | Route::Unknown => Owner::Unknown,
        Route::Health | Route::HealthText | Route::Ready | Route::Handshake | Route::Any => Owner::Unknown,
    };
    let call = Call {
        shared,
        group,
        origin,
        upgrade: is_upgrade(&request),
        is_engine,
        told: group.cookie().and_then(|cookie| told(cookie, request.headers())),
    };
    let intent = |session, of_session| call.intent(request.headers(), session, of_session);
    match route {
        Route::Health if group.is_local() => reply::plain(StatusCode::OK, "ok"),
        Route::HealthText if group.is_local() => reply::plain(StatusCode::OK, ""),
        Route::Ready if group.is_local() && is_ready(shared, group) => reply::plain(StatusCode::OK, "ok"),
        Route::Ready if group.is_local() => reply::unavailable(),
        Route::Owner(tag) if group.has_tags() => call.to_tag(request, tag, under_way).await,
        Route::Unknown if group.has_tags() => call.refuse(),
        Route::Owner(_) | Route::Unknown => {
            let intent = intent(false, true);
            call.prepare(request.headers_mut(), false);
            // Begun before this edge was there, perhaps.
            let tagged = if let (Route::Owner(tag), Owner::Unknown) = (route, &under_way) {
                group.servers.owner(tag)
            } else {
                None
            };
            match tagged {
                Some(door) => call.to_owner(&door, request.map(Body::from), None).await,
                None => call.to_session(request, under_way, intent).await,
            }
        }
        Route::Handshake => {
            if let Err(wait) = shared.admit() {
                return reply::too_many(wait);
            }
            let intent = intent(true, false);
            call.prepare(request.headers_mut(), true);
            call.to_anyone(request.map(Body::from), intent).await
        }
        Route::Any | Route::Health | Route::HealthText | Route::Ready => {
            let intent = intent(false, false);
            call.prepare(request.headers_mut(), false);
            call.to_anyone(request.map(Body::from), intent).await
        }
    }
}

/// Whether the group serves, and will for a while.
pub(crate) fn is_ready(shared: &Shared, group: &Group) -> bool {
    !shared.is_draining() && group.servers.is_ready()
}

/// Who a request's server should be, by the rules of its group.
pub(crate) fn hints<'a>(
    group: &Group,
    trust: &[config::Cidr],
    peer: std::net::IpAddr,
    header: &dyn Fn(&str) -> Vec<&'a [u8]>,
) -> Vec<Suggestion> {
    if matches!(group.config.affinity[..], [] | [Affinity::Sid]) {
        return Vec::new();
    }
    let asker = Asker { peer, trust, header };
    let hints = group.config.affinity.iter().filter_map(|rule| asker.hint(rule));
    hints
        .filter_map(|hint| match hint {
            Hint::Server(name) => group.servers.named(name).map(Suggestion::Server),
            Hint::Key(key) => Some(Suggestion::Key(key)),
        })
        .collect()
}

/// One request and where it came from.
struct Call<'a> {
    shared: &'a Shared,
    group: &'a Group,
    origin: &'a Origin,
    /// Whether it asks for a WebSocket.
    upgrade: bool,
    /// Whether it is for the engine, and not for the application's own code.
    is_engine: bool,
    /// The server that its cookie names.
    told: Option<String>,
}

impl Call<'_> {
    fn intent(&self, headers: &HeaderMap, session: bool, of_session: bool) -> Intent {
        let header = |name: &str| headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        let layout = self.shared.layout();
        let peer = self.origin.address().ip();
        Intent { session, of_session, hints: hints(self.group, &layout.config.trust, peer, &header) }
    }

    /// Takes out of a request what is the edge's own, and what would hide the answer to a handshake from it.
    fn prepare(&self, headers: &mut HeaderMap, handshake: bool) {
        if handshake && !self.group.is_local() {
            headers.remove(ACCEPT_ENCODING);
        }
        let Some(cookie) = self.group.cookie() else { return };
        let fields: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
        if fields.iter().all(|field| cookie::towards_server(cookie, field.as_bytes()).is_none()) {
            return;
        }
        headers.remove(COOKIE);
        for field in fields {
            let seen = match cookie::towards_server(cookie, field.as_bytes()) {
                Some(seen) if seen.is_empty() => continue,
                Some(seen) => HeaderValue::from_bytes(&seen).unwrap_or(field),
                None => field,
            };
            headers.append(COOKIE, seen);
        }
    }

    /// Carries a request to the node of ours that can answer it.
    async fn to_tag(&self, request: Request<Incoming>, tag: Tag, owner: Owner) -> Response<Body> {
        let under_way = match owner {
            Owner::At(_, under_way) => Some(under_way),
            Owner::Dead | Owner::Unknown => None,
        };
        match self.group.servers.owner(tag) {
            Some(door) => self.to_owner(&door, request.map(Body::from), under_way).await,
            None if self.group.is_local() && !self.group.config.foreign_sids => self.refuse(),
            // Another machine's, or a node that this edge has not heard of yet, perhaps: every node takes a request on to its owner.
            None => {
                let intent = self.intent(request.headers(), false, true);
                Box::pin(self.to_anyone(request.map(Body::from), intent)).await
            }
        }
    }

    /// Carries a request to the server whose session it names.
    async fn to_session(&self, request: Request<Incoming>, owner: Owner, intent: Intent) -> Response<Body> {
        let request = request.map(Body::from);
        match owner {
            Owner::At(door, under_way) if self.group.learns() => {
                self.to_owner(&door, request, Some(under_way)).await
            }
            Owner::Dead => self.refuse(),
            // Something else names its server, or nothing is to; it counts all the same while it is under way.
            Owner::At(..) => Box::pin(self.to_anyone(request, intent)).await,
            // Made before this edge was there, or by another one: what else names its server is believed.
            Owner::Unknown if !intent.hints.is_empty() || !self.group.learns() => {
                Box::pin(self.to_anyone(request, intent)).await
            }
            Owner::Unknown => match self.group.servers.only() {
                Some(door) => self.to_owner(&door, request, None).await,
                None => self.refuse(),
            },
        }
    }

    async fn to_owner(
        &self,
        door: &Arc<Door>,
        request: Request<Body>,
        under_way: Option<UnderWay>,
    ) -> Response<Body> {
        let (carried, under_way) = match under_way {
            // An upgrade goes on in its tunnel, which is ended where its session is to go.
            Some(_) if self.upgrade => (self.carry(door, request, TunnelOf::Session, under_way).await, None),
            Some(under_way) => {
                let carried = self.carry(door, request, TunnelOf::Neither, None);
                tokio::select! {
                    carried = carried => (carried, Some(under_way)),
                    () = self.group.servers.moved(door, &under_way) => return self.refuse(),
                }
            }
            None => (self.carry(door, request, TunnelOf::Session, None).await, None),
        };
        match carried {
            Ok(response) if response.status() == StatusCode::BAD_REQUEST => {
                let (response, unknown) = Box::pin(peek::is_unknown_sid(response)).await;
                if unknown && let Some(under_way) = under_way {
                    under_way.over();
                }
                self.finish(door, response)
            }
            Ok(response) => self.finish(door, response),
            Err(RelayError::Refused { source, .. }) => {
                debug!(server = door.name, %source, "owner took no request");
                if sockeye_relay::is_nobody(&source) {
                    // The server is dead, whether or not we have been told so, and its sessions with it.
                    self.group.servers.handle_refused(door.id);
                    self.refuse()
                } else if source.kind() == ErrorKind::TimedOut {
                    reply::gateway_timeout()
                } else {
                    self.unavailable()
                }
            }
            Err(error @ RelayError::Broken(Breach::Ended(_))) => {
                // The connection broke off before we were told that its server is dead: ask there.
                if self.group.servers.is_dead(door).await { self.refuse() } else { lost(&error) }
            }
            Err(error @ (RelayError::Broken(Breach::Silent(_)) | RelayError::Switched)) => lost(&error),
        }
    }

    /// Carries a request to the server whose turn it is, and on to the next while nobody has taken it.
    async fn to_anyone(&self, mut request: Request<Body>, intent: Intent) -> Response<Body> {
        let handshake = intent.session;
        // What only reads, or only makes a session that ends by itself if nobody polls it, may be sent again if its server died under it.
        let mut spare = if self.upgrade { None } else { repeatable(&request) };
        let kind = match (handshake, self.is_engine) {
            (true, _) => TunnelOf::NewSession,
            (false, true) => TunnelOf::Session,
            (false, false) => TunnelOf::Neither,
        };
        let mut search = self.group.servers.search(intent);
        while let Some(door) = search.next().await {
            let asking = handshake.then(|| door.ask());
            request = match self.carry(&door, request, kind, None).await {
                Ok(response) => {
                    asking.into_iter().for_each(Asking::answered);
                    let response = if handshake { self.learn(&door, response).await } else { response };
                    return self.finish(&door, response);
                }
                Err(RelayError::Refused { request, source }) => {
                    debug!(server = door.name, %source, "server took no request");
                    if sockeye_relay::is_nobody(&source) {
                        self.group.servers.handle_refused(door.id);
                    }
                    *request
                }
                Err(error @ RelayError::Broken(Breach::Ended(_))) => match spare.take() {
                    Some(head) => {
                        self.group.servers.is_dead(&door).await;
                        Request::from_parts(head, Body::empty())
                    }
                    None => {
                        search.refused(&door);
                        return lost(&error);
                    }
                },
                Err(error @ (RelayError::Broken(Breach::Silent(_)) | RelayError::Switched)) => {
                    search.refused(&door);
                    return lost(&error);
                }
            };
            search.refused(&door);
            if self.upgrade && request.extensions().get::<hyper::upgrade::OnUpgrade>().is_none() {
                break;
            }
        }
        self.unavailable()
    }

    /// Reads off a handshake's answer which session it opened.
    async fn learn(&self, door: &Arc<Door>, mut response: Response<Body>) -> Response<Body> {
        // What came of an upgrade was told where it was carried.
        if door.is_worker() || self.upgrade {
            if response.status() == StatusCode::OK {
                response.extensions_mut().extend(began(door.tag));
            }
            return response;
        }
        let servers = &self.group.servers;
        if response.status() != StatusCode::OK {
            servers.handle_answer(door.id, None);
            return response;
        }
        let (mut response, head) = Box::pin(peek::front(response)).await;
        let opened = Opened::find(&head);
        response.extensions_mut().extend(began(opened.as_ref().and_then(|opened| tag_of(opened.sid))));
        servers.handle_answer(door.id, opened);
        response
    }

    async fn carry(
        &self,
        door: &Arc<Door>,
        request: Request<Body>,
        kind: TunnelOf,
        under_way: Option<UnderWay>,
    ) -> Result<Response<Body>, RelayError> {
        if !self.upgrade {
            return door.upstream.request(request, self.origin).await;
        }
        // Workers count what they have, and are asked to let it go.
        let held = (!door.is_worker()).then(|| self.group.servers.tunnel(door, kind, under_way));
        let cord = held.as_ref().map(|held| Arc::clone(&held.cord));
        // Rare, and larger than the rest: on the heap, so that the other requests' futures stay small.
        let asked = Box::pin(async move {
            let key = request.headers().get(SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
            let accept = key.map(ws::handshake::accept_key);
            door.upstream.upgrade_held(request, self.origin, cord, accept.as_deref()).await
        });
        let response = asked.await?;
        let opened = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        match held {
            Some(held) if opened => held.opened(),
            Some(_) if kind == TunnelOf::NewSession => self.group.servers.handle_answer(door.id, None),
            Some(_) | None => {}
        }
        Ok(response)
    }

    /// Puts the server's name into the answer, where it is noted, or a cookie is to hold it.
    fn finish(&self, door: &Door, mut response: Response<Body>) -> Response<Body> {
        if self.shared.layout().log.is_some() {
            response.extensions_mut().insert(reply::Via(door.name.clone()));
        }
        let Some(cookie) = self.group.cookie() else { return response };
        let headers = response.headers_mut();
        match cookie.mode {
            CookieMode::Insert => {
                let told = self.told.as_deref();
                if told == Some(&door.name) || told.and_then(cookie::migrated) == Some(&door.name) {
                    return response;
                }
                let set = cookie::inserted(cookie, &door.name, self.origin.is_secure(), SystemTime::now());
                if let Ok(set) = HeaderValue::try_from(set) {
                    headers.append(SET_COOKIE, set);
                }
            }
            CookieMode::Prefix | CookieMode::Rewrite => {
                let fields: Vec<HeaderValue> = headers.get_all(SET_COOKIE).iter().cloned().collect();
                headers.remove(SET_COOKIE);
                let (tls, now) = (self.origin.is_secure(), SystemTime::now());
                for field in fields {
                    let named = cookie::from_server(cookie, &door.name, field.as_bytes(), tls, now);
                    let named = named.and_then(|named| HeaderValue::from_bytes(&named).ok());
                    headers.append(SET_COOKIE, named.unwrap_or(field));
                }
            }
        }
        response
    }

    fn refuse(&self) -> Response<Body> {
        self.shared.counters.unknown_sids.add();
        reply::unknown_sid(self.upgrade)
    }

    fn unavailable(&self) -> Response<Body> {
        self.shared.counters.unavailable.add();
        reply::unavailable()
    }
}

/// What the access log says of a session that begins: as much of its sid as is no secret.
pub(crate) fn tag_of(sid: &str) -> Option<Tag> {
    Some(sid.parse::<Sid>().ok()?.tag())
}

fn began(tag: Option<Tag>) -> http::Extensions {
    let mut extensions = http::Extensions::new();
    if let Some(tag) = tag {
        extensions.insert(reply::Began(tag));
    }
    extensions
}

fn told(cookie: &Cookie, headers: &HeaderMap) -> Option<String> {
    let fields = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    cookie::named(cookie, fields).map(str::to_owned)
}

fn lost(error: &RelayError) -> Response<Body> {
    debug!(%error, "request lost");
    match error {
        RelayError::Broken(Breach::Silent(_)) => reply::gateway_timeout(),
        RelayError::Broken(Breach::Ended(_)) | RelayError::Refused { .. } | RelayError::Switched => {
            reply::plain(StatusCode::BAD_GATEWAY, "the worker broke off")
        }
    }
}

/// Whether the client asks for a WebSocket, RFC 6455 §4.1; other protocols are not switched to.
pub(crate) fn is_upgrade<B>(request: &Request<B>) -> bool {
    let names = |header: &HeaderName, word: &str| {
        let values = request.headers().get_all(header).iter();
        values
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .any(|named| named.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    };
    *request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && names(&UPGRADE, "websocket")
        && names(&CONNECTION, "upgrade")
}

/// The head of a request that may be sent twice without harm: RFC 9110 §9.2.1.
fn repeatable(request: &Request<Body>) -> Option<request::Parts> {
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !is_safe || !http_body::Body::is_end_stream(request.body()) {
        return None;
    }
    let mut head = Request::new(()).into_parts().0;
    head.method = request.method().clone();
    head.uri = request.uri().clone();
    head.headers = request.headers().clone();
    Some(head)
}
