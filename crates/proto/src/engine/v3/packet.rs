//! One Engine.IO v3 packet: a digit and its data, `b` with a digit and base64, or a byte and bytes.
//!
//! Where the official parser makes a packet without a type (a binary one whose type is unknown or absent) and then ignores
//! it, it is an error here.

use std::borrow::Cow;

use crate::engine::packet::{Content, Packet, PacketError, decode_base64, push_base64};

/// The type of a message as the first byte of a binary frame.
pub const MESSAGE: u8 = 4;

/// Decodes a WebSocket text frame, or one text packet of a payload.
///
/// # Errors
///
/// The client sent what is no packet: close the session with `parse error`.
pub fn decode_text(text: &str) -> Result<Packet<'_>, PacketError> {
    let Some(rest) = text.strip_prefix('b') else { return Packet::decode_text(text) };
    let Some(&kind) = rest.as_bytes().first() else { return Err(PacketError::Empty) };
    // No type is more than a byte, and for another first byte nothing is cut.
    let bytes = decode_base64(rest.get(1..).unwrap_or(""))?;
    typed(kind.wrapping_sub(b'0'), kind, Cow::Owned(bytes))
}

/// Decodes a WebSocket binary frame, or one binary packet of a payload: its first byte is its type.
///
/// # Errors
///
/// The client sent what is no packet: close the session with `parse error`.
pub fn decode_binary(bytes: &[u8]) -> Result<Packet<'_>, PacketError> {
    let Some((&kind, data)) = bytes.split_first() else { return Err(PacketError::Empty) };
    typed(kind, kind, Cow::Borrowed(data))
}

/// Appends a binary message as text: `b4` and base64.
pub fn encode_base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"b4");
    push_base64(bytes, out);
}

/// Bytes are data of messages alone: a ping whose data is binary is none that probes.
fn typed(kind: u8, shown: u8, data: Cow<'_, [u8]>) -> Result<Packet<'_>, PacketError> {
    match kind {
        0 => Ok(Packet::Open("")),
        1 => Ok(Packet::Close),
        2 => Ok(Packet::Ping("")),
        3 => Ok(Packet::Pong("")),
        MESSAGE => Ok(Packet::Message(Content::Binary(data))),
        5 => Ok(Packet::Upgrade),
        6 => Ok(Packet::Noop),
        _ => Err(PacketError::UnknownType(shown)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_as_the_official_parser_reads_them() {
        for (text, packet) in [
            ("0{}", Packet::Open("{}")),
            ("1", Packet::Close),
            ("2", Packet::Ping("")),
            ("2probe", Packet::Ping("probe")),
            ("3probe", Packet::Pong("probe")),
            ("4", Packet::Message(Content::Text(""))),
            ("4🦀", Packet::Message(Content::Text("🦀"))),
            ("5", Packet::Upgrade),
            ("6", Packet::Noop),
            ("b4", binary(&[])),
            ("b4AQID", binary(&[1, 2, 3])),
            ("b4AQIDBA==", binary(&[1, 2, 3, 4])),
            ("b4AQIDBA", binary(&[1, 2, 3, 4])),
            ("b2cHJvYmU=", Packet::Ping("")),
        ] {
            assert_eq!(decode_text(text), Ok(packet), "{text}");
        }
        for (bytes, packet) in [
            (&[4][..], binary(&[])),
            (&[4, 1, 2], binary(&[1, 2])),
            (&[4, 4], binary(&[4])),
            (&[0], Packet::Open("")),
            (&[1], Packet::Close),
            (b"\x02probe", Packet::Ping("")),
            (&[3], Packet::Pong("")),
            (&[5], Packet::Upgrade),
            (&[6], Packet::Noop),
        ] {
            assert_eq!(decode_binary(bytes), Ok(packet), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_packet_is_an_error() {
        for (text, error) in [
            ("", PacketError::Empty),
            ("b", PacketError::Empty),
            ("7", PacketError::UnknownType(b'7')),
            ("x", PacketError::UnknownType(b'x')),
            (" ", PacketError::UnknownType(b' ')),
            ("€", PacketError::UnknownType(0xE2)),
            ("b7", PacketError::UnknownType(b'7')),
            ("bx", PacketError::UnknownType(b'x')),
            ("b/", PacketError::UnknownType(b'/')),
            ("b€", PacketError::UnknownType(0xE2)),
            ("b4A", PacketError::Base64),
            ("b4€", PacketError::Base64),
            ("b4AQ==AQ==", PacketError::Base64),
        ] {
            assert_eq!(decode_text(text), Err(error), "{text}");
        }
        for (bytes, error) in [
            (&[][..], PacketError::Empty),
            (&[7], PacketError::UnknownType(7)),
            (b"4a", PacketError::UnknownType(b'4')),
            (&[0xFF], PacketError::UnknownType(0xFF)),
        ] {
            assert_eq!(decode_binary(bytes), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn binary_messages_become_text_with_their_type() {
        for (bytes, text) in [(&[][..], "b4"), (&[1, 2, 3, 4], "b4AQIDBA=="), (&[0xFB, 0xFF], "b4+/8=")] {
            let mut out = Vec::new();
            encode_base64(bytes, &mut out);
            assert_eq!(std::str::from_utf8(&out), Ok(text));
        }
    }

    fn binary(bytes: &[u8]) -> Packet<'_> {
        Packet::Message(Content::Binary(bytes.into()))
    }
}
