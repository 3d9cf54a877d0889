//! Which node of the cluster owns which sids, and where it takes requests that came to the wrong one.
//!
//! Nodes tell each other over any adapter: each opens the namespace [`NODES`], to which no other program listens, and says there who it
//! is, as a server-side event. A directory is told what comes in and says what to publish; it has the whole table at any time, so
//! that a tag that nobody has is answered at once, without a question to anybody.
//!
//! - A node that comes announces itself, and everyone answers with an entry of its own. It is **settled** when each node that it knows has
//!   confirmed it, or after [`SETTLE_TIMEOUT`]: then it may take its first client, and any node sends its sids to it.
//! - An entry holds for [`LEASE`] and is said again every [`REFRESH`]. When it has run out the node is gone. While this node cannot publish,
//!   nobody's lease runs: it is the backplane that is away, and nodes reach each other without it.
//! - After a gap in what is heard, all are asked.
//! - What comes late, twice or in disorder changes nothing: each node counts what it says of itself.
//! - Of two nodes with one tag the later draws another: the one that is not settled yet; of two, the one with the greater uid.
//!
//! ```
//! use std::time::Instant;
//!
//! use sockeye_cluster::directory::{Directory, Entry, Output};
//!
//! let now = Instant::now();
//! let own = Entry {
//!     tag: "Ab3dE_".parse()?,
//!     machine: "0f3c".into(),
//!     unix: Some("/run/sockeye/http/Ab3dE_.sock".into()),
//!     tcp: Some("10.0.0.7:3999".parse()?),
//!     load: 0,
//! };
//! let mut directory = Directory::new("a34a292dd6b7d25a".into(), own);
//! // The channel is open: directory.handle_start(now). Then tell it what happens:
//! //  Arrival::Message            directory.handle_envelope(envelope, now)
//! //  Arrival::Resumed            directory.handle_resumed(now)
//! //  what was sent was published directory.handle_published(true, now), or not: false
//! //  the clock                   directory.handle_timeout(now) at directory.poll_timeout()
//! directory.handle_start(now);
//! while let Some(output) = directory.poll_output() {
//!     match output {
//!         Output::Send(letter) => { /* channel.publish(vec![letter]) */ drop(letter); }
//!         Output::Joined(peer) => { /* relay its sids to peer.http */ drop(peer); }
//!         Output::Left(peer) => { /* its sids are nobody's */ drop(peer); }
//!         Output::TagTaken(_) => { /* directory.handle_tag(Tag::from_bits(rand::random()), now) */ }
//!         Output::Settled => { /* take clients */ }
//!     }
//! }
//! assert_eq!(directory.owner("Zz9-00".parse()?), None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod entry;
mod heard;
mod say;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use sockeye_proto::sid::Tag;

pub use entry::Entry;

use self::heard::Heard;
use self::say::{Kind, Say};
use crate::adapter::Letter;
use crate::address::Address;
use crate::message::{Envelope, Message};
use crate::name::Uid;
use crate::peers::Peer;
use crate::to::To;

/// The namespace that nodes speak in. It has no slash, so no client can name it.
pub const NODES: &str = "sockeye.nodes";

/// How long an entry holds. A node that dies without a word is known for so long.
pub const LEASE: Duration = Duration::from_secs(10);

/// How often a node says again who it is: two may be lost within a lease.
pub const REFRESH: Duration = Duration::from_secs(3);

/// How long a node that comes waits for the others; then it counts itself as settled without them.
pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a node that comes waits before it announces itself again. Alone, it waits for [`SETTLE_ROUNDS`] of them.
pub const SETTLE_ROUND: Duration = Duration::from_millis(150);

/// How many announcements must have had their time, where nobody says how many nodes there are.
pub const SETTLE_ROUNDS: u32 = 2;

/// How many other nodes are known; more are refused, and counted.
pub const NODES_MAX: usize = 4096;

/// What the driver has to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Publish this in the namespace [`NODES`].
    Send(Letter),
    /// A node has come, or has come again with another tag or address.
    Joined(Peer),
    /// A node has gone.
    Left(Peer),
    /// Another node has this tag: draw another, and say it by [`Directory::handle_tag`]. Only before [`Output::Settled`].
    TagTaken(Tag),
    /// Each node that is known has this one's entry, or is too slow. Said once.
    Settled,
}

