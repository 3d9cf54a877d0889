//! How a list is kept, and its limits.

use std::time::Duration;

/// How many sockets one message names at most.
pub const SEATS_A_SAY: usize = 500;

/// How many bytes of names and data one message has, about.
pub const BYTES_A_SAY: usize = 64 << 10;

/// How long questions are waited for before one answer goes to all.
pub const ANSWER_PAUSE: Duration = Duration::from_millis(20);

/// How long a server that was asked is waited for before it is asked again.
pub const ASK_PAUSE: Duration = Duration::from_secs(1);

/// How many other servers are known; of more nothing is shown, and they are counted.
pub const SERVERS_MAX: usize = 1024;

/// How a list is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How often a server says that it is there. Default 3 s.
    pub interval: Duration,
    /// How long what another server said holds. Default 10 s: two words may be lost.
    pub timeout: Duration,
    /// How many stays (a socket in a room) one server may have; more are not shown, and counted. Default 100,000.
    pub members_max: usize,
    /// Bytes of what is shown of a socket; of more nothing is shown but its id. Default 4096.
    pub data_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(3),
            timeout: Duration::from_secs(10),
            members_max: 100_000,
            data_bytes_max: 4096,
        }
    }
}
