//! The messages of a stream, owned, so that two ways of decoding can be compared.

use sockeye_proto::ws::{Decoder, Message, Opcode, ProtocolError, encoder};

/// A message, owned.
#[derive(Debug, PartialEq)]
pub(super) struct Owned(pub(super) Opcode, pub(super) Vec<u8>);

/// What a decoder makes of bytes that come in pieces of this size.
pub(super) fn decode(mut decoder: Decoder, data: &[u8], size: usize) -> (Vec<Owned>, Option<ProtocolError>) {
    let mut messages = Vec::new();
    let mut data = data.to_vec();
    for mut piece in data.chunks_mut(size) {
        loop {
            messages.push(match decoder.decode(&mut piece) {
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
                Ok(Some(Message::Text(text))) => Owned(Opcode::Text, text.into()),
                Ok(Some(Message::Binary(bytes))) => Owned(Opcode::Binary, bytes.into()),
                Ok(Some(Message::Ping(bytes))) => Owned(Opcode::Ping, bytes.into()),
                Ok(Some(Message::Pong(bytes))) => Owned(Opcode::Pong, bytes.into()),
                Ok(Some(Message::Close(None))) => Owned(Opcode::Close, Vec::new()),
                Ok(Some(Message::Close(Some((code, reason))))) => {
                    Owned(Opcode::Close, encoder::close_payload(code, reason))
                }
            });
        }
        assert!(piece.is_empty(), "None means that all is consumed");
        assert!(decoder.buffered() <= 4096, "a buffer beyond twice the limit");
    }
    (messages, None)
}
