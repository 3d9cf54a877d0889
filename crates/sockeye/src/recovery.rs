//! Connection state recovery, as it is asked for.

use std::time::Duration;

/// Lets a client whose connection broke go on where it was: with its id, its rooms, its data and the events that it missed.
///
/// What is missed is kept in the memory of one node: a client that comes back to another node, or after a restart, begins anew, as
/// `socket.recovered` tells it. Under `sockeye up` with several workers a client comes back to its own only by chance.
/// For each namespace there are kept up to 10,000 events of 16 MiB in all, and 10,000 sessions that wait, each with up to
/// 64 KiB of data; a client that missed more than 4 MiB begins anew.
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
}

impl Default for Recovery {
    fn default() -> Self {
        Self { max_disconnection_duration: Duration::from_secs(120), skip_middlewares: true }
    }
}
