//! WebSocket (RFC 6455), both halves: handshake, frames in, frames out.
//!
//! No extension is spoken, so reserved bits are errors. Nothing here reads or writes a socket.

pub mod decoder;
pub mod encoder;
pub mod error;
pub mod handshake;
mod header;
pub mod mask;
pub mod message;
pub mod opcode;
mod partial;

pub use decoder::Decoder;
pub use error::ProtocolError;
pub use message::Message;
pub use opcode::Opcode;
