//! What a bus can do.

/// What a bus can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It carries messages; servers say that they live. As Postgres.
    Plain,
    /// It counts servers and carries what is said to a room to those who listen for it. As sharded Redis.
    Selecting,
    /// It has offsets, keeps events and sessions, and counts servers. As Redis Streams.
    Keeping,
}
