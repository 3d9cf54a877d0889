//! The envelope as JSON text, user data spliced in and cut out without being parsed.

mod swift;

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use sockeye_proto::json::is_plain;

use super::error::Malformed;
use super::opts::WireOpts;
use crate::message::{Envelope, Message, Packet};
use crate::name::{Nsp, RequestId, Room, Uid};
use crate::selector::{Flags, Selector};

/// Writes an envelope as JSON, keys in the order of the official adapters. Binary parts stay placeholders.
pub fn encode(envelope: &Envelope) -> Vec<u8> {
    let mut out = Vec::with_capacity(ENVELOPE_BYTES + data_len(&envelope.message));
    let mut object = Object::open(&mut out);
    object.number("type", u64::from(envelope.message.number()));
    match &envelope.message {
        Message::InitialHeartbeat | Message::Heartbeat | Message::AdapterClose => {}
        message @ (Message::Broadcast { .. }
        | Message::SocketsJoin { .. }
        | Message::SocketsLeave { .. }
        | Message::DisconnectSockets { .. }
        | Message::FetchSockets { .. }
        | Message::FetchSocketsResponse { .. }
        | Message::ServerSideEmit { .. }
        | Message::ServerSideEmitResponse { .. }
        | Message::BroadcastClientCount { .. }
        | Message::BroadcastAck { .. }) => data(object.key("data"), message),
    }
    object.string("uid", &envelope.uid);
    object.string("nsp", &envelope.nsp);
    object.close();
    out
}

/// Reads an envelope; `attachments` are the parts that the text's placeholders stand for.
///
/// # Errors
///
/// Fails on anything but one envelope of a known kind with the fields that it needs.
pub fn decode(text: &Bytes, attachments: Vec<Bytes>) -> Result<Envelope, Malformed> {
    let attachments = match swift::decode(text, attachments) {
        Ok(envelope) => return Ok(envelope),
        Err(attachments) => attachments,
    };
    decode_any(text, attachments)
}

fn decode_any(text: &Bytes, attachments: Vec<Bytes>) -> Result<Envelope, Malformed> {
    let wire: WireEnvelope<'_> = serde_json::from_slice(text)?;
    let source = Source { text, number: u8::try_from(wire.number).unwrap_or(u8::MAX), attachments };
    let data = wire.data.unwrap_or_default();
    let message = match wire.number {
        1 => Message::InitialHeartbeat,
        2 => Message::Heartbeat,
        3 => {
            let (selector, flags) = source.opts(data.opts)?;
            let request_id = data.request_id;
            Message::Broadcast { selector, flags, packet: source.event(data.packet)?, request_id }
        }
        4 => Message::SocketsJoin {
            selector: source.opts(data.opts)?.0,
            rooms: data.rooms.ok_or_else(|| source.missing("rooms"))?,
        },
        5 => Message::SocketsLeave {
            selector: source.opts(data.opts)?.0,
            rooms: data.rooms.ok_or_else(|| source.missing("rooms"))?,
        },
        6 => Message::DisconnectSockets {
            selector: source.opts(data.opts)?.0,
            close: data.close.unwrap_or(false),
        },
        7 => {
            let (selector, flags) = source.opts(data.opts)?;
            Message::FetchSockets { selector, flags, request_id: source.request_id(data.request_id)? }
        }
        8 => Message::FetchSocketsResponse {
            request_id: source.request_id(data.request_id)?,
            sockets: source.array(data.sockets, "sockets")?,
        },
        9 => {
            let request_id = data.request_id;
            Message::ServerSideEmit { packet: source.array(data.packet, "packet")?, request_id }
        }
        10 => Message::ServerSideEmitResponse {
            request_id: source.request_id(data.request_id)?,
            packet: source.value(data.packet),
        },
        11 => Message::BroadcastClientCount {
            request_id: source.request_id(data.request_id)?,
            client_count: data.client_count.ok_or_else(|| source.missing("clientCount"))?,
        },
        12 => Message::BroadcastAck {
            request_id: source.request_id(data.request_id)?,
            packet: source.value(data.packet),
        },
        13 => Message::AdapterClose,
        number => return Err(Malformed::Type(number)),
    };
    Ok(Envelope { uid: wire.uid, nsp: wire.nsp, message })
}

/// Where the parts of a message are cut from.
struct Source<'a> {
    text: &'a Bytes,
    number: u8,
    attachments: Vec<Bytes>,
}

