//! Who sends a request, and on which way it came.

use std::net::SocketAddr;

/// Who sends a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    /// The other end of the connection, or the client that an edge or node of ours vouches for.
    pub(crate) peer: SocketAddr,
    /// How the request came here.
    pub(crate) way: Way,
}

/// How a request came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// On a listener that anybody may use.
    Public,
    /// On the private socket; its headers tell the rest.
    Private,
    /// Through the edge of this machine.
    Edge,
    /// From another node, which took it for ours: it is not sent on again.
    Node,
}
