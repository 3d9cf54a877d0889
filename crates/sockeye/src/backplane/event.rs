//! What an application is told of its backplane.

use sockeye_cluster::adapter::ChannelStats;
use std::sync::Arc;

/// Something that happened between this server and its backplane, in one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackplaneEvent {
    /// The connection was lost and is back. Where `whole` is unset, what others published meanwhile is lost.
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
