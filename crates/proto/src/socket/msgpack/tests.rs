//! Packets in msgpack; the bytes are those of socket.io-msgpack-parser 3.0.2 on notepack.io 2.2.0.

use super::super::Packet;
use super::*;
use crate::msgpack::Malformed;

#[test]
fn what_stock_clients_write_is_read() {
    // The rows say a packet as the text parser writes it, and its binary parts.
    let one = r#"["b",{"_placeholder":true,"num":0}]"#;
    let binary = format!("2{one}");
    for (bytes, text, parts) in [
        ("83a47479706500a464617461d40000a36e7370a12f", "0", &[][..]),
        ("83a47479706500a46461746181a5746f6b656ea178a36e7370a62f61646d696e", r#"0/admin,{"token":"x"}"#, &[]),
        ("82a47479706501a36e7370a12f", "1", &[]),
        ("83a47479706502a46461746192a16101a36e7370a12f", r#"2["a",1]"#, &[]),
        (
            "85a47479706502a46461746192a16101a76f7074696f6e7381a8636f6d7072657373c3a2696407a36e7370a12f",
            r#"27["a",1]"#,
            &[],
        ),
        ("83a47479706502a46461746192a162c403010203a36e7370a12f", &binary, &[&[1, 2, 3][..]]),
        ("83a47479706502a46461746192a162c70300010203a36e7370a12f", &binary, &[&[1, 2, 3]]),
        ("83a47479706502a46461746192a162c7010005a36e7370a12f", &binary, &[&[5]]),
        (
            "83a47479706502a46461746194a164d7000000018bcfe5687bd4000083a175d40000a166cb3ff8000000000000a16efda36e7370a12f",
            r#"2["d","2023-11-14T22:13:20.123Z",null,{"f":1.5,"n":-3}]"#,
            &[],
        ),
        ("84a26964cd012ca47479706503a46461746192a26f6bc0a36e7370a22f78", r#"3/x,300["ok",null]"#, &[]),
        ("83a47479706504a46461746181a76d657373616765a26e6fa36e7370a22f78", r#"4/x,{"message":"no"}"#, &[]),
        ("83a47479706504a464617461a26e6fa36e7370a22f78", r#"4/x,"no""#, &[]),
    ] {
        check_read(bytes, text, parts);
    }
}

#[test]
fn what_other_encoders_write_is_read() {
    for (bytes, text) in [
        // Numbers as floats, nil for nothing, long forms, a name that is a number, nothing at all.
        ("84a474797065cb4000000000000000a46461746191a161a26964cb401c000000000000a36e7370a12f", r#"27["a"]"#),
        ("83a47479706500a464617461c0a36e7370a12f", "0"),
        ("df00000002d90474797065cc01d9036e7370db000000012f", "1"),
        ("83a47479706502a46461746191cd0100a36e7370a42fe282ac", "2/€,[256]"),
        ("82a47479706500a36e7370a22f61", "0/a"),
    ] {
        check_read(bytes, text, &[]);
    }
    // No text has a comma in a namespace.
    assert_eq!(
        decode(&unhex("82a47479706500a36e7370a42f612c62"), 10).map(|packet| packet.nsp),
        Ok("/a,b".into())
    );
}

#[test]
fn what_is_no_packet_is_refused() {
    for (bytes, error) in [
        ("", PacketError::Msgpack(Malformed::Truncated(0))),
        ("c1", PacketError::Msgpack(Malformed::Marker(0xc1))),
        ("c0", PacketError::NoPacket),
        ("90", PacketError::NoPacket),
        ("80", PacketError::NoPacket),
        ("81a47479706502", PacketError::NoPacket),
        ("81a36e7370a12f", PacketError::NoPacket),
        ("dfffffffff", PacketError::Msgpack(Malformed::Truncated(5))),
        ("83a47479706501a4646174619080a36e7370a12f", PacketError::Msgpack(Malformed::Key)),
        ("82a47479706501a36e7370a12f00", PacketError::Msgpack(Malformed::Trailing(1))),
        // Types.
        ("83a47479706505a46461746191a161a36e7370a12f", PacketError::UnknownKind),
        ("83a474797065ffa46461746191a161a36e7370a12f", PacketError::UnknownKind),
        ("83a474797065cb3ff8000000000000a46461746191a161a36e7370a12f", PacketError::UnknownKind),
        ("83a474797065a132a46461746191a161a36e7370a12f", PacketError::NoPacket),
        ("82a474797065c0a36e7370a12f", PacketError::NoPacket),
        // Namespaces.
        ("83a47479706502a46461746191a161a36e7370a161", PacketError::NoPacket),
        ("83a47479706502a46461746191a161a36e7370a0", PacketError::NoPacket),
        ("83a47479706502a46461746191a161a36e737007", PacketError::NoPacket),
        ("83a47479706501a47479706501a36e7370a12f", PacketError::NoPacket),
        // Ids.
        ("84a47479706502a46461746191a161a36e7370a12fa26964ff", PacketError::InvalidId),
        ("84a47479706502a46461746191a161a36e7370a12fa26964cb3ff8000000000000", PacketError::InvalidId),
        ("84a47479706502a46461746191a161a36e7370a12fa26964a137", PacketError::NoPacket),
        // Payloads.
        ("82a47479706502a36e7370a12f", PacketError::InvalidPayload),
        ("83a47479706502a46461746190a36e7370a12f", PacketError::InvalidPayload),
        ("83a47479706502a46461746180a36e7370a12f", PacketError::InvalidPayload),
        ("83a47479706502a464617461c0a36e7370a12f", PacketError::InvalidPayload),
        ("83a47479706502a46461746191c0a36e7370a12f", PacketError::InvalidPayload),
        ("83a47479706502a46461746191a7636f6e6e656374a36e7370a12f", PacketError::InvalidPayload),
        ("83a47479706502a46461746191c40161a36e7370a12f", PacketError::InvalidPayload),
        ("82a47479706503a36e7370a12f", PacketError::InvalidPayload),
        ("83a47479706500a46461746190a36e7370a12f", PacketError::InvalidPayload),
        ("83a47479706500a464617461a161a36e7370a12f", PacketError::InvalidPayload),
        ("83a47479706500a464617461c40161a36e7370a12f", PacketError::InvalidPayload),
        ("83a47479706501a46461746180a36e7370a12f", PacketError::InvalidPayload),
        ("82a47479706504a36e7370a12f", PacketError::InvalidPayload),
    ] {
        assert_eq!(decode(&unhex(bytes), 10), Err(error), "{bytes}");
    }
}

#[test]
fn binary_parts_and_nesting_end_at_their_limits() {
    let event = |items: u8, body: &str| {
        unhex(&format!("83a47479706502a464617461dc00{items:02x}a161{body}a36e7370a12f"))
    };
    assert_eq!(decode(&event(11, &"c40100".repeat(10)), 10).map(|packet| packet.attachments.len()), Ok(10));
    let error = PacketError::Msgpack(Malformed::Attachments(10));
    assert_eq!(decode(&event(12, &"c40100".repeat(11)), 10), Err(error));
    assert_eq!(decode(&event(2, "c40100"), 0), Err(PacketError::Msgpack(Malformed::Attachments(0))));
    assert!(decode(&event(2, &format!("{}c0", "91".repeat(120))), 10).is_ok());
    for depth in [127, 128, 1_000, 1_000_000] {
        assert!(decode(&event(2, &format!("{}c0", "91".repeat(depth))), 10).is_err(), "{depth}");
    }
}

#[test]
fn packets_are_the_official_bytes() {
    let parts = [Bytes::from_static(&[1, 2, 3])];
    for (text, attachments, bytes) in [
        (r#"0{"sid":"abc"}"#, &[][..], "83a47479706500a46461746181a3736964a3616263a36e7370a12f"),
        ("1", &[], "82a47479706501a36e7370a12f"),
        (r#"2["a",1]"#, &[], "83a47479706502a46461746192a16101a36e7370a12f"),
        (r#"27["a",1]"#, &[], "84a47479706502a46461746192a16101a2696407a36e7370a12f"),
        (
            r#"51-["b",{"_placeholder":true,"num":0}]"#,
            &parts,
            "83a47479706502a46461746192a162c403010203a36e7370a12f",
        ),
        (r#"3/x,300["ok",null]"#, &[], "84a26964cd012ca47479706503a46461746192a26f6bc0a36e7370a22f78"),
        (
            r#"61-0[{"_placeholder":true,"num":0}]"#,
            &parts,
            "84a2696400a47479706503a46461746191c403010203a36e7370a12f",
        ),
        (r#"4/x,{"message":"no"}"#, &[], "83a47479706504a46461746181a76d657373616765a26e6fa36e7370a22f78"),
        (r#"4/x,"no""#, &[], "83a47479706504a464617461a26e6fa36e7370a22f78"),
    ] {
        let packet = Packet::decode(text, 10).unwrap();
        let encoded =
            encode(packet.kind, packet.nsp, packet.id, packet.data.as_bytes(), attachments).unwrap();
        assert_eq!(hex(&encoded), bytes, "{text}");
    }
    assert!(encode(Kind::Event, "/", None, b"[", &[]).is_err());
}

#[test]
fn a_lookalike_of_a_placeholder_stays_what_it_was() {
    let data = r#"["a",{"_placeholder":true,"num":1}]"#;
    let encoded = Bytes::from(encode(Kind::Event, "/", None, data.as_bytes(), &[]).unwrap());
    assert_eq!(decode(&encoded, 10).map(|packet| packet.data).as_deref(), Ok(data));
}

fn check_read(bytes: &str, text: &str, parts: &[&[u8]]) {
    let Packet { kind, nsp, id, data, .. } = Packet::decode(text, 10).unwrap();
    let attachments = parts.iter().copied().map(Bytes::copy_from_slice).collect();
    let decoded = Decoded { kind, nsp: nsp.into(), id, data: data.into(), attachments };
    assert_eq!(decode(&unhex(bytes), 10), Ok(decoded), "{bytes}");
}

fn unhex(text: &str) -> Bytes {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("it is hexadecimal") as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) * 16 + digit(pair[1])).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
