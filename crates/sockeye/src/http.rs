//! One HTTP request to a server: Engine.IO, or a page, or a way to another node.

use crate::caller::{Caller, Way};
use crate::core::Core;
use crate::delivery::{Control, Mailbox};
use crate::handshake::Handshake;
use crate::limit::Limit;
use crate::route::{Ask, Route};
use crate::session::{Arrival, start_probe, start_websocket};
use crate::site::Site;
use crate::transport::{Answer, Io, PollRequest, PostRequest, Reply};
use bytes::{Bytes, BytesMut};
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, SET_COOKIE, UPGRADE, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use sockeye_proto::engine::v3::payload::Form;
use sockeye_proto::engine::{Protocol, Query, Refusal, Transport};
use sockeye_proto::ws::handshake::{accept_key, is_key};
use sockeye_relay::{Body, BoxError, Origin, PEER, RELAYED, RelayError, Rewind, Socket, is_nobody};
use std::pin::pin;
use std::sync::Arc;

/// Engine.IO v4: the packet with which a client ends its session, as the whole body of a POST.
const CLOSE_PACKET: &[u8] = b"1";

/// The same in v3.
const CLOSE_PACKET_V3: &[u8] = b"1:1";

/// Answers one request.
pub(crate) async fn respond<B>(site: &Arc<Site>, caller: Caller, mut request: Request<B>) -> Response<Body>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let core = &site.core;
    let caller = identify(caller, request.headers_mut());
    let Some(file) = request.uri().path().strip_prefix(core.config.path.as_str()) else {
        return site.page(&head_only(&request)).await;
    };
    if let Some(answer) = site.client(file.trim_start_matches('/'), &request) {
        return answer;
    }
    let ask = Ask {
        method: request.method().as_str(),
        query: request.uri().query().unwrap_or_default(),
        upgrade: is_websocket(&request),
        relayed: caller.way == Way::Node,
    };
    core.count_arrival_of(ask, caller.way);
    if *request.method() == Method::OPTIONS
        && let Some(cors) = &core.config.cors
    {
        return cors.preflight(request.headers());
    }
    let (route, upgrade) = (core.route(ask), ask.upgrade);
    let opens = matches!(route, Route::Open(..));
    let handshake = ((opens && site.doors.allow.is_some()) || site.doors.adds_headers())
        .then(|| Handshake::new(head_of(&request), caller.peer));
    let old_browser = is_old_browser(request.headers());
    let origin = core.config.cors.as_ref().map(|cors| (cors, request.headers().clone()));
    let forbidden = match (&site.doors.allow, &handshake) {
        (Some(allow), Some(handshake)) if opens => allow(handshake.clone()).await.err(),
        _ => None,
    };
    let mut answer = match route {
        Route::Open(..) if forbidden.is_some() => {
            forbid(core, forbidden.as_ref().map_or("", |refusal| refusal.message()), upgrade)
        }
        Route::Refused(refusal) => refuse(core, refusal),
        Route::Elsewhere(owner) => return relay(site, &owner, request, caller, upgrade).await,
        Route::Open(Transport::Polling, query) => open_polling(core, &request, caller, &query),
        Route::Open(Transport::WebSocket, query) => upgrade_to(core, request, caller, None, query),
        Route::Session(mailbox, query) if upgrade => upgrade_to(core, request, caller, Some(mailbox), query),
        Route::Session(mailbox, _) => match *request.method() {
            Method::GET => poll(site, &mailbox, request.headers()).await,
            Method::POST => post(core, &mailbox, request).await,
            // Engine.IO's own answer to any other method on a known session.
            _ => status(StatusCode::INTERNAL_SERVER_ERROR),
        },
    };
    let is_taken = answer.status() == StatusCode::OK || answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    if old_browser && answer.status() == StatusCode::OK {
        answer.headers_mut().insert("x-xss-protection", HeaderValue::from_static("0"));
    }
    if let Some(handshake) = handshake.filter(|_| is_taken) {
        site.doors.apply(answer.headers_mut(), &handshake, opens);
    }
    if let Some((cors, headers)) = origin {
        cors.apply(&headers, answer.headers_mut());
    }
    answer
}

