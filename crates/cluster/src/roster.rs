//! Who is in which room, on all servers of a namespace: a list that each server has whole, of what each says of its own sockets.
//!
//! A server is told who of its sockets joins and leaves, and says it to the others; of others' sockets it knows what they said last. What a server
//! says is counted, so that whoever missed something notices, and asks that one for all of it. What it said holds for
//! [`Config::timeout`] and is renewed every [`Config::interval`]: of a server that dies without a word the sockets have left by then, or as soon as
//! somebody knows that it is gone ([`Roster::handle_lost`]).
//!
//! - A server that is heard for the first time is asked for all, and told that this one is there.
//! - What comes twice, late or in disorder changes nothing, or leads to a question.
//! - A change is told once, as the difference between what was told before and what is known: someone who came and went in between is not told.
//!
//! ```
//! use std::time::Instant;
//!
//! use sockeye_cluster::roster::{Config, Event, Roster};
//!
//! let now = Instant::now();
//! let mut here = Roster::new("8f1e22c071d53b46".into(), Config::default(), now);
//! let mut there = Roster::new("a34a292dd6b7d25a".into(), Config::default(), now);
//! here.handle_present(&"kitchen".into(), "socket 1", Some(r#"{"name":"Ada"}"#.into()));
//! // A driver publishes what one says, and tells the others; until nobody has more to say.
//! let mut now = now;
//! for _ in 0..4 {
//!     now += std::time::Duration::from_millis(50);
//!     for (from, to) in [(true, false), (false, true)] {
//!         let (from, to) = if from && !to { (&mut here, &mut there) } else { (&mut there, &mut here) };
//!         from.handle_timeout(now);
//!         while let Some(say) = from.poll_say() {
//!             to.handle_say(say, now);
//!         }
//!     }
//! }
//! assert_eq!(there.poll_event().map(|event| event.id.to_string()), Some("socket 1".to_owned()));
//! assert_eq!(there.members("kitchen").count(), 1);
//! ```

mod config;
mod others;
mod say;
mod seat;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

pub use self::config::{ANSWER_PAUSE, ASK_PAUSE, BYTES_A_SAY, Config, SEATS_A_SAY, SERVERS_MAX};
pub use self::say::{Kind, Say};
pub use self::seat::Seat;

use self::others::{Heard, Others};
use self::seat::{Data, Key};
use crate::name::{Room, Uid};

/// Something that has changed, on whichever server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The room.
    pub room: Room,
    /// The socket.
    pub id: Arc<str>,
    /// What is shown of it: of one that left, what was shown before.
    pub data: Option<Arc<str>>,
    /// What happened.
    pub change: Change,
}

/// What happened to a socket in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It joined.
    Joined,
    /// It left, or its server is gone.
    Left,
    /// Something else is shown of it.
    Shown,
}

/// What a list has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Stays beyond [`Config::members_max`], here and of others.
    pub refused: u64,
    /// Servers whose time ran out.
    pub expired: u64,
    /// Questions for all that a server has.
    pub asked: u64,
}

/// What each server that has a socket shows of it.
type ByServer = BTreeMap<Arc<str>, Data>;

/// Who is in which room, as one server knows it.
#[derive(Debug)]
pub struct Roster {
    name: Arc<str>,
    uid: Uid,
    config: Config,
    own: BTreeMap<Key, Data>,
    /// Counts what was said of changes.
    version: u64,
    /// Of whom the others are to be told; at most as many as there are, and were.
    unsaid: BTreeSet<Key>,
    others: Others,
    /// By room and socket, the servers that have it: more than one for a moment, when a session goes on elsewhere.
    seats: BTreeMap<Room, BTreeMap<Arc<str>, ByServer>>,
    /// What was told of those that have changed.
    untold: BTreeMap<Key, Option<Data>>,
    asks: VecDeque<Arc<str>>,
    beat: Instant,
    answer: Option<Instant>,
    /// What is to be said beside changes.
    says: VecDeque<Kind>,
    closed: bool,
    stats: Stats,
}

impl Roster {
    /// Makes a list without anybody. `name` is unique, of this run of this server.
    pub fn new(name: Arc<str>, config: Config, now: Instant) -> Self {
        Self {
            name,
            uid: Uid::from(String::new()),
            config,
            own: BTreeMap::new(),
            version: 0,
            unsaid: BTreeSet::new(),
            others: Others::default(),
            seats: BTreeMap::new(),
            untold: BTreeMap::new(),
            asks: VecDeque::new(),
            beat: now,
            answer: None,
            says: VecDeque::new(),
            closed: false,
            stats: Stats::default(),
        }
    }

