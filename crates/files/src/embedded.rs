//! Files that are part of the program.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};

use crate::answer::{Body, REVALIDATE, nothing};

/// Files with their content types and entity tags, ready to be sent.
#[derive(Debug)]
pub(crate) struct Embedded {
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    path: &'static str,
    bytes: &'static [u8],
    content_type: HeaderValue,
    etag: HeaderValue,
}

impl Embedded {
    pub(crate) fn new(files: &[(&'static str, &'static [u8])]) -> Self {
        let file = |&(path, bytes): &(&'static str, &'static [u8])| File {
            path: path.trim_start_matches('/'),
            bytes,
            content_type: HeaderValue::from_static(content_type(path)),
            etag: etag(bytes),
        };
        Self { files: files.iter().map(file).collect() }
    }

    pub(crate) fn serve<B>(&self, request: &Request<B>) -> Response<Body> {
        let path = request.uri().path().strip_prefix('/').unwrap_or_default();
        let path = if path.is_empty() { "index.html" } else { path };
        let Some(file) = self.files.iter().find(|file| file.path == path) else {
            return nothing(StatusCode::NOT_FOUND);
        };
        let known = request.headers().get_all(header::IF_NONE_MATCH).iter().any(|tags| file.is_named(tags));
        let mut answer = if known {
            nothing(StatusCode::NOT_MODIFIED)
        } else {
            let bytes = if *request.method() == Method::HEAD { &[] } else { file.bytes };
            Response::new(Full::new(Bytes::from_static(bytes)).map_err(|never| match never {}).boxed_unsync())
        };
        let headers = answer.headers_mut();
        headers.insert(header::ETAG, file.etag.clone());
        headers.insert(header::CACHE_CONTROL, REVALIDATE);
        if !known {
            headers.insert(header::CONTENT_TYPE, file.content_type.clone());
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(file.bytes.len()));
        }
        answer
    }
}

impl File {
    /// Whether an `If-None-Match` names this very content; weak comparison, RFC 9110 §13.1.2.
    fn is_named(&self, tags: &HeaderValue) -> bool {
        tags.as_bytes()
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .map(|tag| tag.strip_prefix(b"W/").unwrap_or(tag))
            .any(|tag| tag == b"*" || tag == self.etag.as_bytes())
    }
}

/// The content type that a path's extension stands for.
fn content_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or_default();
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("txt") => "text/plain; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("wasm") => "application/wasm",
        Some(_) | None => "application/octet-stream",
    }
}

/// Names content by its length and its FNV-1a sum: the same in every build that holds the same bytes.
fn etag(bytes: &[u8]) -> HeaderValue {
    let sum = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    HeaderValue::try_from(format!("\"{:x}-{sum:016x}\"", bytes.len()))
        .expect("hexadecimal digits are visible ASCII")
}
