//! The ways to one server, and what is known of how it takes what comes by them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use slab::Slab;
use sockeye_link::{Connection, Handover};
use sockeye_proto::Tag;
use sockeye_relay::{Cord, Upstream};
use tokio::time::Instant;

use crate::bell::Bell;
use crate::member::MemberId;
use crate::pulse::{Pulse, Sight};

/// One server's door.
pub(crate) struct Door {
    pub(crate) id: MemberId,
    /// Names it in cookies, logs and metrics.
    pub(crate) name: String,
    /// Which sids are its, where it is a node of ours.
    pub(crate) tag: Option<Tag>,
    /// Its number among the workers; 0 where it is none.
    pub(crate) instance: u32,
    /// For connections, where it is a worker.
    handover: Option<Handover>,
    /// For requests.
    pub(crate) upstream: Upstream,
    /// Rung when sessions of it were let go: requests of theirs that wait need wait no more.
    pub(crate) moved: Bell,
    /// Its relayed tunnels.
    cords: Mutex<Slab<Arc<Cord>>>,
    /// Handshakes relayed to it that have no answer yet, and those that got one.
    asking: AtomicU64,
    answered: AtomicU64,
    pulse: Mutex<Pulse>,
}

/// One handshake that waits for its answer; dropped without one it says nothing of the server, since the client may have gone.
pub(crate) struct Asking(Arc<Door>);

impl Door {
    pub(crate) fn to_worker(
        id: MemberId,
        tag: Tag,
        instance: u32,
        handover: Handover,
        upstream: Upstream,
    ) -> Self {
        let door = Self::new(id, tag.to_string(), Some(tag), upstream);
        Self { instance, handover: Some(handover), ..door }
    }

    pub(crate) fn new(id: MemberId, name: String, tag: Option<Tag>, upstream: Upstream) -> Self {
        Self {
            id,
            name,
            tag,
            instance: 0,
            handover: None,
            upstream,
            moved: Bell::default(),
            cords: Mutex::default(),
            asking: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            pulse: Mutex::default(),
        }
    }

    /// Passes a connection to the worker; gives it back where the worker is gone, drains, has its hands full or no descriptor left.
    pub(crate) fn pass(&self, connection: Connection) -> Result<(), Connection> {
        let now = Instant::now().into_std();
        let Some(handover) = &self.handover else { return Err(connection) };
        if self.is_short(now) {
            return Err(connection);
        }
        handover.pass(connection)?;
        self.look(now);
        Ok(())
    }

    /// Asks the worker to let so many sessions go.
    pub(crate) fn shed(&self, sessions: u32) {
        if let Some(handover) = &self.handover {
            handover.shed(sessions);
        }
    }

    pub(crate) const fn is_worker(&self) -> bool {
        self.handover.is_some()
    }

    /// Counts a handshake that is relayed to the server.
    pub(crate) fn ask(self: &Arc<Self>) -> Asking {
        self.asking.fetch_add(1, Ordering::Relaxed);
        self.look(Instant::now().into_std());
        Asking(Arc::clone(self))
    }

    /// Whether the server has taken nothing of what waits for it for long.
    pub(crate) fn is_deaf(&self, now: std::time::Instant) -> bool {
        self.look(now).is_deaf(now)
    }

    /// Whether the worker lacked descriptors for connections a moment ago.
    pub(crate) fn is_short(&self, now: std::time::Instant) -> bool {
        self.look(now).is_short(now)
    }

    /// Keeps a tunnel's cord until [`Self::let_go`].
    pub(crate) fn hold(&self, cord: impl FnOnce(usize) -> Arc<Cord>) -> (usize, Arc<Cord>) {
        let mut cords = self.cords.lock();
        let entry = cords.vacant_entry();
        let key = entry.key();
        let cord = cord(key);
        entry.insert(Arc::clone(&cord));
        (key, cord)
    }

    pub(crate) fn let_go(&self, key: usize) {
        self.cords.lock().try_remove(key);
    }

    pub(crate) fn tunnels(&self) -> usize {
        self.cords.lock().len()
    }

    /// Ends up to so many tunnels, those that opened first, and tells how many. Those that were asked to end and have not yet do not count.
    pub(crate) fn pull(&self, most: u32) -> u32 {
        self.pull_where(most as usize, |_| true)
    }

    /// Ends the tunnels that were silent for so long.
    pub(crate) fn pull_silent(&self, limit: std::time::Duration, now: std::time::Instant) -> u32 {
        self.pull_where(usize::MAX, |cord| cord.silent_for(now) > limit)
    }

    fn pull_where(&self, most: usize, which: impl Fn(&Cord) -> bool) -> u32 {
        // Pulled without the lock: the tunnels' ends come back here.
        let pulled: Vec<Arc<Cord>> = self
            .cords
            .lock()
            .iter()
            .map(|(_, cord)| cord)
            .filter(|cord| !cord.is_pulled() && which(cord))
            .take(most)
            .cloned()
            .collect();
        let pulled = pulled.iter().filter(|cord| cord.pull()).count();
        u32::try_from(pulled).unwrap_or(u32::MAX)
    }

    fn look(&self, now: std::time::Instant) -> Pulse {
        let mut pulse = self.pulse.lock();
        let link = self.handover.as_ref().map(Handover::stats).unwrap_or_default();
        let sight = Sight {
            waiting: (link.queued + link.unreceipted) as u64 + self.asking.load(Ordering::Relaxed),
            taken: link.receipted + self.answered.load(Ordering::Relaxed),
            lost: link.returned,
        };
        // Of one that is gone or drains everything comes back, which says nothing.
        if self.handover.as_ref().is_none_or(Handover::is_open) {
            pulse.handle_sight(sight, now);
        }
        *pulse
    }
}

impl Asking {
    /// The server answered.
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
