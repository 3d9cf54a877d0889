//! Engine.IO v4: packets, payloads, the handshake, refusals.
//!
//! Absent: HTTP itself, and v3 (it has a parser of its own when it comes).

pub mod handshake;
pub mod packet;
pub mod payload;
pub mod query;
pub mod reason;
pub mod refusal;
pub mod session;
pub mod transport;

pub use handshake::Open;
pub use packet::{Content, Packet, PacketError};
pub use query::Query;
pub use reason::CloseReason;
pub use refusal::Refusal;
pub use transport::Transport;
