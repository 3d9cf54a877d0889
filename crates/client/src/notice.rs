//! What happens to a client in a namespace, other than events.

use crate::cause::Closed;
use std::fmt;

/// What is told beside events.
#[derive(Debug)]
pub(crate) enum Notice {
    Connected(Connected),
    Disconnected(Disconnected),
    Refused { message: String, data: Option<String> },
}

/// How a client is in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// The id of the socket, known to others.
    pub id: String,
    /// Whether the client goes on where it was: rooms are kept, and missed events came before this.
    pub recovered: bool,
}

/// Why a client is out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disconnected {
    /// The server put it out; it asks again only after [`Socket::connect`](crate::Socket::connect).
    ByServer,
    /// This side left.
    ByClient,
    /// The connection ended; it comes back unless [`Config::reconnection`](crate::Config::reconnection) says no.
    Connection(Closed),
}

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByServer => f.write_str("io server disconnect"),
            Self::ByClient => f.write_str("io client disconnect"),
            Self::Connection(closed) => closed.fmt(f),
        }
    }
}
