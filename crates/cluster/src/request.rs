//! What a server may ask the cluster, and how that ends.

use std::time::Duration;

use thiserror::Error;

use crate::message::Packet;
use crate::name::{Nsp, RequestId, Uid};
use crate::selector::{Flags, Selector};

/// How many requests of one server may be under way; one more is refused.
pub const REQUESTS_MAX: usize = 1024;

/// How long a request waits where its caller does not say; the official default of `fetchSockets`.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How many bytes of answers one request may hold, what it costs to keep each included. An answer beyond is dropped, and its
/// server counted among the missing.
pub const ANSWERS_BYTES_MAX: usize = 64 << 20;

/// How many servers may answer one request; what further ones say is dropped as stray.
pub const ANSWERERS_MAX: usize = 4096;

/// The uid of a server that was counted and that nobody knows by name.
pub const UNKNOWN: &str = "unknown";

/// What a server may want to know from the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// An event for the selected sockets of all servers, this one included, whose acks are wanted.
    Broadcast {
        /// The sockets it is for.
        selector: Selector,
        /// How to treat it. `timeout` is how long acks are waited for; `local` asks this server alone; with
        /// `expect_single_response` the first ack ends the request.
        flags: Flags,
        /// The event, an array.
        packet: Packet,
    },
    /// Who is selected, on all servers, this one included?
    FetchSockets {
        /// The sockets it asks for.
        selector: Selector,
        /// How to treat it: `timeout` and `local` as above.
        flags: Flags,
    },
    /// An event for the other servers, whose answers are wanted.
    ServerSideEmit {
        /// The event, an array.
        packet: Packet,
        /// How long answers are waited for; absent: [`REQUEST_TIMEOUT`].
        timeout: Option<Duration>,
    },
}

/// A request that was not put to anybody. The caller is to blame, and may try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// [`REQUESTS_MAX`] are under way.
    #[error("expected at most {REQUESTS_MAX} requests to the cluster at a time")]
    TooMany,
    /// The packet is no JSON, or has too many binary parts.
    #[error("expected a packet that can be sent")]
    Unsendable,
}

/// How a request has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The request.
    pub request_id: RequestId,
    /// Its namespace.
    pub nsp: Nsp,
    /// What has come, in the order in which it came: of a broadcast one value for each client that acked; of a fetch one array
    /// of sockets for each server; of a server-side event one value for each server.
    pub answers: Vec<Answer>,
    /// Who did not answer, or not in full, ordered by uid. Empty: the answers are all there are.
    pub missing: Vec<Missing>,
}

impl Outcome {
    /// Whether nothing is missing.
    pub const fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// How many clients of a broadcast are known to have been reached but not to have acked.
    pub fn clients_missing(&self) -> u64 {
        self.missing.iter().filter_map(|missing| missing.clients).fold(0, u64::saturating_add)
    }
}

/// One answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The server that it came from.
    pub uid: Uid,
    /// The answer, any JSON value.
    pub packet: Packet,
}

/// A server whose answer is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The server; [`UNKNOWN`] where it was counted and nobody knows its name.
    pub uid: Uid,
    /// What became of it.
    pub why: Why,
    /// Of a broadcast: how many of its clients have not acked; `None` when it did not say how many there are.
    pub clients: Option<u64>,
}

/// Why an answer is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The time was up.
    Late,
    /// The server has left the cluster, or died.
    Gone,
    /// It could not be asked: the backplane did not take the question.
    Unasked,
    /// The answer did not fit into [`ANSWERS_BYTES_MAX`].
    TooLong,
    /// This server closes.
    Closed,
}
