//! Which member has which session, learnt from the answers to handshakes: for programs whose sids say nothing of where they came from. A machine.
//!
//! It is bounded. What was not asked for longer than the heartbeat allows is forgotten, and so is what was not asked for longest when there is no room.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use slab::Slab;

use crate::member::MemberId;

/// The sessions of one group by their ids.
#[derive(Debug)]
pub(crate) struct Learnt {
    /// Where each stands among the entries. Only sids that servers gave out get in, so no client chooses what collides, and a quick keyed hash will do.
    by_sid: HashMap<Arc<str>, usize, RandomState>,
    entries: Slab<Entry>,
    /// Each sid once, with a time at which it had been seen; brought up to date when it comes to the front.
    order: VecDeque<(Instant, Arc<str>)>,
    sids_max: usize,
}

/// A request of a session, or a tunnel, that is under way: finds the session again without a search.
#[derive(Debug)]
pub(crate) struct Held {
    place: usize,
    sid: Arc<str>,
}

/// Where a session is.
#[derive(Debug)]
struct Entry {
    sid: Arc<str>,
    member: MemberId,
    seen: Instant,
    /// Requests and tunnels under way: a session that is being served does not age.
    held: u32,
    /// It goes on in a tunnel, and ends with it.
    in_tunnel: bool,
}

impl Learnt {
    pub(crate) fn new(sids_max: usize) -> Self {
        Self {
            by_sid: HashMap::default(),
            entries: Slab::new(),
            order: VecDeque::new(),
            sids_max: sids_max.max(1),
        }
    }

    /// A member made a session. Tells whose session was forgotten for it.
    pub(crate) fn handle_handshake(&mut self, sid: &str, member: MemberId, now: Instant) -> Option<MemberId> {
        if sid.is_empty() || sid.len() > SID_BYTES_MAX {
            return Some(member);
        }
        let sid: Arc<str> = sid.into();
        let entry = Entry { sid: Arc::clone(&sid), member, seen: now, held: 0, in_tunnel: false };
        if let Some(place) = self.by_sid.get(&sid) {
            return Some(std::mem::replace(&mut self.entries[*place], entry).member);
        }
        self.by_sid.insert(Arc::clone(&sid), self.entries.insert(entry));
        self.order.push_back((now, sid));
        if self.by_sid.len() > self.sids_max { self.forget_oldest() } else { None }
    }

    /// A request names a session: whose it is. It is under way until [`Self::handle_done`].
    pub(crate) fn handle_request(&mut self, sid: &str, now: Instant) -> Option<(MemberId, Held)> {
        let place = *self.by_sid.get(sid)?;
        let entry = &mut self.entries[place];
        entry.seen = now;
        entry.held += 1;
        Some((entry.member, Held { place, sid: Arc::clone(&entry.sid) }))
    }

    /// A request of a session is done, or its tunnel.
    pub(crate) fn handle_done(&mut self, held: &Held, now: Instant) {
        if let Some(entry) = self.entry(held) {
            entry.seen = now;
            entry.held = entry.held.saturating_sub(1);
        }
    }

    /// A session goes on in a tunnel.
    pub(crate) fn handle_tunnel(&mut self, held: &Held) {
        if let Some(entry) = self.entry(held) {
            entry.in_tunnel = true;
        }
    }

    /// A session is over. Tells whose it was.
    pub(crate) fn handle_ended(&mut self, sid: &str) -> Option<MemberId> {
        let place = self.by_sid.remove(sid)?;
        Some(self.entries.remove(place).member)
    }

    /// Forgets what was not seen for longer than `age`. Tells whose sessions these were.
    pub(crate) fn handle_timeout(&mut self, now: Instant, age: Duration) -> Vec<MemberId> {
        let mut ended = Vec::new();
        for _ in 0..self.order.len() {
            let Some((seen, _)) = self.order.front() else { break };
            if now.saturating_duration_since(*seen) < age {
                break;
            }
            let Some((_, sid)) = self.order.pop_front() else { break };
            let Some(entry) = self.by_sid.get(&sid).map(|place| &self.entries[*place]) else { continue };
            if entry.held > 0 {
                self.order.push_back((now, sid));
            } else if now.saturating_duration_since(entry.seen) < age {
                self.order.push_back((entry.seen, sid));
            } else {
                ended.extend(self.handle_ended(&sid));
            }
        }
        ended
    }

    /// Up to `most` sessions of a member, to be moved; not those in tunnels, which end with them.
    pub(crate) fn of(&self, member: MemberId, most: usize) -> Vec<Arc<str>> {
        let entries = self.entries.iter().map(|(_, entry)| entry);
        let of_it = entries.filter(|entry| entry.member == member && !entry.in_tunnel);
        of_it.take(most).map(|entry| Arc::clone(&entry.sid)).collect()
    }

    /// Whether a session is known still.
    pub(crate) fn holds(&self, held: &Held) -> bool {
        self.by_sid.contains_key(&held.sid)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_sid.len()
    }

