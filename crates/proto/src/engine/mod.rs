//! Engine.IO: packets, payloads, the handshake, refusals. What names no version is v4's or both's; [`v3`] has what differs.
//!
//! Absent: HTTP itself.

pub mod cookie;
pub mod handshake;
pub mod opened;
pub mod packet;
pub mod payload;
pub mod query;
pub mod reason;
pub mod refusal;
pub mod session;
pub mod transport;
pub mod v3;

pub use cookie::Cookie;
pub use handshake::Open;
pub use opened::Opened;
pub use packet::{Content, Packet, PacketError};
pub use query::{Protocol, Query};
pub use reason::CloseReason;
pub use refusal::Refusal;
pub use transport::Transport;
