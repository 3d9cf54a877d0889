//! A request as far as Engine.IO reads it, whoever parsed it.

use crate::caller::{Caller, Way};
use bytes::Bytes;
use http::{HeaderValue, Request};
use sockeye_proto::http::Head;

/// What headers begin with that nodes and edges of ours tell each other by; a handshake does not show them.
const OURS: &str = "x-sockeye-";

/// `sockeye_relay::PEER`.
const PEER: &str = "x-sockeye-peer";

/// `sockeye_relay::RELAYED`.
const RELAYED: &str = "x-sockeye-relayed";

/// A request as far as Engine.IO reads it.
pub(crate) trait Asked {
    /// The method.
    fn method(&self) -> &str;

    /// The query, without `?`.
    fn query(&self) -> &str;

    /// The values of the headers of that name, which is in lower case.
    fn values(&self, name: &'static str) -> impl Iterator<Item = &[u8]>;

    /// The head to keep, without what nodes and edges of ours said in it.
    fn head(&self) -> Bytes;

    /// The value of the first header of that name.
    fn value(&self, name: &'static str) -> Option<HeaderValue> {
        HeaderValue::from_bytes(self.values(name).next()?).ok()
    }

    /// Reads what an edge or a node of ours says of the client, where it may be believed.
    fn caller(&self, caller: Caller) -> Caller {
        if caller.way != Way::Private {
            return caller;
        }
        let peer = self.values(PEER).next().and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
        let way = match self.values(RELAYED).next() {
            Some(b"edge") => Way::Edge,
            Some(_) => Way::Node,
            None => Way::Private,
        };
        Caller { peer: peer.unwrap_or(caller.peer), way }
    }
}

/// A head that was parsed here.
pub(crate) struct Parsed<'h, 'b> {
    /// The head.
    pub(crate) head: &'h Head<'b>,
    /// The same as bytes, with its empty line.
    pub(crate) bytes: &'b [u8],
}

impl Asked for Parsed<'_, '_> {
    fn method(&self) -> &str {
        self.head.method()
    }

    fn query(&self) -> &str {
        self.head.query_string()
    }

    fn values(&self, name: &'static str) -> impl Iterator<Item = &[u8]> {
        self.head.values(name).map(|value| -> &[u8] { value })
    }

    fn head(&self) -> Bytes {
        if !self.head.headers().any(|(name, _)| is_ours(name)) {
            return Bytes::copy_from_slice(self.bytes);
        }
        let others = self.head.headers().filter(|(name, _)| !is_ours(name));
        write_head(self.head.method(), self.head.target(), others)
    }
}

impl<B> Asked for Request<B> {
    fn method(&self) -> &str {
        self.method().as_str()
    }

    fn query(&self) -> &str {
        self.uri().query().unwrap_or_default()
    }

    fn values(&self, name: &'static str) -> impl Iterator<Item = &[u8]> {
        self.headers().get_all(name).iter().map(HeaderValue::as_bytes)
    }

    fn head(&self) -> Bytes {
        let target = self.uri().path_and_query().map_or("/", |target| target.as_str());
        let headers = self.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        write_head(self.method().as_str(), target, headers.filter(|(name, _)| !is_ours(name)))
    }
}

fn is_ours(name: &str) -> bool {
    name.get(..OURS.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(OURS))
}

fn write_head<'a>(method: &str, target: &str, headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Bytes {
    let mut head = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
    for (name, value) in headers {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_relay() {
        assert_eq!((PEER, RELAYED), (sockeye_relay::PEER.as_str(), sockeye_relay::RELAYED.as_str()));
    }
}
