//! Why sessions end.

use std::fmt;

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
