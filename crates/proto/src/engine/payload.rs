//! Polling payloads of v4: packets joined by U+001E.

use super::packet::{Packet, PacketError};

/// What stands between two packets.
pub const SEPARATOR: u8 = 0x1E;

/// The packets of a payload, decoded as they are asked for; nothing follows an error.
pub fn decode(payload: &str) -> impl Iterator<Item = Result<Packet<'_>, PacketError>> {
    let mut failed = false;
    payload.split(char::from(SEPARATOR)).map_while(move |text| {
        if failed {
            return None;
        }
        let packet = Packet::decode_text(text);
        failed = packet.is_err();
        Some(packet)
    })
}

/// Joins encoded packets.
pub fn join<T: AsRef<[u8]>>(packets: impl IntoIterator<Item = T>, out: &mut Vec<u8>) {
    let mut first = true;
    for packet in packets {
        if !first {
            out.push(SEPARATOR);
        }
        first = false;
        out.extend_from_slice(packet.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::packet::Content;

    #[test]
    fn a_payload_is_its_packets_and_back() {
        let packets = decode("4hello\x1e2\x1ebAQID\x1e4€").collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!(packets.len(), 4);
        assert_eq!(packets[0], Packet::Message(Content::Text("hello")));
        assert_eq!(packets[3], Packet::Message(Content::Text("€")));
        let encoded = packets.iter().map(|packet| {
            let mut text = Vec::new();
            packet.encode_text(&mut text);
            text
        });
        let mut payload = Vec::new();
        join(encoded, &mut payload);
        assert_eq!(payload, "4hello\x1e2\x1ebAQID\x1e4€".as_bytes());
    }

    #[test]
    fn nothing_follows_an_error() {
        for (payload, good) in [
            ("", 0),
            ("\x1e", 0),
            ("\x1e4a", 0),
            ("4a\x1e", 1),
            ("4a\x1e\x1e4b", 1),
            ("4a\x1e2\x1eabc\x1e4b", 2),
            ("{}", 0),
        ] {
            let packets: Vec<_> = decode(payload).collect();
            assert_eq!(packets.len(), good + 1, "{payload:?}");
            assert!(packets[..good].iter().all(Result::is_ok) && packets[good].is_err(), "{payload:?}");
        }
    }
}
