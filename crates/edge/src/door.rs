//! The ways to one worker, and what is known of how it takes what comes by them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use sockeye_link::{Connection, Handover};
use sockeye_proto::Tag;
use sockeye_relay::Upstream;
use tokio::time::Instant;

use crate::pulse::{Pulse, Sight};

/// One worker's door.
pub(crate) struct Door {
    pub(crate) tag: Tag,
    pub(crate) instance: u32,
    /// For connections.
    handover: Handover,
    /// For requests.
    pub(crate) upstream: Upstream,
    /// Handshakes relayed to it that have no answer yet, and those that got one.
    asking: AtomicU64,
    answered: AtomicU64,
    pulse: Mutex<Pulse>,
}

/// One handshake that waits for its answer; dropped without one it says nothing of the worker, since the client may have gone.
pub(crate) struct Asking(Arc<Door>);

impl Door {
    pub(crate) fn new(tag: Tag, instance: u32, handover: Handover, upstream: Upstream) -> Self {
        Self {
            tag,
            instance,
            handover,
            upstream,
            asking: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            pulse: Mutex::default(),
        }
    }

    /// Passes a connection to the worker; gives it back where the worker is gone, drains, has its hands full or no descriptor left.
    pub(crate) fn pass(&self, connection: Connection) -> Result<(), Connection> {
        let now = Instant::now().into_std();
        if self.is_short(now) {
            return Err(connection);
        }
        self.handover.pass(connection)?;
        self.look(now);
        Ok(())
    }

    /// Counts a handshake that is relayed to the worker.
    pub(crate) fn ask(self: &Arc<Self>) -> Asking {
        self.asking.fetch_add(1, Ordering::Relaxed);
        self.look(Instant::now().into_std());
        Asking(Arc::clone(self))
    }

    /// Whether the worker has taken nothing of what waits for it for long.
    pub(crate) fn is_deaf(&self, now: std::time::Instant) -> bool {
        self.look(now).is_deaf(now)
    }

    /// Whether the worker lacked descriptors for connections a moment ago.
    pub(crate) fn is_short(&self, now: std::time::Instant) -> bool {
        self.look(now).is_short(now)
    }

    fn look(&self, now: std::time::Instant) -> Pulse {
        let mut pulse = self.pulse.lock();
        let link = self.handover.stats();
        let sight = Sight {
            waiting: (link.queued + link.unreceipted) as u64 + self.asking.load(Ordering::Relaxed),
            taken: link.receipted + self.answered.load(Ordering::Relaxed),
            lost: link.returned,
        };
        // Of one that is gone or drains everything comes back, which says nothing.
        if self.handover.is_open() {
            pulse.handle_sight(sight, now);
        }
        *pulse
    }
}

impl Asking {
    /// The worker answered.
    pub(crate) fn answered(self) {
        self.0.answered.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        // One that gave up after long is seen to have waited.
        self.0.look(Instant::now().into_std());
        self.0.asking.fetch_sub(1, Ordering::Relaxed);
    }
}
