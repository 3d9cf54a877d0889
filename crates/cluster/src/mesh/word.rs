//! What members of a mesh say to each other about sessions (`docs/mesh.md`, "Sessions"): types 64 to 68, which no official
//! adapter has.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::adapter::{Position, Session};
use crate::name::{Nsp, Pid, RequestId, Room, Uid};
use crate::places::Places;
use crate::recovery::Entry;
use crate::wire::json::{self, Object};
use crate::wire::opts::WireOpts;
use crate::wire::{EncodeError, Malformed, msgpack};

/// The number of the first type; what is below is the official adapters'.
pub const WORD_TYPES: std::ops::RangeInclusive<u64> = 64..=70;

/// What is said about a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// 64: the sender has this session.
    Session {
        /// As it is at this moment.
        session: Session,
        /// Its client is away.
        away: bool,
    },
    /// 65: a session is over.
    End(Pid),
    /// 66: a client has come back: who can help?
    Fetch {
        /// What the answers must name.
        request_id: RequestId,
        /// The session.
        pid: Pid,
        /// What the client has met, as it says.
        offset: Option<Arc<str>>,
    },
    /// 67: something that this client has missed.
    Missed {
        /// The request it answers.
        request_id: RequestId,
        /// The event.
        entry: Entry,
    },
    /// 68: the end of an answer.
    Response {
        /// The request it answers.
        request_id: RequestId,
        /// The session; without one the sender cannot help.
        session: Option<Session>,
        /// Up to where the sender has seen.
        seen: Places,
    },
    /// 69: the receiver is to say this number again once it has done all that came before it.
    Mark(u64),
    /// 70: that number.
    Marked(u64),
}

/// A word, with who says it and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// The member.
    pub uid: Uid,
    /// The namespace.
    pub nsp: Nsp,
    /// What it says.
    pub word: Word,
}

impl Spoken {
    /// Writes it as the payload of a frame.
    ///
    /// # Errors
    ///
    /// Fails where an event cannot be written; see [`wire::encode`](crate::wire::encode).
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let mut out = Vec::with_capacity(256);
        let mut object = Object::open(&mut out);
        object.number("type", self.word.number());
        write(object.key("data"), &self.word);
        object.string("uid", &self.uid);
        object.string("nsp", &self.nsp);
        object.close();
        match &self.word {
            Word::Missed { entry, .. } if !entry.packet.attachments.is_empty() => {
                msgpack::from_json(&out, &entry.packet.attachments).map(Bytes::from)
            }
            Word::Session { .. }
            | Word::End(_)
            | Word::Fetch { .. }
            | Word::Missed { .. }
            | Word::Response { .. }
            | Word::Mark(_)
            | Word::Marked(_) => Ok(out.into()),
        }
    }

    /// Reads the payload of a frame.
    ///
    /// # Errors
    ///
    /// Fails on anything but a word; such bytes are to be counted and skipped.
    pub fn decode(bytes: &Bytes) -> Result<Self, Malformed> {
        let (text, attachments) = match bytes.first() {
            Some(b'{') => (bytes.clone(), Vec::new()),
            _ => {
                let (text, attachments) = msgpack::to_json(bytes)?;
                (text.into(), attachments)
            }
        };
        let Wire { number, uid, nsp, data } = serde_json::from_slice(&text)?;
        let of = |field| Malformed::Missing { number: u8::try_from(number).unwrap_or(u8::MAX), field };
        let request_id = data.request_id.ok_or_else(|| of("requestId"));
        let session = data.session.map(WireSession::read).transpose();
        let word = match number {
            64 => Word::Session {
                session: session?.ok_or_else(|| of("session"))?,
                away: data.away.unwrap_or(false),
            },
            65 => Word::End(data.pid.ok_or_else(|| of("pid"))?),
            66 => Word::Fetch {
                request_id: request_id?,
                pid: data.pid.ok_or_else(|| of("pid"))?,
                offset: data.offset.map(Into::into),
            },
            67 => {
                let missed = json::missed(&text, number, data.opts, data.packet, attachments)?;
                let (selector, flags, packet) = missed;
                let at = flags.at.ok_or_else(|| of("opts.flags.at"))?;
                Word::Missed { request_id: request_id?, entry: Entry::new(at, selector, flags, packet) }
            }
            68 => Word::Response {
                request_id: request_id?,
                session: session?,
                seen: data.seen.and_then(|seen| seen.parse().ok()).ok_or_else(|| of("seen"))?,
            },
            69 => Word::Mark(data.number.ok_or_else(|| of("number"))?),
            70 => Word::Marked(data.number.ok_or_else(|| of("number"))?),
            other => return Err(Malformed::Type(other)),
        };
        Ok(Self { uid, nsp, word })
    }
}

