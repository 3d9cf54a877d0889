//! What a request's query says to Engine.IO.

use super::transport::Transport;
use super::v3::Jsonp;
use crate::http::query_pairs;
use crate::sid::Sid;

/// What the official server looks for in a query, read as it reads it.
///
/// A repeated pair is no value at all there (Node makes an array of it), and so it is here; only `b64` needs none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// The protocol version.
    pub protocol: Protocol,
    /// The transport; `None` if it is missing or not one of ours.
    pub transport: Option<Transport>,
    /// The session.
    pub session: Session,
    /// Whether the client takes no bytes (`b64`), but base64 instead: on a WebSocket in either version, on polling in v3 (in v4
    /// nobody gets any there). What counts is the first request of a transport.
    pub b64: bool,
    /// The callback of JSONP (`j`); what counts is the handshake's.
    pub jsonp: Option<Jsonp>,
}

/// The version of Engine.IO that a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `EIO=3`, or any other text, or none: only `4` is v4.
    V3,
    /// `EIO=4`.
    #[default]
    V4,
}

/// The session that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// None, or an empty one: this is a handshake.
    None,
    /// A sid of our shape.
    Named(Sid),
    /// A sid that no node of ours can have issued.
    Foreign,
}

impl Query {
    /// Reads a query (the part of the target after `?`).
    #[must_use]
    pub fn parse(query: &str) -> Self {
        let (mut eio, mut transport, mut sid) = (Value::Absent, Value::Absent, Value::Absent);
        let (mut b64, mut j) = (false, Value::Absent);
        for (key, value) in query_pairs(query) {
            match &*key {
                "EIO" => eio.add(value),
                "transport" => transport.add(value),
                "sid" => sid.add(value),
                // An array of two empty texts is true, too, but nobody sends one.
                "b64" => b64 |= !value.is_empty(),
                "j" => j.add(value),
                _ => {}
            }
        }
        Self {
            protocol: if eio.text() == Some("4") { Protocol::V4 } else { Protocol::V3 },
            transport: transport.text().and_then(|name| name.parse().ok()),
            session: match &sid {
                Value::Absent => Session::None,
                Value::Once(text) if text.is_empty() => Session::None,
                Value::Once(text) => text.parse().map_or(Session::Foreign, Session::Named),
                Value::Repeated => Session::Foreign,
            },
            b64,
            jsonp: j.text().map(Jsonp::new),
        }
    }

    /// The session, if it has the shape of ours.
    #[must_use]
    pub fn sid(&self) -> Option<Sid> {
        match self.session {
            Session::Named(sid) => Some(sid),
            Session::None | Session::Foreign => None,
        }
    }
}

/// How often a pair was seen.
enum Value<T> {
    Absent,
    Once(T),
    Repeated,
}

impl<T: AsRef<str>> Value<T> {
    fn add(&mut self, value: T) {
        *self = match self {
            Self::Absent => Self::Once(value),
            Self::Once(_) | Self::Repeated => Self::Repeated,
        };
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Once(text) => Some(text.as_ref()),
            Self::Absent | Self::Repeated => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: &str = "AAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn queries_mean_what_they_mean_to_the_official_server() {
        let named = Session::Named(SID.parse().unwrap());
        let (polling, websocket) = (Some(Transport::Polling), Some(Transport::WebSocket));
        for (query, protocol, transport, session) in [
            ("EIO=4&transport=polling", Protocol::V4, polling, Session::None),
            ("transport=websocket&EIO=4&sid=AAAAAAAAAAAAAAAAAAAA&t=x", Protocol::V4, websocket, named),
            ("EIO=4&transport=polling&sid=", Protocol::V4, polling, Session::None),
            ("EIO=4&transport=polling&sid=short", Protocol::V4, polling, Session::Foreign),
            ("EIO=4&transport=polling&sid=%41AAAAAAAAAAAAAAAAAAA", Protocol::V4, polling, named),
            ("EIO=4&sid=AAAAAAAAAAAAAAAAAAAA&sid=AAAAAAAAAAAAAAAAAAAA", Protocol::V4, None, Session::Foreign),
            ("EIO=3&transport=polling", Protocol::V3, polling, Session::None),
            ("EIO=abc&transport=polling", Protocol::V3, polling, Session::None),
            ("EIO=4&EIO=4&transport=polling", Protocol::V3, polling, Session::None),
            ("transport=polling&transport=polling", Protocol::V3, None, Session::None),
            ("EIO=4&transport=webtransport", Protocol::V4, None, Session::None),
            ("EIO=4&transport=Polling", Protocol::V4, None, Session::None),
            ("EIO=4&transport=__proto__", Protocol::V4, None, Session::None),
            ("", Protocol::V3, None, Session::None),
        ] {
            let expected = Query { protocol, transport, session, b64: false, jsonp: None };
            assert_eq!(Query::parse(query), expected, "{query}");
        }
        assert_eq!(Query::parse("sid=AAAAAAAAAAAAAAAAAAAA").sid(), SID.parse().ok());
    }

    #[test]
    fn flags_count_where_javascript_finds_them_true() {
        for (query, b64, j) in [
            ("EIO=3&b64=1", true, None),
            ("b64=0", true, None),
            ("b64=true&b64=1", true, None),
            ("b64=", false, None),
            ("b64", false, None),
            ("B64=1", false, None),
            ("EIO=3&j=0&b64=1", true, Some("0")),
            ("j=12", false, Some("12")),
            ("j=", false, Some("")),
            ("j=a1b", false, Some("1")),
            ("j=1&j=2", false, None),
        ] {
            let query = Query::parse(query);
            assert_eq!((query.b64, query.jsonp), (b64, j.map(Jsonp::new)), "{query:?}");
        }
    }
}
