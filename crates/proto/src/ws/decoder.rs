//! Frames in: unmasks in place, checks every rule of RFC 6455, hands out whole messages.
//!
//! A message that lies whole and unfragmented in the input is lent from there without a copy. Only a partial
//! frame or a fragmented message costs a buffer, which is gone at the call that follows its completion. So does a
//! compressed one, and the inflater beside it (47 KiB) is gone too, unless the peer may refer to earlier messages.
//! It answers nothing: pings, closes and errors are the caller's to act on.

use super::deflate::Agreement;
use super::deflate::inflate::{Context, Inflater};
use super::error::ProtocolError;
use super::header::{Header, Rules, Side};
use super::mask;
use super::message::{self, Message};
use super::partial::Partial;

/// Turns received bytes into messages.
#[derive(Debug)]
pub struct Decoder {
    max_payload: usize,
    side: Side,
    over: bool,
    deflate: Option<Context>,
    partial: Option<Box<Partial>>,
    inflater: Option<Box<Inflater>>,
}

impl Decoder {
    /// A server's decoder: frames must be masked. A message over `max_payload` bytes is an error.
    #[must_use]
    pub fn new(max_payload: usize) -> Self {
        Self { max_payload, side: Side::Server, over: false, deflate: None, partial: None, inflater: None }
    }

    /// A client's decoder: frames must not be masked.
    #[must_use]
    pub fn client(max_payload: usize) -> Self {
        Self { side: Side::Client, ..Self::new(max_payload) }
    }

    /// Lets the peer compress messages as agreed upon. The limit holds for them before and after they are inflated, so one
    /// unfinished message costs at most this much, and twice as much while it is handed out.
    #[must_use]
    pub fn with_deflate(self, agreement: &Agreement) -> Self {
        let alone = match self.side {
            Side::Server => agreement.client_no_context_takeover,
            Side::Client => agreement.server_no_context_takeover,
        };
        Self { deflate: Some(if alone { Context::PerMessage } else { Context::TakenOver }), ..self }
    }

    /// Takes the next message off the front of `input`.
    ///
    /// `None` means that all of `input` is consumed and more is needed. Call again while input is left: what was
    /// assembled in the decoder's own buffer is freed by the next call. After a close frame or an error the rest
    /// of the conversation is swallowed (RFC 6455 §5.5.1: nothing follows a close).
    ///
    /// # Errors
    ///
    /// The peer broke the protocol: send a close frame with [`ProtocolError::close_code`], then close.
    pub fn decode<'d, 'i: 'd>(
        &'d mut self,
        input: &mut &'i mut [u8],
    ) -> Result<Option<Message<'d>>, ProtocolError> {
        if self.over || self.partial.is_some() || self.inflater.is_some() {
            self.recycle();
        }
        if self.over {
            *input = &mut [];
        }
        if input.is_empty() {
            return Ok(None);
        }
        let rules = Rules { max_payload: self.max_payload, side: self.side, deflate: self.deflate.is_some() };
        if self.partial.is_none()
            && let Some((header, payload)) = whole_frame(rules, input).inspect_err(|_| self.over = true)?
        {
            if header.deflated {
                let inflated = inflate(&mut self.inflater, payload, self.max_payload);
                let message = inflated.and_then(|payload| message::read(header.opcode, payload));
                return message.map(Some).inspect_err(|_| self.over = true);
            }
            let message = message::read(header.opcode, payload).inspect_err(|_| self.over = true)?;
            self.over = matches!(message, Message::Close(_));
            return Ok(Some(message));
        }
        let partial = self.partial.get_or_insert_default();
        let done = partial.feed(rules, input).inspect_err(|_| self.over = true)?;
        if !done {
            return Ok(None);
        }
        if let Some((opcode, payload)) = partial.deflated() {
            let inflated = inflate(&mut self.inflater, payload, self.max_payload);
            let message = inflated.and_then(|payload| message::read(opcode, payload));
            return message.map(Some).inspect_err(|_| self.over = true);
        }
        let message = partial.message().inspect_err(|_| self.over = true)?;
        self.over = matches!(message, Message::Close(_));
        Ok(Some(message))
    }

    /// Frees what the last call lent.
    fn recycle(&mut self) {
        if self.over || self.partial.as_mut().is_some_and(|partial| partial.recycle()) {
            self.partial = None;
        }
        match (self.deflate, &mut self.inflater) {
            (Some(Context::TakenOver), Some(inflater)) if !self.over => inflater.recycle(),
            _ => self.inflater = None,
        }
    }

    /// Whether the decoder holds no buffer: what was given ended with a message, which was asked past.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.partial.is_none() && self.inflater.as_ref().is_none_or(|inflater| inflater.buffered() == 0)
    }

    /// Bytes of buffer held for an unfinished message, or for one that was lent.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.capacity())
            + self.inflater.as_ref().map_or(0, |inflater| inflater.buffered())
    }
}

