//! A message on its way out, encoded once for every recipient and transport.
//!
//! A server's WebSocket frames are not masked (RFC 6455 §5.1), so header and payload are the same bytes for everybody: a
//! mailbox holds a pointer. What polling needs is a part of the same bytes (text) or made on demand (binary).

use bytes::Bytes;
use smallvec::{SmallVec, smallvec};
use sockeye_proto::engine::packet::encode_base64;
use sockeye_proto::engine::payload::SEPARATOR;
use sockeye_proto::ws::Opcode;
use sockeye_proto::ws::encoder::header;
use std::sync::Arc;

/// One engine message, or a Socket.IO packet with its attachments: frames that stay together.
#[derive(Debug)]
pub(crate) struct Outgoing {
    frames: SmallVec<[Frame; 1]>,
    cost: u32,
    volatile: bool,
}

/// One WebSocket frame with its header.
#[derive(Debug)]
struct Frame {
    bytes: Bytes,
    header: u8,
    binary: bool,
}

/// What the allocator and the queue add to the bytes of a frame, so that a flood of tiny packets counts as well.
const COST_BASE: usize = 64;

impl Outgoing {
    /// Frames the parts of a Socket.IO packet (without the engine's `4`) and its attachments.
    pub(crate) fn packet(parts: &[&[u8]], attachments: &[Bytes]) -> Self {
        let text = Frame::new(Opcode::Text, std::iter::once(&b"4"[..]).chain(parts.iter().copied()));
        let binary = attachments.iter().map(|bytes| Frame::new(Opcode::Binary, std::iter::once(&bytes[..])));
        Self::of(std::iter::once(text).chain(binary).collect())
    }

    /// Frames a text message of the engine.
    pub(crate) fn text(text: &str) -> Self {
        Self::packet(&[text.as_bytes()], &[])
    }

    /// Frames a binary message of the engine.
    pub(crate) fn binary(bytes: &[u8]) -> Self {
        Self::of(smallvec![Frame::new(Opcode::Binary, std::iter::once(bytes))])
    }

    /// Makes it one that is dropped where it would have to wait.
    pub(crate) fn volatile(mut self, volatile: bool) -> Self {
        self.volatile = volatile;
        self
    }

    /// Shares it among recipients.
    pub(crate) fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }

    /// The frames, in order, for a vectored write.
    pub(crate) fn frames(&self) -> impl Iterator<Item = &Bytes> {
        self.frames.iter().map(|frame| &frame.bytes)
    }

    /// The last `length` bytes of the text frame: the part of a packet that other nodes need, shared and not copied.
    pub(crate) fn tail(&self, length: usize) -> Bytes {
        let text = &self.frames[0].bytes;
        text.slice(text.len().saturating_sub(length)..)
    }

    /// The binary frames' payloads: what other nodes need of the attachments, shared and not copied.
    pub(crate) fn attachments(&self) -> Vec<Bytes> {
        let binary = self.frames.iter().filter(|frame| frame.binary);
        binary.map(|frame| frame.bytes.slice(usize::from(frame.header)..)).collect()
    }

    /// Appends the message as polling wants it: Engine.IO v4 packets separated by `\x1e`, binary as `b` and base64.
    pub(crate) fn append_to_payload(&self, payload: &mut Vec<u8>) {
        for frame in &self.frames {
            separate(payload);
            if frame.binary {
                encode_base64(frame.payload(), payload);
            } else {
                payload.extend_from_slice(frame.payload());
            }
        }
    }

    /// What the message counts in a mailbox, in bytes.
    pub(crate) fn cost(&self) -> u32 {
        self.cost
    }

    /// Whether it is dropped where it would have to wait.
    pub(crate) fn is_volatile(&self) -> bool {
        self.volatile
    }

    fn of(frames: SmallVec<[Frame; 1]>) -> Self {
        let cost = frames.iter().map(|frame| COST_BASE + frame.bytes.len()).sum::<usize>();
        Self { frames, cost: u32::try_from(cost).unwrap_or(u32::MAX), volatile: false }
    }
}

impl Frame {
    fn new<'a>(opcode: Opcode, parts: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let length = parts.clone().map(<[u8]>::len).sum();
        let (head, size) = header(opcode, length);
        let mut bytes = Vec::with_capacity(size + length);
        bytes.extend_from_slice(&head[..size]);
        parts.for_each(|part| bytes.extend_from_slice(part));
        let header = u8::try_from(size).expect("a header has at most ten bytes");
        Self { bytes: bytes.into(), header, binary: opcode == Opcode::Binary }
    }

    fn payload(&self) -> &[u8] {
        &self.bytes[usize::from(self.header)..]
    }
}

/// Separates a packet from the one before it. Engine.IO v4, "HTTP long-polling": record separator.
fn separate(payload: &mut Vec<u8>) {
    if !payload.is_empty() {
        payload.push(SEPARATOR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_encoding_serves_both_transports() {
        let packet = Outgoing::packet(&[b"2", br#"["a"]"#], &[]);
        assert_eq!(frames(&packet), [b"\x81\x0742[\"a\"]"]);
        assert_eq!(payload(&[&packet, &packet]), "42[\"a\"]\u{1e}42[\"a\"]");
        assert_eq!(packet.tail(5), &br#"["a"]"#[..]);
    }

    #[test]
    fn attachments_follow_their_packet() {
        let packet = Outgoing::packet(&[b"51-[]"], &[Bytes::from_static(&[1, 2, 3])]);
        assert_eq!(frames(&packet), [b"\x81\x06451-[]".to_vec(), vec![0x82, 3, 1, 2, 3]]);
        assert_eq!(payload(&[&packet]), "451-[]\u{1e}bAQID");
    }

    #[test]
    fn engine_messages_are_framed_the_same_way() {
        assert_eq!(frames(&Outgoing::text("hi")), [b"\x81\x034hi"]);
        assert_eq!(frames(&Outgoing::binary(b"hi")), [b"\x82\x02hi"]);
        assert_eq!(payload(&[&Outgoing::binary(&[1, 2, 3])]), "bAQID");
    }

    fn frames(packet: &Outgoing) -> Vec<Vec<u8>> {
        packet.frames().map(|bytes| bytes.to_vec()).collect()
    }

    fn payload(packets: &[&Outgoing]) -> String {
        let mut payload = Vec::new();
        for packet in packets {
            packet.append_to_payload(&mut payload);
        }
        String::from_utf8(payload).unwrap()
    }
}