impl Word {
    const fn number(&self) -> u64 {
        match self {
            Self::Session { .. } => 64,
            Self::End(_) => 65,
            Self::Fetch { .. } => 66,
            Self::Missed { .. } => 67,
            Self::Response { .. } => 68,
            Self::Mark(_) => 69,
            Self::Marked(_) => 70,
        }
    }
}

fn write(out: &mut Vec<u8>, word: &Word) {
    let mut object = Object::open(out);
    match word {
        Word::Session { session, away } => {
            write_session(object.key("session"), session);
            object.bool("away", *away);
        }
        Word::End(pid) => object.string("pid", pid),
        Word::Fetch { request_id, pid, offset } => {
            object.string("requestId", request_id);
            object.string("pid", pid);
            if let Some(offset) = offset {
                object.string("offset", offset);
            }
        }
        Word::Missed { request_id, entry } => {
            object.string("requestId", request_id);
            json::event(object.key("packet"), &entry.packet);
            json::opts(object.key("opts"), &entry.selector, &entry.flags);
        }
        Word::Response { request_id, session, seen } => {
            object.string("requestId", request_id);
            if let Some(session) = session {
                write_session(object.key("session"), session);
            }
            object.string("seen", &seen.to_string());
        }
        Word::Mark(number) | Word::Marked(number) => object.number("number", *number),
    }
    object.close();
}

fn write_session(out: &mut Vec<u8>, session: &Session) {
    let mut object = Object::open(out);
    object.string("pid", &session.pid);
    object.string("sid", session.sid.as_str());
    json::rooms(object.key("rooms"), &session.rooms);
    object.key("data").extend_from_slice(&session.data);
    if let Some(start) = &session.start {
        object.string("start", &start.0);
    }
    object.close();
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "type")]
    number: u64,
    uid: Uid,
    nsp: Nsp,
    #[serde(borrow)]
    data: WireWord<'a>,
}

/// The fields of every type together.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireWord<'a> {
    #[serde(borrow)]
    session: Option<WireSession<'a>>,
    away: Option<bool>,
    pid: Option<Pid>,
    request_id: Option<RequestId>,
    offset: Option<String>,
    opts: Option<WireOpts>,
    #[serde(borrow)]
    packet: Option<&'a RawValue>,
    seen: Option<String>,
    number: Option<u64>,
}

#[derive(Deserialize)]
struct WireSession<'a> {
    pid: Pid,
    sid: String,
    rooms: Vec<Room>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    start: Option<String>,
}

