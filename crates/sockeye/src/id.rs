//! The id of a socket.

use serde::Serialize;
use sockeye_cluster::Room;
use sockeye_proto::sid::Sid;
use std::fmt;

/// The id of a socket: 20 characters that begin with its node's tag. Not the session's id, which is the client's secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(Sid);

impl SocketId {
    pub(crate) fn new(id: Sid) -> Self {
        Self(id)
    }

    pub(crate) fn sid(self) -> Sid {
        self.0
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for SocketId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl From<SocketId> for Room {
    fn from(id: SocketId) -> Self {
        Self::new(id.as_str())
    }
}