    /// Forgets all sessions of a member that is gone for good.
    pub(crate) fn handle_gone(&mut self, member: MemberId) {
        self.entries.retain(|_, entry| entry.member != member);
        self.by_sid.retain(|_, place| self.entries.contains(*place));
    }

    fn entry(&mut self, held: &Held) -> Option<&mut Entry> {
        // Its place may be another's by now.
        self.entries.get_mut(held.place).filter(|entry| Arc::ptr_eq(&entry.sid, &held.sid))
    }

    fn forget_oldest(&mut self) -> Option<MemberId> {
        // Each may be brought up to date once; then the front is the oldest.
        for _ in 0..=self.order.len() {
            let (queued, sid) = self.order.pop_front()?;
            match self.by_sid.get(&sid).map(|place| self.entries[*place].seen) {
                None => {}
                Some(seen) if seen > queued => self.order.push_back((seen, sid)),
                Some(_) => return self.handle_ended(&sid),
            }
        }
        None
    }
}

impl Held {
    pub(crate) fn sid(&self) -> &str {
        &self.sid
    }
}

/// The longest sid that is learnt; Engine.IO's have 20 characters, others' up to 36.
pub(crate) const SID_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_known_until_it_was_not_asked_for_long_enough() {
        let (mut learnt, start) = (Learnt::new(10), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let age = Duration::from_secs(45);
        learnt.handle_handshake("a", id(1), at(0));
        learnt.handle_handshake("b", id(2), at(0));
        let (member, held) = learnt.handle_request("a", at(40)).unwrap();
        assert_eq!(member, id(1));
        assert!(learnt.handle_request("c", at(40)).is_none());
        learnt.handle_done(&held, at(41));
        assert_eq!(learnt.handle_timeout(at(44), age), []);
        assert_eq!(learnt.handle_timeout(at(45), age), [id(2)]);
        assert!(learnt.handle_request("b", at(45)).is_none());
        let (_, held) = learnt.handle_request("a", at(85)).expect("asked for at 41");
        assert_eq!(learnt.handle_timeout(at(1000), age), [], "its request is under way");
        learnt.handle_done(&held, at(1000));
        assert_eq!(learnt.handle_timeout(at(1044), age), []);
        assert_eq!(learnt.handle_timeout(at(1045), age), [id(1)]);
        assert_eq!((learnt.len(), learnt.entries.len(), learnt.order.len()), (0, 0, 0));
    }

    #[test]
    fn where_there_is_no_room_the_one_not_asked_for_longest_goes() {
        let (mut learnt, start) = (Learnt::new(3), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for (n, sid) in ["a", "b", "c"].into_iter().enumerate() {
            assert_eq!(learnt.handle_handshake(sid, id(0), at(n as u64)), None);
        }
        let (_, held) = learnt.handle_request("a", at(3)).unwrap();
        learnt.handle_done(&held, at(3));
        assert_eq!(learnt.handle_handshake("d", id(1), at(4)), Some(id(0)), "whose session it was");
        assert!(learnt.handle_request("b", at(5)).is_none());
        assert!(["a", "c", "d"].iter().all(|sid| learnt.handle_request(sid, at(5)).is_some()));
        assert_eq!((learnt.len(), learnt.entries.len()), (3, 3));
    }

    #[test]
    fn what_ends_is_told_once() {
        let (mut learnt, now) = (Learnt::new(10), Instant::now());
        learnt.handle_handshake("a", id(1), now);
        assert_eq!(learnt.of(id(1), 5).len(), 1);
        let (_, held) = learnt.handle_request("a", now).unwrap();
        learnt.handle_tunnel(&held);
        assert_eq!(learnt.of(id(1), 5).len(), 0, "it ends with its tunnel");
        assert_eq!(learnt.of(id(2), 5).len(), 0);
        assert_eq!(learnt.handle_ended("a"), Some(id(1)));
        assert_eq!(learnt.handle_ended("a"), None);
        assert!(!learnt.holds(&held));
        // Its place is another's, whom its end does not concern.
        learnt.handle_handshake("b", id(1), now);
        let (_, other) = learnt.handle_request("b", now).unwrap();
        learnt.handle_done(&held, now);
        assert_eq!((other.place, learnt.entries[other.place].held), (held.place, 1));
        learnt.handle_handshake("c", id(2), now);
        learnt.handle_gone(id(1));
        assert!(learnt.handle_request("b", now).is_none());
        assert_eq!(learnt.handle_request("c", now).map(|(member, _)| member), Some(id(2)));
    }

    #[test]
    fn what_is_no_sid_is_not_learnt() {
        let mut learnt = Learnt::new(10);
        let long = "x".repeat(SID_BYTES_MAX + 1);
        for sid in ["", &long] {
            assert_eq!(learnt.handle_handshake(sid, id(1), Instant::now()), Some(id(1)));
        }
        assert_eq!(learnt.len(), 0);
    }

    fn id(n: u32) -> MemberId {
        MemberId::new(n)
    }
}
