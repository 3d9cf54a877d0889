//! The headers that change on the way: hop-by-hop ones stay behind, forwarding ones are added.

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, Entry, FORWARDED, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version};

use crate::origin::Origin;

/// Carries the client's address, `ip:port`, to a node of ours. Believed only on a node's private socket.
pub const PEER: HeaderName = HeaderName::from_static("x-sockeye-peer");
/// Names who relayed a request to a node of ours: `edge` or a node's tag; `house` asks for itself. Believed only on a node's private socket.
pub const RELAYED: HeaderName = HeaderName::from_static("x-sockeye-relayed");

/// Makes a client's request the relay's own. Does nothing to a request that was prepared before and came back refused.
pub(crate) fn prepare<B>(request: &mut Request<B>, origin: &Origin) {
    if request.extensions_mut().remove::<Prepared>().is_some() {
        return;
    }
    *request.version_mut() = Version::HTTP_11;
    if request.uri().authority().is_some() {
        // RFC 9112 §3.2.2: the authority of an absolute-form target replaces the Host.
        adopt_authority(request);
    }
    let headers = request.headers_mut();
    strip_hop_by_hop(headers);
    // This hop has answered the expectation itself (RFC 9110 §10.1.1).
    headers.remove(EXPECT);
    strip_ours(headers);
    if !origin.forwarded {
        forward(headers, origin);
    }
    // RFC 9112 §3.2: of HTTP/1.0 clients, who need not name a host, an HTTP/1.1 request says an empty one.
    headers.entry(HOST).or_insert(HeaderValue::from_static(""));
    if let Some(relayer) = &origin.relayed_by {
        headers.insert(PEER, origin.peer.clone());
        headers.insert(RELAYED, relayer.clone());
    }
}

/// Marks a prepared request that is handed back, so that a second try does not name the peer twice.
pub(crate) fn mark_prepared<B>(request: &mut Request<B>) {
    request.extensions_mut().insert(Prepared);
}

/// Takes out what concerns one connection only (RFC 9110 §7.6.1), including what `Connection` names.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if let Entry::Occupied(connection) = headers.entry(CONNECTION) {
        let (_, values) = connection.remove_entry_mult();
        let named: Vec<HeaderName> = values.flat_map(|value| named_headers(&value)).collect();
        for name in named {
            headers.remove(name);
        }
    }
    if headers.remove(TRANSFER_ENCODING).is_some() {
        // RFC 9112 §6.3: with both, the length lies. hyper frames the body anew.
        headers.remove(CONTENT_LENGTH);
    }
    for name in [UPGRADE, TE, KEEP_ALIVE, PROXY_CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION] {
        headers.remove(name);
    }
}

/// The headers that a `Connection` value names; not the ones whose loss would change the request's meaning.
fn named_headers(value: &HeaderValue) -> Vec<HeaderName> {
    let named = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    named
        .filter(|name| {
            ![&b"keep-alive"[..], b"close", b"upgrade"].iter().any(|n| name.eq_ignore_ascii_case(n))
        })
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING)
        .collect()
}

fn strip_ours(headers: &mut HeaderMap) {
    let forged: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("x-sockeye-")).cloned().collect();
    for name in forged {
        headers.remove(name);
    }
}

