//! Reads what other servers and emitters publish in the classic format.

mod swift;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::UNSIGNED;
use crate::message::{Envelope, Message, Packet};
use crate::name::{EMITTER, Nsp, RequestId, Room, Uid};
use crate::selector::Selector;
use crate::wire::error::Malformed;
use crate::wire::msgpack;
use crate::wire::opts::WireOpts;

/// What stands on the channel of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A message as others know it. Without a sender it is an emitter's, or wants an answer: then the sender is [`UNSIGNED`].
    Message(Envelope),
    /// Which rooms do you have? Answered with [`encode_rooms`](super::encode_rooms).
    Rooms {
        /// Who asks.
        uid: Uid,
        /// What the answer must name.
        request_id: RequestId,
    },
    /// Which sockets are in one of these rooms? Answered with [`encode_ids`](super::encode_ids).
    Ids {
        /// Who asks.
        uid: Uid,
        /// What the answer must name.
        request_id: RequestId,
        /// The rooms; none means all sockets.
        rooms: Vec<Room>,
    },
    /// The old form of a join, a leave or a disconnect: one socket, and its server answers with [`encode_done`](super::encode_done).
    Single {
        /// The socket, which is also alone in the room of this name.
        sid: Room,
        /// What the answer must name, if one is wanted.
        request_id: Option<RequestId>,
        /// What is to be done.
        envelope: Envelope,
    },
}

/// What stands on a channel of responses. Everybody's may stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The request it answers.
    pub request_id: RequestId,
    /// The answer.
    pub reply: Reply,
}

/// An answer, by what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// An array of sockets, or of their ids.
    Sockets(Packet),
    /// An array of rooms.
    Rooms(Packet),
    /// What a handler said to a server-side event.
    Value(Packet),
    /// How many clients will ack.
    ClientCount(u64),
    /// What one of them acked with.
    Ack(Packet),
    /// It is done.
    Done,
}

/// Whether an event is signed with a uid, as seen at its first bytes. Redis brings a server its own events too, and to read one whole costs much more.
#[must_use]
pub fn is_event_of(bytes: &[u8], uid: &Uid) -> bool {
    // msgpack: an array of three, and first a string of less than 32 bytes.
    let Some((&[array, string], rest)) = bytes.split_first_chunk() else { return false };
    uid.len() < 32
        && array == 0x93
        && usize::from(string) == 0xa0 + uid.len()
        && rest.starts_with(uid.as_bytes())
}

/// Reads an event.
///
/// # Errors
///
/// Fails on anything but `[uid,packet,opts]` with an event packet; such bytes are to be counted and skipped.
pub fn decode_event(bytes: &Bytes) -> Result<Envelope, Malformed> {
    match swift::decode_event(bytes) {
        Some(envelope) => Ok(envelope),
        None => decode_any_event(bytes),
    }
}

fn decode_any_event(bytes: &Bytes) -> Result<Envelope, Malformed> {
    let (text, attachments) = text(bytes)?;
    let event: WireEvent<'_> = serde_json::from_slice(&text)?;
    let (nsp, packet) = Source { text: &text, number: 3, attachments }.event(Some(event.packet))?;
    let (selector, flags) = event.opts.read();
    // Versions before 3 of the protocol leave the main namespace out.
    let nsp = nsp.unwrap_or_else(|| "/".into());
    let message = Message::Broadcast { selector, flags, packet, request_id: None };
    Ok(Envelope { uid: event.uid, nsp, message })
}

/// Reads a request in a namespace, which it does not name itself.
///
/// # Errors
///
/// Fails on anything but a request of a known kind; such bytes are to be counted and skipped.
pub fn decode_request(nsp: &Nsp, bytes: &Bytes) -> Result<Asked, Malformed> {
    let (text, attachments) = text(bytes)?;
    let wire: WireRequest<'_> = serde_json::from_slice(&text)?;
    let source = Source { text: &text, number: u8::try_from(wire.number).unwrap_or(u8::MAX), attachments };
    let missing = |field| Malformed::Missing { number: source.number, field };
    let uid = wire.uid;
    let asker = || uid.clone().unwrap_or_else(|| UNSIGNED.into());
    let request_id = wire.request_id;
    let id = || request_id.clone().ok_or_else(|| missing("requestId"));
    let message = match wire.number {
        0 => {
            let rooms = wire.rooms.unwrap_or_default();
            return Ok(Asked::Ids { uid: asker(), request_id: id()?, rooms });
        }
        1 => return Ok(Asked::Rooms { uid: asker(), request_id: id()? }),
        kind @ 2..=4 => {
            // With options the form is that of version 6 and later, whatever else is there.
            let sid = wire.sid.filter(|_| wire.opts.is_none());
            let selector = match (wire.opts, &sid) {
                (Some(opts), _) => opts.read().0,
                (None, Some(sid)) => Selector::to(sid.clone()),
                (None, None) => return Err(missing("opts")),
            };
            let rooms = wire.rooms.or_else(|| wire.room.map(|room| vec![room]));
            let rooms = || rooms.ok_or_else(|| missing("rooms"));
            let message = match kind {
                2 => Message::SocketsJoin { selector, rooms: rooms()? },
                3 => Message::SocketsLeave { selector, rooms: rooms()? },
                _ => Message::DisconnectSockets { selector, close: wire.close.unwrap_or(false) },
            };
            let uid = uid.unwrap_or_else(|| EMITTER.into());
            let envelope = Envelope { uid, nsp: nsp.clone(), message };
            return Ok(match sid {
                Some(sid) => Asked::Single { sid, request_id, envelope },
                None => Asked::Message(envelope),
            });
        }
        5 => {
            let (selector, flags) = wire.opts.ok_or_else(|| missing("opts"))?.read();
            Message::FetchSockets { selector, flags, request_id: id()? }
        }
        6 => Message::ServerSideEmit { packet: source.array(wire.data, "data")?, request_id },
        7 => {
            let (selector, flags) = wire.opts.ok_or_else(|| missing("opts"))?.read();
            let request_id = Some(id()?);
            Message::Broadcast { selector, flags, packet: source.event(wire.packet)?.1, request_id }
        }
        number => return Err(Malformed::Type(number)),
    };
    let unsigned = if message.asks().is_some() { UNSIGNED } else { EMITTER };
    let uid = uid.unwrap_or_else(|| unsigned.into());
    Ok(Asked::Message(Envelope { uid, nsp: nsp.clone(), message }))
}

