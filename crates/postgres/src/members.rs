//! The channels that this server has open: who hears what.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use sockeye_cluster::adapter::{Arrival, ChannelStats, Inbox, Opening};
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
    pub(crate) published: AtomicU64,
    pub(crate) unpublished: AtomicU64,
    received: AtomicU64,
    malformed: AtomicU64,
    disconnects: AtomicU64,
    gaps: AtomicU64,
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
        let [published, unpublished, received, malformed, disconnects, gaps] = Default::default();
        let closed = AtomicBool::new(false);
        let began = watch::Sender::new(if offsets { Began::Unknown } else { Began::Nowhere });
        let last = AtomicI64::new(0);
        Self {
            topic,
            nsp,
            uid,
            inbox,
            closed,
            began,
            last,
            published,
            unpublished,
            received,
            malformed,
            disconnects,
            gaps,
        }
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
        let counter = match &arrival {
            Arrival::Message { .. } => Some(&self.received),
            Arrival::Malformed => Some(&self.malformed),
            Arrival::Resumed { whole: false } => Some(&self.gaps),
            Arrival::Resumed { whole: true } => None,
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        (self.inbox)(arrival);
    }

    pub(crate) fn disconnected(&self) {
        self.disconnects.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> ChannelStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ChannelStats {
            published: read(&self.published),
            unpublished: read(&self.unpublished),
            received: read(&self.received),
            malformed: read(&self.malformed),
            disconnects: read(&self.disconnects),
            gaps: read(&self.gaps),
        }
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("topic", &self.topic).field("uid", &self.uid).finish_non_exhaustive()
    }
}