fn inflate<'a>(
    inflater: &'a mut Option<Box<Inflater>>,
    payload: &[u8],
    max: usize,
) -> Result<&'a [u8], ProtocolError> {
    inflater.get_or_insert_with(|| Box::new(Inflater::new())).inflate(payload, max)
}

/// The frame at the front of `input`, unmasked, if it is whole and a whole message; else `input` stays as it is.
fn whole_frame<'a>(
    rules: Rules,
    input: &mut &'a mut [u8],
) -> Result<Option<(Header, &'a [u8])>, ProtocolError> {
    let Some((header, header_len)) = Header::parse(rules, None, input)? else { return Ok(None) };
    if !header.fin || input.len() - header_len < header.payload_len {
        return Ok(None);
    }
    let frame = std::mem::take(input);
    let (frame, rest) = frame.split_at_mut(header_len + header.payload_len);
    *input = rest;
    let payload = &mut frame[header_len..];
    mask::apply(payload, header.mask, 0);
    Ok(Some((header, payload)))
}

#[cfg(test)]
mod tests {
    use super::ProtocolError as E;
    use super::*;
    use crate::ws::encoder::masked_frame;
    use crate::ws::opcode::Opcode;

    const MASK: [u8; 4] = [1, 2, 3, 4];

    #[test]
    fn a_decoder_is_small_and_idle_without_a_buffer() {
        assert!(size_of::<Decoder>() <= 32);
        let mut decoder = Decoder::new(1000);
        let mut bytes = masked(0x81, b"hello");
        let mut input = &mut bytes[..];
        assert_eq!(decoder.decode(&mut input), Ok(Some(Message::Text("hello"))));
        assert!(decoder.is_idle());
        let mut bytes = [masked(0x01, b"hel"), masked(0x80, b"lo")].concat();
        let mut input = &mut bytes[..];
        assert_eq!(decoder.decode(&mut input), Ok(Some(Message::Text("hello"))));
        assert!(!decoder.is_idle());
        assert_eq!(decoder.decode(&mut input), Ok(None));
        assert!(decoder.is_idle());
        assert_eq!(decoder.buffered(), 0);
    }

    #[test]
    fn messages_come_out_as_they_were_meant() {
        check(&[masked(0x81, b"a"), masked(0x82, &[0xFF]), masked(0x81, b"")], "text a, binary [255], text ");
        check(&[masked(0x89, b"p"), masked(0x8A, b"")], "ping [112], pong []");
        check(&[masked(0x01, b"a"), masked(0x00, b"b"), masked(0x80, b"c")], "text abc");
        check(&[masked(0x01, b"a"), masked(0x89, b"p"), masked(0x80, b"b")], "ping [112], text ab");
        check(&[masked(0x02, b""), masked(0x80, b"")], "binary []");
        check(&[masked(0x01, b"\xE2\x82"), masked(0x80, b"\xAC")], "text €");
        check(&[masked(0x82, &[7; 126])], &format!("binary {:?}", [7; 126]));
        check(&[masked(0x88, b"")], "close");
        check(&[masked(0x88, &[3, 0xE8])], "close 1000 ");
        check(&[masked(0x88, b"\x03\xE9bye"), masked(0x81, b"late"), vec![0xFF]], "close 1001 bye");
        for code in [1000, 1003, 1007, 1011, 1014, 3000, 4999_u16] {
            check(&[masked(0x88, &code.to_be_bytes())], &format!("close {code} "));
        }
        // RFC 6455 §5.2 obliges the sender, not the receiver, to be minimal.
        check(&[vec![0x81, 0xFE, 0, 1, 0, 0, 0, 0, b'x']], "text x");
        check(&[vec![0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, b'x']], "text x");
    }

