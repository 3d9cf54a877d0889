//! What a node counts.

/// What a node has counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages sent.
    pub sent: u64,
    /// Messages taken from others and acted upon, replies that counted included.
    pub received: u64,
    /// Messages of its own that came back.
    pub own: u64,
    /// Frames that were no message; each was skipped.
    pub malformed: u64,
    /// Messages that could not be sent: no JSON, or too long.
    pub unsendable: u64,
    /// Requests put to the cluster.
    pub requests: u64,
    /// Requests refused: too many under way, or unsendable.
    pub refused: u64,
    /// Requests that ended with answers missing.
    pub partial: u64,
    /// Replies that nobody waits for: late, repeated, or to no request of this server; each was skipped.
    pub stray: u64,
    /// Answers that were too long to keep.
    pub dropped: u64,
    /// Requests of others that had come before; each was skipped.
    pub repeated: u64,
}
