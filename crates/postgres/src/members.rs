//! The channels that this server has open: who hears what.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use sockeye_cluster::adapter::{Arrival, Inbox, Opening};
use sockeye_cluster::counters::Counters;
use sockeye_cluster::{Nsp, Uid};
use tokio::sync::watch;

/// The open channels by their names in PostgreSQL.
#[derive(Debug, Default)]
pub(crate) struct Members {
    members: RwLock<HashMap<String, Arc<Member>>>,
}

/// Whether a channel knows yet after which event it hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Began {
    Unknown,
    /// There are no offsets, or it is over.
    Nowhere,
    After(i64),
}

/// An open channel.
pub(crate) struct Member {
    /// Its name in PostgreSQL.
    pub(crate) topic: String,
    pub(crate) nsp: Nsp,
    pub(crate) uid: Uid,
    inbox: Inbox,
    closed: AtomicBool,
    /// Where it began, where there are offsets.
    began: watch::Sender<Began>,
    /// The last event that was handed on.
    last: AtomicI64,
    pub(crate) counters: Counters,
}

impl Members {
    /// Lists a channel, in place of one of the same namespace.
    pub(crate) fn insert(&self, member: &Arc<Member>) {
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        members.insert(member.topic.clone(), Arc::clone(member));
    }

    /// Strikes a channel off. `true`: nobody listens to its topic.
    pub(crate) fn remove(&self, member: &Arc<Member>) -> bool {
        member.closed.store(true, Ordering::Release);
        member.began.send_if_modified(|began| {
            let unknown = *began == Began::Unknown;
            if unknown {
                *began = Began::Nowhere;
            }
            unknown
        });
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        if members.get(&member.topic).is_some_and(|listed| Arc::ptr_eq(listed, member)) {
            members.remove(&member.topic);
        }
        !members.contains_key(&member.topic)
    }

    pub(crate) fn find(&self, topic: &str) -> Option<Arc<Member>> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).get(topic).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Member>> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl Member {
    /// Makes a channel. `offsets`: what comes waits until [`Member::begin`] is told.
    pub(crate) fn new(topic: String, opening: Opening, offsets: bool) -> Self {
        let Opening { nsp, uid, inbox } = opening;
        let counters = Counters::default();
        let closed = AtomicBool::new(false);
        let began = watch::Sender::new(if offsets { Began::Unknown } else { Began::Nowhere });
        let last = AtomicI64::new(0);
        Self { topic, nsp, uid, inbox, closed, began, last, counters }
    }

    /// Says after which event the channel hears.
    pub(crate) fn begin(&self, after: i64) {
        self.last.store(after, Ordering::Release);
        self.began.send_replace(Began::After(after));
    }

    /// Where the channel began, if that is known.
    pub(crate) fn began(&self) -> Option<i64> {
        match *self.began.borrow() {
            Began::After(after) => Some(after),
            Began::Unknown | Began::Nowhere => None,
        }
    }

    /// Waits until it is known where the channel began.
    pub(crate) async fn ready(&self) {
        // It cannot fail: the sender lives as long as this borrow.
        self.began.subscribe().wait_for(|began| *began != Began::Unknown).await.ok();
    }

    /// The last event that was handed on.
    pub(crate) fn last(&self) -> i64 {
        self.last.load(Ordering::Acquire)
    }

    /// Takes note that an event is handed on.
    pub(crate) fn has_heard(&self, offset: i64) {
        self.last.fetch_max(offset, Ordering::AcqRel);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Hands on what came in, unless the channel is closed.
    pub(crate) fn arrive(&self, arrival: Arrival) {
        if self.is_closed() {
            return;
        }
        self.counters.arrived(&arrival);
        (self.inbox)(arrival);
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("topic", &self.topic).field("uid", &self.uid).finish_non_exhaustive()
    }
}
