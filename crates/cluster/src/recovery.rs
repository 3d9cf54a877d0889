//! Connection state recovery in one namespace: the last events, and the sessions that may still come back for them.
//!
//! A client of which the connection broke comes back with its session's private id (`pid`) and the offset of the last event that it
//! has met. It gets its id, its rooms and its data back, and what it has missed: exactly the events that were meant for it when they were
//! said (by the rooms of that moment), in order, none twice. Where that cannot be promised it gets nothing and begins anew.
//!
//! Kept in memory, of one node. Sends nothing, draws no ids, reads no clock.
//!
//! # The offset of a stock client
//!
//! An event that can be missed (no ack wanted, not volatile) ends in its offset, one more argument. `socket.io-client` keeps no more than
//! this rule: if the last element of *any* event's array, its name included, is a string, then that is its offset
//! (`emitEvent` in `lib/socket.ts`). It follows:
//!
//! - A volatile event that ends in a string (`["tick"]`, `["news","hello"]`) would make "tick" the client's offset, and its
//!   recovery fail. [`Store::stamp`] appends the offset of the last event that was stored, which is true: one connection is in
//!   order. Events that end in anything else stay as they are.
//! - What a guard says to a client before its session goes on comes before what was missed: an offset would be a lie, and
//!   [`without_offset`] keeps the client from taking one.
//! - An event that wants an ack needs no care: the client puts the ack's function behind the arguments before it looks. Stamping
//!   it would only show handlers one more argument.
//! - The client never forgets an offset, also not when it is given a new `pid`: a fresh session that has met no event comes back with
//!   the *former* session's offset. A session therefore keeps where it began, and an offset before that counts as that. Without an
//!   offset the session goes on from its beginning, so a client that has never met an event recovers too.
//!
//! # Where it plugs in
//!
//! One store a namespace, behind one lock (the `Hub`'s), held while an event is numbered *and* posted to the mailboxes, and while a
//! session is restored *and* its socket listed in its rooms: else a client could get an event twice or meet a later offset before an
//! earlier one. Posting waits for nothing, so the lock is held for the length of a fan-out. Where recovery is off there is no
//! store and no lock.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use bytes::Bytes;
//! use sockeye_cluster::recovery::{Config, Store};
//! use sockeye_cluster::{Packet, Room, Selector};
//! # let (sid, now): (sockeye_proto::Sid, _) = ("Ab3dE_00000000000000".parse()?, Instant::now());
//!
//! // At start. Microseconds since 1970: offsets of this process sort after those of the one before.
//! let mut store = Store::new(Config::default(), 1_790_000_000_000_000);
//!
//! // CONNECT without a pid that is known: draw a pid, list the socket, then answer `40{"sid":…,"pid":…}`.
//! let (pid, own) = ("s3cr3t".into(), Room::new(sid.as_str()));
//! store.open(pid, sid, [own]);
//! # let pid = "s3cr3t".into();
//! // Each join and leave, by the socket itself, by `sockets_join`, or by another node:
//! store.join(&pid, &Room::new("kitchen"));
//!
//! // Emit (to all, to rooms, and to one socket, which is the room of its id; also what another node published):
//! let sent = store.append(&Selector::to("kitchen"), &Packet::text(r#"["soup"]"#), now);
//! assert!(sent.data.starts_with(br#"["soup",""#)); // deliver this one
//! // Volatile: not stored, but stamped.
//! let sent = store.stamp(&Packet::text(r#"["tick"]"#));
//! assert!(sent.data.starts_with(br#"["tick",""#));
//!
//! // The socket ends. For a reason that can be recovered from (transport error, transport close, forced close, ping timeout, server
//! // shutting down, forced server close), with its data written down:
//! store.close(&pid, Bytes::from_static(b"{}"), now);
//! // and for any other: store.forget(&pid)
//! store.append(&Selector::to("kitchen"), &Packet::text(r#"["bread"]"#), now);
//!
//! // CONNECT with `{"pid":…,"offset":…}` in its payload:
//! let restored = store.restore(&pid, None, now + Duration::from_secs(5)).expect("it was away for a moment");
//! // List the socket under `sid` in `rooms` (no `open`, no `join`: the session is the same), post `missed` in order, and only then
//! // the CONNECT packet with the old sid and the same pid, by which the client knows that it has recovered.
//! assert_eq!((restored.sid, restored.rooms.len(), restored.missed.len()), (sid, 2, 2));
//!
//! // And the time, at `store.poll_timeout()`.
//! store.handle_timeout(now);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ledger;
mod log;
mod offset;
mod session;
mod sightings;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sockeye_proto::sid::Sid;

