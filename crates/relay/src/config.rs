//! The limits of the relay.

use std::num::NonZero;
use std::time::Duration;

use crate::trust::NodeTrust;

/// Bounds what a [`Relay`](crate::Relay) keeps and how long it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long a connect to an upstream may take before the request counts as refused. Longer rides out a busy upstream, shorter answers
    /// the client sooner. Default 2 s; 100 ms to 30 s is sane.
    pub connect_time_max: Duration,
    /// How long an upstream may stay silent before the head of its response, counted from the last piece of the request that went to it (after
    /// an upload, up to twice as long); then the request is lost. A stopped process accepts requests and never answers them. Default 120 s. It
    /// must be longer than the longest answer takes, which for a long poll is the engine's ping interval and timeout (45 s by default).
    pub answer_time_max: Duration,
    /// How many idle connections are kept open to one address; more are closed as they fall idle. Each costs two descriptors' worth of kernel
    /// memory and up to about 16 KiB here. Default 128: at most 2 MiB an address. Zero is `Connection: close` in effect, hence not allowed.
    pub idle_per_address_max: NonZero<u32>,
    /// How long an idle connection is kept. It should be shorter than the upstream's own patience (Node closes after 5 s), or requests meet
    /// closed connections. Default 4 s.
    pub idle_lifetime: Duration,
    /// The largest response head, and the largest piece of a body held at once. Larger heads break the request. Default 64 KiB; the floor
    /// is hyper's, 8 KiB.
    pub buffer_bytes_max: u32,
    /// How the nodes of the cluster know each other, for [`Address::Node`](crate::Address::Node). Default none: such an address cannot be reached.
    pub node_trust: Option<NodeTrust>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect_time_max: Duration::from_secs(2),
            answer_time_max: Duration::from_secs(120),
            idle_per_address_max: const { NonZero::new(128).expect("not zero") },
            idle_lifetime: Duration::from_secs(4),
            buffer_bytes_max: 64 * 1024,
            node_trust: None,
        }
    }
}
