//! One Engine.IO packet as it travels, whatever the transport.

use bytes::Bytes;
use sockeye_proto::engine::packet::encode_base64;
use sockeye_proto::engine::payload::SEPARATOR;
use std::collections::VecDeque;

/// A packet ready for the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Its text, with the digit of its kind in front.
    Text(String),
    /// The bytes of a binary message.
    Binary(Bytes),
}

impl Frame {
    /// Its length on a WebSocket.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Its length in a polling payload, where bytes are base64.
    fn len_as_text(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => 1 + bytes.len().div_ceil(3) * 4,
        }
    }

    fn append_to(&self, payload: &mut Vec<u8>) {
        match self {
            Self::Text(text) => payload.extend_from_slice(text.as_bytes()),
            Self::Binary(bytes) => encode_base64(bytes, payload),
        }
    }
}

/// Takes frames off the front for one POST: as many as `max` bytes hold, and at least one. Also tells what they count in the queue.
pub(super) fn take_payload(queue: &mut VecDeque<Frame>, max: usize) -> (Vec<u8>, usize) {
    let (mut payload, mut taken) = (Vec::new(), 0);
    while let Some(frame) = queue.front() {
        let separator = usize::from(!payload.is_empty());
        if !payload.is_empty() && payload.len() + separator + frame.len_as_text() > max {
            break;
        }
        if separator == 1 {
            payload.push(SEPARATOR);
        }
        frame.append_to(&mut payload);
        taken += frame.len();
        queue.pop_front();
    }
    (payload, taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_holds_what_the_server_takes_and_at_least_one_packet() {
        let text = |text: &str| Frame::Text(text.to_owned());
        for (max, payloads) in [
            (100, &["4a\x1e4b\x1ebAQID\x1e4long"][..]),
            (5, &["4a\x1e4b", "bAQID", "4long"]),
            (2, &["4a", "4b", "bAQID", "4long"]),
            (0, &["4a", "4b", "bAQID", "4long"]),
        ] {
            let mut queue: VecDeque<_> =
                [text("4a"), text("4b"), Frame::Binary(Bytes::from_static(&[1, 2, 3])), text("4long")].into();
            let mut found = Vec::new();
            while !queue.is_empty() {
                found.push(String::from_utf8(take_payload(&mut queue, max).0).unwrap());
            }
            assert_eq!(found, payloads, "{max}");
        }
    }
}
