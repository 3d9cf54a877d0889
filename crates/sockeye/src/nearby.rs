//! A node of the cluster as it is reached from here.

use sockeye_proto::sid::Tag;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A node that can be reached from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// What its sids begin with.
    pub tag: Tag,
    /// Where it takes requests of nodes.
    pub at: NeighbourAddress,
    /// How many sessions it said that it has, up to 3 s ago.
    pub sessions: u32,
}

/// Where a node takes requests of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NeighbourAddress {
    /// A Unix socket of this machine and user.
    Socket(PathBuf),
    /// The port of its [`NodeLink`](crate::NodeLink), with the secret of the cluster.
    Link(SocketAddr),
}
