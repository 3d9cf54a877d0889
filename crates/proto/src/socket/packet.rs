//! One Socket.IO v5 packet: `<type>[<n>-][<nsp>,][<id>][json]`.
//!
//! As permissive and as strict as the official `decodeString` (socket.io-parser 4.2.7), with the differences that
//! [`Packet::decode`] names. Attachments arrive as binary frames of their own and are not this file's business.

use super::event::Event;
use crate::json::is_json;
use crate::msgpack::Malformed;

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

/// What is no packet.
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
    /// Not msgpack.
    #[error("{0}")]
    Msgpack(Malformed),
    /// Text where msgpack was due, or msgpack that is no packet.
    #[error("expected a packet in msgpack")]
    NoPacket,
}

impl PacketError {
    /// Whether the packet had more attachments than it may.
    pub fn is_too_many_attachments(&self) -> bool {
        matches!(self, Self::TooManyAttachments | Self::Msgpack(Malformed::Attachments(_)))
    }
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
    if has_shape(kind, data) && is_json(data) { Ok(()) } else { Err(PacketError::InvalidPayload) }
}

/// Whether a payload that is JSON is the JSON that its kind carries. White space never leads: in text it is a part of the id.
pub(super) fn has_shape(kind: Kind, data: &str) -> bool {
    let first = data.as_bytes().first();
    match kind {
        Kind::Connect => first == Some(&b'{'),
        Kind::Disconnect => false,
        Kind::ConnectError => matches!(first, Some(b'{' | b'"')),
        Kind::Ack | Kind::BinaryAck => first == Some(&b'['),
        Kind::Event | Kind::BinaryEvent => Event::split(data).is_ok(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_mean_what_they_mean_to_the_official_parser() {
        for (text, kind, nsp, id, attachments, data) in [
            ("0", Kind::Connect, "/", None, 0, ""),
            (r#"0{"token":"x"}"#, Kind::Connect, "/", None, 0, r#"{"token":"x"}"#),
            ("0/admin", Kind::Connect, "/admin", None, 0, ""),
            ("0/admin,", Kind::Connect, "/admin", None, 0, ""),
            ("0/admin,{}", Kind::Connect, "/admin", None, 0, "{}"),
            ("0/a?b=c,{}", Kind::Connect, "/a?b=c", None, 0, "{}"),
            ("0/,", Kind::Connect, "/", None, 0, ""),
            ("1", Kind::Disconnect, "/", None, 0, ""),
            ("1/admin,", Kind::Disconnect, "/admin", None, 0, ""),
            (r#"2["a"]"#, Kind::Event, "/", None, 0, r#"["a"]"#),
            (r#"212["a",1]"#, Kind::Event, "/", Some(12), 0, r#"["a",1]"#),
            (r#"2/€,12["a"]"#, Kind::Event, "/€", Some(12), 0, r#"["a"]"#),
            ("2[1]", Kind::Event, "/", None, 0, "[1]"),
            ("2[-1.5]", Kind::Event, "/", None, 0, "[-1.5]"),
            (r#"2[""]"#, Kind::Event, "/", None, 0, r#"[""]"#),
            (r#"2["a","connect"]"#, Kind::Event, "/", None, 0, r#"["a","connect"]"#),
            (r#"2["a","\ud800"]"#, Kind::Event, "/", None, 0, r#"["a","\ud800"]"#),
            (r#"2["a",1e999]"#, Kind::Event, "/", None, 0, r#"["a",1e999]"#),
            (r#"2["a"] "#, Kind::Event, "/", None, 0, r#"["a"] "#),
            (r#"2[ "a" ]"#, Kind::Event, "/", None, 0, r#"[ "a" ]"#),
            (r#"2 ["a"]"#, Kind::Event, "/", Some(0), 0, r#"["a"]"#),
            (r#"2 7 ["a"]"#, Kind::Event, "/", Some(7), 0, r#"["a"]"#),
            ("2", Kind::Event, "/", None, 0, ""),
            ("2/admin", Kind::Event, "/admin", None, 0, ""),
            ("31[]", Kind::Ack, "/", Some(1), 0, "[]"),
            ("3/a,1[null]", Kind::Ack, "/a", Some(1), 0, "[null]"),
            ("318446744073709551615", Kind::Ack, "/", Some(u64::MAX), 0, ""),
            (r#"4"no""#, Kind::ConnectError, "/", None, 0, r#""no""#),
            (r#"4/a,{"message":"x"}"#, Kind::ConnectError, "/a", None, 0, r#"{"message":"x"}"#),
            (r#"51-["a"]"#, Kind::BinaryEvent, "/", None, 1, r#"["a"]"#),
            (r#"510-/a,7["a"]"#, Kind::BinaryEvent, "/a", Some(7), 10, r#"["a"]"#),
            (r#"51e0-["a"]"#, Kind::BinaryEvent, "/", None, 1, r#"["a"]"#),
            (r#"50x2-["a"]"#, Kind::BinaryEvent, "/", None, 2, r#"["a"]"#),
            (r#"5 1 -["a"]"#, Kind::BinaryEvent, "/", None, 1, r#"["a"]"#),
            ("61-3[]", Kind::BinaryAck, "/", Some(3), 1, "[]"),
        ] {
            let packet = Packet { kind, nsp, id, attachments, data };
            assert_eq!(Packet::decode(text, ATTACHMENTS_MAX), Ok(packet), "{text}");
        }
    }

    #[test]
    fn what_the_official_parser_refuses_is_refused() {
        for (text, error) in [
            ("7", PacketError::UnknownKind),
            ("x[]", PacketError::UnknownKind),
            ("€", PacketError::UnknownKind),
            ("5", PacketError::IllegalAttachments),
            ("51", PacketError::IllegalAttachments),
            (r#"5["a"]"#, PacketError::IllegalAttachments),
            (r#"50-["a"]"#, PacketError::IllegalAttachments),
            (r#"5-["a"]"#, PacketError::IllegalAttachments),
            (r#"5-1-["a"]"#, PacketError::IllegalAttachments),
            (r#"51.5-["a"]"#, PacketError::IllegalAttachments),
            (r#"5NaN-["a"]"#, PacketError::IllegalAttachments),
            (r#"5Infinity-["a"]"#, PacketError::IllegalAttachments),
            (r#"5inf-["a"]"#, PacketError::IllegalAttachments),
            (r#"50x-["a"]"#, PacketError::IllegalAttachments),
            (r#"5€-["a"]"#, PacketError::IllegalAttachments),
            (r#"511-["a"]"#, PacketError::TooManyAttachments),
            (r#"599999999999-["a"]"#, PacketError::TooManyAttachments),
            (r#"51e300-["a"]"#, PacketError::TooManyAttachments),
            ("0[]", PacketError::InvalidPayload),
            ("0null", PacketError::InvalidPayload),
            (r#"0"a""#, PacketError::InvalidPayload),
            ("0{", PacketError::InvalidPayload),
            ("0{},", PacketError::InvalidPayload),
            ("1{}", PacketError::InvalidPayload),
            (r#"1"""#, PacketError::InvalidPayload),
            ("2[]", PacketError::InvalidPayload),
            ("2{}", PacketError::InvalidPayload),
            ("2[null]", PacketError::InvalidPayload),
            ("2[true]", PacketError::InvalidPayload),
            ("2[-]", PacketError::InvalidPayload),
            ("2[[]]", PacketError::InvalidPayload),
            (r#"2["connect"]"#, PacketError::InvalidPayload),
            (r#"2["disconnecting",1]"#, PacketError::InvalidPayload),
            (r#"2["\u0063onnect"]"#, PacketError::InvalidPayload),
            (r#"2["a""#, PacketError::InvalidPayload),
            (r#"2["a",]"#, PacketError::InvalidPayload),
            (r#"2["a"]x"#, PacketError::InvalidPayload),
            (r#"2["a" 1]"#, PacketError::InvalidPayload),
            ("2[\"a\n\"]", PacketError::InvalidPayload),
            (r#"2abc["a"]"#, PacketError::InvalidPayload),
            (r#"2-1["a"]"#, PacketError::InvalidPayload),
            (r#"2["#, PacketError::InvalidPayload),
            (r#"2[""#, PacketError::InvalidPayload),
            (r#"2["\"#, PacketError::InvalidPayload),
            ("31{}", PacketError::InvalidPayload),
            ("31null", PacketError::InvalidPayload),
            ("4[]", PacketError::InvalidPayload),
            ("47{", PacketError::InvalidPayload),
            ("61-{}", PacketError::InvalidPayload),
        ] {
            assert_eq!(Packet::decode(text, ATTACHMENTS_MAX), Err(error), "{text}");
        }
    }

    #[test]
    fn a_few_texts_that_javascript_muddles_through_are_refused() {
        // Officially: a CONNECT, a CONNECT, an id of NaN, an id that lost its last digits, an unpaired surrogate.
        for (text, error) in [
            ("", PacketError::UnknownKind),
            (" ", PacketError::UnknownKind),
            (r#"21 2["a"]"#, PacketError::InvalidId),
            (r#"218446744073709551616["a"]"#, PacketError::InvalidId),
            (r#"2["\ud800"]"#, PacketError::InvalidPayload),
        ] {
            assert_eq!(Packet::decode(text, ATTACHMENTS_MAX), Err(error), "{text}");
        }
    }

    #[test]
    fn deep_nesting_neither_overflows_nor_slows() {
        let deep = format!("2[\"a\",{}{}]", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Packet::decode(&deep, ATTACHMENTS_MAX).is_ok());
        let open = format!("2[\"a\",{}", "{\"a\":".repeat(100_000));
        assert_eq!(Packet::decode(&open, ATTACHMENTS_MAX), Err(PacketError::InvalidPayload));
    }

    #[test]
    fn headers_are_written_as_the_official_encoder_writes_them() {
        for (kind, nsp, id, attachments, text) in [
            (Kind::Connect, "/", None, 0, "0"),
            (Kind::Connect, "", None, 0, "0"),
            (Kind::Event, "/admin", Some(0), 0, "2/admin,0"),
            (Kind::Ack, "/", Some(u64::MAX), 0, "318446744073709551615"),
            (Kind::BinaryEvent, "/", None, 1, "51-"),
            (Kind::BinaryAck, "/a", Some(12), 10, "610-/a,12"),
        ] {
            let mut out = Vec::new();
            encode_header(kind, nsp, id, attachments, &mut out);
            assert_eq!(std::str::from_utf8(&out), Ok(text));
        }
    }
}
