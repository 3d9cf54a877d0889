//! A message on its way out, encoded once for every recipient and transport.
//!
//! A server's WebSocket frames are not masked (RFC 6455 §5.1), so header and payload are the same bytes for everybody: a
//! mailbox holds a pointer. What polling needs is a part of the same bytes (text) or made on demand (binary).

use crate::framing::Framing;
use bytes::Bytes;
use smallvec::SmallVec;
use sockeye_proto::engine::packet::encode_base64;
use sockeye_proto::engine::payload::SEPARATOR;
use sockeye_proto::engine::v3::payload::Form;
use sockeye_proto::ws::Opcode;
use sockeye_proto::ws::deflate::Window;
use sockeye_proto::ws::encoder::{HEADER_MAX, deflated_header, header};
use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};

/// One engine message, or a Socket.IO packet with its attachments: frames that stay together.
#[derive(Debug)]
pub(crate) struct Outgoing {
    first: Frame,
    attachments: Box<[Frame]>,
    variants: OnceLock<Box<Variants>>,
    cost: u32,
    volatile: bool,
    compress: bool,
    expendable: bool,
    key: Option<Key>,
}

/// Messages of one key replace each other while they wait: the namespace and the user's word.
pub(crate) type Key = Arc<str>;

/// The message as clients get it that take it in another way, each written when the first of them comes.
#[derive(Debug, Default)]
struct Variants {
    framed: [OnceLock<Arc<Outgoing>>; Framing::OTHERS],
    deflated: [OnceLock<Arc<Outgoing>>; WINDOWS],
}

/// One WebSocket frame. A short one needs no allocation of its own.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    buffer: Buffer,
    /// How long the header is.
    payload: u8,
    binary: bool,
}

/// The bytes of a frame.
#[derive(Debug, Clone)]
enum Buffer {
    Short {
        length: u8,
        bytes: [u8; SHORT],
    },
    /// They may begin behind room that the header did not need.
    Long {
        bytes: Vec<u8>,
        start: usize,
    },
}

/// Bytes of a frame that stand in the message itself.
const SHORT: usize = 62;

// What is moved more than this is moved by a call.
const _: () = assert!(size_of::<Outgoing>() <= 128);

/// Bytes of a frame that is copied out of the buffer in which it was written; a longer one takes the buffer.
const COPIED_MAX: usize = 4 << 10;

/// How many windows there are.
const WINDOWS: usize = (Window::MAX.bits() - Window::MIN.bits()) as usize + 1;

/// What the allocator and the queue add to the bytes of a frame, so that a flood of tiny packets counts as well.
const COST_BASE: usize = 64;

impl Outgoing {
    /// Puts frames together: a text frame, and a binary one for each attachment.
    pub(crate) fn new(text: Frame, attachments: &[Bytes]) -> Self {
        Self::of(text, attachments.iter().map(|bytes| Frame::new(Opcode::Binary, &[bytes])).collect())
    }

    /// Frames the parts of a text message of the engine.
    pub(crate) fn text(parts: &[&[u8]]) -> Self {
        let parts: SmallVec<[&[u8]; 8]> = std::iter::once(&b"4"[..]).chain(parts.iter().copied()).collect();
        Self::of(Frame::new(Opcode::Text, &parts), Box::default())
    }

    /// Frames a binary message of the engine.
    pub(crate) fn binary(bytes: &[u8]) -> Self {
        Self::of(Frame::new(Opcode::Binary, &[bytes]), Box::default())
    }