pub use crate::places::{NoPlaces, OFFSET_BYTES_MAX, Place, Places};
pub use ledger::{Entry, Found, Ledger, Said};
pub use offset::{NoOffset, Offset};
pub use sightings::{GONE_MAX, Sightings};

use self::log::{Bounds, Log};
use self::session::{Absence, Session};
use crate::adapter::Position;
use crate::message::Packet;
use crate::name::{Pid, Room};
use crate::selector::Selector;

/// What is kept, and for how long. The limits hold for each namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long a client may be away. Default 120 s, as officially.
    pub max_disconnection_duration: Duration,
    /// How long a dead connection can pass for alive: events are kept for this long on top. Default 85 s: the official
    /// `ping_interval` and three times the `ping_timeout` (a ping that is answered at the last moment, one that is not, and the one
    /// refresh that another packet brings). Shorter than that, what was said to a dead connection may be lost.
    pub detection_time: Duration,
    /// How many events are kept; the oldest go first, and who has missed one of these begins anew. Default 10,000.
    pub packets_max: usize,
    /// How many bytes of events are kept, with what it costs to keep them. Default 16 MiB.
    pub packet_bytes_max: usize,
    /// How many sessions wait for their clients; the one that is away longest goes first. Default 10,000.
    pub sessions_max: usize,
    /// The longest data of a session; one with more is not kept. Default 64 KiB. With `sessions_max` it bounds the memory.
    pub data_bytes_max: usize,
    /// How many former stays in rooms a session remembers; a client that comes back from before the oldest of more begins
    /// anew. Default 256.
    pub former_rooms_max: usize,
    /// How many bytes of missed events a session gets back; at more it begins anew. It has to fit into a
    /// mailbox with room to spare. Default 4 MiB.
    pub missed_bytes_max: usize,
    /// How many bytes of copies of sessions a member of a mesh keeps for all members, with what it costs to keep them; what does not fit
    /// is not kept there. Default 64 MiB.
    pub copy_bytes_max: usize,
}

/// A session that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The socket's id, as before.
    pub sid: Sid,
    /// Its rooms, that of its id included.
    pub rooms: Vec<Room>,
    /// Its data, as it was handed in.
    pub data: Bytes,
    /// When its credential ends, as it was handed in.
    pub ends: Option<Instant>,
    /// What it has missed, in order; each ends in its offset.
    pub missed: Vec<(Offset, Packet)>,
}

/// What a store has counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events stored.
    pub stored: u64,
    /// Events dropped before they were old: `packets_max` or `packet_bytes_max`.
    pub cut: u64,
    /// Sessions restored.
    pub restored: u64,
    /// Sessions whose client did not come back in time, or after its credential had ended.
    pub expired: u64,
    /// Sessions not kept: `sessions_max` or `data_bytes_max`.
    pub evicted: u64,
    /// Attempts to restore a session that is not there, or whose client is.
    pub unknown: u64,
    /// Attempts with an offset that was never given.
    pub strange: u64,
    /// Attempts from before what is kept, or with too much missed.
    pub incomplete: u64,
}

/// What a store keeps at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Sessions that wait for their clients.
    pub away: usize,
    /// Events.
    pub packets: usize,
    /// Bytes of these, with what it costs to keep them.
    pub bytes: usize,
}

/// The last events of a namespace and its sessions.
#[derive(Debug)]
pub struct Store {
    config: Config,
    log: Log,
    sessions: BTreeMap<Pid, Session>,
    /// Who is away, longest first.
    away: BTreeSet<(Instant, Pid)>,
    stats: Stats,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_disconnection_duration: Duration::from_secs(120),
            detection_time: Duration::from_secs(85),
            packets_max: 10_000,
            packet_bytes_max: 16 << 20,
            sessions_max: 10_000,
            data_bytes_max: 64 << 10,
            former_rooms_max: 256,
            missed_bytes_max: 4 << 20,
            copy_bytes_max: 64 << 20,
        }
    }
}

impl Config {
    /// How long ago the last thing is that a client can have missed.
    pub const fn age_max(&self) -> Duration {
        self.max_disconnection_duration.saturating_add(self.detection_time)
    }
}

