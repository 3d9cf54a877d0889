//! One Socket.IO v5 packet: `<type>[<n>-][<nsp>,][<id>][json]`.
//!
//! As permissive and as strict as the official `decodeString` (socket.io-parser 4.2.7), with the differences that
//! [`Packet::decode`] names. Attachments arrive as binary frames of their own and are not this file's business.

use serde::de::IgnoredAny;

use super::event::Event;

/// The default of the official parser for the most attachments of one packet.
pub const ATTACHMENTS_MAX: u32 = 10;

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Joins a namespace, or says that it was joined.
    Connect = 0,
    /// Leaves a namespace.
    Disconnect = 1,
    /// An event.
    Event = 2,
    /// The answer to an event.
    Ack = 3,
    /// A namespace refuses the client.
    ConnectError = 4,
    /// An event with attachments.
    BinaryEvent = 5,
    /// An answer with attachments.
    BinaryAck = 6,
}

impl Kind {
    /// Reads the first byte of a packet.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'0' => Some(Self::Connect),
            b'1' => Some(Self::Disconnect),
            b'2' => Some(Self::Event),
            b'3' => Some(Self::Ack),
            b'4' => Some(Self::ConnectError),
            b'5' => Some(Self::BinaryEvent),
            b'6' => Some(Self::BinaryAck),
            _ => None,
        }
    }

    /// Whether binary frames follow.
    #[must_use]
    pub fn is_binary(self) -> bool {
        match self {
            Self::BinaryEvent | Self::BinaryAck => true,
            Self::Connect | Self::Disconnect | Self::Event | Self::Ack | Self::ConnectError => false,
        }
    }
}

/// One packet, its payload checked but not built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What it is.
    pub kind: Kind,
    /// The namespace, `/` where none is named.
    pub nsp: &'a str,
    /// The id that an answer refers to.
    pub id: Option<u64>,
    /// How many binary frames follow.
    pub attachments: u32,
    /// The raw JSON; empty where there is none, whatever the kind.
    pub data: &'a str,
}

impl<'a> Packet<'a> {
    /// Decodes the text of an engine message; `attachments_max` is the limit on binary frames to follow.
    ///
    /// Unlike the official parser it refuses ids over 64 bits and ids that are not numbers (official: `NaN`). Like it,
    /// it accepts an absent payload for every kind.
    ///
    /// # Errors
    ///
    /// The client broke the protocol: close the engine session.
    pub fn decode(text: &'a str, attachments_max: u32) -> Result<Self, PacketError> {
        let kind = text.bytes().next().and_then(Kind::from_byte).ok_or(PacketError::UnknownKind)?;
        let rest = &text[1..];
        let (attachments, rest) =
            if kind.is_binary() { take_attachments(rest, attachments_max)? } else { (0, rest) };
        let (nsp, rest) = take_namespace(rest);
        let (id, data) = take_id(rest)?;
        if !data.is_empty() {
            check_payload(kind, data)?;
        }
        Ok(Self { kind, nsp, id, attachments, data })
    }
}

/// Appends everything of a packet that stands before its JSON.
pub fn encode_header(kind: Kind, nsp: &str, id: Option<u64>, attachments: u32, out: &mut Vec<u8>) {
    out.push(b'0' + kind as u8);
    if kind.is_binary() {
        push_number(u64::from(attachments), out);
        out.push(b'-');
    }
    if !nsp.is_empty() && nsp != "/" {
        out.extend_from_slice(nsp.as_bytes());
        out.push(b',');
    }
    if let Some(id) = id {
        push_number(id, out);
    }
}

/// Text that is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// The first character is no kind.
    #[error("unknown packet type")]
    UnknownKind,
    /// The number of attachments is missing, zero or no number.
    #[error("illegal attachments")]
    IllegalAttachments,
    /// More attachments than the limit.
    #[error("too many attachments")]
    TooManyAttachments,
    /// An id that is no number of 64 bits.
    #[error("invalid ack id")]
    InvalidId,
    /// Not JSON, or not the JSON that this kind carries.
    #[error("invalid payload")]
    InvalidPayload,
}

fn take_attachments(text: &str, max: u32) -> Result<(u32, &str), PacketError> {
    let (number, rest) = text.split_once('-').ok_or(PacketError::IllegalAttachments)?;
    let number = js_number(number).filter(|n| n.fract() == 0.0 && *n >= 1.0);
    let number = number.ok_or(PacketError::IllegalAttachments)?;
    if number > f64::from(max) { Err(PacketError::TooManyAttachments) } else { Ok((number as u32, rest)) }
}

fn take_namespace(text: &str) -> (&str, &str) {
    if !text.starts_with('/') {
        return ("/", text);
    }
    text.split_once(',').unwrap_or((text, ""))
}

/// Takes an id off the front: a run of digits and, as `Number(" ")` is 0 in JavaScript, of white space.
fn take_id(text: &str) -> Result<(Option<u64>, &str), PacketError> {
    let counts = |c: char| c.is_ascii_digit() || is_js_space(c);
    let end = text.find(|c| !counts(c)).unwrap_or(text.len());
    if end == 0 {
        return Ok((None, text));
    }
    let digits = text[..end].trim_matches(is_js_space);
    let id = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| PacketError::InvalidId)? };
    Ok((Some(id), &text[end..]))
}

fn check_payload(kind: Kind, data: &str) -> Result<(), PacketError> {
    // White space never leads: it counted as a part of the id.
    let first = data.as_bytes().first();
    let shape = match kind {
        Kind::Connect => first == Some(&b'{'),
        Kind::Disconnect => false,
        Kind::ConnectError => matches!(first, Some(b'{' | b'"')),
        Kind::Ack | Kind::BinaryAck => first == Some(&b'['),
        Kind::Event | Kind::BinaryEvent => Event::split(data).is_ok(),
    };
    if shape && serde_json::from_str::<IgnoredAny>(data).is_ok() {
        Ok(())
    } else {
        Err(PacketError::InvalidPayload)
    }
}

/// Reads what JavaScript's `Number` makes a finite number of.
fn js_number(text: &str) -> Option<f64> {
    let text = text.trim_matches(is_js_space);
    let radix = match text.get(..2) {
        _ if text.is_empty() => return Some(0.0),
        Some("0x" | "0X") => 16,
        Some("0o" | "0O") => 8,
        Some("0b" | "0B") => 2,
        Some(_) | None => {
            let decimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
            return text.bytes().all(decimal).then(|| text.parse().ok()).flatten();
        }
    };
    let digits = text.get(2..)?;
    let digits = digits.bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some(digits)?;
    u32::from_str_radix(digits, radix).ok().map(f64::from)
}

/// Whether JavaScript's `Number` skips this character at both ends.
fn is_js_space(c: char) -> bool {
    c == '\u{FEFF}' || (c.is_whitespace() && c != '\u{85}')
}

fn push_number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}