    #[test]
    fn every_broken_rule_has_its_cause() {
        for (frames, error) in [
            (vec![masked(0xC1, b"")], E::ReservedBits),
            (vec![masked(0xA1, b"")], E::ReservedBits),
            (vec![masked(0x91, b"")], E::ReservedBits),
            (vec![masked(0x83, b"")], E::ReservedOpcode(3)),
            (vec![masked(0x87, b"")], E::ReservedOpcode(7)),
            (vec![masked(0x8B, b"")], E::ReservedOpcode(11)),
            (vec![masked(0x8F, b"")], E::ReservedOpcode(15)),
            (vec![vec![0x81, 0]], E::NotMasked),
            (vec![vec![0x89, 0]], E::NotMasked),
            (vec![masked(0x09, b"")], E::FragmentedControl),
            (vec![masked(0x08, b"")], E::FragmentedControl),
            (vec![masked(0x89, &[0; 126])], E::LongControl),
            (vec![vec![0x88, 0xFF]], E::LongControl),
            (vec![masked(0x80, b"")], E::NothingToContinue),
            (vec![masked(0x00, b"")], E::NothingToContinue),
            (vec![masked(0x01, b""), masked(0x80, b""), masked(0x80, b"")], E::NothingToContinue),
            (vec![masked(0x01, b""), masked(0x81, b"")], E::Interleaved),
            (vec![masked(0x02, b""), masked(0x01, b"")], E::Interleaved),
            (vec![vec![0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0]], E::LengthTopBit),
            (vec![masked(0x88, &[3])], E::ShortClose),
            (vec![masked(0x88, b"\x03\xE8\xFF")], E::NotUtf8),
            (vec![masked(0x81, b"\xFF")], E::NotUtf8),
            (vec![masked(0x81, b"\xE2\x82")], E::NotUtf8),
            (vec![masked(0x01, b"\xE2\x82"), masked(0x80, b"")], E::NotUtf8),
            (vec![masked(0x01, b"\xED\xA0\x80")], E::NotUtf8),
            (vec![masked(0x01, b"a\xFF")], E::NotUtf8),
            (vec![vec![0x81, 0x85, 0, 0, 0, 0, b'a', 0xFF]], E::NotUtf8),
            (vec![masked(0x82, &[0; 1001])], E::TooBig { max: 1000 }),
            (vec![vec![0x82, 0xFF, 0x7F, 0, 0, 0, 0, 0, 0, 0]], E::TooBig { max: 1000 }),
            (vec![masked(0x02, &[0; 600]), masked(0x00, &[0; 401])], E::TooBig { max: 1000 }),
        ] {
            fail(&frames, error);
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, u16::MAX] {
            fail(&[masked(0x88, &code.to_be_bytes())], E::CloseCode(code));
        }
    }

    #[test]
    fn errors_map_to_close_codes() {
        for (error, code) in [(E::NotUtf8, 1007), (E::TooBig { max: 1 }, 1009), (E::NotMasked, 1002)] {
            assert_eq!(error.close_code(), code);
        }
    }

    #[test]
    fn a_limit_admits_a_message_of_its_size_and_controls_beside_it() {
        check(&[masked(0x02, &[0; 999]), masked(0x89, &[1; 125]), masked(0x80, &[0])], "ping, binary");
    }

    #[test]
    fn a_client_refuses_masked_frames() {
        let mut decoder = Decoder::client(10);
        let mut bytes = [0x81, 1, b'a', 0x81, 0x81];
        let mut input = &mut bytes[..];
        assert_eq!(decoder.decode(&mut input), Ok(Some(Message::Text("a"))));
        assert_eq!(decoder.decode(&mut input), Err(E::Masked));
        let mut bytes = [0x81, 1, b'a'];
        let mut input = &mut bytes[..];
        assert_eq!(decoder.decode(&mut input), Ok(None), "nothing follows an error");
        assert!(input.is_empty());
    }

    #[test]
    fn a_declared_length_reserves_nothing() {
        let mut decoder = Decoder::new(usize::MAX);
        let mut bytes = vec![0x82, 0xFF, 0x00, 0, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(decoder.decode(&mut &mut bytes[..]), Ok(None));
        assert!(decoder.buffered() < 100);
    }

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = masked_frame(Opcode::Text, payload, MASK);
        frame[0] = first;
        frame
    }

    /// Decodes the frames in one piece and byte by byte; a word of `wanted` may leave out the content.
    fn check(frames: &[Vec<u8>], wanted: &str) {
        let bytes = frames.concat();
        for piece in [1, 2, 3, 7, bytes.len()] {
            let (words, error) = decode(&bytes, piece);
            assert_eq!(error, None, "{wanted}");
            let same = words.join(", ") == wanted;
            let kinds = words.iter().map(|word| word.split(' ').next().unwrap_or(""));
            assert!(same || kinds.eq(wanted.split(", ")), "in pieces of {piece}: {words:?}, wanted {wanted}");
        }
    }

    fn fail(frames: &[Vec<u8>], error: ProtocolError) {
        let bytes = frames.concat();
        for piece in [1, 2, 3, 7, bytes.len()] {
            assert_eq!(decode(&bytes, piece).1, Some(error), "in pieces of {piece}");
        }
    }

    fn decode(bytes: &[u8], piece: usize) -> (Vec<String>, Option<ProtocolError>) {
        let mut decoder = Decoder::new(1000);
        let mut words = Vec::new();
        for chunk in bytes.to_vec().chunks_mut(piece) {
            let mut input = chunk;
            loop {
                words.push(match decoder.decode(&mut input) {
                    Ok(None) => break,
                    Err(error) => {
                        return (words, Some(error));
                    }
                    Ok(Some(Message::Text(text))) => format!("text {text}"),
                    Ok(Some(Message::Binary(bytes))) => format!("binary {bytes:?}"),
                    Ok(Some(Message::Ping(bytes))) => format!("ping {bytes:?}"),
                    Ok(Some(Message::Pong(bytes))) => format!("pong {bytes:?}"),
                    Ok(Some(Message::Close(None))) => "close".to_owned(),
                    Ok(Some(Message::Close(Some((code, reason))))) => format!("close {code} {reason}"),
                });
            }
        }
        (words, None)
    }
}