impl Source<'_> {
    const fn missing(&self, field: &'static str) -> Malformed {
        Malformed::Missing { number: self.number, field }
    }

    fn opts(&self, opts: Option<WireOpts>) -> Result<(Selector, Flags), Malformed> {
        Ok(opts.ok_or_else(|| self.missing("opts"))?.read())
    }

    fn request_id(&self, id: Option<RequestId>) -> Result<RequestId, Malformed> {
        id.ok_or_else(|| self.missing("requestId"))
    }

    /// The `data` of an event packet `{"type":2,"data":[…]}`.
    fn event(self, packet: Option<&RawValue>) -> Result<Packet, Malformed> {
        let packet = packet.ok_or_else(|| self.missing("packet"))?;
        let packet: WirePacket<'_> = serde_json::from_str(packet.get())?;
        // Socket.IO v5: 2 is EVENT; a sender that decided for BINARY_EVENT itself says 5.
        if packet.number != 2 && packet.number != 5 {
            return Err(Malformed::NotAnEvent(packet.number));
        }
        self.array(packet.data, "data")
    }

    fn array(self, value: Option<&RawValue>, field: &'static str) -> Result<Packet, Malformed> {
        let value = value.ok_or_else(|| self.missing(field))?;
        if !value.get().starts_with('[') {
            return Err(Malformed::NotAnArray(field));
        }
        Ok(self.value(Some(value)))
    }

    /// Any value; an absent one is JavaScript's `undefined`, which JSON writes as null.
    fn value(self, value: Option<&RawValue>) -> Packet {
        let data = match value {
            Some(value) => self.text.slice_ref(value.get().as_bytes()),
            None => Bytes::from_static(b"null"),
        };
        Packet { data, attachments: self.attachments }
    }
}

#[derive(Deserialize)]
struct WireEnvelope<'a> {
    uid: Uid,
    nsp: Nsp,
    #[serde(rename = "type")]
    number: u64,
    #[serde(borrow)]
    data: Option<WireData<'a>>,
}

/// The fields of every kind together, so that one pass reads them wherever `type` stands.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireData<'a> {
    opts: Option<WireOpts>,
    #[serde(borrow)]
    packet: Option<&'a RawValue>,
    request_id: Option<RequestId>,
    rooms: Option<Vec<Room>>,
    close: Option<bool>,
    #[serde(borrow)]
    sockets: Option<&'a RawValue>,
    client_count: Option<u64>,
}

#[derive(Deserialize)]
struct WirePacket<'a> {
    #[serde(rename = "type")]
    number: u64,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

fn data_len(message: &Message) -> usize {
    match message {
        Message::Broadcast { packet, .. }
        | Message::ServerSideEmit { packet, .. }
        | Message::ServerSideEmitResponse { packet, .. }
        | Message::BroadcastAck { packet, .. }
        | Message::FetchSocketsResponse { sockets: packet, .. } => packet.data.len(),
        Message::InitialHeartbeat
        | Message::Heartbeat
        | Message::SocketsJoin { .. }
        | Message::SocketsLeave { .. }
        | Message::DisconnectSockets { .. }
        | Message::FetchSockets { .. }
        | Message::BroadcastClientCount { .. }
        | Message::AdapterClose => 0,
    }
}

/// Writes the envelope's `data`; of a kind that has none, an empty object.
pub(super) fn data(out: &mut Vec<u8>, message: &Message) {
    let mut object = Object::open(out);
    match message {
        Message::InitialHeartbeat | Message::Heartbeat | Message::AdapterClose => {}
        Message::Broadcast { selector, flags, packet, request_id } => {
            event(object.key("packet"), packet);
            if let Some(id) = request_id {
                object.string("requestId", id);
            }
            opts(object.key("opts"), selector, flags);
        }
        Message::SocketsJoin { selector, rooms: names }
        | Message::SocketsLeave { selector, rooms: names } => {
            opts(object.key("opts"), selector, &Flags::default());
            rooms(object.key("rooms"), names);
        }
        Message::DisconnectSockets { selector, close } => {
            opts(object.key("opts"), selector, &Flags::default());
            object.bool("close", *close);
        }
        Message::FetchSockets { selector, flags, request_id } => {
            opts(object.key("opts"), selector, flags);
            object.string("requestId", request_id);
        }
        Message::FetchSocketsResponse { request_id, sockets } => {
            object.string("requestId", request_id);
            object.key("sockets").extend_from_slice(&sockets.data);
        }
        Message::ServerSideEmit { packet, request_id } => {
            if let Some(id) = request_id {
                object.string("requestId", id);
            }
            object.key("packet").extend_from_slice(&packet.data);
        }
        Message::ServerSideEmitResponse { request_id, packet }
        | Message::BroadcastAck { request_id, packet } => {
            object.string("requestId", request_id);
            object.key("packet").extend_from_slice(&packet.data);
        }
        Message::BroadcastClientCount { request_id, client_count } => {
            object.string("requestId", request_id);
            object.number("clientCount", *client_count);
        }
    }
    object.close();
}