    /// Takes bytes that go out as they are: a handshake, a control frame, a packet of the engine's own.
    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        let buffer = Buffer::Long { bytes: bytes.into(), start: 0 };
        Self::of(Frame { buffer, payload: 0, binary: false }, Box::default()).compress(false)
    }

    /// Makes it one that is dropped where it would have to wait.
    pub(crate) fn volatile(mut self, volatile: bool) -> Self {
        self.volatile = volatile;
        self
    }

    /// Says whether it may be compressed on its way.
    pub(crate) fn compress(mut self, compress: bool) -> Self {
        self.compress = compress;
        self
    }

    /// Makes it one that may be dropped for a client that does not take its mail: nobody waits for an answer to it.
    pub(crate) fn expendable(mut self, expendable: bool) -> Self {
        self.expendable = expendable;
        self
    }

    /// Makes it one that takes the place of an earlier message of that key.
    pub(crate) fn coalesced(mut self, key: Option<Key>) -> Self {
        let cost = key.as_ref().map_or(0, |key| COST_BASE + key.len());
        self.cost = self.cost.saturating_add(u32::try_from(cost).unwrap_or(u32::MAX));
        self.key = key;
        self
    }

    /// Shares it among recipients.
    pub(crate) fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }

    /// The frames, in order, for a vectored write.
    pub(crate) fn frames(&self) -> impl Iterator<Item = &[u8]> {
        self.every_frame().map(Frame::bytes)
    }

    /// The frame, where there is one alone.
    pub(crate) fn only_frame(&self) -> Option<&[u8]> {
        self.attachments.is_empty().then(|| self.first.bytes())
    }

    /// Appends the message as polling wants it: Engine.IO v4 packets separated by `\x1e`, binary as `b` and base64.
    pub(crate) fn append_to_payload(&self, payload: &mut Vec<u8>) {
        for frame in self.every_frame() {
            if !payload.is_empty() {
                payload.push(SEPARATOR);
            }
            if frame.binary {
                encode_base64(frame.payload(), payload);
            } else {
                payload.extend_from_slice(frame.payload());
            }
        }
    }

    /// Its bytes on a WebSocket.
    pub(crate) fn len(&self) -> usize {
        self.frames().map(<[u8]>::len).sum()
    }

    /// Appends the message as polling wants it in v3.
    pub(crate) fn append_to_v3_payload(&self, form: Form, payload: &mut Vec<u8>) {
        for frame in self.every_frame() {
            if frame.binary {
                form.push_binary(frame.payload(), payload);
            } else {
                form.push_text(frame.payload(), payload);
            }
        }
    }

    /// The message with its bytes as a client takes them on a WebSocket.
    pub(crate) fn framed(self: Arc<Self>, framing: Framing) -> Arc<Self> {
        let Some(index) = framing.index().filter(|_| self.has_binary()) else { return self };
        let variant = self.variants.get_or_init(Box::default).framed[index].get_or_init(|| {
            self.map(|frame| frame.framed(framing)).volatile(self.volatile).compress(self.compress).shared()
        });
        Arc::clone(variant)
    }

    /// Whether any frame may be compressed and has such a size.
    pub(crate) fn is_worth_deflating(&self, sizes: &RangeInclusive<usize>) -> bool {
        self.compress && self.every_frame().any(|frame| sizes.contains(&frame.payload().len()))
    }

    /// The message with frames of such sizes compressed, written once for all clients with that window.
    pub(crate) fn deflated_for_all(
        &self,
        window: Window,
        sizes: &RangeInclusive<usize>,
        deflate: impl Fn(&[u8], &mut Vec<u8>),
    ) -> Arc<Self> {
        let index = usize::from(window.bits() - Window::MIN.bits());
        let variant = &self.variants.get_or_init(Box::default).deflated[index];
        Arc::clone(variant.get_or_init(|| self.deflated(sizes, deflate).shared()))
    }

    /// The message with frames of such sizes compressed.
    pub(crate) fn deflated(
        &self,
        sizes: &RangeInclusive<usize>,
        mut deflate: impl FnMut(&[u8], &mut Vec<u8>),
    ) -> Self {
        let deflated = self.map(|frame| {
            if sizes.contains(&frame.payload().len()) { frame.deflated(&mut deflate) } else { frame.clone() }
        });
        deflated.volatile(self.volatile)
    }

    /// Whether any of it is bytes.
    pub(crate) fn has_binary(&self) -> bool {
        self.every_frame().any(|frame| frame.binary)
    }

    /// What the message counts in a mailbox, in bytes.
    pub(crate) fn cost(&self) -> u32 {
        self.cost
    }

    /// Whether it is dropped where it would have to wait.
    pub(crate) fn is_volatile(&self) -> bool {
        self.volatile
    }

    /// Whether it may be dropped for a client that does not take its mail.
    pub(crate) fn is_expendable(&self) -> bool {
        self.expendable
    }

    /// Which earlier message it replaces.
    pub(crate) fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// Whether it may be compressed on its way.
    pub(crate) fn may_compress(&self) -> bool {
        self.compress
    }

    fn every_frame(&self) -> impl Iterator<Item = &Frame> {
        std::iter::once(&self.first).chain(&*self.attachments)
    }

    fn map(&self, mut map: impl FnMut(&Frame) -> Frame) -> Self {
        Self::of(map(&self.first), self.attachments.iter().map(map).collect())
    }

    fn of(first: Frame, attachments: Box<[Frame]>) -> Self {
        let cost = |frame: &Frame| COST_BASE + frame.bytes().len();
        let cost = cost(&first) + attachments.iter().map(cost).sum::<usize>();
        Self {
            first,
            attachments,
            variants: OnceLock::new(),
            cost: u32::try_from(cost).unwrap_or(u32::MAX),
            volatile: false,
            compress: true,
            expendable: false,
            key: None,
        }
    }
}