/// What a directory has counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Nodes that have come, each time they came.
    pub joined: u64,
    /// Nodes that have gone with a word.
    pub left: u64,
    /// Nodes that have gone without: their lease has run out.
    pub expired: u64,
    /// Entries with a tag that another living node has.
    pub collisions: u64,
    /// Nodes beyond [`NODES_MAX`].
    pub refused: u64,
    /// How often a node said another number of sessions than before.
    pub loads: u64,
    /// What came late or twice.
    pub stale: u64,
    /// What was not understood.
    pub malformed: u64,
}

/// The nodes of the cluster, seen from one of them.
#[derive(Debug)]
pub struct Directory {
    uid: Uid,
    own: Entry,
    /// Counts what this node says of itself.
    count: u64,
    phase: Phase,
    nodes: BTreeMap<Uid, Known>,
    by_tag: BTreeMap<Tag, Uid>,
    heard: Heard,
    /// When this node says again who it is.
    refresh: Option<Instant>,
    /// Whether the last thing could not be published: then no lease runs.
    cut: bool,
    outputs: VecDeque<Output>,
    stats: Stats,
}

#[derive(Debug)]
struct Known {
    peer: Peer,
    load: u32,
    until: Instant,
    /// Whether it has this node's entry.
    confirmed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Settling {
        until: Instant,
        round: Instant,
        rounds: u32,
        /// What was said before this is about another tag.
        since: u64,
        /// How many nodes there are, if somebody knows.
        expected: Option<u64>,
    },
    /// Waits for another tag.
    Renaming {
        expected: Option<u64>,
    },
    Settled,
    Closed,
}

