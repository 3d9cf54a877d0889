//! Frames in: unmasks in place, checks every rule of RFC 6455, hands out whole messages.
//!
//! A message that lies whole and unfragmented in the input is lent from there without a copy. Only a partial
//! frame or a fragmented message costs a buffer, which is gone at the call that follows its completion.
//! It answers nothing: pings, closes and errors are the caller's to act on.

use super::{Opcode, mask};

/// Turns received bytes into messages.
#[derive(Debug)]
pub struct Decoder {
    max_payload: usize,
    side: Side,
    over: bool,
    partial: Option<Box<Partial>>,
}

impl Decoder {
    /// A server's decoder: frames must be masked. A message over `max_payload` bytes is an error.
    #[must_use]
    pub fn new(max_payload: usize) -> Self {
        Self { max_payload, side: Side::Server, over: false, partial: None }
    }

    /// A client's decoder: frames must not be masked.
    #[must_use]
    pub fn client(max_payload: usize) -> Self {
        Self { side: Side::Client, ..Self::new(max_payload) }
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
    pub fn decode<'a>(&'a mut self, input: &mut &'a mut [u8]) -> Result<Option<Message<'a>>, ProtocolError> {
        if self.partial.as_mut().is_some_and(|partial| partial.recycle()) {
            self.partial = None;
        }
        if self.over {
            *input = &mut [];
        }
        if input.is_empty() {
            return Ok(None);
        }
        let rules = Rules { max_payload: self.max_payload, side: self.side };
        if self.partial.is_none()
            && let Some(message) = whole_message(rules, input).inspect_err(|_| self.over = true)?
        {
            self.over = matches!(message, Message::Close(_));
            return Ok(Some(message));
        }
        let partial = self.partial.get_or_insert_default();
        let done = partial.feed(rules, input).inspect_err(|_| self.over = true)?;
        if !done {
            return Ok(None);
        }
        let message = partial.message().inspect_err(|_| self.over = true)?;
        self.over = matches!(message, Message::Close(_));
        Ok(Some(message))
    }

    /// Whether the decoder holds no buffer: what was given ended with a message, which was asked past.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    /// Bytes of buffer held for an unfinished message.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.payload.capacity())
    }
}

