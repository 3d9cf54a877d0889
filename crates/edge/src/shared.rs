//! What all connections of the edge share.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use sockeye_relay::Relay;

use crate::config::{Config, Group};
use crate::stats::{Counters, Stats};
use crate::workers::Workers;

/// The workers, the relay to them, the counters, and whether the end has begun.
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// The address that clients reach.
    pub(crate) address: SocketAddr,
    pub(crate) workers: Workers,
    pub(crate) relay: Relay,
    pub(crate) counters: Counters,
    draining: AtomicBool,
}

impl Shared {
    pub(crate) fn new(config: Config, address: SocketAddr) -> Self {
        Self {
            address,
            workers: Workers::new(&config.groups[0]),
            relay: Relay::new(config.relay.clone()),
            counters: Counters::default(),
            draining: AtomicBool::new(false),
            config,
        }
    }

    /// The one group there is.
    pub(crate) fn group(&self) -> &Group {
        &self.config.groups[0]
    }

    /// From here on the edge is not ready any more.
    pub(crate) fn begin_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed) && self.workers.is_ready()
    }

    pub(crate) fn stats(&self) -> Stats {
        let counters = &self.counters;
        Stats {
            accepted: counters.accepted.value(),
            shed: counters.shed.value(),
            open: counters.open.value(),
            handed_over: counters.handed_over.value(),
            returned: counters.returned.value(),
            bad_heads: counters.bad_heads.value(),
            unknown_sids: counters.unknown_sids.value(),
            unavailable: counters.unavailable.value(),
            relay: self.relay.stats(),
            workers: self.workers.stats(),
        }
    }
}
