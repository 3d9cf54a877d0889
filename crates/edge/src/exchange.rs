//! One request for a group: carried to the server that it belongs to, and tried elsewhere where that is safe.

use std::io::ErrorKind;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderName, Method, Request, Response, StatusCode, Version, request};
use hyper::body::Incoming;
use sockeye_proto::Tag;
use sockeye_relay::{Body, Breach, Origin, RelayError};
use tracing::debug;

use crate::door::{Asking, Door};
use crate::group::Group;
use crate::reply;
use crate::route::Route;
use crate::shared::Shared;

/// Carries a request to a server of a group; never fails, since a failure is an answer too.
pub(crate) async fn relay(
    shared: &Shared,
    group: &Group,
    origin: &Origin,
    request: Request<Incoming>,
) -> Response<Body> {
    let engine = &group.config.engine_path;
    let uri = request.uri();
    let route = Route::of(engine, request.method().as_str(), uri.path(), uri.query().unwrap_or(""));
    match route {
        Route::Health if group.is_local() => reply::plain(StatusCode::OK, "ok"),
        Route::HealthText if group.is_local() => reply::plain(StatusCode::OK, ""),
        Route::Ready if group.is_local() && is_ready(shared, group) => reply::plain(StatusCode::OK, "ok"),
        Route::Ready if group.is_local() => reply::unavailable(),
        Route::Unknown => refuse(shared, is_upgrade(&request)),
        // It may be another machine's: any worker knows.
        Route::Owner(tag) if group.config.foreign_sids && group.workers.owner(tag).is_none() => {
            to_anyone(shared, group, origin, request.map(Body::from), false).await
        }
        Route::Owner(tag) => to_owner(shared, group, origin, request, tag).await,
        Route::Handshake => to_anyone(shared, group, origin, request.map(Body::from), true).await,
        Route::Any | Route::Health | Route::HealthText | Route::Ready => {
            to_anyone(shared, group, origin, request.map(Body::from), false).await
        }
    }
}

/// Whether the group serves, and will for a while.
pub(crate) fn is_ready(shared: &Shared, group: &Group) -> bool {
    !shared.is_draining() && group.workers.is_ready()
}

/// Carries a request to the one worker that can answer it.
async fn to_owner(
    shared: &Shared,
    group: &Group,
    origin: &Origin,
    request: Request<Incoming>,
    tag: Tag,
) -> Response<Body> {
    let upgrade = is_upgrade(&request);
    let Some(door) = group.workers.owner(tag) else { return refuse(shared, upgrade) };
    match carry(&door, origin, request.map(Body::from), upgrade).await {
        Ok(response) => response,
        Err(RelayError::Refused { source, .. }) => {
            debug!(%tag, %source, "owner took no request");
            if sockeye_relay::is_nobody(&source) {
                // The worker is dead, whether or not we have been told so, and its sessions with it.
                refuse(shared, upgrade)
            } else if source.kind() == ErrorKind::TimedOut {
                reply::gateway_timeout()
            } else {
                unavailable(shared)
            }
        }
        Err(error @ RelayError::Broken(Breach::Ended(_))) => {
            // The connection broke off before we were told that its worker is dead: ask there.
            let dead = group.workers.owner(tag).is_none() || !door.upstream.is_listening().await;
            if dead { refuse(shared, upgrade) } else { lost(&error) }
        }
        Err(error @ (RelayError::Broken(Breach::Silent(_)) | RelayError::Switched)) => lost(&error),
    }
}

/// Carries a request to the worker whose turn it is, and on to the next while nobody has taken it.
async fn to_anyone(
    shared: &Shared,
    group: &Group,
    origin: &Origin,
    mut request: Request<Body>,
    handshake: bool,
) -> Response<Body> {
    let upgrade = is_upgrade(&request);
    // A handshake only makes a session, which ends by itself if nobody polls it: it may be sent again if its worker died under it.
    let bare = http_body::Body::is_end_stream(request.body());
    let mut spare = if handshake && bare && !upgrade { Some(head_of(&request)) } else { None };
    let mut search = group.workers.search(handshake);
    while let Some(door) = search.next().await {
        let asking = handshake.then(|| door.ask());
        request = match carry(&door, origin, request, upgrade).await {
            Ok(response) => {
                asking.into_iter().for_each(Asking::answered);
                return response;
            }
            Err(RelayError::Refused { request, source }) => {
                debug!(tag = %door.tag, %source, "worker took no request");
                *request
            }
            Err(error @ RelayError::Broken(Breach::Ended(_))) => match spare.take() {
                Some(head) => Request::from_parts(head, Body::empty()),
                None => return lost(&error),
            },
            Err(error @ (RelayError::Broken(Breach::Silent(_)) | RelayError::Switched)) => {
                return lost(&error);
            }
        };
        search.refused(&door);
        if upgrade && request.extensions().get::<hyper::upgrade::OnUpgrade>().is_none() {
            break;
        }
    }
    unavailable(shared)
}

async fn carry(
    door: &Door,
    origin: &Origin,
    request: Request<Body>,
    upgrade: bool,
) -> Result<Response<Body>, RelayError> {
    if upgrade {
        // Rare, and larger than the rest: on the heap, so that the other requests' futures stay small.
        Box::pin(door.upstream.upgrade(request, origin)).await
    } else {
        door.upstream.request(request, origin).await
    }
}

fn refuse(shared: &Shared, upgrade: bool) -> Response<Body> {
    shared.counters.unknown_sids.add();
    reply::unknown_sid(upgrade)
}

fn unavailable(shared: &Shared) -> Response<Body> {
    shared.counters.unavailable.add();
    reply::unavailable()
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

fn head_of(request: &Request<Body>) -> request::Parts {
    let mut head = Request::new(()).into_parts().0;
    head.method = request.method().clone();
    head.uri = request.uri().clone();
    head.headers = request.headers().clone();
    head
}