/// One whole message, lent from the input or from the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// UTF-8 text.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
    /// To be answered by a pong with the same payload.
    Ping(&'a [u8]),
    /// A sign of life.
    Pong(&'a [u8]),
    /// The peer ends the conversation, with a code and a reason or without.
    Close(Option<(u16, &'a str)>),
}

/// The peer broke RFC 6455, or a limit of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// §5.2: no extension was negotiated.
    #[error("reserved bits are set")]
    ReservedBits,
    /// §5.2: opcodes 3–7 and 11–15.
    #[error("opcode {0} is reserved")]
    ReservedOpcode(u8),
    /// §5.1: a client masks every frame.
    #[error("a client's frame is not masked")]
    NotMasked,
    /// §5.1: a server masks no frame.
    #[error("a server's frame is masked")]
    Masked,
    /// §5.5: control frames are not fragmented.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// §5.5: control frames hold at most 125 bytes.
    #[error("a control frame is over 125 bytes long")]
    LongControl,
    /// §5.4: a continuation frame continues something.
    #[error("a continuation frame has nothing to continue")]
    NothingToContinue,
    /// §5.4: messages are not interleaved.
    #[error("a message starts within another")]
    Interleaved,
    /// §5.2: the top bit of a 64-bit length is zero.
    #[error("the top bit of a length is set")]
    LengthTopBit,
    /// §5.5.1: a close payload is empty or starts with two bytes of code.
    #[error("a close frame has one byte")]
    ShortClose,
    /// §7.4: codes that mean nothing on the wire.
    #[error("close code {0} is not for the wire")]
    CloseCode(u16),
    /// §8.1: text and close reasons are UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// Our limit on one message.
    #[error("a message is over {max} bytes long")]
    TooBig {
        /// The limit in bytes.
        max: usize,
    },
}

impl ProtocolError {
    /// The code for the close frame that answers this error: RFC 6455 §7.4.1.
    #[must_use]
    pub fn close_code(&self) -> u16 {
        match self {
            Self::NotUtf8 => 1007,
            Self::TooBig { .. } => 1009,
            Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::NotMasked
            | Self::Masked
            | Self::FragmentedControl
            | Self::LongControl
            | Self::NothingToContinue
            | Self::Interleaved
            | Self::LengthTopBit
            | Self::ShortClose
            | Self::CloseCode(_) => 1002,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Server,
    Client,
}

/// What one decoder holds its peer to.
#[derive(Clone, Copy)]
struct Rules {
    max_payload: usize,
    side: Side,
}

/// One frame's header.
#[derive(Clone, Copy, Debug)]
struct Header {
    fin: bool,
    opcode: Opcode,
    mask: [u8; 4],
    payload_len: usize,
}

impl Header {
    /// Longest header of a client's frame.
    const LEN_MAX: usize = 14;

    /// Parses the header at the front of `bytes` and tells its length; `None` if `bytes` ends too early.
    ///
    /// `under_way` is the length of the unfinished message this frame stands in. Each rule is checked as soon as
    /// its bytes are there, so a bad frame is refused at the same byte however it was cut.
    fn parse(
        rules: Rules,
        under_way: Option<usize>,
        bytes: &[u8],
    ) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let opcode = Self::opcode(first, under_way.is_some())?;
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let masked = second & 0x80 != 0;
        match rules.side {
            Side::Server if !masked => return Err(ProtocolError::NotMasked),
            Side::Client if masked => return Err(ProtocolError::Masked),
            Side::Server | Side::Client => {}
        }
        let short = second & 0x7F;
        if opcode.is_control() && short > 125 {
            return Err(ProtocolError::LongControl);
        }
        let (len, mask_at) = match short {
            126 => match bytes.get(2..).and_then(|tail| tail.first_chunk()) {
                Some(long) => (u64::from(u16::from_be_bytes(*long)), 4),
                None => return Ok(None),
            },
            127 => match bytes.get(2..).and_then(|tail| tail.first_chunk()) {
                Some(long) => (u64::from_be_bytes(*long), 10),
                None => return Ok(None),
            },
            len => (u64::from(len), 2),
        };
        if len >> 63 != 0 {
            return Err(ProtocolError::LengthTopBit);
        }
        let room = (rules.max_payload - under_way.unwrap_or(0).min(rules.max_payload)) as u64;
        if !opcode.is_control() && len > room {
            return Err(ProtocolError::TooBig { max: rules.max_payload });
        }
        let header = |mask| Self { fin: first & 0x80 != 0, opcode, mask, payload_len: len as usize };
        if !masked {
            return Ok(Some((header([0; 4]), mask_at)));
        }
        let mask = bytes.get(mask_at..).and_then(|tail| tail.first_chunk());
        Ok(mask.map(|mask| (header(*mask), mask_at + 4)))
    }

    fn opcode(first: u8, under_way: bool) -> Result<Opcode, ProtocolError> {
        if first & 0x70 != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        let bits = first & 0x0F;
        let opcode = Opcode::from_bits(bits).ok_or(ProtocolError::ReservedOpcode(bits))?;
        match opcode {
            Opcode::Continuation if !under_way => Err(ProtocolError::NothingToContinue),
            Opcode::Text | Opcode::Binary if under_way => Err(ProtocolError::Interleaved),
            Opcode::Close | Opcode::Ping | Opcode::Pong if first & 0x80 == 0 => {
                Err(ProtocolError::FragmentedControl)
            }
            Opcode::Continuation
            | Opcode::Text
            | Opcode::Binary
            | Opcode::Close
            | Opcode::Ping
            | Opcode::Pong => Ok(opcode),
        }
    }
}

/// The message at the front of `input` if it is one whole frame; else `input` stays as it is.
fn whole_message<'a>(rules: Rules, input: &mut &'a mut [u8]) -> Result<Option<Message<'a>>, ProtocolError> {
    let Some((header, header_len)) = Header::parse(rules, None, input)? else { return Ok(None) };
    if !header.fin || input.len() - header_len < header.payload_len {
        return Ok(None);
    }
    let frame = std::mem::take(input);
    let (frame, rest) = frame.split_at_mut(header_len + header.payload_len);
    *input = rest;
    let payload = &mut frame[header_len..];
    mask::apply(payload, header.mask, 0);
    message(header.opcode, payload).map(Some)
}

/// Reads a whole payload as the message that `opcode` says it is.
fn message(opcode: Opcode, payload: &[u8]) -> Result<Message<'_>, ProtocolError> {
    let text = |bytes| simdutf8::basic::from_utf8(bytes).map_err(|_| ProtocolError::NotUtf8);
    match opcode {
        Opcode::Text => text(payload).map(Message::Text),
        Opcode::Binary => Ok(Message::Binary(payload)),
        Opcode::Ping => Ok(Message::Ping(payload)),
        Opcode::Pong => Ok(Message::Pong(payload)),
        Opcode::Continuation => Err(ProtocolError::NothingToContinue),
        Opcode::Close => match payload {
            [] => Ok(Message::Close(None)),
            [_] => Err(ProtocolError::ShortClose),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                // §7.4.1 and the IANA registry; 3000–4999 are for libraries and applications.
                if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                    return Err(ProtocolError::CloseCode(code));
                }
                Ok(Message::Close(Some((code, text(reason)?))))
            }
        },
    }
}

/// An unfinished frame, an unfinished message, or both.
#[derive(Debug, Default)]
struct Partial {
    /// The header that is being read.
    head: [u8; Header::LEN_MAX],
    head_len: u8,
    /// The frame whose payload is being read.
    frame: Option<Header>,
    /// How much of it was read.
    frame_read: usize,
    /// Text or Binary: what the fragments in `payload` are.
    kind: Option<Opcode>,
    payload: Vec<u8>,
    /// How much of `payload` is known to be UTF-8.
    valid: usize,
    /// The payload of a control frame, which may stand between fragments.
    control: Vec<u8>,
    /// The message that was handed out: its buffer is waste by now.
    done: Option<Opcode>,
}

impl Partial {
    /// Forgets the message that was handed out; true if nothing is left.
    fn recycle(&mut self) -> bool {
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
    fn feed(&mut self, rules: Rules, input: &mut &mut [u8]) -> Result<bool, ProtocolError> {
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
        if self.kind == Some(Opcode::Text) && !header.opcode.is_control() {
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

    /// The message that is done.
    fn message(&self) -> Result<Message<'_>, ProtocolError> {
        let opcode = self.done.expect("feed said that a message is done");
        message(opcode, if opcode.is_control() { &self.control } else { &self.payload })
    }
}

fn advance(input: &mut &mut [u8], len: usize) {
    let whole = std::mem::take(input);
    *input = &mut whole[len..];
}
