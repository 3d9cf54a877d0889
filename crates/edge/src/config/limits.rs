//! The limits that all clients of the edge share.

use std::num::NonZero;
use std::time::Duration;

/// How much the edge takes on, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many clients may be connected to the edge itself: relayed connections and tunnels, not those handed over. One more is closed at
    /// once. Default 65,536; each may cost up to `head_bytes_max` while its first request is read, then about 20 KiB while it is relayed.
    pub connections_max: NonZero<u32>,
    /// The largest request head; a larger one gets a 431. Default 16 KiB, sane 8 to 60 KiB: a handed-over head travels in one packet.
    pub head_bytes_max: NonZero<u32>,
    /// How long a client may take to send its first request head, its TLS handshake and PROXY header before it; then it gets a 408. Default 10 s.
    pub head_time_max: Duration,
    /// How long a kept-alive client may take from one request to the end of the next head; then it is closed. Default 75 s, longer than the
    /// 60 s for which nginx keeps its connections to us, so that it never sends a request into a closing one.
    pub idle_time_max: Duration,
    /// How many connections may come back from dead workers at once and wait to be assigned anew; one more is closed. Default 8192, two dead
    /// workers' full queues. Each holds a descriptor and its bytes read.
    pub returned_max: NonZero<u32>,
    /// How long a graceful end waits for requests under way. Default 10 s.
    pub drain_time_max: Duration,
    /// How many new sessions the edge admits in a second, so that a storm of clients that come back does not fell those who serve; one more gets a 503 with
    /// `Retry-After`. 0, the default: as many as come.
    pub sessions_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: const { NonZero::new(65_536).expect("not zero") },
            head_bytes_max: const { NonZero::new(16 * 1024).expect("not zero") },
            head_time_max: Duration::from_secs(10),
            idle_time_max: Duration::from_secs(75),
            returned_max: const { NonZero::new(8192).expect("not zero") },
            drain_time_max: Duration::from_secs(10),
            sessions_per_second: 0,
        }
    }
}
