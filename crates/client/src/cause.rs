//! Why connections end.

use std::fmt;

/// Why a connection ended, or could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// A request was refused or failed, the WebSocket could not be opened or broke.
    TransportError,
    /// The server, or something before it, ended the connection.
    TransportClose,
    /// The server's pings stopped.
    PingTimeout,
    /// The server sent what is no packet.
    ParseError,
    /// No greeting came in time ([`Config::connect_timeout`](crate::Config::connect_timeout)).
    TimedOut,
    /// More came than the program took ([`Limits::incoming_max`](crate::Limits::incoming_max)).
    Overrun,
    /// This side closed it.
    Closed,
}

impl Cause {
    /// The official words, where there are any.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TransportError => "transport error",
            Self::TransportClose => "transport close",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
            Self::TimedOut => "timeout",
            Self::Overrun => "overrun",
            Self::Closed => "forced close",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Closed {
    /// Why.
    pub cause: Cause,
    /// What was seen, for people; may be empty.
    pub detail: String,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.is_empty() { self.cause.fmt(f) } else { write!(f, "{}: {}", self.cause, self.detail) }
    }
}
