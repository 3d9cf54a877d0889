//! One frame header, and the rules that hold for it: RFC 6455 §5.2 to §5.5.

use super::error::ProtocolError;
use super::opcode::Opcode;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Server,
    Client,
}

/// What one decoder holds its peer to.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) max_payload: usize,
    pub(super) side: Side,
    /// Whether messages may be compressed.
    pub(super) deflate: bool,
}

/// One frame's header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    /// RFC 7692 §6: the message that starts here is compressed.
    pub(super) deflated: bool,
    pub(super) mask: [u8; 4],
    pub(super) payload_len: usize,
}

impl Header {
    /// Longest header of a client's frame.
    pub(super) const LEN_MAX: usize = 14;

    /// Parses the header at the front of `bytes` and tells its length; `None` if `bytes` ends too early.
    ///
    /// `under_way` is the length of the unfinished message this frame stands in. Each rule is checked as soon as
    /// its bytes are there, so a bad frame is refused at the same byte however it was cut.
    pub(super) fn parse(
        rules: Rules,
        under_way: Option<usize>,
        bytes: &[u8],
    ) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (opcode, deflated) = Self::opcode(rules, first, under_way.is_some())?;
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
        let header =
            |mask| Self { fin: first & 0x80 != 0, opcode, deflated, mask, payload_len: len as usize };
        if !masked {
            return Ok(Some((header([0; 4]), mask_at)));
        }
        let mask = bytes.get(mask_at..).and_then(|tail| tail.first_chunk());
        Ok(mask.map(|mask| (header(*mask), mask_at + 4)))
    }

    /// The opcode, and whether it stands before a compressed message.
    fn opcode(rules: Rules, first: u8, under_way: bool) -> Result<(Opcode, bool), ProtocolError> {
        let bits = first & 0x0F;
        // RFC 7692 §6: RSV1 stands on the first frame of a message, never on a control frame.
        let starts = matches!(Opcode::from_bits(bits), Some(Opcode::Text | Opcode::Binary));
        let reserved = if rules.deflate && starts { 0x30 } else { 0x70 };
        if first & reserved != 0 {
            return Err(ProtocolError::ReservedBits);
        }
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
            | Opcode::Pong => Ok((opcode, first & 0x40 != 0)),
        }
    }
}
