//! One Engine.IO packet, and its bytes in v4: a digit and its data.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// One packet, borrowing what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// The server's greeting: the JSON of [`super::Open`].
    Open(&'a str),
    /// The end of the session.
    Close,
    /// A question for a sign of life (v4: from the server), or `probe` on the transport to upgrade to.
    Ping(&'a str),
    /// The answer to a ping, with its data.
    Pong(&'a str),
    /// What users said.
    Message(Content<'a>),
    /// The client moves to the transport it probed.
    Upgrade,
    /// Nothing: ends a pending poll.
    Noop,
}

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// Text.
    Text(&'a str),
    /// Bytes; owned where they came as base64.
    Binary(Cow<'a, [u8]>),
}

impl<'a> Packet<'a> {
    /// Decodes a WebSocket text frame, or one packet of a polling payload.
    ///
    /// Data after a `1`, `5` or `6` is ignored, as the official parser's users do.
    ///
    /// # Errors
    ///
    /// The client sent what is no packet: close the session with `parse error`.
    pub fn decode_text(text: &'a str) -> Result<Self, PacketError> {
        let Some(&kind) = text.as_bytes().first() else { return Err(PacketError::Empty) };
        // Every kind is ASCII, so one byte past it is a boundary; for another first byte nothing is cut.
        let data = text.get(1..).unwrap_or("");
        match kind {
            b'0' => Ok(Self::Open(data)),
            b'1' => Ok(Self::Close),
            b'2' => Ok(Self::Ping(data)),
            b'3' => Ok(Self::Pong(data)),
            b'4' => Ok(Self::Message(Content::Text(data))),
            b'5' => Ok(Self::Upgrade),
            b'6' => Ok(Self::Noop),
            b'b' => Ok(Self::Message(Content::Binary(Cow::Owned(decode_base64(data)?)))),
            other => Err(PacketError::UnknownType(other)),
        }
    }

    /// Reads a WebSocket binary frame, which has no type byte: Engine.IO v4, "Packet encoding".
    #[must_use]
    pub fn decode_binary(bytes: &'a [u8]) -> Self {
        Self::Message(Content::Binary(Cow::Borrowed(bytes)))
    }

    /// Appends the packet as text; bytes become base64.
    pub fn encode_text(&self, out: &mut Vec<u8>) {
        let (kind, data) = match self {
            Self::Open(data) => (b'0', *data),
            Self::Close => (b'1', ""),
            Self::Ping(data) => (b'2', *data),
            Self::Pong(data) => (b'3', *data),
            Self::Message(Content::Text(data)) => (b'4', *data),
            Self::Message(Content::Binary(bytes)) => return encode_base64(bytes, out),
            Self::Upgrade => (b'5', ""),
            Self::Noop => (b'6', ""),
        };
        out.reserve(1 + data.len());
        out.push(kind);
        out.extend_from_slice(data.as_bytes());
    }
}

/// Appends a binary message as text: `b` and base64.
pub fn encode_base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'b');
    push_base64(bytes, out);
}

/// Reads base64 as both versions write it.
pub(super) fn decode_base64(text: &str) -> Result<Vec<u8>, PacketError> {
    BASE64.decode(text).map_err(|_| PacketError::Base64)
}

/// Appends base64, with its padding.
pub(super) fn push_base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = BASE64.encode_slice(bytes, &mut out[start..]).expect("four characters fit three bytes");
    out.truncate(start + written);
}

/// Text that is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// No type at all.
    #[error("packet is empty")]
    Empty,
    /// A first byte that is no type.
    #[error("expected a packet type of 0 to 6 or b, got byte {0:#04x}")]
    UnknownType(u8),
    /// A binary message that is not base64.
    #[error("binary packet is not base64")]
    Base64,
    /// A length of v3 that is no number, or does not fit what follows it.
    #[error("expected the length of a packet, and a packet of that length")]
    Length,
    /// A text packet of v3, among bytes, that is not UTF-8.
    #[error("text packet is not UTF-8")]
    Utf8,
}

// Node's decoder asks neither for padding nor for zeros in the bits that fill up the last character.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_read_and_write_the_same_text() {
        for (text, packet) in [
            ("0{}", Packet::Open("{}")),
            ("1", Packet::Close),
            ("2", Packet::Ping("")),
            ("2probe", Packet::Ping("probe")),
            ("3probe", Packet::Pong("probe")),
            ("4", Packet::Message(Content::Text(""))),
            ("4€", Packet::Message(Content::Text("€"))),
            ("44", Packet::Message(Content::Text("4"))),
            ("5", Packet::Upgrade),
            ("6", Packet::Noop),
            ("b", binary(&[])),
            ("bAQ==", binary(&[1])),
            ("bAQIDBA==", binary(&[1, 2, 3, 4])),
            ("b+/+/", binary(&[0xFB, 0xFF, 0xBF])),
        ] {
            assert_eq!(Packet::decode_text(text), Ok(packet.clone()), "{text}");
            let mut encoded = b"before ".to_vec();
            packet.encode_text(&mut encoded);
            assert_eq!(std::str::from_utf8(&encoded), Ok(&*format!("before {text}")));
        }
    }

    #[test]
    fn base64_may_lack_its_padding_and_other_packets_may_have_data() {
        for (text, packet) in [
            ("bAQIDBA=", binary(&[1, 2, 3, 4])),
            ("bAQIDBA", binary(&[1, 2, 3, 4])),
            ("bAR", binary(&[1])),
            ("1x", Packet::Close),
            ("5x", Packet::Upgrade),
            ("6€", Packet::Noop),
        ] {
            assert_eq!(Packet::decode_text(text), Ok(packet), "{text}");
        }
    }

    #[test]
    fn what_is_no_packet_is_an_error() {
        for (text, error) in [
            ("", PacketError::Empty),
            ("7", PacketError::UnknownType(b'7')),
            ("x", PacketError::UnknownType(b'x')),
            ("\0", PacketError::UnknownType(0)),
            ("€", PacketError::UnknownType(0xE2)),
            ("🦀4", PacketError::UnknownType(0xF0)),
            ("B", PacketError::UnknownType(b'B')),
            ("bA", PacketError::Base64),
            ("bA===", PacketError::Base64),
            ("b=", PacketError::Base64),
            ("bAQ==AQ==", PacketError::Base64),
            ("bA_-w", PacketError::Base64),
            ("bAQ ID", PacketError::Base64),
            ("b€", PacketError::Base64),
        ] {
            assert_eq!(Packet::decode_text(text), Err(error), "{text}");
        }
    }

    fn binary(bytes: &[u8]) -> Packet<'_> {
        Packet::decode_binary(bytes)
    }
}
