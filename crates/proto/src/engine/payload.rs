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
