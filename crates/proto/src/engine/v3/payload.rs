//! Polling payloads of v3: every packet behind its length, as text or, where an answer holds bytes, as bytes.
//!
//! Text is `<length>:<packet>…`, the length in UTF-16 code units; binary is `00|01 <digits> ff <packet>…`, the length in
//! bytes and each digit a byte. Decoding walks the payload once and takes no memory, whatever a length claims.
//!
//! Stricter than the official parser where no client can tell: a length is decimal digits (there also `+2`, `0x2`, `1e0`), a
//! binary packet is as long as it says (there it may end early), the first byte of a binary packet is 0 or 1, its text is UTF-8.

use super::packet;
use crate::engine::packet::{Packet, PacketError};

/// Digits of the longest length that is read: more than any body has, less than overflows.
const LENGTH_DIGITS_MAX: usize = 15;

/// What ends the length of a packet in a binary payload.
const LENGTH_END: u8 = 0xFF;

/// The form of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `text/plain; charset=UTF-8`; bytes are base64.
    Text,
    /// `application/octet-stream`.
    Binary,
}

impl Form {
    /// The form that an answer has: binary if the client takes bytes ([`super::super::Query::b64`] at its handshake, and no
    /// JSONP) and there are any.
    #[must_use]
    pub fn of(supports_binary: bool, has_binary: bool) -> Self {
        if supports_binary && has_binary { Self::Binary } else { Self::Text }
    }

    /// The content type of the answer.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=UTF-8",
            Self::Binary => "application/octet-stream",
        }
    }

    /// Appends a text packet with its type, such as `4hello`, to a payload. The packet is UTF-8.
    pub fn push_text(self, packet: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Text => push_length_text(utf16_length(packet), out),
            Self::Binary => push_length_binary(0, packet.len(), out),
        }
        out.extend_from_slice(packet);
    }

    /// Appends a binary message, without its type, to a payload.
    pub fn push_binary(self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Text => {
                push_length_text(2 + bytes.len().div_ceil(3) * 4, out);
                packet::encode_base64(bytes, out);
            }
            Self::Binary => {
                push_length_binary(1, 1 + bytes.len(), out);
                out.push(packet::MESSAGE);
                out.extend_from_slice(bytes);
            }
        }
    }
}

/// The payload without a packet.
pub const EMPTY: &str = "0:";

/// The packets of a text payload, decoded as they are asked for; nothing follows an error.
pub fn decode_text(payload: &str) -> impl Iterator<Item = Result<Packet<'_>, PacketError>> {
    let mut rest = Some(payload);
    // Only a payload of nothing at all is an error: `0:` has no packet, too, and is none.
    let mut first = true;
    std::iter::from_fn(move || {
        loop {
            let payload = rest.take().filter(|payload| first || !payload.is_empty())?;
            first = false;
            let packet = match split_text(payload) {
                Ok((packet, after)) => {
                    rest = Some(after);
                    packet
                }
                Err(error) => return Some(Err(error)),
            };
            if packet.is_empty() {
                continue;
            }
            let packet = packet::decode_text(packet);
            rest = rest.filter(|_| packet.is_ok());
            return Some(packet);
        }
    })
}

/// The packets of a binary payload, decoded as they are asked for; nothing follows an error.
pub fn decode_binary(payload: &[u8]) -> impl Iterator<Item = Result<Packet<'_>, PacketError>> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let packet = split_binary(rest).and_then(|(text, bytes, after)| {
            rest = after;
            decode_part(text, bytes)
        });
        if packet.is_err() {
            rest = &[];
        }
        Some(packet)
    })
}

/// Decodes a packet of a binary payload.
///
/// # Errors
///
/// The client sent what is no packet: close the session with `parse error`.
pub fn decode_part(text: bool, bytes: &[u8]) -> Result<Packet<'_>, PacketError> {
    if text {
        packet::decode_text(simdutf8::basic::from_utf8(bytes).map_err(|_| PacketError::Utf8)?)
    } else {
        packet::decode_binary(bytes)
    }
}

/// Takes a packet off the front of a text payload, for who reads in steps; one that is empty is to be skipped.
///
/// # Errors
///
/// No packet has that length.
pub fn split_text(payload: &str) -> Result<(&str, &str), PacketError> {
    let digits = payload.bytes().take(LENGTH_DIGITS_MAX + 1).take_while(u8::is_ascii_digit).count();
    let length = payload[..digits].bytes().map(|digit| digit - b'0');
    let length = number(length).ok_or(PacketError::Length)?;
    let packets = payload[digits..].strip_prefix(':').ok_or(PacketError::Length)?;
    let end = utf16_offset(packets, length).ok_or(PacketError::Length)?;
    Ok(packets.split_at(end))
}

/// Takes a packet off the front of a binary payload, for who reads in steps; whether it is text, its bytes, and what follows.
///
/// # Errors
///
/// No packet has that length.
pub fn split_binary(payload: &[u8]) -> Result<(bool, &[u8], &[u8]), PacketError> {
    let (kind, rest) = payload.split_first().ok_or(PacketError::Length)?;
    let text = match kind {
        0 => true,
        1 => false,
        _ => return Err(PacketError::Length),
    };
    let digits = rest.iter().take(LENGTH_DIGITS_MAX + 1).take_while(|digit| **digit < 10).count();
    let length = number(rest[..digits].iter().copied()).ok_or(PacketError::Length)?;
    let (end, packets) = rest[digits..].split_first().ok_or(PacketError::Length)?;
    if *end != LENGTH_END {
        return Err(PacketError::Length);
    }
    let (packet, after) = packets.split_at_checked(length).ok_or(PacketError::Length)?;
    Ok((text, packet, after))
}

/// The number that decimal digits make, if there are any and not too many.
fn number(digits: impl ExactSizeIterator<Item = u8>) -> Option<usize> {
    if !(1..=LENGTH_DIGITS_MAX).contains(&digits.len()) {
        return None;
    }
    let number = digits.fold(0_u64, |number, digit| number * 10 + u64::from(digit));
    usize::try_from(number).ok()
}

/// Where in `text` so many UTF-16 code units end; `None` if it is shorter, or the end lies within a character.
fn utf16_offset(text: &str, units: usize) -> Option<usize> {
    // Most packets are ASCII.
    if text.as_bytes().get(..units).is_some_and(<[u8]>::is_ascii) {
        return Some(units);
    }
    let mut left = units;
    for (offset, char) in text.char_indices() {
        if left == 0 {
            return Some(offset);
        }
        left = left.checked_sub(char.len_utf16())?;
    }
    (left == 0).then_some(text.len())
}

/// The UTF-16 code units of UTF-8: one for every byte that begins a character, one more for those beyond U+FFFF.
fn utf16_length(text: &[u8]) -> usize {
    text.iter().map(|byte| usize::from(byte & 0xC0 != 0x80) + usize::from(*byte >= 0xF0)).sum()
}

fn push_length_text(length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b':');
}

fn push_length_binary(kind: u8, length: usize, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend(length.to_string().bytes().map(|digit| digit - b'0'));
    out.push(LENGTH_END);
}

#[cfg(test)]
mod tests;
