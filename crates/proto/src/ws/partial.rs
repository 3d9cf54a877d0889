//! What a decoder keeps between two calls: a frame or a message that is not whole.

use super::error::ProtocolError;
use super::header::{Header, Rules};
use super::mask;
use super::message::{self, Message};
use super::opcode::Opcode;

/// An unfinished frame, an unfinished message, or both.
#[derive(Debug, Default)]
pub(super) struct Partial {
    /// The header that is being read.
    head: [u8; Header::LEN_MAX],
    head_len: u8,
    /// The frame whose payload is being read.
    frame: Option<Header>,
    /// How much of it was read.
    frame_read: usize,
    /// Text or Binary: what the fragments in `payload` are.
    kind: Option<Opcode>,
    /// Whether they are compressed.
    deflated: bool,
    payload: Vec<u8>,
    /// How much of `payload` is known to be UTF-8.
    valid: usize,
    /// The payload of a control frame, which may stand between fragments.
    control: Vec<u8>,
    /// The message that was handed out: its buffer is waste by now.
    done: Option<Opcode>,
}

impl Partial {
    /// Bytes of buffer held.
    pub(super) fn capacity(&self) -> usize {
        self.payload.capacity() + self.control.capacity()
    }

    /// Forgets the message that was handed out; true if nothing is left.
    pub(super) fn recycle(&mut self) -> bool {
        match self.done.take() {
            None => false,
            Some(opcode) if opcode.is_control() => {
                self.control = Vec::new();
                self.kind.is_none()
            }
            Some(_) => true,
        }
    }

    /// Reads frames until a message is done (true) or the input is used up (false).
    pub(super) fn feed(&mut self, rules: Rules, input: &mut &mut [u8]) -> Result<bool, ProtocolError> {
        loop {
            let Some(header) = self.header(rules, input)? else { return Ok(false) };
            self.read_payload(header, input)?;
            if self.frame_read < header.payload_len {
                return Ok(false);
            }
            self.frame = None;
            self.frame_read = 0;
            if header.opcode.is_control() {
                self.done = Some(header.opcode);
                return Ok(true);
            }
            if header.fin {
                self.done = self.kind.take();
                return Ok(true);
            }
        }
    }

    /// The header of the frame that is being read, once it is whole.
    fn header(&mut self, rules: Rules, input: &mut &mut [u8]) -> Result<Option<Header>, ProtocolError> {
        while self.frame.is_none() {
            let Some(&byte) = input.first() else { return Ok(None) };
            advance(input, 1);
            self.head[usize::from(self.head_len)] = byte;
            self.head_len += 1;
            let under_way = self.kind.map(|_| self.payload.len());
            if let Some((header, _)) =
                Header::parse(rules, under_way, &self.head[..usize::from(self.head_len)])?
            {
                self.head_len = 0;
                if matches!(header.opcode, Opcode::Text | Opcode::Binary) {
                    self.kind = Some(header.opcode);
                    self.deflated = header.deflated;
                }
                self.frame = Some(header);
            }
        }
        Ok(self.frame)
    }

    fn read_payload(&mut self, header: Header, input: &mut &mut [u8]) -> Result<(), ProtocolError> {
        let len = input.len().min(header.payload_len - self.frame_read);
        let chunk = &mut input[..len];
        mask::apply(chunk, header.mask, self.frame_read);
        self.frame_read += len;
        if header.opcode.is_control() {
            self.control.extend_from_slice(chunk);
        } else {
            self.payload.extend_from_slice(chunk);
        }
        advance(input, len);
        if self.kind == Some(Opcode::Text) && !self.deflated && !header.opcode.is_control() {
            self.check_text(header.fin && self.frame_read == header.payload_len)?;
        }
        Ok(())
    }

    /// Checks the text that came since the last check, so that bad text fails before its message ends.
    fn check_text(&mut self, whole: bool) -> Result<(), ProtocolError> {
        match simdutf8::compat::from_utf8(&self.payload[self.valid..]) {
            Ok(_) => self.valid = self.payload.len(),
            Err(error) if error.error_len().is_none() && !whole => self.valid += error.valid_up_to(),
            Err(_) => return Err(ProtocolError::NotUtf8),
        }
        Ok(())
    }

    /// The compressed message that is done, to be inflated by who knows how.
    pub(super) fn deflated(&self) -> Option<(Opcode, &[u8])> {
        let opcode = self.done.filter(|opcode| self.deflated && !opcode.is_control())?;
        Some((opcode, &self.payload))
    }

    /// The message that is done.
    pub(super) fn message(&self) -> Result<Message<'_>, ProtocolError> {
        let opcode = self.done.expect("feed said that a message is done");
        message::read(opcode, if opcode.is_control() { &self.control } else { &self.payload })
    }
}

fn advance(input: &mut &mut [u8], len: usize) {
    let whole = std::mem::take(input);
    *input = &mut whole[len..];
}
