//! What proxies before this one say of their clients: whom to believe, and what a head says when its connection is handed over.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use sockeye_proto::http::Head;

use crate::config::Cidr;

/// The fields that a proxy says of its client by.
const FIELDS: [&str; 5] =
    ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "forwarded"];

/// Whether a proxy is believed.
pub(crate) fn is_trusted(trust: &[Cidr], proxy: IpAddr) -> bool {
    trust.iter().any(|range| range.contains(proxy))
}

/// The client's address: the right-most of `X-Forwarded-For` that is no trusted proxy's. What stands further left was written by whoever wanted to.
pub(crate) fn client<'a>(
    trust: &[Cidr],
    peer: IpAddr,
    chain: impl DoubleEndedIterator<Item = &'a [u8]>,
) -> IpAddr {
    let mut client = peer;
    let mut hops = chain.rev().flat_map(|value| value.rsplit(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    while is_trusted(trust, client) {
        let Some(before) = hops.next().and_then(address) else { break };
        client = before;
    }
    client
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    bare.or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}

/// The client's address as a head tells it; a port is known only where the client itself is the peer.
pub(crate) fn client_of(trust: &[Cidr], peer: SocketAddr, head: &Head<'_>) -> SocketAddr {
    let values: Vec<&[u8]> = head.values(FIELDS[0]).collect();
    with_port(peer, client(trust, peer.ip(), values.into_iter()))
}

/// An address with its port, where it is the peer's.
pub(crate) fn with_port(peer: SocketAddr, client: IpAddr) -> SocketAddr {
    if client == peer.ip() { peer } else { SocketAddr::new(client, 0) }
}

/// The bytes of a head, and of what follows it, as a worker may believe them: from a trusted proxy with that proxy added to the chain, from anybody else without
/// such fields. `None` where they are right as they are.
pub(crate) fn rewrite(
    head: &Head<'_>,
    length: usize,
    read: &[u8],
    trusted: bool,
    peer: IpAddr,
) -> Option<Bytes> {
    let is_field = |name: &str| FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field));
    if !head.headers().any(|(name, _)| is_field(name)) {
        return None;
    }
    let peer = peer.to_canonical().to_string();
    let mut bytes = Vec::with_capacity(read.len() + 64);
    let mut line = |name: &str, value: &[u8]| {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    };
    let mut chain: Vec<&[u8]> = Vec::new();
    for (name, value) in head.headers() {
        if name.eq_ignore_ascii_case(FIELDS[0]) {
            chain.push(value);
        } else if trusted || !is_field(name) {
            line(name, value);
        }
    }
    if trusted {
        chain.push(peer.as_bytes());
        line("X-Forwarded-For", &chain.join(&b", "[..]));
    }
    let version = if head.is_http11() { "1.1" } else { "1.0" };
    let first = format!("{} {} HTTP/{version}\r\n", head.method(), head.target());
    Some([first.as_bytes(), &bytes, b"\r\n", read.get(length..).unwrap_or_default()].concat().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_right_most_that_no_trusted_proxy_has() {
        let trust: [Cidr; 2] = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        for (peer, chain, expected) in [
            ("192.0.2.7", &[][..], "192.0.2.7"),
            ("192.0.2.7", &["203.0.113.9"], "192.0.2.7"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1", "203.0.113.9 , 10.0.0.2"], "203.0.113.9"),
            ("10.0.0.1", &["10.0.0.3,10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["203.0.113.9:5000"], "203.0.113.9"),
            ("10.0.0.1", &["[2001:db8::1]:5000"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("fd00::1", &["203.0.113.9, unknown"], "fd00::1"),
            ("10.0.0.1", &["203.0.113.9, ,"], "10.0.0.1"),
        ] {
            let found = client(&trust, peer.parse().unwrap(), chain.iter().map(|value| value.as_bytes()));
            assert_eq!(found.to_string(), expected, "{chain:?} by {peer}");
        }
    }

    #[test]
    fn a_head_says_to_a_worker_what_it_may_believe() {
        let forged = "GET /?a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nforwarded: for=1.1.1.1\r\nX-Kept: b\r\n\r\nrest";
        check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", false, None);
        check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true, None);
        check(forged, false, Some("GET /?a HTTP/1.1\r\nHost: a\r\nX-Kept: b\r\n\r\nrest"));
        check(
            "GET / HTTP/1.1\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 2.2.2.2\r\n\r\n",
            true,
            Some(
                "GET / HTTP/1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2, 192.0.2.7\r\n\r\n",
            ),
        );
    }

    fn check(read: &str, trusted: bool, expected: Option<&str>) {
        let sockeye_proto::http::Status::Complete((head, length)) = Head::parse(read.as_bytes()).unwrap()
        else {
            panic!("a whole head");
        };
        let found = rewrite(&head, length, read.as_bytes(), trusted, "::ffff:192.0.2.7".parse().unwrap());
        assert_eq!(found.as_deref(), expected.map(str::as_bytes));
    }
}
