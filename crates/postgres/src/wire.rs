//! What is notified, byte by byte: an envelope as JSON, or a header that names a row of the table of attachments.
//!
//! The official adapter puts binary messages and those of 8000 bytes into the table, as msgpack. Our events bear their offset beside, one key more
//! at the top, which the official adapter does not read. No connection here.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use sockeye_cluster::adapter::Position;
use sockeye_cluster::wire::{self, EncodeError, Malformed, json, msgpack};
use sockeye_cluster::{Envelope, Message, Nsp, Room};

use crate::config::PAYLOAD_THRESHOLD_MAX;

/// A message as it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parcel {
    /// What is notified: the whole text, or what stands before the id that the server gives.
    pub(crate) head: String,
    /// The row of the table of attachments, where the text is a header.
    pub(crate) attachment: Option<Vec<u8>>,
    /// What is written down for those who are away.
    pub(crate) event: Option<Event>,
}

/// An event as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// The rooms that it is for, as a table can hold them.
    pub(crate) rooms: Vec<String>,
    /// The envelope.
    pub(crate) payload: Vec<u8>,
}

/// A notification that was understood so far.
#[derive(Debug)]
pub(crate) struct Heard {
    /// Who says it.
    pub(crate) uid: String,
    /// The event's place, if it has one.
    pub(crate) offset: Option<i64>,
    /// The message, or where it is.
    pub(crate) body: Body,
}

/// Where a message is.
#[derive(Debug)]
pub(crate) enum Body {
    /// Here.
    Text(Bytes),
    /// In the row with this id.
    Attached(i64),
}

/// Ends a notification after the id of its attachment, or after its offset.
pub(crate) const TAIL: &str = "\"}";
/// Joins the id of an attachment and an offset.
pub(crate) const OFFSET: &str = "\",\"offset\":\"";

/// Writes a message down. `durable`: those who are away are to get it, if it is of that kind.
///
/// # Errors
///
/// Fails on a packet that is no JSON, and on more parts than a message may have.
pub(crate) fn write(envelope: &Envelope, threshold: usize, durable: bool) -> Result<Parcel, EncodeError> {
    let parts = envelope.message.attachments();
    let text = json::encode(envelope);
    let event = durable.then(|| selected(&envelope.message)).flatten();
    let tail = if event.is_some() { OFFSET.len() + OFFSET_BYTES_MAX + TAIL.len() } else { 0 };
    let whole = parts.is_empty() && text.len() + tail < threshold.min(PAYLOAD_THRESHOLD_MAX);
    let binary = if whole { None } else { Some(msgpack::from_json(&text, parts)?) };
    let text = String::from_utf8(text).map_err(|_| not_text())?;
    let event = event
        .map(|rooms| Event { rooms, payload: binary.clone().unwrap_or_else(|| text.clone().into_bytes()) });
    let head = match (&binary, &event) {
        (Some(_), _) => header(envelope),
        (None, None) => text,
        (None, Some(_)) => format!("{},\"offset\":\"", &text[..text.len() - 1]),
    };
    Ok(Parcel { head, attachment: binary, event })
}

/// Reads a notification; whether its message makes sense is seen by [`envelope`].
///
/// # Errors
///
/// Fails on what is neither an envelope nor a header.
pub(crate) fn read(payload: &str) -> Result<Heard, Malformed> {
    let head: Head<'_> = serde_json::from_str(payload)?;
    let body = match head.attachment_id {
        Some(Id::Number(id)) => Body::Attached(id),
        Some(Id::Text(id)) => Body::Attached(id.parse().map_err(|_| Malformed::NotAnArray("attachmentId"))?),
        None => Body::Text(Bytes::copy_from_slice(payload.as_bytes())),
    };
    let offset = head.offset.as_deref().map(offset).transpose()?;
    Ok(Heard { uid: head.uid.into_owned(), offset, body })
}

/// Reads the message itself, JSON or msgpack. `@socket.io/postgres-emitter` 0.1.1 leaves the namespace out: then it is that of the channel.
///
/// # Errors
///
/// Fails on anything but one whole envelope of a known kind.
pub(crate) fn envelope(bytes: &Bytes, nsp: &Nsp) -> Result<Envelope, Malformed> {
    let (text, parts) =
        if bytes.first() == Some(&b'{') { (bytes.clone(), Vec::new()) } else { plain(bytes)? };
    let place: Place = serde_json::from_slice(&text)?;
    if place.nsp.is_some() {
        return json::decode(&text, parts);
    }
    // An object, since it was read as one; and not an empty one, or it fails as it would.
    let at = text.iter().position(|byte| *byte == b'{').unwrap_or(0) + 1;
    let mut named = Vec::with_capacity(text.len() + nsp.len() + 16);
    named.extend_from_slice(&text[..at]);
    named.extend_from_slice(b"\"nsp\":");
    serde_json::to_writer(&mut named, nsp.as_str())?;
    named.push(b',');
    named.extend_from_slice(&text[at..]);
    json::decode(&Bytes::from(named), parts)
}

