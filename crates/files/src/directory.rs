//! Files below a directory, read at each request.

use std::path::PathBuf;

use http::{HeaderName, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use tower_http::services::ServeDir;

use crate::answer::{Body, REVALIDATE, nothing};

/// A directory that is served by `tower_http`.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    files: ServeDir,
}

impl Directory {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { files: ServeDir::new(path) }
    }

    pub(crate) async fn serve<B>(&self, request: &Request<B>) -> Response<Body> {
        let mut files = self.files.clone();
        let mut answer = match files.try_call(conditions_of(request)).await {
            Ok(answer) => answer.map(|body| body.boxed_unsync()),
            // Of a path that cannot be a file's name (a NUL in it, a file taken for a directory) there is no file.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                nothing(StatusCode::FORBIDDEN)
            }
            Err(_) => nothing(StatusCode::NOT_FOUND),
        };
        if answer.status() == StatusCode::OK {
            answer.headers_mut().insert(header::CACHE_CONTROL, REVALIDATE);
        }
        answer
    }
}

/// The part of a head that decides what is sent of a file.
fn conditions_of<B>(request: &Request<B>) -> Request<http_body_util::Empty<&'static [u8]>> {
    const CONDITIONS: [HeaderName; 3] =
        [header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE, header::RANGE];
    let mut bare = Request::new(http_body_util::Empty::new());
    *bare.method_mut() = request.method().clone();
    *bare.uri_mut() = request.uri().clone();
    for name in CONDITIONS {
        if let Some(value) = request.headers().get(&name) {
            bare.headers_mut().insert(name, value.clone());
        }
    }
    bare
}