impl Store {
    /// Makes an empty store whose offsets begin after `start`: the microseconds since 1970, so that they are unique and sort
    /// also over restarts (at less than a million events a second).
    pub fn new(config: Config, start: u64) -> Self {
        let bounds = Bounds {
            packets_max: config.packets_max,
            bytes_max: config.packet_bytes_max,
            age_max: config.age_max(),
        };
        Self {
            config,
            log: Log::new(Offset::new(start), bounds),
            sessions: BTreeMap::new(),
            away: BTreeSet::new(),
            stats: Stats::default(),
        }
    }

    /// Stores an event and returns it as it is to be sent, ending in its offset.
    pub fn append(&mut self, selector: &Selector, packet: &Packet, now: Instant) -> Packet {
        let packet = with_offset(packet, self.log.last().next());
        self.stats.stored += 1;
        self.stats.cut += self.log.push(packet.clone(), selector.clone(), now);
        packet
    }

    /// Returns an event that is not stored as it is to be sent: one that ends in a string ends in an offset instead.
    pub fn stamp(&self, packet: &Packet) -> Packet {
        if ends_in_string(&packet.data) { with_offset(packet, self.log.last()) } else { packet.clone() }
    }

    /// What is kept at the moment.
    pub fn held(&self) -> Held {
        Held { away: self.away.len(), packets: self.log.len(), bytes: self.log.bytes() }
    }

    /// Begins a session, in these rooms. What was said before does not concern it.
    pub fn open(&mut self, pid: Pid, sid: Sid, rooms: impl IntoIterator<Item = Room>) {
        self.forget(&pid);
        let mut session = Session::new(sid, self.log.last());
        for room in rooms {
            session.join(&room, self.log.last());
        }
        self.sessions.insert(pid, session);
    }

    /// Notes that a session joins a room, if its client is here.
    pub fn join(&mut self, pid: &Pid, room: &Room) {
        if let Some(session) = self.sessions.get_mut(pid).filter(|session| session.absence.is_none()) {
            session.join(room, self.log.last());
        }
    }

    /// Notes that a session leaves a room, if its client is here.
    pub fn leave(&mut self, pid: &Pid, room: &Room) {
        if let Some(session) = self.sessions.get_mut(pid).filter(|session| session.absence.is_none()) {
            session.leave(room, self.log.last(), self.log.aged(), self.config.former_rooms_max);
        }
    }

    /// Keeps the session of a client whose connection has ended.
    pub fn close(&mut self, pid: &Pid, data: Bytes, now: Instant) {
        if data.len() > self.config.data_bytes_max {
            self.stats.evicted += 1;
            return self.forget(pid);
        }
        let Some(session) = self.sessions.get_mut(pid).filter(|session| session.absence.is_none()) else {
            return;
        };
        session.absence = Some(Absence { since: now, data });
        self.away.insert((now, pid.clone()));
        if self.away.len() > self.config.sessions_max
            && let Some((_, longest)) = self.away.pop_first()
        {
            self.sessions.remove(&longest);
            self.stats.evicted += 1;
        }
    }

    /// Sets when the credential of a session ends: from then on it is not restored.
    pub fn set_end(&mut self, pid: &Pid, ends: Option<Instant>) {
        if let Some(session) = self.sessions.get_mut(pid) {
            session.ends = ends;
        }
    }

    /// Ends a session for good.
    pub fn forget(&mut self, pid: &Pid) {
        if let Some(absence) = self.sessions.remove(pid).and_then(|session| session.absence) {
            self.away.remove(&(absence.since, pid.clone()));
        }
    }

    /// Goes on with the session of a client that comes back, with the offset that it names. `None`: it has to begin anew. A session
    /// whose client is here is not given away; one that cannot be restored is gone.
    pub fn restore(&mut self, pid: &Pid, offset: Option<&str>, now: Instant) -> Option<Restored> {
        self.handle_timeout(now);
        let Some(absence) = self.sessions.get_mut(pid).and_then(|session| session.absence.take()) else {
            self.stats.unknown += 1;
            return None;
        };
        self.away.remove(&(absence.since, pid.clone()));
        if self.sessions.get(pid).and_then(|session| session.ends).is_some_and(|ends| ends <= now) {
            self.sessions.remove(pid);
            self.stats.expired += 1;
            return None;
        }
        let Some((from, missed)) = self.missed(pid, offset) else {
            self.sessions.remove(pid);
            return None;
        };
        let session = self.sessions.get_mut(pid)?;
        session.floor = from;
        self.stats.restored += 1;
        Some(Restored {
            sid: session.sid,
            rooms: session.rooms(),
            data: absence.data,
            ends: session.ends,
            missed,
        })
    }