/// Reads what an edge or a node of ours says of the client, where it may be believed, and takes it off.
fn identify(caller: Caller, headers: &mut HeaderMap) -> Caller {
    let (peer, relayed) = (headers.remove(PEER), headers.remove(RELAYED));
    if caller.way != Way::Private {
        return caller;
    }
    let peer = peer.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(caller.peer);
    let way = match relayed {
        Some(relayer) if relayer == "edge" => Way::Edge,
        Some(_) => Way::Node,
        None => Way::Private,
    };
    Caller { peer, way }
}

/// The head alone, for answers that a body must not hold up.
fn head_only<B>(request: &Request<B>) -> Request<()> {
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    *head.uri_mut() = request.uri().clone();
    *head.headers_mut() = request.headers().clone();
    head
}

fn is_websocket<B>(request: &Request<B>) -> bool {
    request.headers().get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && request.extensions().get::<hyper::upgrade::OnUpgrade>().is_some()
}

async fn relay<B>(
    site: &Site,
    owner: &sockeye_relay::Address,
    request: Request<B>,
    caller: Caller,
    upgrade: bool,
) -> Response<Body>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let core = &site.core;
    let mut origin = Origin::new(caller.peer).relayed_by(core.tag.as_str());
    if caller.way == Way::Edge {
        origin = origin.already_forwarded();
    }
    let answer = if upgrade {
        site.relay.upgrade(owner, request, &origin).await
    } else {
        site.relay.request(owner, request, &origin).await
    };
    match answer {
        Ok(answer) => answer,
        // The owner died: its sessions are nobody's.
        Err(RelayError::Refused { source, .. }) if is_nobody(&source) => refuse(core, Refusal::UnknownSid),
        Err(RelayError::Broken(_)) if !site.relay.to(owner).is_listening().await => {
            refuse(core, Refusal::UnknownSid)
        }
        Err(RelayError::Refused { .. }) => status(StatusCode::SERVICE_UNAVAILABLE),
        Err(error @ (RelayError::Broken(_) | RelayError::Switched)) => {
            tracing::debug!(%error, "the owner of a session did not answer");
            status(StatusCode::BAD_GATEWAY)
        }
    }
}

