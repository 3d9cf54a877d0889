//! What a request's query says to Engine.IO.

use super::transport::Transport;
use crate::http::query_pairs;
use crate::sid::Sid;

/// The pairs `EIO`, `transport` and `sid` of a query, read as the official server reads them.
///
/// A repeated pair is no value at all there (Node makes an array of it), and so it is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// The protocol version.
    pub protocol: Protocol,
    /// The transport; `None` if it is missing or not one of ours.
    pub transport: Option<Transport>,
    /// The session.
    pub session: Session,
}

/// The version of Engine.IO that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `EIO=3`, or any other text, or none: only `4` is v4.
    V3,
    /// `EIO=4`.
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
        for (key, value) in query_pairs(query) {
            match &*key {
                "EIO" => eio.add(value),
                "transport" => transport.add(value),
                "sid" => sid.add(value),
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
            assert_eq!(Query::parse(query), Query { protocol, transport, session }, "{query}");
        }
        assert_eq!(Query::parse("sid=AAAAAAAAAAAAAAAAAAAA").sid(), SID.parse().ok());
    }
}
