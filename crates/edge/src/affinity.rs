//! What names the server of a request: read off its query, cookies, address and headers, in the order of the group. Pure.

use std::net::IpAddr;

use crate::config::{Affinity, Cidr, Cookie};
use crate::cookie;
use crate::hash;
use crate::pool::Key;

/// A request as far as it can name a server.
pub(crate) struct Asker<'r, 'a> {
    /// The client's end of the connection.
    pub(crate) peer: IpAddr,
    /// Proxies that are believed.
    pub(crate) trust: &'r [Cidr],
    /// The values of a header, by its name in lower case.
    pub(crate) header: &'r dyn Fn(&str) -> Vec<&'a [u8]>,
}

/// What one rule of a group makes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hint<'a> {
    /// The server of this name; or of the other, as an older balancer wrote it.
    Server(&'a str),
    /// Whom this key chooses.
    Key(Key),
}

impl<'a> Asker<'_, 'a> {
    /// What a rule says, if it says anything. What the sid says is not known here.
    pub(crate) fn hint(&self, rule: &Affinity) -> Option<Hint<'a>> {
        match rule {
            Affinity::Sid => None,
            Affinity::Cookie(cookie) => self.cookie(cookie).map(Hint::Server),
            Affinity::Address { three_octets: true, .. } => Some(Hint::Key(Key::IpHash(self.client()))),
            Affinity::Address { three_octets: false, bound_percent } => Some(Hint::Key(Key::Hashed {
                key: hash::address(self.client()),
                bound_percent: *bound_percent,
            })),
            Affinity::ForwardedFor => {
                Some(Hint::Key(Key::Hashed { key: hash::address(self.client()), bound_percent: 0 }))
            }
            Affinity::Header(name) => {
                let values = (self.header)(&name.to_ascii_lowercase());
                let value = values.first().filter(|value| !value.is_empty())?;
                Some(Hint::Key(Key::Hashed { key: hash::of(value), bound_percent: 0 }))
            }
        }
    }

    /// The name in a cookie, as it stands there.
    pub(crate) fn cookie(&self, cookie: &Cookie) -> Option<&'a str> {
        cookie::named(cookie, (self.header)("cookie").into_iter())
    }

    /// The client's address: the right-most of `X-Forwarded-For` that is no trusted proxy's, if the peer is one. What stands further left was written by whoever
    /// wanted to.
    pub(crate) fn client(&self) -> IpAddr {
        let mut client = self.peer;
        let values = (self.header)("x-forwarded-for");
        let mut chain =
            values.iter().rev().flat_map(|value| value.rsplit(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
        while self.trust.iter().any(|range| range.contains(client)) {
            let Some(before) = chain.next().and_then(address) else { break };
            client = before;
        }
        client
    }
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        return Some(socket.ip());
    }
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_right_most_address_that_is_no_trusted_proxys() {
        for (peer, chain, expected) in [
            ("203.0.113.9", &["1.1.1.1"][..], "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1", &["6.6.6.6, 1.1.1.1"], "1.1.1.1"),
            ("10.0.0.1", &["6.6.6.6, 1.1.1.1, 10.0.0.2"], "1.1.1.1"),
            ("10.0.0.1", &["6.6.6.6", "1.1.1.1", "10.0.0.2, 10.0.0.3"], "1.1.1.1"),
            ("10.0.0.1", &["10.0.0.9"], "10.0.0.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["nonsense"], "10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1, nonsense, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["1.1.1.1:5000"], "1.1.1.1"),
            ("10.0.0.1", &["[fd00::1]"], "fd00::1"),
            ("10.0.0.1", &["[fd00::1]:80"], "fd00::1"),
        ] {
            let values: Vec<&[u8]> = chain.iter().map(|value| value.as_bytes()).collect();
            let header = |name: &str| if name == "x-forwarded-for" { values.clone() } else { Vec::new() };
            let asker = Asker {
                peer: peer.parse().unwrap(),
                trust: &["10.0.0.0/8".parse().unwrap()],
                header: &header,
            };
            assert_eq!(asker.client().to_string(), expected, "{peer} {chain:?}");
        }
    }

    #[test]
    fn rules_say_what_the_rows_say() {
        let header = |name: &str| match name {
            "cookie" => vec![&b"SERVERID=app01"[..]],
            "x-user" => vec![&b"anna"[..]],
            "x-empty" => vec![&b""[..]],
            _ => Vec::new(),
        };
        let peer = "192.0.2.7".parse().unwrap();
        let asker = Asker { peer, trust: &[], header: &header };
        let hashed = |key, bound_percent| Some(Hint::Key(Key::Hashed { key, bound_percent }));
        for (rule, expected) in [
            (Affinity::Sid, None),
            (Affinity::Cookie(Cookie::default()), Some(Hint::Server("app01"))),
            (Affinity::Cookie(Cookie { name: "io".to_owned(), ..Cookie::default() }), None),
            (Affinity::Address { three_octets: true, bound_percent: 0 }, Some(Hint::Key(Key::IpHash(peer)))),
            (Affinity::Address { three_octets: false, bound_percent: 125 }, hashed(hash::address(peer), 125)),
            (Affinity::ForwardedFor, hashed(hash::address(peer), 0)),
            (Affinity::Header("X-User".to_owned()), hashed(hash::of(b"anna"), 0)),
            (Affinity::Header("X-Empty".to_owned()), None),
            (Affinity::Header("X-None".to_owned()), None),
        ] {
            assert_eq!(asker.hint(&rule), expected, "{rule:?}");
        }
    }
}