    /// Takes how this server signs, by which others hear that it is gone.
    pub fn handle_uid(&mut self, uid: Uid) {
        self.uid = uid;
    }

    /// Takes note that a socket of this server is in a room, and what is shown of it.
    pub fn handle_present(&mut self, room: &Room, id: &str, data: Data) {
        let data = data.filter(|data| data.len() <= self.config.data_bytes_max);
        let key = (room.clone(), Arc::from(id));
        match self.own.get(&key) {
            Some(known) if *known == data => return,
            Some(_) => {}
            None if self.own.len() >= self.config.members_max => {
                self.stats.refused += 1;
                return;
            }
            None => {}
        }
        self.own.insert(key.clone(), data.clone());
        self.unsaid.insert(key.clone());
        let name = Arc::clone(&self.name);
        self.seat(&key, &name, data);
    }

    /// Takes note that a socket of this server is not in a room.
    pub fn handle_absent(&mut self, room: &Room, id: &str) {
        let key = (room.clone(), Arc::from(id));
        if self.own.remove(&key).is_some() {
            self.unsaid.insert(key.clone());
            let name = Arc::clone(&self.name);
            self.vacate(&key, &name);
        }
    }

    /// Takes what another server has said.
    pub fn handle_say(&mut self, say: Say, now: Instant) {
        let Say { from, uid, kind } = say;
        if from == self.name {
            return;
        }
        if let Kind::Ask { of } = &kind {
            if *of == self.name {
                self.answer.get_or_insert(now + ANSWER_PAUSE);
            }
            return;
        }
        if let Kind::Gone = kind {
            return self.forget(&from);
        }
        let until = now + self.config.timeout;
        match self.others.heard(&from, &uid, until, now, kind) {
            Heard::Nothing => {}
            Heard::New => {
                // It does not know this one either.
                self.beat = now;
                self.asks.push_back(from);
            }
            Heard::Missed => self.asks.push_back(from),
            Heard::TooMany => self.stats.refused += 1,
            Heard::Changed { present, absent } => {
                for key in absent {
                    self.vacate(&key, &from);
                }
                for seat in present {
                    let data = seat.data.filter(|data| data.len() <= self.config.data_bytes_max);
                    let key = (seat.room, seat.id);
                    if self.others.sit(&from, &key, self.config.members_max) {
                        self.seat(&key, &from, data);
                    } else {
                        self.stats.refused += 1;
                    }
                }
            }
        }
    }

    /// Takes note that the server which signs like this is gone.
    pub fn handle_lost(&mut self, uid: &Uid) {
        for name in self.others.names_of(uid) {
            self.forget(&name);
        }
    }

    /// Takes note that somebody came, who does not know this server yet.
    pub const fn handle_met(&mut self, now: Instant) {
        self.beat = now;
    }

    /// Says goodbye, the last thing that is said.
    pub fn handle_close(&mut self) {
        self.closed = true;
        self.asks.clear();
        self.says.clear();
        self.says.push_back(Kind::Gone);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        for name in self.others.silent(now) {
            self.stats.expired += 1;
            self.forget(&name);
        }
        if self.closed {
            self.beat = now + self.config.interval;
            self.answer = None;
            return;
        }
        if self.answer.is_some_and(|due| due <= now) {
            self.answer = None;
            self.tell_all();
        }
        if self.beat <= now {
            self.beat = now + self.config.interval;
            self.says.push_back(Kind::Here { version: self.version });
        }
    }

