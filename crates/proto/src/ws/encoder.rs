//! Frames out. A server's frames are unmasked, so one encoded frame serves every recipient.

use bytes::{BufMut, Bytes, BytesMut};

use super::mask;
use super::opcode::Opcode;

/// Longest header of a server's frame.
pub const HEADER_MAX: usize = 10;

/// The header of an unmasked, unfragmented frame: the first `n` bytes of the array.
#[must_use]
pub fn header(opcode: Opcode, payload_len: usize) -> ([u8; HEADER_MAX], usize) {
    let mut bytes = [0; HEADER_MAX];
    bytes[0] = 0x80 | opcode as u8;
    // RFC 6455 §5.2: the minimal number of bytes must be used.
    let len = match payload_len {
        0..=125 => {
            bytes[1] = payload_len as u8;
            2
        }
        126..=0xFFFF => {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&(payload_len as u16).to_be_bytes());
            4
        }
        _ => {
            bytes[1] = 127;
            bytes[2..].copy_from_slice(&(payload_len as u64).to_be_bytes());
            10
        }
    };
    (bytes, len)
}

/// The header of an unmasked, unfragmented frame whose payload is compressed: RFC 7692 §6.
#[must_use]
pub fn deflated_header(opcode: Opcode, payload_len: usize) -> ([u8; HEADER_MAX], usize) {
    let (mut bytes, len) = header(opcode, payload_len);
    bytes[0] |= RSV1;
    (bytes, len)
}

/// A whole unmasked frame around a compressed payload.
#[must_use]
pub fn deflated_frame(opcode: Opcode, deflated: &[u8]) -> Bytes {
    framed(deflated_header(opcode, deflated.len()), deflated)
}

/// A whole unmasked frame.
#[must_use]
pub fn frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    framed(header(opcode, payload.len()), payload)
}

fn framed((head, head_len): ([u8; HEADER_MAX], usize), payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(head_len + payload.len());
    frame.put_slice(&head[..head_len]);
    frame.put_slice(payload);
    frame.freeze()
}

/// A whole masked frame: what a client sends.
#[must_use]
pub fn masked_frame(opcode: Opcode, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let (mut head, head_len) = header(opcode, payload.len());
    head[1] |= 0x80;
    let mut frame = Vec::with_capacity(head_len + key.len() + payload.len());
    frame.extend_from_slice(&head[..head_len]);
    frame.extend_from_slice(&key);
    frame.extend_from_slice(payload);
    mask::apply(&mut frame[head_len + key.len()..], key, 0);
    frame
}

/// A whole masked frame around a compressed payload.
#[must_use]
pub fn masked_deflated_frame(opcode: Opcode, deflated: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut frame = masked_frame(opcode, deflated, key);
    frame[0] |= RSV1;
    frame
}

/// An unmasked close frame; of a long reason only what fits in a control frame is sent.
#[must_use]
pub fn close(code: u16, reason: &str) -> Bytes {
    frame(Opcode::Close, &close_payload(code, reason))
}

/// The payload of a close frame, for a client to mask.
#[must_use]
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    let reason = &reason[..reason.floor_char_boundary(CLOSE_REASON_MAX)];
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    payload
}

/// The bit of a header's first byte that says that the message is compressed.
const RSV1: u8 = 0x40;

/// Longest reason: a control frame holds 125 bytes, two of them the code.
const CLOSE_REASON_MAX: usize = 123;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_as_short_as_they_can_be() {
        for (len, bytes) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xFF, 0xFF]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let (head, head_len) = header(Opcode::Text, len);
            assert_eq!(&head[..head_len], bytes, "{len}");
        }
    }

    #[test]
    fn frames_look_as_in_the_rfc() {
        // RFC 6455 §5.7.
        assert_eq!(frame(Opcode::Text, b"Hello")[..], [0x81, 5, b'H', b'e', b'l', b'l', b'o']);
        assert_eq!(
            masked_frame(Opcode::Text, b"Hello", [0x37, 0xFA, 0x21, 0x3D]),
            [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58]
        );
        assert_eq!(close(1000, "")[..], [0x88, 2, 0x03, 0xE8]);
        assert_eq!(close(1000, &"x".repeat(200)).len(), 2 + 125);
        assert_eq!(close(1000, &"€".repeat(42)).len(), 2 + 2 + 41 * 3);
    }
}
