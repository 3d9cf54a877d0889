//! What names the server of a request: read off its query, cookies, address and headers, in the order of the group. Pure.

use std::net::IpAddr;

use crate::config::{Affinity, Cidr, Cookie};
use crate::cookie;
use crate::forwarded;
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

    /// The client's address, behind proxies that are believed.
    fn client(&self) -> IpAddr {
        forwarded::client(self.trust, self.peer, (self.header)("x-forwarded-for").into_iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
