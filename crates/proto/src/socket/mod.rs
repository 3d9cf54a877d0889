//! Socket.IO v5: packets, events, placeholders of binary attachments.
//!
//! Payloads are checked and stay raw JSON. Absent: values, attachments' bytes, other parsers (msgpack).

pub mod client;
pub mod event;
pub mod packet;
pub mod placeholder;
pub mod reason;

pub use event::Event;
pub use packet::{Kind, Packet, PacketError};
pub use reason::DisconnectReason;