/// Reads an envelope that we wrote down.
///
/// # Errors
///
/// Fails on anything else.
pub(crate) fn stored(bytes: Vec<u8>) -> Result<Envelope, Malformed> {
    wire::decode(&Bytes::from(bytes))
}

/// An offset's id.
///
/// # Errors
///
/// Fails on what we do not write.
pub(crate) fn offset(text: &str) -> Result<i64, Malformed> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().ok_or(Malformed::NotAnArray("offset"))
}

/// The place of the event with this id.
pub(crate) fn position(id: i64) -> Position {
    Position(id.to_string().into())
}

/// A room's name as PostgreSQL's text can hold it. Two rooms may become one: what is found by it is looked at again.
pub(crate) fn room_text(room: &Room) -> String {
    room.replace('\0', "\u{fffd}")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(borrow)]
    attachment_id: Option<Id<'a>>,
    offset: Option<String>,
}

/// node-postgres gives a bigint as text; a program may have told it to give a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id<'a> {
    Number(i64),
    #[serde(borrow)]
    Text(Cow<'a, str>),
}

#[derive(Deserialize)]
struct Place {
    nsp: Option<serde::de::IgnoredAny>,
}

/// As the official adapter writes it, up to the id.
fn header(envelope: &Envelope) -> String {
    let uid = serde_json::Value::from(envelope.uid.as_str());
    format!("{{\"uid\":{uid},\"type\":{},\"attachmentId\":\"", envelope.message.number())
}

/// The rooms of an event that a client may miss.
fn selected(message: &Message) -> Option<Vec<String>> {
    match message {
        Message::Broadcast { selector, flags, request_id: None, .. } if !flags.volatile && !flags.local => {
            Some(selector.rooms.iter().map(room_text).collect())
        }
        Message::Broadcast { .. }
        | Message::InitialHeartbeat
        | Message::Heartbeat
        | Message::SocketsJoin { .. }
        | Message::SocketsLeave { .. }
        | Message::DisconnectSockets { .. }
        | Message::FetchSockets { .. }
        | Message::FetchSocketsResponse { .. }
        | Message::ServerSideEmit { .. }
        | Message::ServerSideEmitResponse { .. }
        | Message::BroadcastClientCount { .. }
        | Message::BroadcastAck { .. }
        | Message::AdapterClose => None,
    }
}

fn plain(bytes: &Bytes) -> Result<(Bytes, Vec<Bytes>), Malformed> {
    let (text, parts) = msgpack::to_json(bytes)?;
    Ok((Bytes::from(text), parts))
}

fn not_text() -> EncodeError {
    let error: serde_json::Error = serde::de::Error::custom("expected UTF-8");
    error.into()
}