/// Appends the peer to `X-Forwarded-For`, and to `Forwarded` where that is said; the others are kept where a proxy in front of us has set them. All of it is
/// replaced if the peer is not believed.
fn forward(headers: &mut HeaderMap, origin: &Origin) {
    let before: Vec<HeaderValue> = headers.get_all(FORWARDED).iter().cloned().collect();
    headers.remove(FORWARDED);
    if !origin.believed {
        for name in [FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST, FORWARDED_PORT] {
            headers.remove(name);
        }
    }
    append(headers, FORWARDED_FOR, origin.ip.as_bytes());
    if !before.is_empty() {
        // RFC 7239 §4.
        for value in before.into_iter().filter(|_| origin.believed) {
            headers.append(FORWARDED, value);
        }
        let element = element(headers.get(HOST), origin);
        append(headers, FORWARDED, &element);
    }
    if let Entry::Vacant(scheme) = headers.entry(FORWARDED_PROTO) {
        scheme.insert(origin.scheme.clone());
    }
    if let Some(host) = headers.get(HOST).cloned()
        && let Entry::Vacant(forwarded) = headers.entry(FORWARDED_HOST)
    {
        forwarded.insert(host);
    }
    if let Some(port) = &origin.port
        && let Entry::Vacant(forwarded) = headers.entry(FORWARDED_PORT)
    {
        forwarded.insert(port.clone());
    }
}

/// Adds one more to a list, in one field.
fn append(headers: &mut HeaderMap, name: HeaderName, last: &[u8]) {
    let known = headers.get_all(&name).iter().map(HeaderValue::as_bytes);
    let list = known.chain([last]).collect::<Vec<_>>().join(&b", "[..]);
    if let Ok(list) = HeaderValue::from_bytes(&list) {
        headers.insert(name, list);
    }
}

/// RFC 7239 §4: who the peer is, how it came and for which host.
fn element(host: Option<&HeaderValue>, origin: &Origin) -> Vec<u8> {
    let mut element = b"for=".to_vec();
    if origin.ip.as_bytes().contains(&b':') {
        element.extend([b"\"[", origin.ip.as_bytes(), b"]\""].concat());
    } else {
        element.extend(origin.ip.as_bytes());
    }
    element.extend([b";proto=", origin.scheme.as_bytes()].concat());
    // What a quoted string cannot hold as it is belongs to no host.
    let plain = |host: &&HeaderValue| !host.as_bytes().iter().any(|byte| b"\"\\".contains(byte));
    if let Some(host) = host.filter(plain) {
        element.extend([b";host=\"", host.as_bytes(), b"\""].concat());
    }
    element
}

fn adopt_authority<B>(request: &mut Request<B>) {
    let authority = request.uri().authority().map(|authority| authority.as_str().to_owned());
    if let Some(host) = authority.and_then(|authority| HeaderValue::try_from(authority).ok()) {
        request.headers_mut().insert(HOST, host);
    }
    let target = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
}

