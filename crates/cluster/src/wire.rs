//! Envelopes as bytes: JSON, or msgpack where a message has binary parts.
//!
//! The official adapters choose the same way, and tell the two apart by the first byte: `{` opens JSON. User data is
//! spliced in as it is; only a message with binary parts is transcoded.
//!
//! ```
//! use sockeye_cluster::{Envelope, Flags, Message, Packet, Selector, wire};
//!
//! let envelope = Envelope {
//!     uid: "a34a292dd6b7d25a".into(),
//!     nsp: "/".into(),
//!     message: Message::Broadcast {
//!         selector: Selector::to("kitchen"),
//!         flags: Flags::default(),
//!         packet: Packet::text(r#"["hello",1]"#),
//!         request_id: None,
//!     },
//! };
//! let bytes = wire::encode(&envelope)?;
//! assert_eq!(wire::decode(&bytes)?, envelope);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod classic;
mod error;
pub mod json;
pub mod msgpack;
pub(crate) mod opts;
pub mod stream;

use bytes::Bytes;

pub use error::{ATTACHMENTS_MAX, DEPTH_MAX, EncodeError, Malformed};

use crate::message::Envelope;

/// Writes an envelope in the form that its message needs.
///
/// # Errors
///
/// Fails on a packet with binary parts whose text is no JSON, and past [`DEPTH_MAX`] or [`ATTACHMENTS_MAX`]. The text of
/// a packet without binary parts is not looked at.
pub fn encode(envelope: &Envelope) -> Result<Bytes, EncodeError> {
    let attachments = envelope.message.attachments();
    let text = json::encode(envelope);
    if attachments.is_empty() {
        return Ok(Bytes::from(text));
    }
    msgpack::from_json(&text, attachments).map(Bytes::from)
}

/// Reads an envelope from either form. Packets share the memory of `bytes` where they can.
///
/// # Errors
///
/// Fails on anything but one whole envelope of a known kind; such bytes are to be counted and skipped.
pub fn decode(bytes: &Bytes) -> Result<Envelope, Malformed> {
    if bytes.first() == Some(&b'{') {
        return json::decode(bytes, Vec::new());
    }
    let (text, attachments) = msgpack::to_json(bytes)?;
    json::decode(&Bytes::from(text), attachments)
}
