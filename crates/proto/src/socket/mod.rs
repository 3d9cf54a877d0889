//! Socket.IO v5, and v4 for older clients: packets, events, placeholders of binary attachments, msgpack.
//!
//! Payloads are checked and stay raw JSON, whatever they were on the wire. Absent: values, and other parsers than these two.

pub mod client;
pub mod dialect;
pub mod event;
pub mod msgpack;
pub mod packet;
pub mod placeholder;
pub mod reason;

pub use dialect::{Dialect, Parser};
pub use event::Event;
pub use packet::{Kind, Packet, PacketError};
pub use reason::DisconnectReason;
