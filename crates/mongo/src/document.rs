//! A message as a document: `{type, data, uid, nsp, createdAt}`, fields in the order of the official adapter.

use bytes::Bytes;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document, doc};
use sockeye_cluster::wire::{Malformed, json};
use sockeye_cluster::{Envelope, Message, Nsp, Uid};
use thiserror::Error;

use crate::values::{self, NoJson};

/// The kind of a session. (In other official formats 13 says that a server leaves.)
pub(crate) const SESSION: i32 = 13;
/// The kind that says that a server leaves. Ours: the official adapter has none, and passes over what it does not know.
pub(crate) const CLOSE: i32 = 14;

/// The kind of a mark at a place of the stream. Ours, too.
const MARK: i32 = 15;

/// A document that is no message.
#[derive(Debug, Error)]
pub(crate) enum NoMessage {
    /// It does not have the shape.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It cannot be written as JSON.
    #[error(transparent)]
    Json(#[from] NoJson),
}

/// Writes a message down.
///
/// # Errors
///
/// Fails on a packet that is no JSON, or holds what BSON cannot.
pub(crate) fn write(envelope: &Envelope, created_at: bool) -> Result<Document, serde_json::Error> {
    let value = values::from_json(&json::encode(envelope), envelope.message.attachments())?;
    let Bson::Document(mut message) = value else {
        unreachable!("an envelope is an object, and no placeholder")
    };
    if envelope.message == Message::AdapterClose {
        message.insert("type", CLOSE);
    }
    Ok(with_id(message, created_at))
}

/// Marks a place in the stream.
pub(crate) fn mark(uid: &Uid, nsp: &Nsp, created_at: bool) -> Document {
    with_id(doc! {"type": MARK, "uid": uid.as_str(), "nsp": nsp.as_str()}, created_at)
}

/// Marks where a cursor begins to be heard. It is of no namespace.
pub(crate) fn beginning() -> Document {
    with_id(doc! {"type": MARK, "uid": "", "nsp": ""}, false)
}

/// Reads a message. `None`: it is a session, or a mark.
///
/// # Errors
///
/// Fails on what is no message.
pub(crate) fn read(mut document: Document) -> Result<Option<Envelope>, NoMessage> {
    let kind = match document.get("type") {
        Some(Bson::Int32(kind)) => *kind,
        Some(Bson::Int64(kind)) => i32::try_from(*kind).unwrap_or(-1),
        _ => -1,
    };
    match kind {
        SESSION | MARK => return Ok(None),
        CLOSE => {
            document.insert("type", SESSION);
        }
        _ => {}
    }
    document.remove("_id");
    document.remove("createdAt");
    let (text, parts) = values::to_json(&document)?;
    Ok(Some(json::decode(&Bytes::from(text), parts)?))
}

/// The id is the offset; drawn here, so that it is known.
fn with_id(message: Document, created_at: bool) -> Document {
    let mut document = doc! {"_id": ObjectId::new()};
    document.extend(message);
    if created_at {
        document.insert("createdAt", DateTime::now());
    }
    document
}

#[cfg(test)]
mod tests {
    use mongodb::bson::Binary;
    use mongodb::bson::spec::BinarySubtype;
    use sockeye_cluster::{Flags, Packet, Selector};

    use super::*;

    #[test]
    fn messages_are_documents_as_the_official_adapter_writes_them() {
        let bytes = Binary { subtype: BinarySubtype::Generic, bytes: vec![0, 255] };
        let binary =
            Packet::binary(r#"["b",{"_placeholder":true,"num":0}]"#, vec![Bytes::from_static(b"\x00\xff")]);
        check(Message::Heartbeat, doc! {"type": 2});
        check(
            Message::Broadcast {
                selector: Selector::to("r").and_except("x"),
                flags: Flags { volatile: true, ..Flags::default() },
                packet: binary,
                request_id: None,
            },
            doc! {"type": 3, "data": {
                "packet": {"type": 2, "data": ["b", bytes]},
                "opts": {"rooms": ["r"], "except": ["x"], "flags": {"volatile": true}},
            }},
        );
        check(
            Message::DisconnectSockets { selector: Selector::all(), close: true },
            doc! {"type": 6, "data": {"opts": {"rooms": [], "except": [], "flags": {}}, "close": true}},
        );
        check(
            Message::BroadcastClientCount { request_id: "q".into(), client_count: 3 },
            doc! {"type": 11, "data": {"requestId": "q", "clientCount": 3}},
        );
        check(Message::AdapterClose, doc! {"type": 14});
    }

    #[test]
    fn a_session_is_no_message_and_what_has_no_shape_is_refused() {
        let session = doc! {"type": 13, "data": {"pid": "p"}, "uid": "a", "nsp": "/"};
        assert!(read(session).unwrap().is_none());
        for document in [
            doc! {},
            doc! {"type": "3"},
            doc! {"type": 99, "uid": "a", "nsp": "/"},
            doc! {"type": 3, "uid": "a", "nsp": "/"},
        ] {
            assert!(read(document.clone()).is_err(), "{document}");
        }
    }

    fn check(message: Message, mut meant: Document) {
        let envelope = Envelope { uid: "a34a292dd6b7d25a".into(), nsp: "/".into(), message };
        let document = write(&envelope, true).unwrap();
        meant.extend(doc! {"uid": "a34a292dd6b7d25a", "nsp": "/"});
        let keys: Vec<_> = document.keys().cloned().collect();
        assert_eq!(keys.first().map(String::as_str), Some("_id"));
        assert_eq!(keys.last().map(String::as_str), Some("createdAt"));
        let middle: Document =
            document.clone().into_iter().filter(|(key, _)| key != "_id" && key != "createdAt").collect();
        assert_eq!(middle, meant);
        assert_eq!(read(document).unwrap(), Some(envelope));
    }
}