impl WireSession<'_> {
    fn read(self) -> Result<Session, Malformed> {
        let sid = self.sid.parse().map_err(|_| Malformed::Missing { number: 64, field: "session.sid" })?;
        Ok(Session {
            pid: self.pid,
            sid,
            rooms: self.rooms,
            data: self.data.map_or("{}", RawValue::get).to_owned().into(),
            start: self.start.map(|start| Position(start.into())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Packet;
    use crate::selector::{Flags, Selector};

    #[test]
    fn words_read_as_they_are_written() {
        let session = || Session {
            pid: "p".into(),
            sid: "Ab3dE_00000000000000".parse().unwrap(),
            rooms: vec!["Ab3dE_00000000000000".into(), "kitchen".into()],
            data: r#"{"n":1}"#.into(),
            start: Some(Position("Ab3dE_1k".into())),
        };
        let text = r#"{"pid":"p","sid":"Ab3dE_00000000000000","rooms":["Ab3dE_00000000000000","kitchen"],"data":{"n":1},"start":"Ab3dE_1k"}"#;
        let flags = Flags { at: Some("Ab3dE_1l".parse().unwrap()), ..Flags::default() };
        let entry = |packet| Entry::new(flags.at.unwrap(), Selector::to("kitchen"), flags.clone(), packet);
        for (word, expected) in [
            (Word::Session { session: session(), away: true }, format!(r#"64,"data":{{"session":{text},"away":true}}"#)),
            (Word::End("p".into()), r#"65,"data":{"pid":"p"}"#.into()),
            (
                Word::Fetch { request_id: "r".into(), pid: "p".into(), offset: Some("Ab3dE_1k".into()) },
                r#"66,"data":{"requestId":"r","pid":"p","offset":"Ab3dE_1k"}"#.into(),
            ),
            (
                Word::Fetch { request_id: "r".into(), pid: "p".into(), offset: None },
                r#"66,"data":{"requestId":"r","pid":"p"}"#.into(),
            ),
            (
                Word::Missed { request_id: "r".into(), entry: entry(Packet::text(r#"["soup"]"#)) },
                r#"67,"data":{"requestId":"r","packet":{"type":2,"data":["soup"]},"opts":{"rooms":["kitchen"],"except":[],"flags":{"at":"Ab3dE_1l"}}}"#.into(),
            ),
            (
                Word::Response { request_id: "r".into(), session: Some(session()), seen: "Ab3dE_2".parse().unwrap() },
                format!(r#"68,"data":{{"requestId":"r","session":{text},"seen":"Ab3dE_2"}}"#),
            ),
            (
                Word::Response { request_id: "r".into(), session: None, seen: "Ab3dE_2".parse().unwrap() },
                r#"68,"data":{"requestId":"r","seen":"Ab3dE_2"}"#.into(),
            ),
            (Word::Mark(7), r#"69,"data":{"number":7}"#.into()),
            (Word::Marked(7), r#"70,"data":{"number":7}"#.into()),
        ] {
            let spoken = Spoken { uid: "u".into(), nsp: "/".into(), word };
            let bytes = spoken.encode().unwrap();
            assert_eq!(std::str::from_utf8(&bytes).unwrap(), format!(r#"{{"type":{expected},"uid":"u","nsp":"/"}}"#));
            assert_eq!(Spoken::decode(&bytes).unwrap(), spoken);
        }
        let packet =
            Packet::binary(r#"["bin",{"_placeholder":true,"num":0}]"#, vec![Bytes::from_static(&[1, 2])]);
        let word = Word::Missed { request_id: "r".into(), entry: entry(packet) };
        let spoken = Spoken { uid: "u".into(), nsp: "/".into(), word };
        let bytes = spoken.encode().unwrap();
        assert_ne!(bytes[0], b'{');
        assert_eq!(Spoken::decode(&bytes).unwrap(), spoken);
    }

    #[test]
    fn what_is_no_word_is_none() {
        for data in [
            r#"{"type":3,"data":{},"uid":"u","nsp":"/"}"#,
            r#"{"type":64,"data":{},"uid":"u","nsp":"/"}"#,
            r#"{"type":64,"data":{"session":{"pid":"p","sid":"short","rooms":[]}},"uid":"u","nsp":"/"}"#,
            r#"{"type":65,"data":{},"uid":"u","nsp":"/"}"#,
            r#"{"type":66,"data":{"pid":"p"},"uid":"u","nsp":"/"}"#,
            r#"{"type":67,"data":{"requestId":"r","packet":{"type":2,"data":["e"]},"opts":{"flags":{}}},"uid":"u","nsp":"/"}"#,
            r#"{"type":67,"data":{"requestId":"r","packet":{"type":2,"data":{}},"opts":{"flags":{"at":"Ab3dE_1"}}},"uid":"u","nsp":"/"}"#,
            r#"{"type":68,"data":{"requestId":"r","seen":""},"uid":"u","nsp":"/"}"#,
            r#"{"type":65,"uid":"u","nsp":"/"}"#,
            r#"{"type":69,"data":{},"uid":"u","nsp":"/"}"#,
            r#"{"type":70,"data":{"number":-1},"uid":"u","nsp":"/"}"#,
            "",
        ] {
            assert!(Spoken::decode(&Bytes::from(data)).is_err(), "{data}");
        }
    }
}