/// Digits of the largest id, with room for what the server may do one day.
const OFFSET_BYTES_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use sockeye_cluster::{Flags, Packet, Selector};

    use super::*;

    #[test]
    fn a_short_text_is_notified_as_the_official_adapter_does() {
        check(
            r#"["hello",1]"#,
            &[],
            false,
            r#"{"type":3,"data":{"packet":{"type":2,"data":["hello",1]},"opts":{"rooms":["r"],"except":[],"flags":{}}},"uid":"a34a292dd6b7d25a","nsp":"/"}"#,
            None,
        );
    }

    #[test]
    fn what_is_binary_goes_by_the_table_as_the_official_adapter_does() {
        let msgpack = b"\x84\xa4type\x03\xa4data\x82\xa6packet\x82\xa4type\x02\xa4data\x92\xa1b\xc4\x02\x01\x02\xa4opts\x83\xa5rooms\x91\xa1r\xa6except\x90\xa5flags\x80\xa3uid\xb0a34a292dd6b7d25a\xa3nsp\xa1/";
        let header = r#"{"uid":"a34a292dd6b7d25a","type":3,"attachmentId":""#;
        check(r#"["b",{"_placeholder":true,"num":0}]"#, &[b"\x01\x02"], false, header, Some(msgpack));
    }

    #[test]
    fn an_event_that_is_kept_bears_its_offset_beside() {
        check(
            r#"["hello",1]"#,
            &[],
            true,
            r#"{"type":3,"data":{"packet":{"type":2,"data":["hello",1]},"opts":{"rooms":["r"],"except":[],"flags":{}}},"uid":"a34a292dd6b7d25a","nsp":"/","offset":""#,
            None,
        );
    }

    #[test]
    fn what_the_server_would_refuse_goes_by_the_table() {
        let frame = write(&event("[\"\"]"), 8000, false).unwrap().head.len();
        for (bytes, durable, attached) in
            [(7999, false, false), (8000, false, true), (7999 - 34, true, false), (7999 - 33, true, true)]
        {
            let text = format!("[\"{}\"]", "x".repeat(bytes - frame));
            let parcel = write(&event(&text), 8000, durable).unwrap();
            assert_eq!(parcel.attachment.is_some(), attached, "{bytes} {durable}");
            if !attached {
                assert!(parcel.head.len() <= 7999 && parcel.head.len() + 22 * usize::from(durable) <= 7999);
            }
        }
    }

    #[test]
    fn only_what_a_client_may_miss_is_kept() {
        let Message::Broadcast { selector, packet, .. } = event("[]").message else { unreachable!() };
        let flags = Flags::default();
        for (flags, request_id, kept) in [
            (flags.clone(), None, true),
            (Flags { volatile: true, ..flags.clone() }, None, false),
            (flags, Some("1".into()), false),
        ] {
            let message =
                Message::Broadcast { selector: selector.clone(), flags, packet: packet.clone(), request_id };
            let parcel = write(&Envelope { message, ..event("[]") }, 8000, true).unwrap();
            assert_eq!(parcel.event.is_some(), kept);
        }
        let join = Message::SocketsJoin { selector, rooms: vec![] };
        assert_eq!(write(&Envelope { message: join, ..event("[]") }, 8000, true).unwrap().event, None);
    }

    #[test]
    fn a_message_of_the_published_emitter_is_for_the_namespace_of_its_channel() {
        let text = r#"{"type":3,"data":{"packet":{"type":2,"data":["a"],"nsp":"/x"},"opts":{"rooms":[],"flags":{},"except":[]}},"uid":"emitter"}"#;
        let bytes = Bytes::from(text);
        let heard = envelope(&bytes, &Nsp::new("/x")).unwrap();
        assert_eq!((&*heard.nsp, &*heard.uid), ("/x", "emitter"));
        let binary = Bytes::from(msgpack::from_json(text.as_bytes(), &[]).unwrap());
        assert_eq!(envelope(&binary, &Nsp::new("/x")).unwrap(), heard);
        // What names a namespace means it.
        let named = Bytes::from(text.replacen('{', r#"{"nsp":"/y","#, 1));
        assert_eq!(&*envelope(&named, &Nsp::new("/x")).unwrap().nsp, "/y");
    }

    #[test]
    fn a_notification_names_its_sender_and_where_its_message_is() {
        let heard = |text| match read(text) {
            Ok(Heard { uid, offset, body: Body::Attached(id) }) => Some((uid, offset, Some(id))),
            Ok(Heard { uid, offset, body: Body::Text(_) }) => Some((uid, offset, None)),
            Err(_) => None,
        };
        let a = || "a".to_owned();
        for (text, meant) in [
            (r#"{"uid":"a","type":3,"attachmentId":"17"}"#, Some((a(), None, Some(17)))),
            (r#"{"uid":"a","type":3,"attachmentId":17}"#, Some((a(), None, Some(17)))),
            (r#"{"uid":"a","type":3,"attachmentId":"17","offset":"5"}"#, Some((a(), Some(5), Some(17)))),
            (r#"{"type":2,"uid":"a","nsp":"/"}"#, Some((a(), None, None))),
            (r#"{"uid":"a","attachmentId":"x"}"#, None),
            (r#"{"uid":"a","attachmentId":"1","offset":"x"}"#, None),
            (r#"{"type":2}"#, None),
            ("[]", None),
            ("", None),
            ("{\"uid\":1}", None),
        ] {
            assert_eq!(heard(text), meant, "{text}");
        }
    }

    #[test]
    fn what_is_no_envelope_is_refused_also_without_a_namespace() {
        for text in
            ["{}", "{\"type\":3}", "{\"uid\":\"a\"}", "{\"nsp\":null,\"type\":2,\"uid\":\"a\"}", "\u{1}", ""]
        {
            assert!(envelope(&Bytes::from(text), &Nsp::new("/")).is_err(), "{text}");
        }
    }

    #[test]
    fn only_digits_are_an_offset() {
        for (text, meant) in [
            ("17", Some(17)),
            ("0", Some(0)),
            ("", None),
            ("+1", None),
            ("-1", None),
            ("hello", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(offset(text).ok(), meant, "{text}");
        }
    }

    fn check(data: &str, parts: &[&'static [u8]], durable: bool, head: &str, attachment: Option<&[u8]>) {
        let mut envelope = event(data);
        if let Message::Broadcast { packet, .. } = &mut envelope.message {
            packet.attachments = parts.iter().map(|part| Bytes::from_static(part)).collect();
        }
        let parcel = write(&envelope, 8000, durable).unwrap();
        assert_eq!(parcel.head, head);
        assert_eq!(parcel.attachment.as_deref(), attachment);
        if let Some(event) = parcel.event {
            assert_eq!(stored(event.payload).unwrap(), envelope);
            assert_eq!(event.rooms, ["r"]);
        }
    }

    fn event(data: &str) -> Envelope {
        Envelope {
            uid: "a34a292dd6b7d25a".into(),
            nsp: "/".into(),
            message: Message::Broadcast {
                selector: Selector::to("r"),
                flags: Flags::default(),
                packet: Packet::text(data.to_owned()),
                request_id: None,
            },
        }
    }
}
