//! The answers that the edge gives itself.

use std::time::Duration;

use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use sockeye_proto::Tag;
use sockeye_proto::engine::Refusal;
use sockeye_relay::Body;

/// Lies in an answer's extensions and names the server that it came from.
#[derive(Clone)]
pub(crate) struct Via(pub(crate) String);

/// Lies in an answer's extensions and tells which session began with it.
#[derive(Clone, Copy)]
pub(crate) struct Began(pub(crate) Tag);

/// A plain answer, one word of text.
pub(crate) fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// The official answer to a request whose session nobody has.
pub(crate) fn unknown_sid(upgrade: bool) -> Response<Body> {
    let refusal = Refusal::UnknownSid;
    let (content_type, body) = if upgrade {
        ("text/html", refusal.message().to_owned())
    } else {
        ("application/json", refusal.body())
    };
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if upgrade {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The request is none that may be carried on; its connection is closed.
pub(crate) fn bad_request(text: &'static str) -> Response<Body> {
    let mut response = plain(StatusCode::BAD_REQUEST, text);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The worker lives, and does not answer.
pub(crate) fn gateway_timeout() -> Response<Body> {
    plain(StatusCode::GATEWAY_TIMEOUT, "the worker does not answer")
}

/// Too many sessions begin at once: this one had better come later.
pub(crate) fn too_many(wait: Duration) -> Response<Body> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "too many sessions begin at once");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds(wait)));
    response
}

/// Whole seconds, at least one.
fn seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX)
}

/// No worker took the request in time.
pub(crate) fn unavailable() -> Response<Body> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "no worker is ready");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// The answers given on a connection that hyper has not seen; it is closed after each.
pub(crate) mod raw {
    /// The head grew beyond its limit.
    pub(crate) const TOO_LARGE: &[u8] =
        b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    /// The head took too long.
    pub(crate) const TOO_SLOW: &[u8] =
        b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    /// The head is none.
    pub(crate) const MALFORMED: &[u8] =
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    /// The client speaks plain HTTP where TLS is expected.
    pub(crate) const PLAIN: &[u8] =
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 25\r\n\r\nthis port expects HTTPS\r\n";
    /// No worker took the connection.
    pub(crate) const UNAVAILABLE: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
}
