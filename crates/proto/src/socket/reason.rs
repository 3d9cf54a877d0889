//! Why sockets are disconnected.

use std::fmt;

use crate::engine::reason::CloseReason;

/// Why a socket was disconnected, in the official words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DisconnectReason {
    /// The transport failed.
    TransportError,
    /// The client went away.
    TransportClose,
    /// The engine session was closed from here, after a packet that could not be decoded.
    ForcedClose,
    /// The client did not answer a ping in time.
    PingTimeout,
    /// An engine packet could not be decoded.
    ParseError,
    /// The server is going away.
    ServerShuttingDown,
    /// The client broke the protocol of namespaces.
    ForcedServerClose,
    /// The client left the namespace.
    ClientNamespaceDisconnect,
    /// The server put the client out of the namespace.
    ServerNamespaceDisconnect,
}

impl DisconnectReason {
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
            Self::ForcedServerClose => "forced server close",
            Self::ClientNamespaceDisconnect => "client namespace disconnect",
            Self::ServerNamespaceDisconnect => "server namespace disconnect",
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<CloseReason> for DisconnectReason {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::TransportError => Self::TransportError,
            CloseReason::TransportClose => Self::TransportClose,
            CloseReason::ForcedClose => Self::ForcedClose,
            CloseReason::PingTimeout => Self::PingTimeout,
            CloseReason::ParseError => Self::ParseError,
            CloseReason::ServerShuttingDown => Self::ServerShuttingDown,
        }
    }
}