/// Writes an event's packet, `{"type":2,"data":[…]}`.
pub(crate) fn event(out: &mut Vec<u8>, packet: &Packet) {
    out.extend_from_slice(b"{\"type\":2,\"data\":");
    out.extend_from_slice(&packet.data);
    out.push(b'}');
}

/// Reads an event that somebody has missed: whom it was for, how it was to be treated, and what it said.
pub(crate) fn missed(
    text: &Bytes,
    number: u64,
    opts: Option<WireOpts>,
    packet: Option<&RawValue>,
    attachments: Vec<Bytes>,
) -> Result<(Selector, Flags, Packet), Malformed> {
    let source = Source { text, number: u8::try_from(number).unwrap_or(u8::MAX), attachments };
    let (selector, flags) = source.opts(opts)?;
    Ok((selector, flags, source.event(packet)?))
}

/// Writes `{"rooms":[…],"except":[…],"flags":{…}}`.
pub(crate) fn opts(out: &mut Vec<u8>, selector: &Selector, flags: &Flags) {
    let mut object = Object::open(out);
    rooms(object.key("rooms"), &selector.rooms);
    rooms(object.key("except"), &selector.except);
    let mut words = Object::open(object.key("flags"));
    // Nearly all are without.
    let set = (*flags != Flags::default()).then(|| flag_words(flags));
    for (word, value) in set.into_iter().flatten() {
        match value {
            Word::Bool(value) => words.bool(word, value),
            Word::Number(number) => words.number(word, number),
            Word::Text(text) => words.string(word, &text),
        }
    }
    words.close();
    object.close();
}

/// What a flag says.
#[derive(Clone)]
pub(super) enum Word {
    Bool(bool),
    Number(u64),
    Text(Arc<str>),
}

/// The flags that are set, in the order in which they are written.
pub(super) fn flag_words(flags: &Flags) -> impl Iterator<Item = (&'static str, Word)> + Clone {
    let timeout = flags.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    [
        ("volatile", flags.volatile.then_some(Word::Bool(true))),
        ("compress", flags.compress.map(Word::Bool)),
        ("local", flags.local.then_some(Word::Bool(true))),
        ("broadcast", flags.broadcast.then_some(Word::Bool(true))),
        ("expectSingleResponse", flags.expect_single_response.then_some(Word::Bool(true))),
        ("timeout", timeout.map(Word::Number)),
        ("coalesce", flags.coalesce.clone().map(Word::Text)),
        ("at", flags.at.map(|at| Word::Text(at.to_string().into()))),
    ]
    .into_iter()
    .filter_map(|(word, value)| Some((word, value?)))
}

/// Writes an array of names.
pub(crate) fn rooms(out: &mut Vec<u8>, rooms: &[Room]) {
    out.push(b'[');
    for (index, room) in rooms.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        string(out, room);
    }
    out.push(b']');
}

/// Writes text as a JSON string.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    if is_plain(text) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    serde_json::to_writer(out, text).expect("a vector takes every write, and text is always JSON");
}

/// An object in the making; it puts the commas.
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    pub(crate) fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Writes a key (which needs no escapes); the caller writes the value.
    pub(crate) fn key(&mut self, key: &'static str) -> &mut Vec<u8> {
        if !std::mem::replace(&mut self.empty, false) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    pub(crate) fn string(&mut self, key: &'static str, text: &str) {
        string(self.key(key), text);
    }

    pub(crate) fn number(&mut self, key: &'static str, number: u64) {
        let out = self.key(key);
        match u8::try_from(number) {
            Ok(digit @ 0..=9) => out.push(b'0' + digit),
            _ => out.extend_from_slice(number.to_string().as_bytes()),
        }
    }

    pub(crate) fn bool(&mut self, key: &'static str, value: bool) {
        self.key(key).extend_from_slice(if value { b"true" } else { b"false" });
    }

    pub(crate) fn close(self) {
        self.out.push(b'}');
    }
}

/// Room for all but the user's data of a usual envelope; more only costs a second allocation.
const ENVELOPE_BYTES: usize = 192;
