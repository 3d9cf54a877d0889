//! Who hears what: subscriptions, and those that stand behind each. Shared with the connections' tasks, which only look things up.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use redis::{PushInfo, PushKind, Value};

/// One subscription of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Subscription {
    pub(crate) kind: Kind,
    pub(crate) name: Arc<str>,
}

/// How one subscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// `SUBSCRIBE`.
    Channel,
    /// `PSUBSCRIBE`.
    Pattern,
    /// `SSUBSCRIBE`.
    Shard,
}

impl Kind {
    pub(crate) const fn subscribe(self) -> &'static str {
        match self {
            Self::Channel => "SUBSCRIBE",
            Self::Pattern => "PSUBSCRIBE",
            Self::Shard => "SSUBSCRIBE",
        }
    }

    pub(crate) const fn unsubscribe(self) -> &'static str {
        match self {
            Self::Channel => "UNSUBSCRIBE",
            Self::Pattern => "PUNSUBSCRIBE",
            Self::Shard => "SUNSUBSCRIBE",
        }
    }
}

/// Hears what comes. Called from the connections' tasks: it does not block.
pub(crate) trait Ear: Send + Sync + 'static {
    /// Something was published.
    fn payload(&self, channel: &str, payload: Bytes);

    /// The connection was lost.
    fn lost(&self);

    /// There is a connection again, and it is subscribed to all that it should be.
    fn resumed(&self);
}

/// The number of a member.
pub(crate) type MemberId = u64;

/// Who hears one subscription.
type Hearers = Vec<(MemberId, Arc<dyn Ear>)>;

/// Who hears what.
#[derive(Default)]
pub(crate) struct Routes {
    hearers: RwLock<HashMap<Subscription, Hearers>>,
    /// Shard channels that were left, and how many confirmations of that are due.
    leaving: Mutex<HashMap<Arc<str>, usize>>,
}

/// What a push means to the one who keeps the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Nothing.
    Nothing,
    /// The connection, or a part of it, is gone.
    Lost,
}

impl Routes {
    /// Adds a hearer; whether it is the first.
    pub(crate) fn add(&self, subscription: Subscription, id: MemberId, ear: Arc<dyn Ear>) -> bool {
        let mut hearers = self.hearers.write();
        let hearers = hearers.entry(subscription).or_default();
        if !hearers.iter().any(|(other, _)| *other == id) {
            hearers.push((id, ear));
        }
        hearers.len() == 1
    }

    /// Takes a hearer away; whether it was the last.
    pub(crate) fn remove(&self, subscription: &Subscription, id: MemberId) -> bool {
        let mut all = self.hearers.write();
        let Some(hearers) = all.get_mut(subscription) else { return false };
        hearers.retain(|(other, _)| *other != id);
        let last = hearers.is_empty();
        if last {
            all.remove(subscription);
        }
        last
    }

    /// Takes a hearer away from everything, at once; what nobody hears any more.
    pub(crate) fn remove_all(&self, id: MemberId) -> Vec<Subscription> {
        let mut all = self.hearers.write();
        let mut orphans = Vec::new();
        all.retain(|subscription, hearers| {
            let before = hearers.len();
            hearers.retain(|(other, _)| *other != id);
            if hearers.is_empty() && before > 0 {
                orphans.push(subscription.clone());
            }
            !hearers.is_empty()
        });
        orphans
    }

    /// All that is to be subscribed to.
    pub(crate) fn subscriptions(&self) -> Vec<Subscription> {
        self.hearers.read().keys().cloned().collect()
    }

    pub(crate) fn is_heard(&self, subscription: &Subscription) -> bool {
        self.hearers.read().contains_key(subscription)
    }

    /// Notes that the confirmation of an unsubscription is due.
    pub(crate) fn expect_leave(&self, subscription: &Subscription) {
        if subscription.kind == Kind::Shard {
            *self.leaving.lock().entry(Arc::clone(&subscription.name)).or_default() += 1;
        }
    }

    /// Forgets what is due: the connection is another one.
    pub(crate) fn expect_nothing(&self) {
        self.leaving.lock().clear();
    }

    /// Tells each hearer once, but for one.
    pub(crate) fn tell_all(&self, but: Option<MemberId>, tell: impl Fn(&dyn Ear)) {
        let mut told = HashMap::new();
        for hearers in self.hearers.read().values() {
            for (id, ear) in hearers.iter().filter(|(id, _)| Some(*id) != but) {
                told.entry(*id).or_insert_with(|| Arc::clone(ear));
            }
        }
        told.values().for_each(|ear| tell(&**ear));
    }

    /// Hands on what came.
    pub(crate) fn hear(&self, info: PushInfo) -> Meaning {
        let PushInfo { kind, data } = info;
        let mut words = data.into_iter();
        let mut word = || words.next().and_then(bytes_of);
        if kind == PushKind::Disconnection {
            return Meaning::Lost;
        }
        if kind == PushKind::SUnsubscribe {
            return self.left(word());
        }
        let kinds = [
            (PushKind::Message, Kind::Channel),
            (PushKind::PMessage, Kind::Pattern),
            (PushKind::SMessage, Kind::Shard),
        ];
        let Some((_, kind)) = kinds.into_iter().find(|(push, _)| *push == kind) else {
            return Meaning::Nothing;
        };
        let (Some(name), Some(second)) = (word().and_then(text_of), word()) else { return Meaning::Nothing };
        let (channel, payload) = if kind == Kind::Pattern {
            let (Some(channel), Some(payload)) = (text_of(second), word()) else { return Meaning::Nothing };
            (channel, payload)
        } else {
            (Arc::clone(&name), second)
        };
        let subscription = Subscription { kind, name };
        // A hearer calls user code in the end, which may subscribe: not under the lock.
        let hearers: Vec<_> = match self.hearers.read().get(&subscription) {
            Some(hearers) => hearers.iter().map(|(_, ear)| Arc::clone(ear)).collect(),
            None => return Meaning::Nothing,
        };
        let payload = Bytes::from(payload);
        for ear in hearers {
            ear.payload(&channel, payload.clone());
        }
        Meaning::Nothing
    }

    /// A server of a cluster says by itself that a channel is left when the channel's slot moves elsewhere.
    fn left(&self, name: Option<Vec<u8>>) -> Meaning {
        let Some(name) = name.and_then(text_of) else { return Meaning::Nothing };
        let mut leaving = self.leaving.lock();
        if let Some(due) = leaving.get_mut(&name) {
            *due -= 1;
            if *due == 0 {
                leaving.remove(&name);
            }
            return Meaning::Nothing;
        }
        if self.is_heard(&Subscription { kind: Kind::Shard, name }) {
            Meaning::Lost
        } else {
            Meaning::Nothing
        }
    }
}

fn bytes_of(value: Value) -> Option<Vec<u8>> {
    let Value::BulkString(bytes) = value else { return None };
    Some(bytes)
}

fn text_of(bytes: Vec<u8>) -> Option<Arc<str>> {
    String::from_utf8(bytes).ok().map(Arc::from)
}
