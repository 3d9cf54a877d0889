//! What an application is told of its backplane.

use sockeye_cluster::adapter::ChannelStats;
use std::sync::Arc;

/// Something that happened between this server and others: on its backplane, in one namespace, or on the mesh of its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackplaneEvent {
    /// The connection was lost and is back, or this server was behind. Where `whole` is unset, what others published meanwhile is lost.
    Resumed {
        /// The namespace.
        nsp: String,
        /// Whether nothing is lost.
        whole: bool,
    },
    /// Something came that is no message, and was skipped.
    Malformed {
        /// The namespace.
        nsp: String,
    },
    /// Messages of this server could not be published: other servers do not hear of them.
    Unpublished {
        /// The namespace.
        nsp: String,
        /// How many.
        messages: u64,
    },
    /// On the mesh of one machine: a server there was too slow, or broke off, before it had taken messages of this one. Its clients do not hear of them,
    /// but for those that come back by connection state recovery.
    MeshUntaken {
        /// The tag of that server.
        tag: String,
        /// How many.
        messages: u64,
    },
    /// On the mesh: events of a server have not come here, so clients here miss them. Known only where connection state recovery is on.
    MeshMissed {
        /// The tag of that server.
        tag: String,
        /// How many.
        events: u64,
    },
    /// On the mesh: frames came that are no messages, and were skipped.
    MeshMalformed {
        /// How many.
        frames: u64,
    },
}

/// Who hears of it.
pub(crate) type OnBackplane = Arc<dyn Fn(&BackplaneEvent) + Send + Sync>;

/// One namespace on the backplane, in numbers. Counts are since the server's start.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackplaneStats {
    /// Messages published.
    pub published: u64,
    /// Messages that the backplane did not take.
    pub unpublished: u64,
    /// Messages refused, because more waited than `backplane_bytes_max` allows.
    pub refused: u64,
    /// Bytes that wait to be published.
    pub waiting_bytes: usize,
    /// Messages that came in.
    pub received: u64,
    /// What came in and was no message.
    pub malformed: u64,
    /// How often the connection was lost.
    pub disconnects: u64,
    /// How often what was published meanwhile was lost.
    pub gaps: u64,
    /// Requests that ended with answers missing.
    pub partial: u64,
    /// Other servers that are known.
    pub peers: usize,
}

/// The mesh of one machine, in numbers. Counts are since the server's start.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MeshStats {
    /// Other servers that are there, guests among them.
    pub members: usize,
    /// Messages of this server, however many others each went to.
    pub sent: u64,
    /// Messages of others that were acted upon.
    pub received: u64,
    /// How often a message was not sent to a server, for nobody is there whom it concerns.
    pub spared: u64,
    /// Messages of this server that one that is there did not take: it was too slow, or broke off.
    pub untaken: u64,
    /// Events of others that have not come here; known only where connection state recovery is on.
    pub missed: u64,
    /// What came in and was no message.
    pub malformed: u64,
    /// Messages that could not be sent: too long, or with bytes that cannot be written.
    pub unsendable: u64,
    /// Servers that were cut off for being too slow.
    pub cut_off: u64,
    /// Requests that ended with answers missing.
    pub partial: u64,
}

impl MeshStats {
    pub(crate) fn of(stats: &crate::mesh::Stats) -> Self {
        Self {
            members: stats.members,
            sent: stats.node.sent,
            received: stats.node.received,
            spared: stats.spared,
            untaken: stats.dropped,
            missed: stats.lost,
            malformed: stats.malformed + stats.node.malformed,
            unsendable: stats.node.unsendable,
            cut_off: stats.overflows,
            partial: stats.node.partial,
        }
    }
}

impl BackplaneStats {
    pub(super) fn of_channel(channel: ChannelStats) -> Self {
        Self {
            published: channel.published,
            unpublished: channel.unpublished,
            received: channel.received,
            malformed: channel.malformed,
            disconnects: channel.disconnects,
            gaps: channel.gaps,
            ..Self::default()
        }
    }
}
