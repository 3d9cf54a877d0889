//! An event as servers write it, read in one pass. It is the message of every broadcast.
//!
//! Whatever is unusual is left to the reader that knows all dialects; the tests hold the two against each other.

use bytes::Bytes;
use sockeye_proto::msgpack::Cursor;

use crate::message::{Envelope, Message, Packet};
use crate::name::{Nsp, Room, Uid};
use crate::selector::{Flags, Selector};
use crate::wire::error::ATTACHMENTS_MAX;

/// Reads `[uid,{type,data,nsp},{rooms,except,flags}]`, or leaves it.
pub(super) fn decode_event(bytes: &Bytes) -> Option<Envelope> {
    let mut cursor = Cursor::new(bytes);
    let cursor = &mut cursor;
    if cursor.array()? != 3 {
        return None;
    }
    let uid = Uid::new(cursor.text()?);
    let (packet, nsp) = packet(cursor)?;
    let (selector, flags) = opts(cursor)?;
    let message = Message::Broadcast { selector, flags, packet, request_id: None };
    cursor.is_at_end().then_some(Envelope { uid, nsp, message })
}

fn packet(cursor: &mut Cursor<'_>) -> Option<(Packet, Nsp)> {
    let (mut number, mut packet, mut nsp) = (None, None, None);
    for _ in 0..cursor.map()? {
        match cursor.text()? {
            "type" => number = once(number, cursor.small())?,
            "data" => packet = once(packet, cursor.array_as_json(2, ATTACHMENTS_MAX))?,
            "nsp" => nsp = once(nsp, cursor.text())?,
            _ => return None,
        }
    }
    let (data, attachments) = packet?;
    matches!(number?, 2 | 5).then_some((Packet { data: data.into(), attachments }, Nsp::new(nsp?)))
}

fn opts(cursor: &mut Cursor<'_>) -> Option<(Selector, Flags)> {
    let (mut rooms, mut except, mut flags) = (None, None, None);
    for _ in 0..cursor.map()? {
        match cursor.text()? {
            "rooms" => rooms = once(rooms, names(cursor))?,
            "except" => except = once(except, names(cursor))?,
            "flags" => flags = once(flags, words(cursor))?,
            _ => return None,
        }
    }
    let selector = Selector { rooms: rooms.unwrap_or_default(), except: except.unwrap_or_default() };
    Some((selector, flags.unwrap_or_default()))
}

fn names(cursor: &mut Cursor<'_>) -> Option<Vec<Room>> {
    (0..cursor.array()?).map(|_| cursor.text().map(Room::new)).collect()
}

fn words(cursor: &mut Cursor<'_>) -> Option<Flags> {
    let (mut volatile, mut compress, mut local, mut broadcast) = (None, None, None, None);
    for _ in 0..cursor.map()? {
        match cursor.text()? {
            "volatile" => volatile = once(volatile, cursor.flag())?,
            "compress" => compress = once(compress, cursor.flag())?,
            "local" => local = once(local, cursor.flag())?,
            "broadcast" => broadcast = once(broadcast, cursor.flag())?,
            _ => return None,
        }
    }
    Some(Flags {
        volatile: volatile.flatten().unwrap_or(false),
        compress: compress.flatten(),
        local: local.flatten().unwrap_or(false),
        broadcast: broadcast.flatten().unwrap_or(false),
        ..Flags::default()
    })
}

/// What a field says. One that comes twice is for the other reader.
fn once<T>(before: Option<T>, found: Option<T>) -> Option<Option<T>> {
    (before.is_none() && found.is_some()).then_some(found)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::decode_any_event;
    use super::*;
    use crate::wire::classic;

    #[test]
    fn what_is_read_here_the_other_reader_reads_the_same() {
        let said = Packet::text(r#"["e","é\n",{"a":[1,-2,300,1.5,null,true]},"0123456789abcdef"]"#);
        let binary = r#"["e",{"_placeholder":true,"num":0}]"#;
        for (selector, flags, packet, usual) in [
            (Selector::to("r1"), Flags::default(), said, true),
            (
                Selector::all().and_except("a").and_except(&*"b".repeat(40)),
                Flags { volatile: true, compress: Some(false), broadcast: true, ..Flags::default() },
                Packet::binary(binary, vec![Bytes::from_static(b"xyz")]),
                true,
            ),
            (
                Selector::all(),
                Flags { timeout: Some(Duration::from_secs(1)), ..Flags::default() },
                Packet::text("[]"),
                false,
            ),
        ] {
            let message = Message::Broadcast { selector, flags, packet, request_id: None };
            let envelope = Envelope { uid: "zvvldc".into(), nsp: "/".into(), message };
            let (_, bytes) = classic::encode(&envelope).unwrap().unwrap();
            assert_eq!(decode_event(&bytes).is_some(), usual);
            for at in 0..bytes.len() {
                let (before, rest) = bytes.split_at(at);
                check(before.to_vec());
                check([before, &rest[1..]].concat());
                for byte in 0..=255 {
                    check([before, &[byte], &rest[1..]].concat());
                    check([before, &[byte], rest].concat());
                }
            }
            assert_eq!(decode_any_event(&bytes).ok(), Some(envelope));
        }
    }

    fn check(bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        if let Some(envelope) = decode_event(&bytes) {
            assert_eq!(decode_any_event(&bytes).ok(), Some(envelope), "{bytes:?}");
        }
    }
}
