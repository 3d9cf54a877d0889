//! One HTTP request that an HTTP library has read: Engine.IO, or a page, or a way to another node.

use crate::asked::Asked;
use crate::caller::{Caller, Way};
use crate::core::Core;
use crate::inquiry::{Inquiry, Step, refuse};
use crate::line::Incomplete;
use crate::metrics;
use crate::route::Route;
use crate::site::Site;
use crate::transport::Io;
use crate::upgrade::Upgrade;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use sockeye_proto::engine::Refusal;
use sockeye_proto::ws::handshake::is_asked;
use sockeye_relay::{Address, Body, BoxError, Origin, PEER, RELAYED, RelayError, Rewind, Socket, is_nobody};
use std::pin::pin;
use std::sync::Arc;

/// Answers one request.
pub(crate) async fn respond<B>(site: &Arc<Site>, caller: Caller, mut request: Request<B>) -> Response<Body>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let core = &site.core;
    if asks_for_metrics(&request, caller) {
        return metrics(core);
    }
    let Some(file) = request.uri().path().strip_prefix(core.config.path.as_str()) else {
        forget_ours(request.headers_mut());
        return site.page(&head_only(&request)).await;
    };
    if let Some(answer) = site.client(file.trim_start_matches('/'), &request) {
        return answer;
    }
    if is_websocket(&request) {
        let upgrade = Upgrade::of(site, &request, caller);
        return match upgrade.route() {
            Route::Elsewhere(owner) => relay(site, &owner.clone(), request, caller, true).await,
            Route::Open(..) | Route::Session(..) | Route::Refused(_) => {
                upgrade_to(site, request, upgrade).await
            }
        };
    }
    let inquiry = match Inquiry::of(site, &request, caller) {
        Ok(inquiry) => inquiry,
        Err(answer) => return answer.into_response(),
    };
    if let Route::Elsewhere(owner) = inquiry.route() {
        return relay(site, &owner.clone(), request, caller, false).await;
    }
    let answer = match inquiry.step(site).await {
        Step::Answer(answer) => answer,
        Step::Poll(answer) => inquiry.polled(site, answer.await.ok()).await,
        Step::Post(posting) => {
            let body = collect(request.into_body(), core.config.max_payload as usize);
            let body = tokio::time::timeout(core.config.body_timeout, body).await;
            inquiry.post(site, posting, body.unwrap_or(Err(Incomplete::TooSlow))).await
        }
    };
    inquiry.finish(site, answer).into_response()
}

/// Whether the house asks that this worker is of. What an edge or a node brings never says so: it takes such words of its clients away.
fn asks_for_metrics<B>(request: &Request<B>, caller: Caller) -> bool {
    caller.way == Way::Private
        && request.method() == Method::GET
        && request.uri().path() == "/metrics"
        && request.headers().get(RELAYED).is_some_and(|by| by == "house")
}

fn metrics(core: &Core) -> Response<Body> {
    let mut answer = Response::new(Body::full(metrics::text(&core.stats())));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
    answer
}

/// Takes off what an edge or a node of ours said.
fn forget_ours(headers: &mut HeaderMap) {
    headers.remove(PEER);
    headers.remove(RELAYED);
}

/// The head alone, for answers that a body must not hold up.
fn head_only<B>(request: &Request<B>) -> Request<()> {
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    *head.uri_mut() = request.uri().clone();
    *head.headers_mut() = request.headers().clone();
    head
}

/// Whether the client wants a WebSocket, and the library can give the connection away.
fn is_websocket<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_11
        && is_asked(|name| request.values(name))
        && request.extensions().get::<hyper::upgrade::OnUpgrade>().is_some()
}

async fn relay<B>(
    site: &Site,
    owner: &Address,
    mut request: Request<B>,
    caller: Caller,
    upgrade: bool,
) -> Response<Body>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let core = &site.core;
    let caller = request.caller(caller);
    forget_ours(request.headers_mut());
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
        Err(RelayError::Refused { source, .. }) if is_nobody(&source) => {
            refuse(core, Refusal::UnknownSid).into_response()
        }
        Err(RelayError::Broken(_)) if !site.relay.to(owner).is_listening().await => {
            refuse(core, Refusal::UnknownSid).into_response()
        }
        Err(RelayError::Refused { .. }) => status(StatusCode::SERVICE_UNAVAILABLE),
        Err(error @ (RelayError::Broken(_) | RelayError::Switched)) => {
            tracing::debug!(%error, "the owner of a session did not answer");
            status(StatusCode::BAD_GATEWAY)
        }
    }
}

/// Answers a request for a WebSocket and, once hyper has sent the answer, hands the socket on.
async fn upgrade_to<B>(site: &Site, mut request: Request<B>, upgrade: Upgrade) -> Response<Body> {
    let switch = match upgrade.decide(site).await {
        Ok(switch) => switch,
        Err(refused) => return refused.into_response(),
    };
    let response = switch.response();
    let upgraded = hyper::upgrade::on(&mut request);
    let core = Arc::clone(&site.core);
    // Lives from the answer to the switch; it fails with the connection, and then there is nothing to hand on.
    tokio::spawn(async move {
        let Ok(upgraded) = upgraded.await else { return };
        let (io, read) = raw(upgraded);
        switch.proceed(&core, io, read, None);
    });
    response
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

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
