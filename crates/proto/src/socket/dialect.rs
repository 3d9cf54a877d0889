//! How a client talks: the version of the engine below it, and its parser. Everything that differs by them, other than bytes.
//!
//! Clients of Engine.IO v3 (socket.io-client 2) are in `/` without asking for it, send their credentials as the query of a
//! namespace, and hear of a refusal as a text.

use super::packet::Packet;
use crate::engine::Protocol;
use crate::http::query_pairs;

/// Pairs of a namespace's query that become credentials, as many as Node's `querystring` takes.
const AUTH_PAIRS_MAX: usize = 1000;

/// What a client hears that asks for a namespace which does not exist, in every dialect.
pub const INVALID_NAMESPACE: &str = r#"{"message":"Invalid namespace"}"#;

/// How a client talks. The default: v4, and the parser of its own that Socket.IO has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Dialect {
    /// The version of Engine.IO.
    pub protocol: Protocol,
    /// How packets are written: the official `parser` option, the same for all clients of a server.
    pub parser: Parser,
}

/// How packets are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Parser {
    /// Text, with binary attachments behind it: [`super::packet`].
    #[default]
    Text,
    /// One binary message a packet, as socket.io-msgpack-parser has it: [`super::msgpack`].
    Msgpack,
}

impl Dialect {
    /// The payload of the CONNECT that admits a client, as JSON; in v3 there is none. `pid` exists where recovery is on.
    #[must_use]
    pub fn admission(self, sid: &str, pid: Option<&str>) -> Option<String> {
        match (self.protocol, pid) {
            (Protocol::V3, _) => None,
            (Protocol::V4, None) => Some(format!(r#"{{"sid":{}}}"#, json_text(sid))),
            (Protocol::V4, Some(pid)) => {
                Some(format!(r#"{{"sid":{},"pid":{}}}"#, json_text(sid), json_text(pid)))
            }
        }
    }

    /// The payload of the CONNECT_ERROR that refuses a client, as JSON. `data` is the raw JSON of what the guard added.
    ///
    /// In v3 it is the data alone, where JavaScript takes it for true, or else the message.
    #[must_use]
    pub fn refusal(self, message: &str, data: Option<&str>) -> String {
        match (self.protocol, data) {
            (Protocol::V3, Some(data)) if is_truthy(data) => data.to_owned(),
            (Protocol::V3, _) => json_text(message),
            (Protocol::V4, None) => format!(r#"{{"message":{}}}"#, json_text(message)),
            (Protocol::V4, Some(data)) => format!(r#"{{"message":{},"data":{data}}}"#, json_text(message)),
        }
    }

    /// Takes the query off a packet's namespace, where this dialect may have one.
    ///
    /// The official server makes a URL of it, which also encodes what is not ASCII and resolves dots; names are left alone
    /// here, so that a client of any version finds a namespace by the name it was given.
    pub(super) fn localize<'a>(self, packet: Packet<'a>) -> (Packet<'a>, &'a str) {
        if self.protocol == Protocol::V4 {
            return (packet, "");
        }
        let name = packet.nsp.split_once('#').map_or(packet.nsp, |(name, _)| name);
        let (nsp, query) = name.split_once('?').unwrap_or((name, ""));
        (Packet { nsp, ..packet }, query)
    }
}

/// The credentials in the query of a namespace, as JSON: an object of texts, of equal keys the last.
pub(super) fn auth_of_query(query: &str) -> String {
    let mut pairs = Vec::new();
    for (key, value) in query_pairs(query).take(AUTH_PAIRS_MAX) {
        match pairs.iter_mut().find(|(earlier, _)| *earlier == key) {
            Some((_, earlier)) => *earlier = value,
            None => pairs.push((key, value)),
        }
    }
    let fields: Vec<_> =
        pairs.iter().map(|(key, value)| format!("{}:{}", json_text(key), json_text(value))).collect();
    format!("{{{}}}", fields.join(","))
}

/// Whether JavaScript takes raw JSON for true.
fn is_truthy(json: &str) -> bool {
    match json.trim() {
        "null" | "false" | r#""""# => false,
        number => number.parse::<f64>() != Ok(0.0),
    }
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    const V3: Dialect = Dialect { protocol: Protocol::V3, parser: Parser::Text };
    const V4: Dialect = Dialect { protocol: Protocol::V4, parser: Parser::Text };

    #[test]
    fn a_client_hears_in_its_own_words_that_it_is_in() {
        assert_eq!(V4.admission("abc", None).as_deref(), Some(r#"{"sid":"abc"}"#));
        assert_eq!(V4.admission("a\"", Some("p")).as_deref(), Some(r#"{"sid":"a\"","pid":"p"}"#));
        assert_eq!(V3.admission("abc", Some("p")), None);
        assert_eq!(Dialect::default(), V4);
    }

    #[test]
    fn a_client_hears_in_its_own_words_that_it_is_out() {
        for (data, v4, v3) in [
            (None, r#"{"message":"no"}"#, r#""no""#),
            (Some(r#"{"code":42}"#), r#"{"message":"no","data":{"code":42}}"#, r#"{"code":42}"#),
            (Some(r#""why""#), r#"{"message":"no","data":"why"}"#, r#""why""#),
            (Some("1"), r#"{"message":"no","data":1}"#, "1"),
            (Some("[]"), r#"{"message":"no","data":[]}"#, "[]"),
            (Some("null"), r#"{"message":"no","data":null}"#, r#""no""#),
            (Some("false"), r#"{"message":"no","data":false}"#, r#""no""#),
            (Some(r#""""#), r#"{"message":"no","data":""}"#, r#""no""#),
            (Some("0"), r#"{"message":"no","data":0}"#, r#""no""#),
            (Some("-0.0"), r#"{"message":"no","data":-0.0}"#, r#""no""#),
        ] {
            assert_eq!(V4.refusal("no", data), v4, "{data:?}");
            assert_eq!(V3.refusal("no", data), v3, "{data:?}");
        }
        assert_eq!(V4.refusal("a\"\n", None), r#"{"message":"a\"\n"}"#);
        assert_eq!(V4.refusal("Invalid namespace", None), INVALID_NAMESPACE);
    }

    #[test]
    fn the_query_of_a_namespace_is_no_part_of_its_name() {
        for (nsp, name, query) in [
            ("/", "/", ""),
            ("/a", "/a", ""),
            ("/a?", "/a", ""),
            ("/a?b=c&d", "/a", "b=c&d"),
            ("/a?b=c?d", "/a", "b=c?d"),
            ("/a?b#c", "/a", "b"),
            ("/a#b?c", "/a", ""),
            ("/€/b", "/€/b", ""),
        ] {
            let packet = Packet { kind: Kind::Connect, nsp, id: None, attachments: 0, data: "" };
            assert_eq!(V3.localize(packet), (Packet { nsp: name, ..packet }, query), "{nsp}");
            assert_eq!(V4.localize(packet), (packet, ""), "{nsp}");
        }
    }

    #[test]
    fn a_query_becomes_credentials() {
        for (query, auth) in [
            ("", "{}"),
            ("test=123", r#"{"test":"123"}"#),
            ("b=1&a=2", r#"{"b":"1","a":"2"}"#),
            ("a=1&b=2&a=3", r#"{"a":"3","b":"2"}"#),
            ("a=x+y%20z&%22=%5C", r#"{"a":"x y z","\"":"\\"}"#),
            ("a", r#"{"a":""}"#),
            ("&&", "{}"),
            ("a=%E2%82%AC%ff", "{\"a\":\"€\u{FFFD}\"}"),
        ] {
            assert_eq!(auth_of_query(query), auth, "{query}");
        }
        let many: Vec<_> = (0..100_000).map(|number| format!("k{number}=")).collect();
        assert_eq!(auth_of_query(&many.join("&")).matches(':').count(), AUTH_PAIRS_MAX);
    }
}