/// Lies in a request's extensions once its headers are prepared.
#[derive(Clone)]
struct Prepared;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_change_as_the_rows_say() {
        check(
            &[("Host", "a")],
            &[("host", "a"), ("x-forwarded-for", "192.0.2.7"), ("x-forwarded-host", "a")],
        );
        check(
            &[
                ("Connection", "keep-alive, X-Secret"),
                ("X-Secret", "1"),
                ("X-Kept", "2"),
                ("Keep-Alive", "5"),
            ],
            &[("host", ""), ("x-forwarded-for", "192.0.2.7"), ("x-kept", "2")],
        );
        // An attacker cannot name away what frames or routes the request.
        check(
            &[("Connection", "Host, Content-Length"), ("Host", "a"), ("Content-Length", "3")],
            &[
                ("content-length", "3"),
                ("host", "a"),
                ("x-forwarded-for", "192.0.2.7"),
                ("x-forwarded-host", "a"),
            ],
        );
        check(
            &[
                ("Transfer-Encoding", "chunked"),
                ("Content-Length", "3"),
                ("TE", "trailers"),
                ("Upgrade", "h2c"),
            ],
            &[("host", ""), ("x-forwarded-for", "192.0.2.7")],
        );
        check(
            &[("X-Forwarded-For", "10.0.0.1"), ("X-Forwarded-For", "10.0.0.2")],
            &[("host", ""), ("x-forwarded-for", "10.0.0.1, 10.0.0.2, 192.0.2.7")],
        );
        check(
            &[("X-Forwarded-Host", "outer"), ("Host", "inner")],
            &[("host", "inner"), ("x-forwarded-for", "192.0.2.7"), ("x-forwarded-host", "outer")],
        );
        check(
            &[("X-Sockeye-Peer", "1.1.1.1:1"), ("x-sockeye-relayed", "edge"), ("x-sockeye-other", "x")],
            &[("host", ""), ("x-forwarded-for", "192.0.2.7")],
        );
    }

    #[test]
    fn who_is_not_believed_says_nothing_of_others() {
        for (believed, expected) in [
            (
                true,
                [
                    "10.0.0.1, 192.0.2.7",
                    "https",
                    "outer",
                    "for=10.0.0.1, for=192.0.2.7;proto=http;host=\"inner\"",
                ],
            ),
            (false, ["192.0.2.7", "http", "inner", "for=192.0.2.7;proto=http;host=\"inner\""]),
        ] {
            let mut request = Request::builder()
                .header(HOST, "inner")
                .header(FORWARDED_FOR, "10.0.0.1")
                .header(FORWARDED_PROTO, "https")
                .header(FORWARDED_HOST, "outer")
                .header(FORWARDED, "for=10.0.0.1")
                .body(())
                .unwrap();
            let origin = if believed { origin() } else { origin().disbelieved() };
            prepare(&mut request, &origin);
            let said = [FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST, FORWARDED].map(|name| {
                let values: Vec<_> = request.headers().get_all(name).iter().collect();
                values.iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join(" | ")
            });
            assert_eq!(said, expected);
        }
        let origin = Origin::new("[2001:db8::7]:1".parse().unwrap())
            .scheme("https")
            .on_behalf_of("192.0.2.9:0".parse().unwrap());
        let mut request = Request::builder().header(FORWARDED, "for=a").body(()).unwrap();
        prepare(&mut request, &origin.relayed_by("edge"));
        assert_eq!(request.headers()[FORWARDED], "for=a, for=\"[2001:db8::7]\";proto=https");
        assert_eq!(request.headers()[PEER], "192.0.2.9:0");
    }

    #[test]
    fn a_relayer_names_itself_and_the_peer() {
        let mut request = Request::new(());
        prepare(&mut request, &origin().relayed_by("edge"));
        assert_eq!(request.headers()[PEER], "192.0.2.7:5000");
        assert_eq!(request.headers()[RELAYED], "edge");
    }

    #[test]
    fn a_request_handed_back_is_prepared_once() {
        let mut request = Request::new(());
        prepare(&mut request, &origin());
        mark_prepared(&mut request);
        prepare(&mut request, &origin());
        assert_eq!(request.headers()[FORWARDED_FOR], "192.0.2.7");
    }

    #[test]
    fn a_second_hop_leaves_the_forwarding_headers_alone() {
        let mut request = Request::builder().header(FORWARDED_FOR, "10.0.0.1").body(()).unwrap();
        prepare(&mut request, &origin().already_forwarded());
        assert_eq!(request.headers()[FORWARDED_FOR], "10.0.0.1");
    }

    #[test]
    fn an_absolute_target_becomes_a_path_and_a_host() {
        let mut request = Request::builder().uri("http://real/a?b=c").header(HOST, "fake").body(()).unwrap();
        prepare(&mut request, &origin());
        assert_eq!(request.uri().to_string(), "/a?b=c");
        assert_eq!(request.headers()[HOST], "real");
    }

    fn check(given: &[(&str, &str)], expected: &[(&str, &str)]) {
        let mut request = Request::new(());
        for (name, value) in given {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
        prepare(&mut request, &origin());
        request.headers_mut().remove(FORWARDED_PROTO);
        let mut headers: Vec<_> =
            request.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        headers.sort_unstable();
        assert_eq!(headers, expected, "given {given:?}");
    }

    fn origin() -> Origin {
        Origin::new("192.0.2.7:5000".parse().unwrap())
    }
}
