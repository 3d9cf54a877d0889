//! Connection state recovery, as it is asked for.

use sockeye_cluster::recovery::{Config as Store, Held, Stats as Counted};
use std::time::Duration;

/// Lets a client whose connection broke go on where it was: with its id, its rooms, its data and the events that it missed.
///
/// Where the backplane ([`Config::adapter`](crate::Config::adapter)) keeps sessions, and among the workers of one machine, a client may come back to any
/// server, also after its own was killed; `docs/library.md` tells which backplanes do, and what it costs. Elsewhere what is missed is kept in the
/// memory of one node: a client that comes back to another node, or after a restart, begins anew, as `socket.recovered` tells it.
/// What is kept is bounded for each namespace. What a client said to be back for and is not kept makes it begin anew; nothing is ever
/// restored in part. What becomes of clients that come back is counted in [`Stats::recovery`](crate::Stats::recovery).
///
/// A stock client sees an offset as one more argument of each event that wants no ack: the last one, a string.
///
/// ```
/// use sockeye::{Config, Recovery, Server};
///
/// let config = Config { connection_state_recovery: Some(Recovery::default()), ..Config::default() };
/// let io = Server::new(config);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// How long a client may be away. Default 120 s.
    pub max_disconnection_duration: Duration,
    /// Whether guards are skipped for a client that comes back. Default `true`, as officially: a guard that checks a credential is
    /// not asked again.
    pub skip_middlewares: bool,
    /// How many events a namespace keeps; the oldest go first. Default 10,000.
    pub packets_max: usize,
    /// How many bytes of events a namespace keeps, with what it costs to keep them; the oldest go first. Default 16 MiB.
    pub packet_bytes_max: usize,
    /// How many sessions of a namespace wait for their clients; the one that waits longest goes first. Default 10,000.
    pub sessions_max: usize,
    /// Bytes of the longest data of a socket ([`Socket::set_data`](crate::Socket::set_data)), as JSON; a session with more is not kept.
    /// Default 64 KiB.
    pub data_bytes_max: usize,
    /// Bytes of missed events that a client gets back at once; at more it begins anew. At most half of `mailbox_bytes_max` counts.
    /// Default 4 MiB.
    pub missed_bytes_max: usize,
    /// Bytes of copies of sessions that a worker keeps for all workers of its machine, with what it costs to keep them, for each namespace; what
    /// does not fit is not kept there. Default 64 MiB.
    pub copy_bytes_max: usize,
}

/// What became of sessions, in numbers: those of all namespaces together. Counts are since the server's start.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryStats {
    /// Sessions that wait for their clients.
    pub away: usize,
    /// Events that are kept.
    pub packets: usize,
    /// Bytes of these, with what it costs to keep them.
    pub packet_bytes: usize,
    /// Clients that went on where they were.
    pub restored: u64,
    /// Sessions whose client did not come back within `max_disconnection_duration`, or not before its credential ended.
    pub expired: u64,
    /// Sessions not kept, for `sessions_max` or `data_bytes_max`.
    pub evicted: u64,
    /// Clients that named a session that is not there, or is in use.
    pub unknown: u64,
    /// Clients that named an offset that was never given.
    pub strange: u64,
    /// Clients that had missed what is not kept, or more than `missed_bytes_max`.
    pub incomplete: u64,
    /// Events dropped before they were old, for `packets_max` or `packet_bytes_max`.
    pub cut: u64,
}

impl RecoveryStats {
    pub(crate) fn add(&mut self, counted: &Counted, held: &Held) {
        self.away += held.away;
        self.packets += held.packets;
        self.packet_bytes += held.bytes;
        self.restored += counted.restored;
        self.expired += counted.expired;
        self.evicted += counted.evicted;
        self.unknown += counted.unknown;
        self.strange += counted.strange;
        self.incomplete += counted.incomplete;
        self.cut += counted.cut;
    }
}

impl Default for Recovery {
    fn default() -> Self {
        let store = Store::default();
        Self {
            max_disconnection_duration: store.max_disconnection_duration,
            skip_middlewares: true,
            packets_max: store.packets_max,
            packet_bytes_max: store.packet_bytes_max,
            sessions_max: store.sessions_max,
            data_bytes_max: store.data_bytes_max,
            missed_bytes_max: store.missed_bytes_max,
            copy_bytes_max: store.copy_bytes_max,
        }
    }
}
