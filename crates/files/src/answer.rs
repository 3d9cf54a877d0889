//! What both sources of files answer with.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};

/// The body of an answer; its errors are those of reading the file.
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// An answer without a body.
pub(crate) fn nothing(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = status;
    answer
}

/// Lets caches keep the file and ask each time whether it changed, as the official server does for its client.
pub(crate) const REVALIDATE: HeaderValue = HeaderValue::from_static("public, max-age=0");
