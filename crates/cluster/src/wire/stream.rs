//! The format of entries in a Redis stream, `@socket.io/redis-streams-adapter` 0.3: four fields of text.
//!
//! `data` is JSON, or base64 of msgpack where the message has binary parts; the two are told apart by the first character. Sessions, which the
//! same adapter keeps beside the stream, are base64 of msgpack too ([`pack`], [`unpack`]).

use base64::Engine;
use base64::engine::DecodePaddingMode::Indifferent;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use super::error::{EncodeError, Malformed};
use super::{json, msgpack};
use crate::message::{Envelope, Message};

/// The alphabet of Node.js' `Buffer`, with padding; without it is read too.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(Indifferent),
);

/// Writes the field `data` of a message; kinds without data have no such field.
///
/// # Errors
///
/// As [`wire::encode`](crate::wire::encode).
pub fn encode_data(message: &Message) -> Result<Option<String>, EncodeError> {
    if matches!(message, Message::InitialHeartbeat | Message::Heartbeat | Message::AdapterClose) {
        return Ok(None);
    }
    let mut out = Vec::new();
    json::data(&mut out, message);
    let attachments = message.attachments();
    if attachments.is_empty() {
        return Ok(Some(String::from_utf8_lossy(&out).into_owned()));
    }
    msgpack::from_json(&out, attachments).map(|bytes| Some(BASE64.encode(bytes)))
}

/// Reads the fields of an entry.
///
/// # Errors
///
/// Fails on anything but an envelope of a known kind; such an entry is to be counted and skipped.
pub fn decode(uid: &str, nsp: &str, kind: &str, data: Option<&str>) -> Result<Envelope, Malformed> {
    let number: u8 = kind.parse().map_err(|_| Malformed::Type(0))?;
    let (data, attachments) = match data {
        None | Some("") => (None, Vec::new()),
        Some(text) if text.starts_with('{') => (Some(Bytes::copy_from_slice(text.as_bytes())), Vec::new()),
        Some(text) => {
            let (data, attachments) = unpack(text)?;
            (Some(data), attachments)
        }
    };
    let mut text = Vec::with_capacity(data.as_ref().map_or(0, Bytes::len) + uid.len() + nsp.len() + 64);
    let mut object = json::Object::open(&mut text);
    object.number("type", u64::from(number));
    if let Some(data) = data {
        object.key("data").extend_from_slice(&data);
    }
    object.string("uid", uid);
    object.string("nsp", nsp);
    object.close();
    json::decode(&Bytes::from(text), attachments)
}

/// Turns JSON text into base64 of msgpack.
///
/// # Errors
///
/// Fails on text that is no JSON or nests too deep.
pub fn pack(text: &[u8]) -> Result<String, EncodeError> {
    msgpack::from_json(text, &[]).map(|bytes| BASE64.encode(bytes))
}

/// Turns base64 of msgpack into JSON text, and its binary parts.
///
/// # Errors
///
/// Fails on anything else.
pub fn unpack(text: &str) -> Result<(Bytes, Vec<Bytes>), Malformed> {
    let bytes = BASE64.decode(text).map_err(|_| Malformed::Base64)?;
    let (text, attachments) = msgpack::to_json(&bytes.into())?;
    Ok((text.into(), attachments))
}
