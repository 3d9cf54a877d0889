//! Payloads of v3; the bytes are those of engine.io 6.6.12's `parser-v3`.

use super::*;
use crate::engine::packet::Content;

#[test]
fn payloads_are_written_as_the_official_parser_writes_them() {
    let crab = "4a€🦀";
    for (packets, form, payload) in [
        (&[Text("4a")][..], Form::Text, &b"2:4a"[..]),
        (&[Text("4€")], Form::Text, "2:4€".as_bytes()),
        (&[Text("4🦀é")], Form::Text, "4:4🦀é".as_bytes()),
        (&[Text("2"), Text("3probe"), Text("6"), Text("1"), Text("5")], Form::Text, b"1:26:3probe1:61:11:5"),
        (&[Text(crab), Bytes(&[1, 2, 3, 4])], Form::Text, "5:4a€🦀10:b4AQIDBA==".as_bytes()),
        (
            &[Text(crab), Bytes(&[1, 2, 3, 4])],
            Form::Binary,
            b"\x00\x09\xff4a\xe2\x82\xac\xf0\x9f\xa6\x80\x01\x05\xff\x04\x01\x02\x03\x04",
        ),
        (&[Bytes(&[])], Form::Text, b"2:b4"),
        (&[Bytes(&[])], Form::Binary, b"\x01\x01\xff\x04"),
        (&[Bytes(&[255, 254]), Text("3")], Form::Text, b"6:b4//4=1:3"),
        (&[Bytes(&[255, 254]), Text("3")], Form::Binary, b"\x01\x03\xff\x04\xff\xfe\x00\x01\xff3"),
    ] {
        assert_eq!(encode(packets, form), payload, "{packets:?}");
    }
    let text = format!("4{}é", "0".repeat(120));
    let long = [Text(&text), Bytes(&[7; 130])];
    let (text, bytes) = (encode(&long, Form::Text), encode(&long, Form::Binary));
    assert!(text.starts_with(b"122:4000") && text.ends_with(b"BwcHBw=="));
    assert_eq!(text.windows(6).filter(|window| *window == b"178:b4").count(), 1);
    assert!(bytes.starts_with(b"\x00\x01\x02\x03\xff4000"));
    assert_eq!(bytes.windows(6).filter(|window| *window == b"\x01\x01\x03\x01\xff\x04").count(), 1);
}

#[test]
fn bytes_go_out_as_bytes_only_to_who_takes_them() {
    for (supports, has, form, content_type) in [
        (true, true, Form::Binary, "application/octet-stream"),
        (true, false, Form::Text, "text/plain; charset=UTF-8"),
        (false, true, Form::Text, "text/plain; charset=UTF-8"),
        (false, false, Form::Text, "text/plain; charset=UTF-8"),
    ] {
        assert_eq!((Form::of(supports, has), form.content_type()), (form, content_type));
    }
}

#[test]
fn text_payloads_are_read_as_the_official_parser_reads_them() {
    let text = |text| Packet::Message(Content::Text(text));
    for (payload, packets) in [
        ("0:", vec![]),
        ("0:0:", vec![]),
        ("0:2:4a", vec![text("a")]),
        ("2:4a", vec![text("a")]),
        ("2:4a0:", vec![text("a")]),
        ("2:4€3:4🦀", vec![text("€"), text("🦀")]),
        ("4:4é€a3:4🦀2:4b", vec![text("é€a"), text("🦀"), text("b")]),
        ("1:4", vec![text("")]),
        ("02:4a", vec![text("a")]),
        ("5:42:4a", vec![text("2:4a")]),
        (
            "1:26:3probe1:61:11:5",
            vec![Packet::Ping(""), Packet::Pong("probe"), Packet::Noop, Packet::Close, Packet::Upgrade],
        ),
        ("10:b4AQIDBA==", vec![Packet::Message(Content::Binary(vec![1, 2, 3, 4].into()))]),
        ("4:b4AQ", vec![Packet::Message(Content::Binary(vec![1].into()))]),
    ] {
        assert_eq!(decode_text(payload).collect::<Result<Vec<_>, _>>(), Ok(packets), "{payload}");
    }
}

