//! An event as servers of ours write it, read in one pass. It is the message of every broadcast.
//!
//! Whatever stands otherwise is left to the reader that takes it in any order; the tests hold the two against each other.

use bytes::Bytes;
use sockeye_proto::json::length_of_value;

use crate::message::{Envelope, Message, Packet};
use crate::name::{Nsp, Room, Uid};
use crate::selector::{Flags, Selector};
use crate::wire::opts::WireFlags;

/// Reads `{"type":3,"data":{"packet":…,"opts":…},"uid":…,"nsp":…}`, or gives the binary parts back.
pub(super) fn decode(text: &Bytes, attachments: Vec<Bytes>) -> Result<Envelope, Vec<Bytes>> {
    let Some((data, selector, flags, uid, nsp)) = std::str::from_utf8(text).ok().and_then(parts) else {
        return Err(attachments);
    };
    let packet = Packet { data: text.slice_ref(data.as_bytes()), attachments };
    let message = Message::Broadcast { selector, flags, packet, request_id: None };
    Ok(Envelope { uid, nsp, message })
}

fn parts(text: &str) -> Option<(&str, Selector, Flags, Uid, Nsp)> {
    let rest = text.strip_prefix(r#"{"type":3,"data":{"packet":{"type":2,"data":"#)?;
    if !rest.starts_with('[') {
        return None;
    }
    let (data, rest) = rest.split_at(length_of_value(rest)?);
    let (rooms, rest) = names(rest.strip_prefix(r#"},"opts":{"rooms":["#)?)?;
    let (except, rest) = names(rest.strip_prefix(r#","except":["#)?)?;
    let rest = rest.strip_prefix(r#","flags":"#)?;
    let (flags, rest) = match rest.strip_prefix("{}") {
        Some(rest) => (Flags::default(), rest),
        None => {
            let (flags, rest) = rest.split_at(length_of_value(rest)?);
            (serde_json::from_str::<WireFlags>(flags).ok()?.into(), rest)
        }
    };
    let (uid, rest) = name(rest.strip_prefix(r#"}},"uid":""#)?)?;
    let (nsp, rest) = name(rest.strip_prefix(r#","nsp":""#)?)?;
    (rest == "}").then(|| (data, Selector { rooms, except }, flags, Uid::new(uid), Nsp::new(nsp)))
}

/// The names up to the bracket, and what follows it.
fn names(mut rest: &str) -> Option<(Vec<Room>, &str)> {
    let mut names = Vec::new();
    if let Some(rest) = rest.strip_prefix(']') {
        return Some((names, rest));
    }
    loop {
        let (room, after) = name(rest.strip_prefix('"')?)?;
        names.push(Room::new(room));
        match after.as_bytes().first()? {
            b',' => rest = &after[1..],
            b']' => return Some((names, &after[1..])),
            _ => return None,
        }
    }
}

/// The rest of a string without escapes, and what follows it.
fn name(rest: &str) -> Option<(&str, &str)> {
    let end = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
    let after = rest[end..].strip_prefix('"')?;
    Some((&rest[..end], after))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{decode_any, encode};
    use super::*;

    #[test]
    fn what_is_read_here_the_other_reader_reads_the_same() {
        let flags = Flags { volatile: true, timeout: Some(Duration::from_secs(1)), ..Flags::default() };
        for (selector, flags, packet, uid, usual) in [
            (Selector::to("r1"), Flags::default(), r#"["e","é\n",{"a":[1,-2.5e3]},null]"#, "a34a", true),
            (Selector::to("a").and_to("é").and_except("b"), flags, "[]", "u", true),
            (Selector::to("quo\"te"), Flags::default(), "[1]", "u", false),
            (Selector::all(), Flags::default(), r#"{"no":"array"}"#, "u", false),
            (Selector::all(), Flags::default(), "[[]", "u", false),
        ] {
            let message =
                Message::Broadcast { selector, flags, packet: Packet::text(packet), request_id: None };
            let text = encode(&Envelope { uid: uid.into(), nsp: "/".into(), message });
            assert_eq!(decode(&text.clone().into(), Vec::new()).is_ok(), usual);
            for at in 0..text.len() {
                let (before, rest) = text.split_at(at);
                check(before.to_vec());
                check([before, &rest[1..]].concat());
                for byte in 0..=255 {
                    check([before, &[byte], &rest[1..]].concat());
                    check([before, &[byte], rest].concat());
                }
            }
        }
    }

    fn check(text: Vec<u8>) {
        let text = Bytes::from(text);
        if let Ok(envelope) = decode(&text, Vec::new()) {
            assert_eq!(decode_any(&text, Vec::new()).ok(), Some(envelope), "{text:?}");
        }
    }
}
