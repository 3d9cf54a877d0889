//! What a node says of itself.

use std::net::SocketAddr;
use std::path::PathBuf;

use sockeye_proto::sid::Tag;

use crate::address::Address;
use crate::name::Uid;
use crate::peers::Peer;

/// A node as it announces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The first characters of the sids that it issues.
    pub tag: Tag,
    /// Which machine it runs on: the same text for those that share a file system's sockets, and for no other.
    pub machine: Box<str>,
    /// Where it takes requests of nodes of its machine.
    pub unix: Option<PathBuf>,
    /// Where it takes requests of any node.
    pub tcp: Option<SocketAddr>,
    /// How many sessions it has.
    pub load: u32,
}

impl Entry {
    /// The node as it is reached from this machine.
    pub(super) fn peer(&self, uid: Uid, machine: &str) -> Peer {
        let near = self.unix.clone().filter(|_| *self.machine == *machine).map(Address::Unix);
        Peer { uid, tag: Some(self.tag), http: near.or_else(|| self.tcp.map(Address::Tcp)), guest: false }
    }
}