impl Directory {
    /// Makes the directory of a node that signs with this uid in the namespace [`NODES`].
    pub fn new(uid: Uid, own: Entry) -> Self {
        Self {
            uid,
            own,
            count: 0,
            phase: Phase::Idle,
            nodes: BTreeMap::new(),
            by_tag: BTreeMap::new(),
            heard: Heard::default(),
            refresh: None,
            cut: false,
            outputs: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// Announces this node: the channel is open.
    pub fn handle_start(&mut self, now: Instant) {
        if self.phase == Phase::Idle {
            self.settle(None, now);
        }
    }

    /// Takes what another node has said.
    pub fn handle_envelope(&mut self, envelope: Envelope, now: Instant) {
        let Envelope { uid, message, nsp: _ } = envelope;
        if uid == self.uid || matches!(self.phase, Phase::Idle | Phase::Closed) {
            return;
        }
        // Heartbeats, say, of an adapter that has them.
        let Message::ServerSideEmit { packet, .. } = message else { return };
        let Some(say) = Say::read(&packet) else {
            self.stats.malformed += 1;
            return;
        };
        if !self.heard.is_newer(&uid, say.count) {
            self.stats.stale += 1;
            return;
        }
        match say.kind {
            Kind::Gone => {
                self.heard.ends(&uid);
                self.stats.left += u64::from(self.forget(&uid));
            }
            Kind::Here { entry, settled, asks } => {
                let new = self.note(&uid, &entry, now);
                self.yield_tag(&uid, &entry, settled);
                if asks || new {
                    self.answer(&uid, say.count);
                }
            }
            Kind::Known { entry, settled, to, knows } => {
                let new = self.note(&uid, &entry, now);
                self.yield_tag(&uid, &entry, settled);
                if to == self.uid {
                    self.confirm(&uid, knows);
                } else if new {
                    self.answer(&uid, say.count);
                }
            }
        }
        self.look_settled(now);
    }

    /// Takes note that what others said may be lost: asks all.
    pub fn handle_resumed(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Settling { .. } | Phase::Settled) {
            self.announce(true, now);
        }
    }

    /// Takes note of whether what was to be sent was published.
    pub fn handle_published(&mut self, published: bool, now: Instant) {
        let back = self.cut && published;
        self.cut = !published;
        if back {
            // Nobody could be heard. Whoever lives says so within a lease.
            for known in self.nodes.values_mut() {
                known.until = known.until.max(now + LEASE);
            }
            self.handle_resumed(now);
        }
    }

    /// Takes another tag, in place of the one that is taken.
    pub fn handle_tag(&mut self, tag: Tag, now: Instant) {
        let Phase::Renaming { expected } = self.phase else { return };
        if self.nodes.values().any(|known| known.peer.tag == Some(tag)) {
            return self.outputs.push_back(Output::TagTaken(tag));
        }
        self.own.tag = tag;
        for known in self.nodes.values_mut() {
            known.confirmed = false;
        }
        self.settle(expected, now);
    }

    /// Takes how many nodes there are, this one included, where the backplane counts them: alone, one need not wait.
    pub fn handle_nodes(&mut self, count: u64, now: Instant) {
        if let Phase::Settling { expected, .. } | Phase::Renaming { expected } = &mut self.phase {
            *expected = Some(count);
        }
        self.look_settled(now);
    }

    /// Takes how many sessions this node has; others hear of it when it says again who it is.
    pub const fn handle_load(&mut self, load: u32) {
        self.own.load = load;
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.cut {
            let out: Vec<_> = self
                .nodes
                .values()
                .filter(|known| known.until <= now)
                .map(|known| known.peer.uid.clone())
                .collect();
            for uid in out {
                self.stats.expired += u64::from(self.forget(&uid));
            }
        }
        self.look_settled(now);
        if let Phase::Settling { round, rounds, .. } = &mut self.phase
            && *round <= now
        {
            *rounds += 1;
            *round = now + SETTLE_ROUND;
            self.announce(true, now);
        } else if self.refresh.is_some_and(|due| due <= now) {
            self.announce(false, now);
        }
    }

    /// Says goodbye, the last thing a node says here. Its sessions have ended, or are somebody else's.
    pub fn handle_close(&mut self) {
        if !matches!(self.phase, Phase::Idle | Phase::Closed) {
            self.count += 1;
            self.send(To::All, &Say { count: self.count, kind: Kind::Gone });
        }
        self.phase = Phase::Closed;
        self.refresh = None;
    }

    /// What to do next, until there is nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Directory::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let settling = match self.phase {
            Phase::Settling { until, round, .. } => Some(until.min(round)),
            Phase::Idle | Phase::Renaming { .. } | Phase::Settled => None,
            Phase::Closed => return None,
        };
        let leases = self.nodes.values().map(|known| known.until).min().filter(|_| !self.cut);
        [settling, self.refresh, leases].into_iter().flatten().min()
    }

    /// Where the living node that issued the sids with this tag takes relayed requests: `None` at once, if there is none, or none that can be reached.
    pub fn owner(&self, tag: Tag) -> Option<&Address> {
        self.node(tag)?.peer.http.as_ref()
    }

    /// How many sessions the node with this tag said that it has.
    pub fn load(&self, tag: Tag) -> Option<u32> {
        self.node(tag).map(|known| known.load)
    }

    /// Whether clients may come.
    pub fn is_settled(&self) -> bool {
        self.phase == Phase::Settled
    }

    /// The tag of this node.
    pub const fn tag(&self) -> Tag {
        self.own.tag
    }

    /// The other nodes, ordered by uid.
    pub fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.nodes.values().map(|known| &known.peer)
    }

    /// What was counted so far.
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    fn node(&self, tag: Tag) -> Option<&Known> {
        self.nodes.get(self.by_tag.get(&tag)?)
    }

    fn settle(&mut self, expected: Option<u64>, now: Instant) {
        let since = self.count + 1;
        let (until, round) = (now + SETTLE_TIMEOUT, now + SETTLE_ROUND);
        self.phase = Phase::Settling { until, round, rounds: 0, since, expected };
        self.announce(true, now);
        self.look_settled(now);
    }

    /// Notes what a node says of itself; `true`: it was not known.
    fn note(&mut self, uid: &Uid, entry: &Entry, now: Instant) -> bool {
        let peer = entry.peer(uid.clone(), &self.own.machine);
        let until = now + LEASE;
        if let Some(known) = self.nodes.get_mut(uid) {
            self.stats.loads += u64::from(known.load != entry.load);
            (known.load, known.until) = (entry.load, until);
            let before = std::mem::replace(&mut known.peer, peer.clone());
            if before != peer {
                self.unmap(&before);
                self.map(&peer);
                self.outputs.push_back(Output::Joined(peer));
            }
            return false;
        }
        if self.nodes.len() >= NODES_MAX {
            self.stats.refused += 1;
            return false;
        }
        self.nodes
            .insert(uid.clone(), Known { peer: peer.clone(), load: entry.load, until, confirmed: false });
        self.map(&peer);
        self.stats.joined += 1;
        self.outputs.push_back(Output::Joined(peer));
        true
    }

    /// Of two nodes with one tag, lets the first have it.
    fn map(&mut self, peer: &Peer) {
        let Some(tag) = peer.tag else { return };
        if tag == self.own.tag || self.by_tag.get(&tag).is_some_and(|owner| *owner != peer.uid) {
            self.stats.collisions += 1;
            return;
        }
        self.by_tag.insert(tag, peer.uid.clone());
    }

    fn unmap(&mut self, peer: &Peer) {
        let Some(tag) = peer.tag.filter(|tag| self.by_tag.get(tag) == Some(&peer.uid)) else { return };
        self.by_tag.remove(&tag);
        let other =
            self.nodes.values().find(|known| known.peer.tag == Some(tag) && known.peer.uid != peer.uid);
        if let Some(other) = other {
            self.by_tag.insert(tag, other.peer.uid.clone());
        }
    }

    fn forget(&mut self, uid: &Uid) -> bool {
        let Some(known) = self.nodes.remove(uid) else { return false };
        self.unmap(&known.peer);
        self.outputs.push_back(Output::Left(known.peer));
        true
    }

    fn yield_tag(&mut self, uid: &Uid, entry: &Entry, settled: bool) {
        if entry.tag == self.own.tag && (settled || *uid < self.uid) {
            self.give_way(uid);
        }
    }

    /// Draws another tag, while there is time.
    fn give_way(&mut self, to: &Uid) {
        let Phase::Settling { expected, .. } = self.phase else { return };
        self.phase = Phase::Renaming { expected };
        self.refresh = None;
        let tag = self.own.tag;
        self.by_tag.insert(tag, to.clone());
        self.outputs.push_back(Output::TagTaken(tag));
    }

    fn confirm(&mut self, uid: &Uid, knows: u64) {
        if let Phase::Settling { since, .. } = self.phase
            && knows >= since
            && let Some(known) = self.nodes.get_mut(uid)
        {
            known.confirmed = true;
        }
    }

    fn look_settled(&mut self, now: Instant) {
        let Phase::Settling { until, round, rounds, expected, .. } = self.phase else { return };
        let confirmed = self.nodes.values().all(|known| known.confirmed);
        let all = match expected {
            Some(expected) => self.nodes.len() as u64 + 1 >= expected,
            None => rounds + 1 >= SETTLE_ROUNDS && round <= now,
        };
        if confirmed && all || until <= now {
            self.phase = Phase::Settled;
            self.outputs.push_back(Output::Settled);
        }
    }

    fn announce(&mut self, asks: bool, now: Instant) {
        self.refresh = Some(now + REFRESH);
        self.count += 1;
        let kind = Kind::Here { entry: self.own.clone(), settled: self.is_settled(), asks };
        self.send(To::All, &Say { count: self.count, kind });
    }

    fn answer(&mut self, to: &Uid, knows: u64) {
        if matches!(self.phase, Phase::Renaming { .. }) {
            return;
        }
        self.count += 1;
        let kind = Kind::Known { entry: self.own.clone(), settled: self.is_settled(), to: to.clone(), knows };
        self.send(To::One(to.clone()), &Say { count: self.count, kind });
    }

    fn send(&mut self, to: To, say: &Say) {
        let message = Message::ServerSideEmit { packet: say.packet(), request_id: None };
        self.outputs.push_back(Output::Send(Letter { to, message }));
    }
}
