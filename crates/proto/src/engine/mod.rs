//! Engine.IO v4: packets, payloads, the handshake, refusals.
//!
//! Absent: HTTP itself, and v3 (it has a parser of its own when it comes).

pub mod handshake;
pub mod packet;
pub mod payload;
pub mod query;
pub mod refusal;

use std::fmt;
use std::str::FromStr;

pub use handshake::Open;
pub use packet::{Content, Packet, PacketError};
pub use query::Query;
pub use refusal::Refusal;

/// How the bytes of a session travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// HTTP long-polling.
    Polling,
    /// A WebSocket.
    WebSocket,
}

impl Transport {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A transport this server does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected polling or websocket")]
pub struct UnknownTransport;

impl FromStr for Transport {
    type Err = UnknownTransport;

    fn from_str(name: &str) -> Result<Self, UnknownTransport> {
        match name {
            "polling" => Ok(Self::Polling),
            "websocket" => Ok(Self::WebSocket),
            _ => Err(UnknownTransport),
        }
    }
}

/// Why an Engine.IO session ended, in the official words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CloseReason {
    /// The transport failed, or the client broke the transport's rules.
    TransportError,
    /// The client went away.
    TransportClose,
    /// This side closed the session, without a cause of the client's.
    ForcedClose,
    /// The client did not answer a ping in time.
    PingTimeout,
    /// A packet could not be decoded.
    ParseError,
    /// The server is going away.
    ServerShuttingDown,
}

impl CloseReason {
    /// The official words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TransportError => "transport error",
            Self::TransportClose => "transport close",
            Self::ForcedClose => "forced close",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
            Self::ServerShuttingDown => "server shutting down",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
