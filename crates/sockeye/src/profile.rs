//! What is known of a socket beside its connection: what its handle and the index of its namespace share.

use crate::acks::Acks;
use crate::handshake::Handshake;
use parking_lot::Mutex;
use serde_json::value::RawValue;
use sockeye_cluster::Pid;
use std::sync::OnceLock;

/// A socket's request, its data, and the acks that it owes.
#[derive(Debug)]
pub(crate) struct Profile {
    /// The request that opened the session, and the `auth` payload.
    pub(crate) handshake: Handshake,
    /// The acks that the client owes to the server.
    pub(crate) acks: Acks,
    /// What the application keeps with the socket.
    pub(crate) data: Mutex<Option<Box<RawValue>>>,
    /// Its session, where there is one that can be recovered.
    pub(crate) pid: OnceLock<Pid>,
}

// With the counts of its `Arc` it fits the allocator's next smaller size.
const _: () = assert!(size_of::<Profile>() <= 112);

impl Profile {
    /// The profile of a socket that nothing is known of yet but its request.
    pub(crate) fn new(handshake: Handshake) -> Self {
        Self { handshake, acks: Acks::default(), data: Mutex::new(None), pid: OnceLock::new() }
    }
}
