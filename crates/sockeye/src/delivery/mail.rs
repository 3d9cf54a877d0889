//! What reaches a connection from other tasks.

use crate::outgoing::Outgoing;
use crate::transport::{PollRequest, PostRequest, WebSocket};
use smallvec::SmallVec;
use sockeye_cluster::Nsp;
use sockeye_proto::sid::Sid;
use std::sync::Arc;
use std::time::Instant;

/// One piece of mail.
#[derive(Debug)]
pub(crate) enum Mail {
    /// A packet for the client.
    Packet(Arc<Outgoing>),
    /// Anything rarer.
    Control(Box<Control>),
}

/// Mail that changes something.
#[derive(Debug)]
pub(crate) enum Control {
    /// The session is of v3: its client is in `/` without asking for it.
    Begin,
    /// A GET of a polling client.
    Poll(PollRequest),
    /// A POST of a polling client.
    Post(PostRequest),
    /// A request that the transport does not allow; the session ends.
    BadRequest,
    /// A WebSocket that came with this session's id.
    Probe(WebSocket),
    /// The server takes the socket out of a namespace; `close` ends the connection as well.
    Disconnect {
        /// The namespace.
        nsp: Nsp,
        /// Whether to close the engine, too.
        close: bool,
    },
    /// The credential of a socket ends at another time, or never.
    Expire {
        /// The socket.
        id: Sid,
        /// When.
        at: Option<Instant>,
    },
    /// The server closes the session.
    Close,
    /// The server shuts down.
    Shutdown,
}

impl Control {
    /// Whether the client sent it, so that there may be any number.
    pub(super) fn is_request(&self) -> bool {
        match self {
            Self::Poll(_) | Self::Post(_) | Self::BadRequest | Self::Probe(_) => true,
            Self::Begin | Self::Disconnect { .. } | Self::Expire { .. } | Self::Close | Self::Shutdown => {
                false
            }
        }
    }
}

/// Mail, as a connection takes it.
pub(crate) type Batch = SmallVec<[Mail; 4]>;