impl Frame {
    /// Frames the parts of a payload.
    pub(crate) fn new(opcode: Opcode, parts: &[&[u8]]) -> Self {
        let mut buffer = Vec::with_capacity(HEADER_MAX + parts.iter().map(|part| part.len()).sum::<usize>());
        buffer.resize(HEADER_MAX, 0);
        parts.iter().for_each(|part| buffer.extend_from_slice(part));
        Self::around(opcode, buffer, HEADER_MAX).0
    }

    /// Frames what stands in `buffer` from `payload` on: the header goes into the room before. The buffer comes back empty where the frame was
    /// copied out of it, being short.
    ///
    /// # Panics
    /// When less than [`HEADER_MAX`] bytes of room stand before the payload.
    pub(crate) fn around(opcode: Opcode, buffer: Vec<u8>, payload: usize) -> (Self, Vec<u8>) {
        let head = header(opcode, buffer.len() - payload);
        Self::behind(head, opcode, buffer, payload)
    }

    fn behind(
        (head, size): ([u8; HEADER_MAX], usize),
        opcode: Opcode,
        mut buffer: Vec<u8>,
        payload: usize,
    ) -> (Self, Vec<u8>) {
        let start = payload - size;
        buffer[start..payload].copy_from_slice(&head[..size]);
        let frame = |buffer| Self { buffer, payload: size as u8, binary: opcode == Opcode::Binary };
        let mut bytes = [0; SHORT];
        let length = buffer.len() - start;
        match bytes.get_mut(..length) {
            Some(place) => {
                place.copy_from_slice(&buffer[start..]);
                buffer.clear();
                (frame(Buffer::Short { length: length as u8, bytes }), buffer)
            }
            None if length <= COPIED_MAX => {
                let bytes = buffer[start..].to_vec();
                buffer.clear();
                (frame(Buffer::Long { bytes, start: 0 }), buffer)
            }
            None => (frame(Buffer::Long { bytes: buffer, start }), Vec::new()),
        }
    }

    fn framed(&self, framing: Framing) -> Self {
        if !self.binary {
            return self.clone();
        }
        let mut buffer = vec![0; HEADER_MAX];
        let opcode = framing.encode(self.payload(), &mut buffer);
        Self::around(opcode, buffer, HEADER_MAX).0
    }

    fn deflated(&self, deflate: impl FnOnce(&[u8], &mut Vec<u8>)) -> Self {
        let mut buffer = vec![0; HEADER_MAX];
        deflate(self.payload(), &mut buffer);
        let opcode = if self.binary { Opcode::Binary } else { Opcode::Text };
        let head = deflated_header(opcode, buffer.len() - HEADER_MAX);
        Self::behind(head, opcode, buffer, HEADER_MAX).0
    }

    fn bytes(&self) -> &[u8] {
        match &self.buffer {
            Buffer::Short { length, bytes } => &bytes[..usize::from(*length)],
            Buffer::Long { bytes, start } => &bytes[*start..],
        }
    }

