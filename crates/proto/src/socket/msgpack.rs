//! One Socket.IO packet as one binary message: the map `{type, data, nsp[, id]}` of socket.io-msgpack-parser 3.
//!
//! Binary parts stand within the data, which becomes the raw JSON with placeholders that the text parser has, and back: who
//! handles a packet need not know how it was written. Read are the dialects of [`crate::msgpack`]. As strict as the official
//! decoder, and as the text parser where that one is not: an event has a name, and none that is reserved.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Number;
use serde_json::value::RawValue;

use super::packet::{self, Kind, PacketError};
use crate::msgpack::{push_json, push_text, push_unsigned, to_json};

/// A packet, its payload as the text parser would have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// What it is; never one of the binary kinds, which msgpack does not need.
    pub kind: Kind,
    /// The namespace.
    pub nsp: String,
    /// The id that an answer refers to.
    pub id: Option<u64>,
    /// The raw JSON, with placeholders; empty where there is none.
    pub data: String,
    /// The binary parts, in the order of their placeholders.
    pub attachments: Vec<Bytes>,
}

/// Decodes a binary message of the engine; `attachments_max` is the limit on its binary parts, as it is in text.
///
/// Unlike the official decoder it takes `nil` for an absent payload (Python's clients send it), and refuses namespaces
/// without a leading slash, ids below zero and binary parts outside of events and acks.
///
/// # Errors
///
/// The client broke the protocol: close the engine session.
pub fn decode(bytes: &Bytes, attachments_max: u32) -> Result<Decoded, PacketError> {
    let (json, attachments) = to_json(bytes, attachments_max as usize).map_err(PacketError::Msgpack)?;
    let wire: Wire<'_> = serde_json::from_slice(&json).map_err(|_| PacketError::NoPacket)?;
    let kind = match whole(&wire.kind) {
        Some(0) => Kind::Connect,
        Some(1) => Kind::Disconnect,
        Some(2) => Kind::Event,
        Some(3) => Kind::Ack,
        Some(4) => Kind::ConnectError,
        _ => return Err(PacketError::UnknownKind),
    };
    if !wire.nsp.starts_with('/') {
        return Err(PacketError::NoPacket);
    }
    let id = wire.id.as_ref().map(|id| whole(id).ok_or(PacketError::InvalidId)).transpose()?;
    let data = wire.data.map_or("", RawValue::get);
    let fits = match kind {
        Kind::Connect | Kind::Disconnect => {
            attachments.is_empty() && (data.is_empty() || packet::has_shape(kind, data))
        }
        Kind::Event | Kind::Ack => packet::has_shape(kind, data),
        Kind::ConnectError | Kind::BinaryEvent | Kind::BinaryAck => {
            attachments.is_empty() && packet::has_shape(kind, data)
        }
    };
    if !fits {
        return Err(PacketError::InvalidPayload);
    }
    Ok(Decoded { kind, nsp: wire.nsp.into_owned(), id, data: data.to_owned(), attachments })
}

/// Encodes a packet: a binary message of the engine. `data` is raw JSON, empty where there is none; its placeholders
/// become the attachments.
///
/// The keys stand where the official server has them.
///
/// # Errors
///
/// The data is no JSON, or nests too deep.
pub fn encode(
    kind: Kind,
    nsp: &str,
    id: Option<u64>,
    data: &[u8],
    attachments: &[Bytes],
) -> Result<Vec<u8>, serde_json::Error> {
    let (number, is_ack) = match kind {
        Kind::Connect | Kind::Disconnect | Kind::ConnectError => (kind as u8, false),
        Kind::Event | Kind::BinaryEvent => (Kind::Event as u8, false),
        Kind::Ack | Kind::BinaryAck => (Kind::Ack as u8, true),
    };
    let binary: usize = attachments.iter().map(|part| part.len() + 5).sum();
    let mut out = Vec::with_capacity(40 + nsp.len() + data.len() + binary);
    let entries = 2 + usize::from(id.is_some()) + usize::from(!data.is_empty());
    out.push(0x80 | u8::try_from(entries).expect("a packet has four fields"));
    let push_id = |out: &mut Vec<u8>| {
        if let Some(id) = id {
            push_text("id", out);
            push_unsigned(id, out);
        }
    };
    if is_ack {
        push_id(&mut out);
    }
    push_text("type", &mut out);
    out.push(number);
    if !data.is_empty() {
        push_text("data", &mut out);
        push_json(data, attachments, &mut out)?;
    }
    if !is_ack {
        push_id(&mut out);
    }
    push_text("nsp", &mut out);
    push_text(nsp, &mut out);
    Ok(out)
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "type")]
    kind: Number,
    #[serde(borrow)]
    nsp: Cow<'a, str>,
    id: Option<Number>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// A whole number that is not below zero, however it was written.
fn whole(number: &Number) -> Option<u64> {
    let float = || number.as_f64().filter(|float| float.fract() == 0.0 && (0.0..9e15).contains(float));
    number.as_u64().or_else(|| float().map(|float| float as u64))
}

#[cfg(test)]
mod tests;
