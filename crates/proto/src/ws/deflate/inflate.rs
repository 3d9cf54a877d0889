//! Payloads made whole again: RFC 7692 §7.2.2.

use flate2::{Decompress, FlushDecompress, Status};

use super::TAIL;
use crate::ws::error::ProtocolError;

/// Whether what was received before may be referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ws) enum Context {
    PerMessage,
    TakenOver,
}

/// An inflated message, and with context takeover what the next one may refer to.
#[derive(Debug)]
pub(in crate::ws) struct Inflater {
    /// Always with the largest window: it costs no byte more, is reset cheaply and reads what was made for smaller ones.
    stream: Decompress,
    message: Vec<u8>,
}

impl Inflater {
    pub(in crate::ws) fn new() -> Self {
        Self { stream: Decompress::new(false), message: Vec::new() }
    }

    /// Inflates the payload of one message, which must not be over `max` bytes then; no more is ever allocated.
    pub(in crate::ws) fn inflate(&mut self, payload: &[u8], max: usize) -> Result<&[u8], ProtocolError> {
        self.message.reserve_exact(payload.len().saturating_mul(4).max(ROOM_MIN).min(max));
        let ended = self.feed(payload, max)?;
        if self.feed(&TAIL, max)? || ended {
            // What made a last block starts afresh after it.
            self.stream.reset(false);
        }
        Ok(&self.message)
    }

    /// Frees the message that was lent.
    pub(in crate::ws) fn recycle(&mut self) {
        self.message = Vec::new();
    }

    /// Bytes of the message that was lent.
    pub(in crate::ws) fn buffered(&self) -> usize {
        self.message.capacity()
    }

    /// Inflates a part of a message; whether it held a last block.
    fn feed(&mut self, mut input: &[u8], max: usize) -> Result<bool, ProtocolError> {
        let mut ended = false;
        loop {
            let (read, written) = (self.stream.total_in(), self.stream.total_out());
            let length = self.message.len();
            let mut beyond = [0];
            let status = if length >= max {
                self.stream.decompress(input, &mut beyond, FlushDecompress::Sync)
            } else {
                if length == self.message.capacity() {
                    self.message.reserve_exact(length.max(ROOM_MIN).min(max - length));
                }
                self.stream.decompress_vec(input, &mut self.message, FlushDecompress::Sync)
            };
            let status = status.map_err(|_| ProtocolError::NotDeflated)?;
            let produced = self.stream.total_out() - written;
            if self.message.len() > max || (length >= max && produced > 0) {
                return Err(ProtocolError::TooBig { max });
            }
            let consumed = (self.stream.total_in() - read) as usize;
            input = &input[consumed..];
            if status == Status::StreamEnd {
                // §7.2.3.5: a last block is not the end of the message, nor of the connection.
                self.stream.reset(false);
                ended = true;
            }
            let full = self.message.len() == self.message.capacity() && produced > 0;
            if input.is_empty() && !full {
                return Ok(ended);
            }
            if consumed == 0 && produced == 0 && status != Status::StreamEnd {
                return Err(ProtocolError::NotDeflated);
            }
        }
    }
}

/// The first room for a message, and the least by which it grows.
const ROOM_MIN: usize = 256;
