//! WebSocket (RFC 6455), both halves: handshake, frames in, frames out.
//!
//! The one extension is permessage-deflate, and only where [`Decoder::with_deflate`] says that it was agreed upon; else
//! reserved bits are errors. Nothing here reads or writes a socket.

pub mod decoder;
pub mod deflate;
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
