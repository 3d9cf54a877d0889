//! What a member of a mesh keeps of one namespace for clients that come back: the last events of all members, and copies of
//! the sessions of all (`docs/mesh.md`, "Recovery").
//!
//! A [`Store`](super::Store) numbers what one node delivers; here each event has the place that its own member gave it, so that a client may come back to
//! any member. One ledger a namespace, behind one lock, held while an event is added *and* posted, and while a session goes on *and* its
//! socket is listed. Numbers are [`Sightings`]' business, one for all namespaces.

mod copies;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use sockeye_proto::sid::{Sid, Tag};

use super::sightings::Sightings;
use super::{Config, Held, Stats, ends_in_string, with_last};
use crate::adapter::Session;
use crate::message::Packet;
use crate::name::{Pid, Room, Uid};
use crate::places::{Place, Places};
use crate::selector::{Flags, Selector};

use self::copies::Copies;

/// The last events of a namespace and the sessions of all members.
#[derive(Debug)]
pub struct Ledger {
    config: Config,
    log: VecDeque<Entry>,
    bytes: usize,
    /// The last event of each member that was delivered in this namespace.
    met: Places,
    /// Up to where events were dropped before they were old, and when the last of these came.
    cut: BTreeMap<Tag, (u64, Instant)>,
    copies: Copies,
    /// Clients that have met more than this member has delivered.
    ahead: Vec<Ahead>,
    stats: Stats,
}

/// An event, and whom it was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub at: Place,
    /// Whom it was for.
    pub selector: Selector,
    /// How it was to be treated.
    pub flags: Flags,
    /// The event, without an offset.
    pub packet: Packet,
    came_at: Option<Instant>,
}

/// How an event goes to whom.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    /// The event as it goes to clients, with its offset where it needs one.
    pub packet: Packet,
    /// Clients for whom it is otherwise: `None` has got it, and is to get nothing.
    pub otherwise: Vec<(Sid, Option<Packet>)>,
}

/// A session that can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The session.
    pub session: Session,
    /// What its client has met.
    pub base: Places,
    /// What it has missed, in order.
    pub missed: Vec<Entry>,
}

#[derive(Debug)]
struct Ahead {
    sid: Sid,
    base: Places,
    until: Instant,
}

impl Entry {
    /// Makes one that another member told.
    pub const fn new(at: Place, selector: Selector, flags: Flags, packet: Packet) -> Self {
        Self { at, selector, flags, packet, came_at: None }
    }

    fn bytes(&self) -> usize {
        let names = self.selector.rooms.iter().chain(&self.selector.except);
        self.packet.bytes()
            + names.map(|room| room.len() + size_of_val(room)).sum::<usize>()
            + size_of::<Self>()
    }
}

impl Found {
    /// Makes one of what another member told. `None`: what the client names is no offset.
    pub fn told(session: Session, offset: Option<&str>, missed: Vec<Entry>) -> Option<Self> {
        let base = base(&session, offset)?;
        Some(Self { session, base, missed })
    }
}

