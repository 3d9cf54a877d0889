//! The sessions of a namespace that may be recovered, behind their lock, where they are kept in the memory of this node.
//!
//! It is held while an event is numbered and posted and while a session goes on and its socket is listed: else a client could
//! get an event twice, or meet a later one first. It may be taken again by its own thread, since a listener of rooms may emit.

use super::kept::Taken;
use crate::cluster::now;
use crate::payload::EmitError;
use parking_lot::ReentrantMutex;
use sockeye_cluster::mesh::Help;
use sockeye_cluster::recovery::{Config, Held, Stats, Store};
use sockeye_cluster::{Packet, Pid, Selector};
use sockeye_proto::sid::Sid;
use std::cell::RefCell;
use std::time::{Instant, SystemTime};

/// The sessions of a namespace and its last events.
pub(crate) struct Sessions {
    pub(super) store: ReentrantMutex<RefCell<Store>>,
    pub(super) config: Config,
}

/// The session of a client that came back, while it is on its way in.
pub(crate) struct Claim {
    /// The session.
    pub(crate) pid: Pid,
    /// The last event that the client has met, as it says.
    pub(super) offset: Option<String>,
    /// The id of its socket.
    pub(crate) sid: Sid,
    /// The data of its socket, as JSON.
    pub(crate) data: Vec<u8>,
    /// When its credential ends.
    pub(crate) ends: Option<Instant>,
    /// Where its backplane kept it: what came from there.
    pub(super) kept: Option<Taken>,
    /// Where another member of a mesh has told of it: what it told.
    pub(super) help: Option<Help>,
}

impl Sessions {
    /// Keeps nothing yet.
    pub(crate) fn new(config: Config) -> Self {
        let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let start = u64::try_from(start.as_micros()).unwrap_or_default();
        Self { store: ReentrantMutex::new(RefCell::new(Store::new(config, start))), config }
    }

    /// Numbers an event and has it posted.
    pub(super) fn deliver(
        &self,
        selector: &Selector,
        volatile: bool,
        packet: &Packet,
        post: impl FnOnce(&Packet) -> Result<(), EmitError>,
    ) -> Result<(), EmitError> {
        let store = self.store.lock();
        let packet = if volatile {
            store.borrow().stamp(packet)
        } else {
            store.borrow_mut().append(selector, packet, now())
        };
        post(&packet)
    }

    /// Forgets what is too old, and says when that is to be done again.
    pub(crate) fn prune(&self) -> Option<Instant> {
        self.change(|store| {
            store.handle_timeout(now());
            store.poll_timeout()
        })
    }

    /// What was counted, and what is kept.
    pub(crate) fn stats(&self) -> (Stats, Held) {
        self.change(|store| (store.stats(), store.held()))
    }

    /// Changes what is kept.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Store) -> R) -> R {
        let store = self.store.lock();
        let mut store = store.borrow_mut();
        change(&mut store)
    }
}