    /// Goes on once more with a session that was given out by [`Store::restore`] and not used yet: what was said meanwhile was missed, too.
    pub fn restore_again(
        &mut self,
        pid: &Pid,
        data: Bytes,
        offset: Option<&str>,
        now: Instant,
    ) -> Option<Restored> {
        self.close(pid, data, now);
        let restored = self.restore(pid, offset, now)?;
        // It is one and the same client.
        self.stats.restored -= 1;
        Some(restored)
    }

    /// Forgets what nobody can want any more.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.log.prune(now);
        while let Some((since, pid)) = self.away.first()
            && now.saturating_duration_since(*since) >= self.config.max_disconnection_duration
        {
            self.sessions.remove(pid);
            self.away.pop_first();
            self.stats.expired += 1;
        }
    }

    /// When [`Store::handle_timeout`] is due. Being late costs memory only.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let longest = self.away.first();
        let expiry = longest.and_then(|(since, _)| since.checked_add(self.config.max_disconnection_duration));
        expiry.into_iter().chain(self.log.due()).min()
    }

    /// Whether this session's client is here: a driver may end that connection (it is likely dead) and restore then.
    pub fn is_here(&self, pid: &Pid) -> bool {
        self.sessions.get(pid).is_some_and(|session| session.absence.is_none())
    }

    /// What was counted so far.
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Where a session goes on, and what it has missed since.
    fn missed(&mut self, pid: &Pid, offset: Option<&str>) -> Option<(Offset, Vec<(Offset, Packet)>)> {
        let session = self.sessions.get(pid)?;
        let met = offset.map_or(Ok(session.floor), str::parse).ok().filter(|met| *met <= self.log.last());
        let Some(met) = met else {
            self.stats.strange += 1;
            return None;
        };
        let from = met.max(session.floor);
        // What is too old to be missed was met before the connection died, whatever the client says.
        let safe = from.max(self.log.aged());
        let mut bytes = 0;
        let mut missed = Vec::new();
        let after = self.log.after(safe).filter(|_| session.blind.is_none_or(|blind| safe >= blind));
        let whole = after.is_some_and(|mut entries| {
            entries.all(|(offset, entry)| {
                if session.is_meant(&entry.selector, offset) {
                    bytes += entry.packet.bytes();
                    missed.push((offset, entry.packet.clone()));
                }
                bytes <= self.config.missed_bytes_max
            })
        });
        if !whole {
            self.stats.incomplete += 1;
            return None;
        }
        Some((from, missed))
    }
}

/// Returns an event that stands at a place on a backplane as it is to be sent: its place is its last argument.
pub fn at_place(packet: &Packet, place: &Position) -> Packet {
    with_last(packet, &format!("\"{}\"", place.0))
}

/// Returns an event without a place as it is to be sent after what stands at `last`: see [`Store::stamp`].
pub fn stamped(packet: &Packet, last: Option<&Position>) -> Packet {
    match last {
        Some(last) if ends_in_string(&packet.data) => at_place(packet, last),
        Some(_) => packet.clone(),
        None => without_offset(packet),
    }
}

/// The event with an offset as its last argument.
fn with_offset(packet: &Packet, offset: Offset) -> Packet {
    with_last(packet, &format!("\"{offset}\""))
}

fn with_last(packet: &Packet, last: &str) -> Packet {
    let text = packet.data.trim_ascii_end();
    let inside = text.strip_suffix(b"]").unwrap_or(text);
    let mut data = Vec::with_capacity(inside.len() + last.len() + 2);
    data.extend_from_slice(inside);
    if inside.trim_ascii() != b"[" {
        data.push(b',');
    }
    data.extend_from_slice(last.as_bytes());
    data.push(b']');
    Packet { data: data.into(), attachments: packet.attachments.clone() }
}

/// Returns an event for a client that has no session yet (a guard has the word), as it is to be sent: one that ends in a string ends
/// in `null` instead, which no client takes for an offset.
pub fn without_offset(packet: &Packet) -> Packet {
    if ends_in_string(&packet.data) { with_last(packet, "null") } else { packet.clone() }
}

/// Whether the last element of a JSON array is a string: nothing else ends in a quotation mark.
fn ends_in_string(array: &[u8]) -> bool {
    let inside = array.trim_ascii_end().strip_suffix(b"]");
    inside.is_some_and(|inside| inside.trim_ascii_end().ends_with(b"\""))
}
