//! Whole messages.

use super::error::ProtocolError;
use super::opcode::Opcode;

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

/// Reads a whole payload as the message that `opcode` says it is.
pub(super) fn read(opcode: Opcode, payload: &[u8]) -> Result<Message<'_>, ProtocolError> {
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
