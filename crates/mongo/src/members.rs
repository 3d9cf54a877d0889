//! The channels that this server has open: who hears what.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mongodb::bson::Document;
use mongodb::bson::oid::ObjectId;
use parking_lot::{Mutex, RwLock};
use sockeye_cluster::adapter::{Arrival, Inbox, Opening, Position};
use sockeye_cluster::counters::Counters;
use sockeye_cluster::{Envelope, Nsp, Uid};
use tokio::sync::watch;

use crate::log::{Entry, Log};

/// The open channels by their namespaces, and where the stream stands.
#[derive(Debug, Default)]
pub(crate) struct Members {
    members: RwLock<HashMap<Nsp, Arc<Member>>>,
    tokens: Mutex<VecDeque<(Instant, Document)>>,
}

/// An open channel.
pub(crate) struct Member {
    pub(crate) nsp: Nsp,
    pub(crate) uid: Uid,
    /// Whether events have offsets.
    pub(crate) recovery: bool,
    pub(crate) log: Mutex<Log>,
    inbox: Inbox,
    closed: AtomicBool,
    /// The mark that is waited for, and whether it has come.
    mark: Mutex<Option<ObjectId>>,
    began: watch::Sender<Option<ObjectId>>,
    /// Marks that somebody waits for, and how many have come.
    wanted: Mutex<HashSet<ObjectId>>,
    passed: watch::Sender<u64>,
    pub(crate) counters: Counters,
}

/// How old a place in the stream is that is written down with a session: older than a dead connection can pass for alive. What was said before it the client has met.
const TOKEN_AGE: Duration = Duration::from_secs(90);

/// How often a place is remembered.
const TOKEN_EACH: Duration = Duration::from_secs(5);

impl Members {
    /// Lists a channel, in place of one of the same namespace.
    pub(crate) fn insert(&self, member: &Arc<Member>) {
        self.members.write().insert(member.nsp.clone(), Arc::clone(member));
    }

    /// Strikes a channel off.
    pub(crate) fn remove(&self, member: &Arc<Member>) {
        member.closed.store(true, Ordering::Release);
        let mut members = self.members.write();
        if members.get(&member.nsp).is_some_and(|listed| Arc::ptr_eq(listed, member)) {
            members.remove(&member.nsp);
        }
    }

    pub(crate) fn find(&self, nsp: &str) -> Option<Arc<Member>> {
        self.members.read().get(nsp).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Member>> {
        self.members.read().values().cloned().collect()
    }

    /// Takes note of where the stream stands.
    pub(crate) fn stands_at(&self, token: Document, now: Instant) {
        let mut tokens = self.tokens.lock();
        if tokens.back().is_some_and(|(then, _)| now.duration_since(*then) < TOKEN_EACH) {
            return;
        }
        tokens.push_back((now, token));
        // One that is old enough stays.
        while tokens.get(1).is_some_and(|(then, _)| now.duration_since(*then) >= TOKEN_AGE) {
            tokens.pop_front();
        }
    }

    /// A place in the stream before everything that a client whose connection is dead may have missed.
    pub(crate) fn stood_at(&self) -> Option<Document> {
        self.tokens.lock().front().map(|(_, token)| token.clone())
    }

    /// The places are worth nothing any more.
    pub(crate) fn lost_its_place(&self) {
        self.tokens.lock().clear();
    }
}

impl Member {
    pub(crate) fn new(opening: Opening, recovery: bool) -> Self {
        let Opening { nsp, uid, inbox } = opening;
        let counters = Counters::default();
        let (log, mark, began) = (Mutex::default(), Mutex::new(None), watch::Sender::new(None));
        let closed = AtomicBool::new(false);
        let (wanted, passed) = (Mutex::default(), watch::Sender::new(0));
        Self { nsp, uid, recovery, log, inbox, closed, mark, began, wanted, passed, counters }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The log begins when this mark comes.
    pub(crate) fn expect(&self, mark: ObjectId) {
        *self.mark.lock() = Some(mark);
    }

    /// Where the channel began.
    pub(crate) fn began(&self) -> Option<ObjectId> {
        *self.began.borrow()
    }

    /// Waits until the channel has begun.
    pub(crate) async fn begun(&self) {
        // It cannot fail: the sender lives as long as this borrow.
        self.began.subscribe().wait_for(Option::is_some).await.ok();
    }

    /// Takes note that somebody will wait for a mark.
    pub(crate) fn want(&self, mark: ObjectId) {
        self.wanted.lock().insert(mark);
    }

    /// Forgets a mark.
    pub(crate) fn want_no_more(&self, mark: &ObjectId) {
        self.wanted.lock().remove(mark);
    }

    /// Waits until a mark has come that was wanted, and so everything that was inserted before it.
    pub(crate) async fn has_passed(&self, mark: ObjectId) {
        // It cannot fail: the sender lives as long as this borrow.
        self.passed.subscribe().wait_for(|_| !self.wanted.lock().contains(&mark)).await.ok();
    }

    /// Comes to a document that is no message, perhaps a mark of ours.
    pub(crate) fn pass(&self, id: ObjectId) {
        if self.mark.lock().take_if(|mark| *mark == id).is_some() {
            self.log.lock().begin(id);
            self.began.send_if_modified(|began| began.is_none().then(|| *began = Some(id)).is_some());
        }
        if self.wanted.lock().remove(&id) {
            self.passed.send_modify(|passed| *passed += 1);
        }
    }

    /// Takes a message at its place in the stream.
    pub(crate) fn hear(&self, id: ObjectId, envelope: Envelope) {
        let own = envelope.uid == self.uid;
        if !self.recovery {
            if !own {
                self.arrive(Arrival::Message { envelope, offset: None });
            }
            return;
        }
        let begun = self.began().is_some();
        let event = Entry::of(id, &envelope);
        let offset = event.as_ref().map(|_| position(&id));
        if let Some(event) = event.filter(|_| begun) {
            self.log.lock().push(event);
        }
        // An event of our own comes at its place among the others.
        if begun && (!own || offset.is_some()) {
            self.arrive(Arrival::Message { envelope, offset });
        }
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

/// The place of the event with this id.
pub(crate) fn position(id: &ObjectId) -> Position {
    Position(id.to_hex().into())
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("nsp", &self.nsp).field("uid", &self.uid).finish_non_exhaustive()
    }
}