    fn payload(&self) -> &[u8] {
        &self.bytes()[usize::from(self.payload)..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_encoding_serves_both_transports() {
        let packet = Outgoing::text(&[b"2", br#"["a"]"#]);
        assert_eq!(frames(&packet), [b"\x81\x0742[\"a\"]"]);
        assert_eq!(payload(&[&packet, &packet]), "42[\"a\"]\u{1e}42[\"a\"]");
    }

    #[test]
    fn attachments_follow_their_packet() {
        let packet = Outgoing::new(Frame::new(Opcode::Text, &[b"451-[]"]), &[Bytes::from_static(&[1, 2, 3])]);
        assert_eq!(frames(&packet), [b"\x81\x06451-[]".to_vec(), vec![0x82, 3, 1, 2, 3]]);
        assert_eq!(payload(&[&packet]), "451-[]\u{1e}bAQID");
    }

    #[test]
    fn bytes_are_framed_as_the_client_takes_them() {
        let text = Frame::new(Opcode::Text, &[b"451-[]"]);
        let packet = Outgoing::new(text, &[Bytes::from_static(&[1, 2, 3])]).shared();
        for (framing, frame) in [
            (Framing::Plain, &[0x82, 3, 1, 2, 3][..]),
            (Framing::Base64, b"\x81\x05bAQID"),
            (Framing::Typed, &[0x82, 4, 4, 1, 2, 3]),
            (Framing::TypedBase64, b"\x81\x06b4AQID"),
        ] {
            let framed = Arc::clone(&packet).framed(framing);
            assert_eq!(frames(&framed), [b"\x81\x06451-[]", frame], "{framing:?}");
            assert!(Arc::ptr_eq(&framed, &Arc::clone(&packet).framed(framing)), "made once: {framing:?}");
        }
        let text = Outgoing::text(&[b"2"]).shared();
        assert!(Arc::ptr_eq(&text, &Arc::clone(&text).framed(Framing::Typed)), "text is the same for all");
    }

    #[test]
    fn a_message_is_compressed_once_for_all_clients_with_a_window() {
        let text = Frame::new(Opcode::Text, &[b"4long enough"]);
        let packet =
            Outgoing::new(text, &[Bytes::from_static(b"long enough"), Bytes::from_static(b"short")]).shared();
        let halve = |payload: &[u8], out: &mut Vec<u8>| out.extend_from_slice(&payload[..payload.len() / 2]);
        let deflated = |window, packet: &Outgoing| packet.deflated_for_all(window, &(11..=12), halve);
        assert!(packet.variants.get().is_none(), "nothing is kept for clients that do not compress");
        let small = deflated(Window::MAX, &packet);
        assert_eq!(frames(&small), [&b"\xC1\x064long "[..], b"\xC2\x05long ", b"\x82\x05short"]);
        assert!(Arc::ptr_eq(&small, &deflated(Window::MAX, &packet)));
        assert!(!Arc::ptr_eq(&small, &deflated(Window::MIN, &packet)));
        for (sizes, compress, worth) in [
            (11..=12, true, true),
            (12..=12, true, true),
            (13..=99, true, false),
            (0..=4, true, false),
            (0..=99, false, false),
        ] {
            let packet = Outgoing::new(Frame::new(Opcode::Text, &[b"4long enough"]), &[]).compress(compress);
            assert_eq!(packet.is_worth_deflating(&sizes), worth, "{sizes:?} {compress}");
        }
        assert!(!Outgoing::raw("HTTP/1.1 101").is_worth_deflating(&(0..=99)), "no handshake is compressed");
    }

    #[test]
    fn v3_payloads_tell_lengths() {
        let text = Frame::new(Opcode::Text, &["451-[\"€\"]".as_bytes()]);
        let packet = Outgoing::new(text, &[Bytes::from_static(&[1, 2, 3])]);
        let payload = |form| {
            let mut payload = Vec::new();
            packet.append_to_v3_payload(form, &mut payload);
            payload
        };
        assert_eq!(payload(Form::Text), "9:451-[\"€\"]6:b4AQID".as_bytes());
        assert_eq!(
            payload(Form::Binary),
            [b"\x00\x01\x01\xff451-[\"\xe2\x82\xac\"]", &[1, 4, 0xff, 4, 1, 2, 3][..]].concat()
        );
    }

    #[test]
    fn long_payloads_get_long_headers() {
        for (length, header) in [(125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let frames = frames(&Outgoing::binary(&vec![7; length]));
            assert_eq!(frames[0].len(), header + length, "{length}");
        }
    }

    #[test]
    fn raw_bytes_go_out_as_they_are() {
        assert_eq!(frames(&Outgoing::raw("HTTP/1.1 101")), [b"HTTP/1.1 101"]);
    }

    fn frames(packet: &Outgoing) -> Vec<Vec<u8>> {
        packet.frames().map(<[u8]>::to_vec).collect()
    }

    fn payload(packets: &[&Outgoing]) -> String {
        let mut payload = Vec::new();
        for packet in packets {
            packet.append_to_payload(&mut payload);
        }
        String::from_utf8(payload).unwrap()
    }
}
