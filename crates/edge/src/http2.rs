//! HTTP/2: streams as requests of HTTP/1.1, and WebSockets over it (RFC 8441) as upgrades.

use std::future::Future;
use std::sync::Arc;

use http::header::{CONNECTION, COOKIE, HOST, UPGRADE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::ext::Protocol;
use hyper::rt::Executor;
use parking_lot::Mutex;
use sockeye_proto::ws::handshake::accept_key;
use sockeye_relay::Body;
use tokio::task::JoinSet;

use crate::reply;

/// The tasks of one connection's streams: they end with it.
#[derive(Clone, Default)]
pub(crate) struct Streams(Arc<Mutex<JoinSet<()>>>);

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let mut tasks = self.0.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(stream);
    }
}

/// Makes a stream's request one that can go on over HTTP/1.1.
pub(crate) fn adapt<B>(request: &mut Request<B>) {
    // RFC 9113 §8.2.3: cookies may come in pieces, and go on in one.
    let crumbs: Vec<&[u8]> = request.headers().get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        request.headers_mut().insert(COOKIE, whole);
    }
}

/// Whether a stream names one host: RFC 9113 §8.3.1.
pub(crate) fn has_its_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (request.uri().authority(), hosts.next(), hosts.next()) {
        (Some(_) | None, _, Some(_)) | (None, None, None) => false,
        (Some(authority), Some(host), None) => authority.as_str().as_bytes() == host.as_bytes(),
        (Some(_), None, None) | (None, Some(_), None) => true,
    }
}

/// A WebSocket's stream on its way as an upgrade.
pub(crate) struct Upgrading {
    accept: String,
}

impl Upgrading {
    /// Makes an upgrade of a stream that asks for a WebSocket; none if it does not.
    pub(crate) fn begin<B>(request: &mut Request<B>) -> Option<Self> {
        let asks = *request.method() == Method::CONNECT
            && request.extensions().get::<Protocol>().is_some_and(|to| to.as_str() == "websocket");
        if !asks {
            return None;
        }
        *request.method_mut() = Method::GET;
        *request.version_mut() = Version::HTTP_11;
        let host = request.uri().authority().map(|authority| HeaderValue::try_from(authority.as_str()));
        if let Some(Ok(host)) = host {
            request.headers_mut().insert(HOST, host);
        }
        let key = key(rand::random());
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        let accept = accept_key(&key);
        if let Ok(key) = HeaderValue::try_from(key) {
            headers.insert(KEY, key);
        }
        Some(Self { accept })
    }

    /// Makes the answer the stream's: RFC 8441 §5.
    pub(crate) fn end(self, mut response: Response<Body>) -> Response<Body> {
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return response;
        }
        let accepted = response.headers_mut().remove(ACCEPT);
        if accepted.is_none_or(|accepted| accepted.as_bytes() != self.accept.as_bytes()) {
            return reply::plain(StatusCode::BAD_GATEWAY, "the server answered for another handshake");
        }
        *response.status_mut() = StatusCode::OK;
        response.headers_mut().remove(CONNECTION);
        response.headers_mut().remove(UPGRADE);
        response
    }
}

/// RFC 6455 §4.1: 16 bytes in base64.
fn key(bits: u128) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |at: u32| {
        let bits = if at < 21 { bits >> (122 - 6 * at) } else { bits << 4 };
        let index = usize::try_from(bits & 63).unwrap_or_default();
        char::from(DIGITS[index])
    };
    (0..22).map(digit).chain(['=', '=']).collect()
}

const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");

#[cfg(test)]
mod tests {
    use super::*;
    use sockeye_proto::ws::handshake::is_key;

    #[test]
    fn keys_are_base64_of_16_bytes() {
        assert_eq!(key(0), "AAAAAAAAAAAAAAAAAAAAAA==");
        assert_eq!(key(u128::MAX), "/////////////////////w==");
        assert_eq!(key(u128::from_be_bytes(*b"the sample nonce")), "dGhlIHNhbXBsZSBub25jZQ==");
        assert!(is_key(&key(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)));
    }

    #[test]
    fn cookies_go_on_in_one_piece_and_hosts_agree() {
        let mut request = Request::builder()
            .uri("https://a/x")
            .header(COOKIE, "a=1")
            .header(COOKIE, "b=2")
            .body(())
            .unwrap();
        adapt(&mut request);
        assert_eq!(request.headers().get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2"]);
        for (uri, hosts, expected) in [
            ("https://a/x", &[][..], true),
            ("https://a/x", &["a"], true),
            ("https://a/x", &["b"], false),
            ("https://a/x", &["a", "a"], false),
            ("/x", &["a"], true),
            ("/x", &[], false),
        ] {
            let request =
                hosts.iter().fold(Request::builder().uri(uri), |request, host| request.header(HOST, *host));
            assert_eq!(has_its_host(&request.body(()).unwrap()), expected, "{uri} {hosts:?}");
        }
    }
}