impl Ledger {
    /// Keeps nothing yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            log: VecDeque::new(),
            bytes: 0,
            met: Places::default(),
            cut: BTreeMap::new(),
            copies: Copies::default(),
            ahead: Vec::new(),
            stats: Stats::default(),
        }
    }

    /// Takes an event that is to be delivered, of this member or of another; how it goes to clients. `None`: it was delivered
    /// before. `seen` is what this member has seen in all namespaces.
    pub fn handle_event(&mut self, entry: Entry, seen: &Places, now: Instant) -> Option<Said> {
        if self.met.has(entry.at) {
            return None;
        }
        self.met.raise(entry.at.tag, entry.at.number);
        let said = self.say(&entry.packet, Some(entry.at), seen, now);
        self.stats.stored += 1;
        self.bytes += entry.bytes();
        self.log.push_back(Entry { came_at: Some(now), ..entry });
        self.prune(now);
        while self.log.len() > self.config.packets_max || self.bytes > self.config.packet_bytes_max {
            let Some(dropped) = self.pop() else { break };
            self.stats.cut += 1;
            self.cut.insert(dropped.at.tag, (dropped.at.number, dropped.came_at.unwrap_or(now)));
        }
        Some(said)
    }

    /// How an event that is not kept goes to clients: one that ends in a string ends in an offset instead.
    pub fn stamp(&mut self, packet: &Packet, seen: &Places, now: Instant) -> Said {
        if ends_in_string(&packet.data) {
            self.say(packet, None, seen, now)
        } else {
            Said { packet: packet.clone(), otherwise: Vec::new() }
        }
    }

    /// This member's offset in this namespace.
    pub fn offset(&self, seen: &Places) -> Places {
        let mut offset = seen.clone();
        offset.raise_to(&self.met);
        offset
    }

    /// A session begins here: where it starts. Its client may name an offset of a former session, and what it has met then it does not get
    /// again.
    pub fn open(&mut self, sid: Sid, offset: Option<&str>, seen: &Places, now: Instant) -> Places {
        let mut start = self.offset(seen);
        if let Some(Ok(former)) = offset.map(str::parse) {
            start.raise_to(&former);
        }
        self.set_ahead(sid, start.clone(), seen, now);
        start
    }

    /// Keeps a copy of a session in place of a former one. `holder` is the member whose client has it; `None`: nobody's, its client is away.
    pub fn handle_session(&mut self, session: Session, holder: Option<Uid>, away: bool, now: Instant) {
        let kept = self.copies.keep(session, holder, away.then_some(now), &self.config);
        self.stats.evicted += kept;
    }

    /// Forgets a session.
    pub fn handle_end(&mut self, pid: &Pid) {
        self.copies.remove(pid);
    }

    /// Takes note that a member is gone: the clients of its sessions are away.
    pub fn handle_left(&mut self, holder: &Uid, now: Instant) {
        self.stats.evicted += self.copies.orphan(holder, now, &self.config);
    }

    /// The sessions that a member holds, and whether their clients are away.
    pub fn sessions_of<'a>(&'a self, holder: &'a Uid) -> impl Iterator<Item = (&'a Session, bool)> {
        self.copies.of(holder)
    }

    /// The session with this id.
    pub fn session(&self, pid: &Pid) -> Option<&Session> {
        self.copies.get(pid)
    }

    /// The same if this member holds it, and whether its client is away.
    pub fn held_by(&self, pid: &Pid, holder: &Uid) -> Option<(Session, bool)> {
        self.copies.held_by(pid, holder)
    }

    /// Whether a session is here and can go on, as far as can be told without looking for what was missed.
    pub fn can_help(&self, pid: &Pid, offset: Option<&str>, sightings: &Sightings, now: Instant) -> bool {
        let base = self.copies.get(pid).and_then(|session| base(session, offset));
        base.is_some_and(|base| self.is_uncut(&base) && sightings.reaches(&base, now))
    }

    /// A session with its id, and what its client has missed, if that can be promised here. It stays until somebody else has it.
    pub fn find(
        &mut self,
        pid: &Pid,
        offset: Option<&str>,
        sightings: &Sightings,
        now: Instant,
    ) -> Option<Found> {
        self.handle_timeout(now);
        let session = self.copies.get(pid)?.clone();
        let Some(base) = base(&session, offset) else {
            self.stats.strange += 1;
            return None;
        };
        let missed = self.missed(&base, &session.rooms, sightings, now)?;
        Some(Found { session, base, missed })
    }

    /// The same where another member has told the session and what was missed up to `seen`: adds what came later.
    pub fn complete(
        &mut self,
        found: &mut Found,
        seen: &Places,
        sightings: &Sightings,
        now: Instant,
    ) -> bool {
        let mut base = found.base.clone();
        base.raise_to(seen);
        let Some(later) = self.missed(&base, &found.session.rooms, sightings, now) else { return false };
        found.missed.retain(|entry| !found.base.has(entry.at));
        found.missed.extend(later);
        let bytes: usize = found.missed.iter().map(|entry| entry.packet.bytes()).sum();
        bytes <= self.config.missed_bytes_max
    }

    /// A client goes on here: what it has missed as it is to be sent, in order. `seen`: up to where that was told by another member.
    pub fn restore(
        &mut self,
        found: &Found,
        told: Option<&Places>,
        seen: &Places,
        now: Instant,
    ) -> Vec<(Packet, Flags)> {
        let mut base = found.base.clone();
        let missed = found.missed.iter().map(|entry| {
            base.raise(entry.at.tag, entry.at.number);
            (with_last(&entry.packet, &format!("\"{base}\"")), entry.flags.clone())
        });
        let missed = missed.collect();
        if let Some(told) = told {
            base.raise_to(told);
        }
        self.set_ahead(found.session.sid, base, seen, now);
        self.stats.restored += 1;
        missed
    }

    /// Counts a client that named a session which is nowhere, or cannot go on.
    pub fn count_unknown(&mut self) {
        self.stats.unknown += 1;
    }

    /// Forgets what nobody can want any more.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.prune(now);
        self.stats.expired += self.copies.expire(now, self.config.max_disconnection_duration);
    }

    /// When [`Ledger::handle_timeout`] is due. Being late costs memory only.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let event = self.log.front().and_then(|entry| entry.came_at?.checked_add(self.age_max()));
        let copy =
            self.copies.longest().and_then(|since| since.checked_add(self.config.max_disconnection_duration));
        [event, copy].into_iter().flatten().min()
    }

    /// What was counted so far.
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// What is kept at the moment.
    pub fn held(&self) -> Held {
        Held { away: self.copies.away(), packets: self.log.len(), bytes: self.bytes }
    }

    /// How many copies of sessions are kept, and their bytes.
    pub fn copies(&self) -> (usize, usize) {
        self.copies.size()
    }

    /// What came after a place to these rooms; `None`: that cannot be told.
    fn missed(
        &mut self,
        base: &Places,
        rooms: &[Room],
        sightings: &Sightings,
        now: Instant,
    ) -> Option<Vec<Entry>> {
        self.prune(now);
        let meant =
            |entry: &&Entry| !base.has(entry.at) && entry.selector.selects(|room| rooms.contains(room));
        let missed: Vec<Entry> = self.log.iter().filter(meant).cloned().collect();
        let bytes: usize = missed.iter().map(|entry| entry.packet.bytes()).sum();
        let fits = bytes <= self.config.missed_bytes_max;
        let whole = fits && self.is_uncut(base) && sightings.reaches(base, now);
        self.stats.incomplete += u64::from(!whole);
        whole.then_some(missed)
    }

    /// A client has met what comes up to there, which may be more than this member has.
    fn set_ahead(&mut self, sid: Sid, base: Places, seen: &Places, now: Instant) {
        self.ahead.retain(|ahead| ahead.sid != sid);
        if self.offset(seen).covers(&base) {
            return;
        }
        if self.ahead.len() >= self.config.sessions_max {
            self.ahead.remove(0);
        }
        self.ahead.push(Ahead { sid, base, until: now + self.age_max() });
    }

    /// The event with the offset of this member, and of each who is ahead of it.
    fn say(&mut self, packet: &Packet, at: Option<Place>, seen: &Places, now: Instant) -> Said {
        let mut offset = self.offset(seen);
        if let Some(at) = at {
            offset.raise(at.tag, at.number);
        }
        let otherwise = self.ahead.iter().map(|ahead| {
            let mut own = ahead.base.clone();
            let had = at.is_some_and(|at| own.has(at));
            own.raise_to(&offset);
            (ahead.sid, (!had).then(|| with_last(packet, &format!("\"{own}\""))))
        });
        let otherwise = otherwise.collect();
        // The event that makes this member catch up is the last that they have already.
        self.ahead.retain(|ahead| !offset.covers(&ahead.base) && now < ahead.until);
        Said { packet: with_last(packet, &format!("\"{offset}\"")), otherwise }
    }

    /// Whether nothing after a place was dropped before it was old.
    fn is_uncut(&self, base: &Places) -> bool {
        self.cut.iter().all(|(tag, (number, _))| *number <= base.number(*tag))
    }

    fn prune(&mut self, now: Instant) {
        let age_max = self.age_max();
        let old = |since: Instant| now.saturating_duration_since(since) >= age_max;
        while self.log.front().is_some_and(|entry| entry.came_at.is_some_and(old)) {
            self.pop();
        }
        self.cut.retain(|_, (_, since)| !old(*since));
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.log.pop_front()?;
        self.bytes -= entry.bytes();
        Some(entry)
    }

    const fn age_max(&self) -> Duration {
        self.config.age_max()
    }
}

/// What a client has met: what it names, and nothing of what was before its session. `None`: what it names is no offset.
fn base(session: &Session, offset: Option<&str>) -> Option<Places> {
    let start = session.start.as_ref().and_then(|start| start.0.parse().ok());
    let mut base: Places = start.unwrap_or_default();
    if let Some(offset) = offset {
        base.raise_to(&offset.parse().ok()?);
    }
    Some(base)
}