fn open_polling<B>(core: &Arc<Core>, request: &Request<B>, caller: Caller, query: &Query) -> Response<Body> {
    let seat = match core.admit(caller.peer.ip()) {
        Ok(seat) => seat,
        Err(limit) => return full(limit),
    };
    let Some(opening) = core.open(query.protocol, Transport::Polling, seat) else {
        return status(StatusCode::SERVICE_UNAVAILABLE);
    };
    let handshake = Handshake::new(head_of(request), caller.peer);
    let cookie = core.config.cookie.as_ref().map(|cookie| cookie.header(opening.sid()));
    let mut response = answered(core, Some(opening.start_polling(core, query, handshake)));
    if let Some(Ok(cookie)) = cookie.map(HeaderValue::try_from) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

/// Engine.IO: Internet Explorer must not look for scripts in answers.
fn is_old_browser(request: &HeaderMap) -> bool {
    let agent = request.get(USER_AGENT).map_or(&b""[..], HeaderValue::as_bytes);
    memchr::memmem::find(agent, b";MSIE").or_else(|| memchr::memmem::find(agent, b"Trident/")).is_some()
}

/// Refuses in the words of the program, or in the official one.
fn forbid(core: &Core, message: &str, upgrade: bool) -> Response<Body> {
    let refusal = Refusal::Forbidden;
    core.counters.count_refusal(refusal);
    let message = if message.is_empty() { refusal.message() } else { message };
    if !upgrade {
        let mut response = Response::new(Body::full(refusal.body_with(message)));
        *response.status_mut() = StatusCode::FORBIDDEN;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return response;
    }
    let mut response = Response::new(Body::full(message.to_owned()));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}

/// Engine.IO v4, "HTTP long-polling": the answer comes when there is something to say.
async fn poll(site: &Site, mailbox: &Mailbox, request: &HeaderMap) -> Response<Body> {
    let (reply, answer) = Reply::new();
    if mailbox.control(Control::Poll(PollRequest { reply })).is_err() {
        return refuse(&site.core, Refusal::UnknownSid);
    }
    match answer.await.ok() {
        Some(Answer::Payload { form, body, compress: true }) => {
            let (body, encoding) = site.press.compress(body, request).await;
            let mut response = payload(form, body);
            if let Some(encoding) = encoding {
                // Without `Vary`, as the official server: nobody may store the answer.
                response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
            }
            response
        }
        answer => answered(&site.core, answer),
    }
}

async fn post<B>(core: &Core, mailbox: &Arc<Mailbox>, request: Request<B>) -> Response<Body>
where
    B: HttpBody<Data = Bytes>,
{
    let binary = request.headers().get(CONTENT_TYPE).is_some_and(|value| value == "application/octet-stream");
    if (binary && mailbox.protocol() == Protocol::V4) || !mailbox.begin_post() {
        // The session ends either way, so nobody waits for its answer.
        drop(mailbox.control(Control::BadRequest));
        return status(StatusCode::BAD_REQUEST);
    }
    let mut posting = Posting { mailbox: Arc::clone(mailbox), over: false };
    let body = collect(request.into_body(), core.config.max_payload as usize);
    let body = tokio::time::timeout(core.config.body_timeout, body).await;
    let body = match body.unwrap_or(Err(Incomplete::TooSlow)) {
        Ok(body) => body,
        Err(Incomplete::TooSlow) => {
            core.counters.count_limit(Limit::BodyTimeout);
            return status(StatusCode::REQUEST_TIMEOUT);
        }
        Err(Incomplete::TooLarge) => {
            posting.over = true;
            core.counters.count_limit(Limit::MaxPayload);
            return status(StatusCode::PAYLOAD_TOO_LARGE);
        }
        Err(Incomplete::Aborted) => return status(StatusCode::BAD_REQUEST),
    };
    if *body == *CLOSE_PACKET || *body == *CLOSE_PACKET_V3 {
        // A poll that was sent before the farewell, on a connection of its own, is to be answered and not refused: it gets
        // one turn of the scheduler.
        tokio::task::yield_now().await;
    }
    let (reply, answer) = Reply::new();
    let answer = match mailbox.control(Control::Post(PostRequest { body, binary, reply })) {
        Ok(()) => answered(core, answer.await.ok()),
        Err(_) => refuse(core, Refusal::UnknownSid),
    };
    posting.over = true;
    answer
}

/// A POST that is being read or handled. However it ends, the next one may come; a client that went away in the middle ends
/// its session: it would never learn what was taken.
struct Posting {
    mailbox: Arc<Mailbox>,
    over: bool,
}

impl Drop for Posting {
    fn drop(&mut self) {
        self.mailbox.end_post();
        if !self.over {
            // A session that is gone needs no end.
            drop(self.mailbox.control(Control::BadRequest));
        }
    }
}

/// Why a body is not there.
enum Incomplete {
    TooLarge,
    TooSlow,
    Aborted,
}

async fn collect<B: HttpBody<Data = Bytes>>(body: B, max: usize) -> Result<Bytes, Incomplete> {
    let mut body = pin!(body);
    let mut whole = Bytes::new();
    let mut parts = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Incomplete::Aborted)?.into_data() else { continue };
        if whole.len() + parts.len() + data.len() > max {
            return Err(Incomplete::TooLarge);
        }
        // Most bodies are one frame, which is not copied.
        if whole.is_empty() && parts.is_empty() {
            whole = data;
        } else {
            parts.extend_from_slice(&std::mem::take(&mut whole));
            parts.extend_from_slice(&data);
        }
    }
    Ok(if parts.is_empty() { whole } else { parts.freeze() })
}