#[test]
fn nothing_follows_an_error_in_text() {
    for (payload, good, error) in [
        ("", 0, PacketError::Length),
        ("3:4a", 0, PacketError::Length),
        ("2:4🦀", 0, PacketError::Length),
        ("-1:4", 0, PacketError::Length),
        ("+2:4a", 0, PacketError::Length),
        ("1e0:4", 0, PacketError::Length),
        ("2:4a2", 1, PacketError::Length),
        ("2:4a:", 1, PacketError::Length),
        (":4a", 0, PacketError::Length),
        ("a:4a", 0, PacketError::Length),
        ("2", 0, PacketError::Length),
        ("4hello", 0, PacketError::Length),
        ("Infinity:4a", 0, PacketError::Length),
        ("999999999999999:4", 0, PacketError::Length),
        ("99999999999999999999:4", 0, PacketError::Length),
        ("00000000000000000002:4a", 0, PacketError::Length),
        ("2:4a2:7a2:4b", 1, PacketError::UnknownType(b'7')),
        ("1: ", 0, PacketError::UnknownType(b' ')),
        ("1:b", 0, PacketError::Empty),
        ("2:b9", 0, PacketError::UnknownType(b'9')),
        ("3:abc", 0, PacketError::UnknownType(b'a')),
    ] {
        let packets: Vec<_> = decode_text(payload).collect();
        assert_eq!((packets.len(), &packets[good]), (good + 1, &Err(error)), "{payload}");
    }
}

#[test]
fn binary_payloads_are_read_as_the_official_parser_reads_them() {
    let text = |text| Packet::Message(Content::Text(text));
    let binary = |bytes: &'static [u8]| Packet::Message(Content::Binary(bytes.into()));
    for (payload, packets) in [
        (&b""[..], vec![]),
        (b"\x00\x01\xff4", vec![text("")]),
        (b"\x01\x01\xff\x04", vec![binary(b"")]),
        (b"\x01\x02\xff\x04\x01\x00\x02\xff4a", vec![binary(b"\x01"), text("a")]),
        (b"\x00\x04\xff4\xe2\x82\xac", vec![text("€")]),
        (b"\x00\x00\x00\x02\xff4a", vec![text("a")]),
        (b"\x00\x01\x00\xff4aaaaaaaaa", vec![text("aaaaaaaaa")]),
        (b"\x01\x02\xff\x02\x05", vec![Packet::Ping("")]),
        (b"\x01\x03\xff\x04\xff\xff", vec![binary(b"\xff\xff")]),
    ] {
        assert_eq!(decode_binary(payload).collect::<Result<Vec<_>, _>>(), Ok(packets), "{payload:?}");
    }
}

#[test]
fn nothing_follows_an_error_in_bytes() {
    for (payload, good, error) in [
        (&b"\x00"[..], 0, PacketError::Length),
        (b"\x00\x01", 0, PacketError::Length),
        (b"\x01", 0, PacketError::Length),
        (b"\xff", 0, PacketError::Length),
        (b"\x00\xff", 0, PacketError::Length),
        (b"\x02\x01\xff\x04", 0, PacketError::Length),
        (b"2:4a", 0, PacketError::Length),
        (b"\x00\x01\xfe\x01\xff4", 0, PacketError::Length),
        (b"\x01\x05\xff\x04\x01\x02\x03", 0, PacketError::Length),
        (b"\x01\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff\x04", 0, PacketError::Length),
        (
            b"\x01\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff\x04",
            0,
            PacketError::Length,
        ),
        (b"\x00\x00\xff", 0, PacketError::Empty),
        (b"\x01\x00\xff", 0, PacketError::Empty),
        (b"\x00\x01\xff9", 0, PacketError::UnknownType(b'9')),
        (b"\x01\x01\xff\x07", 0, PacketError::UnknownType(7)),
        (b"\x00\x02\xff4\xff", 0, PacketError::Utf8),
        (b"\x00\x01\xff4\x00\x04\xff4\xed\xa0\x80\x00\x01\xff4", 1, PacketError::Utf8),
    ] {
        let packets: Vec<_> = decode_binary(payload).collect();
        assert_eq!((packets.len(), &packets[good]), (good + 1, &Err(error)), "{payload:?}");
    }
}

#[test]
fn an_error_costs_no_more_than_a_look() {
    // Quadratic work, or memory on the word of a length, would show: two million tiny packets, and a length of almost a petabyte.
    let many = "1:6".repeat(2_000_000);
    assert_eq!(decode_text(&many).filter(Result::is_ok).count(), 2_000_000);
    let nothing = "0:".repeat(2_000_000);
    assert_eq!(decode_text(&nothing).count(), 0);
    let claims = format!("999999999999999:{}", "é".repeat(500_000));
    assert_eq!(decode_text(&claims).next(), Some(Err(PacketError::Length)));
    let digits = "1".repeat(2_000_000);
    assert_eq!(decode_text(&digits).count(), 1);
    assert_eq!(decode_binary(&[0; 2_000_000]).count(), 1);
}

/// A packet that goes out.
#[derive(Clone, Copy, Debug)]
enum Piece<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
}
use Piece::{Bytes, Text};

fn encode(packets: &[Piece<'_>], form: Form) -> Vec<u8> {
    let mut out = Vec::new();
    for packet in packets {
        match packet {
            Text(text) => form.push_text(text.as_bytes(), &mut out),
            Bytes(bytes) => form.push_binary(bytes, &mut out),
        }
    }
    out
}