    /// When [`Roster::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Instant {
        let others = self.others.next_silent();
        self.answer.into_iter().chain(others).fold(self.beat, Instant::min)
    }

    /// What to say next to all servers of the namespace, until there is nothing.
    pub fn poll_say(&mut self) -> Option<Say> {
        let kind = match (self.says.pop_front(), self.asks.pop_front()) {
            (Some(kind), asked) => {
                self.asks.extend(asked);
                kind
            }
            (None, Some(of)) => {
                self.stats.asked += 1;
                Kind::Ask { of }
            }
            (None, None) if self.closed => return None,
            (None, None) => self.changes()?,
        };
        Some(Say { from: Arc::clone(&self.name), uid: self.uid.clone(), kind })
    }

    /// What has changed, until there is nothing.
    pub fn poll_event(&mut self) -> Option<Event> {
        while let Some((key, told)) = self.untold.pop_first() {
            let now = self.shown(&key);
            let (room, id) = key;
            let (data, change) = match (told, now) {
                (None, Some(data)) => (data, Change::Joined),
                (Some(data), None) => (data, Change::Left),
                (Some(before), Some(data)) if before != data => (data, Change::Shown),
                (Some(_), Some(_)) | (None, None) => continue,
            };
            return Some(Event { room, id, data, change });
        }
        None
    }

    /// Who is in a room: their ids, and what is shown of them.
    pub fn members(&self, room: &str) -> impl Iterator<Item = (&Arc<str>, &Data)> {
        let seats = self.seats.get(room).into_iter().flatten();
        seats.filter_map(|(id, servers)| Some((id, servers.values().next()?)))
    }

    /// How many are in a room.
    pub fn count(&self, room: &str) -> usize {
        self.seats.get(room).map_or(0, BTreeMap::len)
    }

    /// The rooms that somebody is in.
    pub fn rooms(&self) -> impl Iterator<Item = &Room> {
        self.seats.keys()
    }

    /// What was counted so far.
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// The changes that the others do not know yet, as many as one message takes.
    fn changes(&mut self) -> Option<Kind> {
        let (mut present, mut absent, mut bytes) = (Vec::new(), Vec::new(), 0);
        while present.len() + absent.len() < SEATS_A_SAY
            && bytes < BYTES_A_SAY
            && let Some(key) = self.unsaid.pop_first()
        {
            bytes += key.0.len() + key.1.len();
            match self.own.get(&key) {
                Some(data) => {
                    bytes += data.as_ref().map_or(0, |data| data.len());
                    present.push(Seat { room: key.0, id: key.1, data: data.clone() });
                }
                None => absent.push(key),
            }
        }
        if present.is_empty() && absent.is_empty() {
            return None;
        }
        let before = self.version;
        self.version += 1;
        Some(Kind::Changed { before, version: self.version, present, absent })
    }

    /// Says all that there is, in as many messages as that takes.
    fn tell_all(&mut self) {
        let mut parts = vec![Vec::new()];
        let mut bytes = 0;
        for ((room, id), data) in &self.own {
            let last = parts.last_mut().expect("there is one at least");
            let size = room.len() + id.len() + data.as_ref().map_or(0, |data| data.len());
            if last.len() >= SEATS_A_SAY || bytes >= BYTES_A_SAY {
                bytes = 0;
                parts.push(Vec::new());
            }
            bytes += size;
            let seat = Seat { room: room.clone(), id: Arc::clone(id), data: data.clone() };
            parts.last_mut().expect("there is one at least").push(seat);
        }
        let last = parts.len() - 1;
        let version = self.version;
        self.says.extend(parts.into_iter().enumerate().map(|(part, present)| Kind::All {
            version,
            part: part as u64,
            last: part == last,
            present,
        }));
    }

    fn forget(&mut self, name: &Arc<str>) {
        for key in self.others.forget(name) {
            self.vacate(&key, name);
        }
    }

    fn seat(&mut self, key: &Key, server: &Arc<str>, data: Data) {
        self.touch(key);
        let room = self.seats.entry(key.0.clone()).or_default();
        room.entry(Arc::clone(&key.1)).or_default().insert(Arc::clone(server), data);
    }

    fn vacate(&mut self, key: &Key, server: &Arc<str>) {
        self.touch(key);
        let Some(room) = self.seats.get_mut(&key.0) else { return };
        if let Some(servers) = room.get_mut(&key.1) {
            servers.remove(server);
            if servers.is_empty() {
                room.remove(&key.1);
            }
        }
        if room.is_empty() {
            self.seats.remove(&key.0);
        }
    }

    /// Notes what was told of somebody, before that changes.
    fn touch(&mut self, key: &Key) {
        if !self.untold.contains_key(key) {
            let shown = self.shown(key);
            self.untold.insert(key.clone(), shown);
        }
    }

    fn shown(&self, (room, id): &Key) -> Option<Data> {
        self.seats.get(room)?.get(id)?.values().next().cloned()
    }
}
