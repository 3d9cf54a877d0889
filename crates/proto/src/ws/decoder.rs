//! Frames in: unmasks in place, checks every rule of RFC 6455, hands out whole messages.
//!
//! A message that lies whole and unfragmented in the input is lent from there without a copy. Only a partial
//! frame or a fragmented message costs a buffer, which is gone at the call that follows its completion.
//! It answers nothing: pings, closes and errors are the caller's to act on.

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
        self.partial.as_ref().map_or(0, |partial| partial.capacity())
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
    message::read(header.opcode, payload).map(Some)
}