/// Answers 101 and, once hyper has sent it, hands the socket on.
fn upgrade_to<B>(
    core: &Arc<Core>,
    mut request: Request<B>,
    caller: Caller,
    session: Option<Arc<Mailbox>>,
    query: Query,
) -> Response<Body> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let key = header(SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
    let Some(accept) = key.filter(|_| header(SEC_WEBSOCKET_VERSION) == Some("13")).map(accept_key) else {
        return refuse(core, Refusal::BadRequest);
    };
    let Ok(accept) = HeaderValue::try_from(accept) else { return refuse(core, Refusal::BadRequest) };
    let seat = match session.is_none().then(|| core.admit(caller.peer.ip())).transpose() {
        Ok(seat) => seat,
        Err(limit) => return full(limit),
    };
    let offers = request.headers().get_all(SEC_WEBSOCKET_EXTENSIONS).iter().map(HeaderValue::as_bytes);
    let deflate = core.agree_on_deflate(offers);
    let extensions = deflate.as_ref().and_then(|answer| HeaderValue::try_from(&answer.header).ok());
    let handshake = Handshake::new(head_of(&request), caller.peer);
    let upgrade = hyper::upgrade::on(&mut request);
    let core = Arc::clone(core);
    // Lives from the answer to the switch; it fails with the connection, and then there is nothing to hand on.
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let (io, read) = raw(upgraded);
        let websocket = Arrival { io, read, head: None, deflate }.websocket(&core, &query);
        match (session, seat) {
            (Some(mailbox), _) => start_probe(&core, &mailbox, websocket),
            (None, Some(seat)) => start_websocket(&core, websocket, &query, handshake, seat),
            // A handshake has asked for its place above.
            (None, None) => {}
        }
    });
    let mut response = status(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(extensions) = extensions {
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, extensions);
    }
    response
}

/// Takes the socket back out of hyper, with what was read too far.
fn raw(upgraded: hyper::upgrade::Upgraded) -> (Io, Bytes) {
    match upgraded.downcast::<TokioIo<Rewind<Socket>>>() {
        Ok(parts) => {
            let (first, socket) = parts.io.into_inner().into_parts();
            let read =
                if first.is_empty() { parts.read_buf } else { [first, parts.read_buf].concat().into() };
            (Io::Raw(socket), read)
        }
        Err(upgraded) => match upgraded.downcast::<TokioIo<tokio::net::TcpStream>>() {
            Ok(parts) => (Io::Raw(Socket::Tcp(parts.io.into_inner())), parts.read_buf),
            Err(upgraded) => (Io::Boxed(Box::pin(TokioIo::new(upgraded))), Bytes::new()),
        },
    }
}

/// The head of a request that hyper has parsed, written out again: a handshake is kept as bytes.
fn head_of<B>(request: &Request<B>) -> Bytes {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let mut head = format!("{} {target} HTTP/1.1\r\n", request.method()).into_bytes();
    for (name, value) in request.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

fn answered(core: &Core, answer: Option<Answer>) -> Response<Body> {
    match answer {
        Some(Answer::Payload { form, body, .. }) => payload(form, body),
        Some(Answer::Taken) => {
            let mut response = Response::new(Body::full("ok"));
            // Engine.IO: text/html keeps some browsers from offering a download.
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Some(Answer::Refused) => status(StatusCode::BAD_REQUEST),
        // The session ended without a word: to the client it is unknown.
        None => refuse(core, Refusal::UnknownSid),
    }
}

fn payload(form: Form, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::full(bytes));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn refuse(core: &Core, refusal: Refusal) -> Response<Body> {
    core.counters.count_refusal(refusal);
    let mut response = Response::new(Body::full(refusal.body()));
    *response.status_mut() =
        StatusCode::from_u16(refusal.status_polling()).unwrap_or(StatusCode::BAD_REQUEST);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A handshake that a limit keeps out. Stock clients try again, later each time.
fn full(limit: Limit) -> Response<Body> {
    let full = limit == Limit::SessionsMax;
    let mut response =
        status(if full { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::TOO_MANY_REQUESTS });
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