/// Reads a response.
///
/// # Errors
///
/// Fails on anything but a response of a known kind; such bytes are to be counted and skipped.
pub fn decode_response(bytes: &Bytes) -> Result<Response, Malformed> {
    let (text, attachments) = text(bytes)?;
    let wire: WireResponse<'_> = serde_json::from_slice(&text)?;
    let number = u8::try_from(wire.number.unwrap_or(0)).unwrap_or(u8::MAX);
    let source = Source { text: &text, number, attachments };
    let reply = match (wire.number, wire.sockets, wire.rooms) {
        (None, Some(sockets), _) => Reply::Sockets(source.array(Some(sockets), "sockets")?),
        (None, None, Some(rooms)) => Reply::Rooms(source.array(Some(rooms), "rooms")?),
        (None, None, None) => Reply::Done,
        (Some(6), ..) => Reply::Value(source.value(wire.data)),
        (Some(8), ..) => {
            Reply::ClientCount(wire.client_count.ok_or(Malformed::Missing { number, field: "clientCount" })?)
        }
        (Some(9), ..) => Reply::Ack(source.value(wire.packet)),
        (Some(number), ..) => return Err(Malformed::Type(number)),
    };
    Ok(Response { request_id: wire.request_id, reply })
}

/// The JSON text of either form, and its binary parts.
fn text(bytes: &Bytes) -> Result<(Bytes, Vec<Bytes>), Malformed> {
    if bytes.first() == Some(&b'{') {
        return Ok((bytes.clone(), Vec::new()));
    }
    let (text, attachments) = msgpack::to_json(bytes)?;
    Ok((text.into(), attachments))
}

/// Where the parts of a message are cut from.
struct Source<'a> {
    text: &'a Bytes,
    number: u8,
    attachments: Vec<Bytes>,
}

impl Source<'_> {
    /// The namespace and the `data` of an event packet.
    fn event(self, packet: Option<&RawValue>) -> Result<(Option<Nsp>, Packet), Malformed> {
        let packet = packet.ok_or(Malformed::Missing { number: self.number, field: "packet" })?;
        let packet: WirePacket<'_> = serde_json::from_str(packet.get())?;
        if packet.number != 2 && packet.number != 5 {
            return Err(Malformed::NotAnEvent(packet.number));
        }
        Ok((packet.nsp, self.array(packet.data, "data")?))
    }

    fn array(self, value: Option<&RawValue>, field: &'static str) -> Result<Packet, Malformed> {
        let value = value.ok_or(Malformed::Missing { number: self.number, field })?;
        if !value.get().starts_with('[') {
            return Err(Malformed::NotAnArray(field));
        }
        Ok(self.value(Some(value)))
    }

    /// Any value; an absent one is JavaScript's `undefined`.
    fn value(self, value: Option<&RawValue>) -> Packet {
        let data = match value {
            Some(value) => self.text.slice_ref(value.get().as_bytes()),
            None => Bytes::from_static(b"null"),
        };
        Packet { data, attachments: self.attachments }
    }
}

/// `[uid,packet,opts]`; what follows is skipped.
struct WireEvent<'a> {
    uid: Uid,
    packet: &'a RawValue,
    opts: WireOpts,
}

impl<'de: 'a, 'a> Deserialize<'de> for WireEvent<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(EventVisitor)
    }
}

struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = WireEvent<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of uid, packet and options")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<WireEvent<'de>, A::Error> {
        use serde::de::Error;
        let short = |length| A::Error::invalid_length(length, &self);
        let event = WireEvent {
            uid: access.next_element()?.ok_or_else(|| short(0))?,
            packet: access.next_element()?.ok_or_else(|| short(1))?,
            opts: access.next_element()?.ok_or_else(|| short(2))?,
        };
        while access.next_element::<serde::de::IgnoredAny>()?.is_some() {}
        Ok(event)
    }
}

#[derive(Deserialize)]
struct WirePacket<'a> {
    #[serde(rename = "type")]
    number: u64,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    nsp: Option<Nsp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRequest<'a> {
    #[serde(rename = "type")]
    number: u64,
    uid: Option<Uid>,
    #[serde(alias = "requestid")]
    request_id: Option<RequestId>,
    opts: Option<WireOpts>,
    rooms: Option<Vec<Room>>,
    sid: Option<Room>,
    room: Option<Room>,
    close: Option<bool>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    packet: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireResponse<'a> {
    #[serde(rename = "type")]
    number: Option<u64>,
    request_id: RequestId,
    #[serde(borrow)]
    sockets: Option<&'a RawValue>,
    #[serde(borrow)]
    rooms: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    packet: Option<&'a RawValue>,
    client_count: Option<u64>,
}
