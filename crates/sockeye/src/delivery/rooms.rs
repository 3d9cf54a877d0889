//! Who is in which room of one namespace: an index of mailboxes.
//!
//! Sharded by socket, so that cores join and leave without meeting; a broadcast visits the shards one by one. A socket's own
//! room (the room named by its id) costs nothing: it is found by the id itself. Knows nothing of messages.

use super::Mailbox;
use super::watch::Watch;
use crate::mesh::Board;
use crate::profile::Profile;
use foldhash::fast::RandomState as IdState;
use parking_lot::Mutex;
use slab::Slab;
use smallvec::SmallVec;
use sockeye_cluster::{Nsp, Room, Selector};
use sockeye_proto::sid::Sid;
use std::collections::HashMap;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// A socket as the index knows it.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// Its id.
    pub(crate) id: Sid,
    /// The door of its connection.
    pub(crate) mailbox: Arc<Mailbox>,
    /// What is known of it.
    pub(crate) profile: Arc<Profile>,
}

/// The index of one namespace.
#[derive(Debug)]
pub(crate) struct Rooms {
    shards: Box<[Mutex<Shard>]>,
    count: AtomicUsize,
    watch: OnceLock<Watch>,
    shown: OnceLock<Shown>,
}

/// Where the others of a mesh see who is here. A mark comes before what it shows, and goes after it.
#[derive(Debug)]
struct Shown {
    nsp: Nsp,
    board: Arc<Board>,
}

#[derive(Debug, Default)]
struct Shard {
    seats: Slab<Seat>,
    by_id: HashMap<Sid, usize, IdState>,
    // Names of rooms come from applications and so from clients: a keyed hash (std's SipHash) on purpose.
    rooms: HashMap<Room, Vec<usize>>,
    round: u64,
}

#[derive(Debug)]
struct Seat {
    member: Member,
    /// The rooms, each with the seat's place in that room's list, so that leaving a crowd is no search.
    rooms: SmallVec<[(Room, usize); 1]>,
    /// The round in which this seat was last visited or left out.
    seen: u64,
}

impl Rooms {
    /// Makes an index for a server of `threads` threads.
    pub(crate) fn new(threads: usize) -> Self {
        let shards = threads.max(1).next_power_of_two();
        Self {
            shards: (0..shards).map(|_| Mutex::new(Shard::default())).collect(),
            count: AtomicUsize::new(0),
            watch: OnceLock::new(),
            shown: OnceLock::new(),
        }
    }

    /// Sets where is shown who is here; the first one set counts. Where somebody is here already, it shows that everything is heard.
    pub(crate) fn show(&self, nsp: &Nsp, board: &Arc<Board>) {
        drop(self.shown.set(Shown { nsp: nsp.clone(), board: Arc::clone(board) }));
        if self.len() > 0 {
            board.give_up();
        }
    }

    /// Sets who hears of rooms that come and go; the first one set counts.
    pub(crate) fn watch(&self, watch: Watch) {
        drop(self.watch.set(watch));
    }

    /// Adds a socket; from here on it is found by its id.
    pub(crate) fn add(&self, member: Member) {
        let id = member.id;
        if let Some(shown) = self.shown.get() {
            shown.board.come(&shown.nsp, id);
        }
        match self.watch.get() {
            None => self.shard(id).lock().add(member),
            Some(watch) => watch.change(|notes| {
                self.shard(id).lock().add(member);
                notes.joined(&Room::new(id.as_str()), id);
            }),
        }
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Removes a socket from every room, unless another has come in its place.
    pub(crate) fn remove(&self, id: Sid, profile: &Arc<Profile>) {
        let mut removed = false;
        let mut rooms = Vec::new();
        match self.watch.get() {
            None => removed = self.shard(id).lock().remove(id, profile, |room| rooms.push(room)),
            Some(watch) => watch.change(|notes| {
                removed = self.shard(id).lock().remove(id, profile, |room| rooms.push(room));
                if removed {
                    notes.left(&Room::new(id.as_str()), id);
                    rooms.iter().for_each(|room| notes.left(room, id));
                }
            }),
        }
        if removed {
            self.count.fetch_sub(1, Ordering::Relaxed);
            if let Some(shown) = self.shown.get() {
                rooms.iter().for_each(|room| shown.board.leave(&shown.nsp, Some(room)));
                shown.board.go(&shown.nsp, id);
            }
        }
    }

    /// Puts a socket into a room. Joining twice is joining once; an unknown socket is ignored.
    pub(crate) fn join(&self, id: Sid, room: &Room) {
        let shown = self.shown.get();
        if let Some(shown) = shown {
            shown.board.enter(&shown.nsp, Some(room));
        }
        let mut joined = false;
        match self.watch.get() {
            None => joined = self.shard(id).lock().join(id, room),
            Some(watch) => watch.change(|notes| {
                joined = self.shard(id).lock().join(id, room);
                if joined {
                    notes.joined(room, id);
                }
            }),
        }
        if let (false, Some(shown)) = (joined, shown) {
            shown.board.leave(&shown.nsp, Some(room));
        }
    }

    /// Takes a socket out of a room.
    pub(crate) fn leave(&self, id: Sid, room: &str) {
        let mut left = false;
        match self.watch.get() {
            None => left = self.shard(id).lock().leave(id, room),
            Some(watch) => watch.change(|notes| {
                left = self.shard(id).lock().leave(id, room);
                if left {
                    notes.left(&Room::new(room), id);
                }
            }),
        }
        if let (true, Some(shown)) = (left, self.shown.get()) {
            shown.board.leave(&shown.nsp, Some(room));
        }
    }

    /// Whether anybody is in a room; that of a socket's id is its own.
    pub(crate) fn holds(&self, room: &Room) -> bool {
        let socket = Sid::from_str(room).ok();
        self.shards.iter().any(|shard| {
            let shard = shard.lock();
            shard.rooms.contains_key(room) || socket.is_some_and(|id| shard.by_id.contains_key(&id))
        })
    }

    /// What is known of a socket, if it is in a room.
    pub(crate) fn seated(&self, id: Sid, room: &Room) -> Option<Arc<Profile>> {
        let shard = self.shard(id).lock();
        let seat = &shard.seats[*shard.by_id.get(&id)?];
        seat.rooms.iter().any(|(joined, _)| joined == room).then(|| Arc::clone(&seat.member.profile))
    }

    /// Lists the rooms of a socket, its own first.
    pub(crate) fn rooms_of(&self, id: Sid) -> Vec<Room> {
        let shard = self.shard(id).lock();
        let Some(&seat) = shard.by_id.get(&id) else { return Vec::new() };
        let own = Room::new(id.as_str());
        std::iter::once(own).chain(shard.seats[seat].rooms.iter().map(|(room, _)| room.clone())).collect()
    }

    /// Calls `visit` once for each selected socket. `visit` must be short: a shard is locked meanwhile.
    pub(crate) fn for_each(&self, selector: &Selector, mut visit: impl FnMut(&Member)) {
        for shard in &self.shards {
            shard.lock().visit(selector, &mut visit);
        }
    }

    /// Copies the selected sockets out, for work that must not run under a lock.
    pub(crate) fn select(&self, selector: &Selector) -> Vec<Member> {
        let mut members = Vec::new();
        self.for_each(selector, |member| members.push(member.clone()));
        members
    }

    /// For how many threads the index was made.
    pub(crate) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// How many sockets the namespace has.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn shard(&self, id: Sid) -> &Mutex<Shard> {
        // The last characters of an id are random.
        let bytes = id.as_str().as_bytes();
        let random = usize::from(bytes[Sid::LEN - 1]) ^ (usize::from(bytes[Sid::LEN - 2]) << 3);
        &self.shards[random & (self.shards.len() - 1)]
    }
}

impl Shard {
    fn add(&mut self, member: Member) {
        let id = member.id;
        let seat = self.seats.insert(Seat { member, rooms: SmallVec::new(), seen: 0 });
        self.by_id.insert(id, seat);
    }

    /// `false` when the socket is unknown.
    fn remove(&mut self, id: Sid, profile: &Arc<Profile>, mut left: impl FnMut(Room)) -> bool {
        let Some(&seat) = self.by_id.get(&id) else { return false };
        if !Arc::ptr_eq(&self.seats[seat].member.profile, profile) {
            return false;
        }
        self.by_id.remove(&id);
        while let Some((room, place)) = self.seats[seat].rooms.pop() {
            self.vacate(&room, place);
            left(room);
        }
        self.seats.remove(seat);
        true
    }

    /// `false` when nothing changed.
    fn join(&mut self, id: Sid, room: &Room) -> bool {
        let Some(&seat) = self.by_id.get(&id) else { return false };
        let rooms = &mut self.seats[seat].rooms;
        if **room == *id.as_str() || rooms.iter().any(|(joined, _)| joined == room) {
            return false;
        }
        let list = self.rooms.entry(room.clone()).or_default();
        rooms.push((room.clone(), list.len()));
        list.push(seat);
        true
    }

    /// `false` when nothing changed.
    fn leave(&mut self, id: Sid, room: &str) -> bool {
        let Some(&seat) = self.by_id.get(&id) else { return false };
        let rooms = &mut self.seats[seat].rooms;
        let Some(index) = rooms.iter().position(|(joined, _)| **joined == *room) else { return false };
        let (_, place) = rooms.swap_remove(index);
        self.vacate(room, place);
        true
    }

    /// Frees a place in a room's list; who stood last moves there.
    fn vacate(&mut self, room: &str, place: usize) {
        let Some(list) = self.rooms.get_mut(room) else { return };
        list.swap_remove(place);
        if let Some(&moved) = list.get(place) {
            for (name, at) in &mut self.seats[moved].rooms {
                if **name == *room {
                    *at = place;
                }
            }
        } else if list.is_empty() {
            self.rooms.remove(room);
        }
    }

    fn visit(&mut self, selector: &Selector, visit: &mut impl FnMut(&Member)) {
        self.round += 1;
        let round = self.round;
        for room in &selector.except {
            self.mark(room, round);
        }
        if selector.rooms.is_empty() {
            for (_, seat) in &self.seats {
                if seat.seen != round {
                    visit(&seat.member);
                }
            }
            return;
        }
        for room in &selector.rooms {
            if let Some(&seat) = Sid::from_str(room).ok().and_then(|id| self.by_id.get(&id)) {
                self.seats[seat].visit_once(round, visit);
            }
            for &seat in self.rooms.get(room.as_str()).into_iter().flatten() {
                self.seats[seat].visit_once(round, visit);
            }
        }
    }

    fn mark(&mut self, room: &str, round: u64) {
        if let Some(&seat) = Sid::from_str(room).ok().and_then(|id| self.by_id.get(&id)) {
            self.seats[seat].seen = round;
        }
        for &seat in self.rooms.get(room).into_iter().flatten() {
            self.seats[seat].seen = round;
        }
    }
}

impl Seat {
    fn visit_once(&mut self, round: u64, visit: &mut impl FnMut(&Member)) {
        if self.seen != round {
            self.seen = round;
            visit(&self.member);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MailboxExcess;
    use crate::handshake::Handshake;
    use bytes::Bytes;
    use sockeye_proto::engine::{Protocol, Transport};
    use sockeye_proto::sid::Tag;

    #[test]
    fn a_selector_finds_each_socket_once() {
        let (rooms, ids) = world(4);
        rooms.join(ids[0], &"a".into());
        rooms.join(ids[1], &"a".into());
        rooms.join(ids[1], &"b".into());
        rooms.join(ids[2], &"b".into());
        let own = |index: usize| ids[index].as_str();
        let rows: [(Selector, &[usize]); 9] = [
            (Selector::all(), &[0, 1, 2, 3]),
            (Selector::to("a"), &[0, 1]),
            (Selector::to("a").and_to("b"), &[0, 1, 2]),
            (Selector::to("a").and_except("b"), &[0]),
            (Selector::all().and_except("a"), &[2, 3]),
            (Selector::to(own(3)), &[3]),
            (Selector::to(own(3)).and_to("a").and_to("a"), &[0, 1, 3]),
            (Selector::all().and_except(own(0)), &[1, 2, 3]),
            (Selector::to("nobody"), &[]),
        ];
        for (selector, expected) in rows {
            assert_eq!(found(&rooms, &ids, &selector), expected, "{selector:?}");
        }
    }

    #[test]
    fn a_room_named_like_a_socket_holds_the_socket_and_its_guests() {
        let (rooms, ids) = world(3);
        rooms.join(ids[1], &Room::new(ids[0].as_str()));
        rooms.join(ids[0], &Room::new(ids[0].as_str()));
        assert_eq!(found(&rooms, &ids, &Selector::to(ids[0].as_str())), [0, 1]);
    }

    #[test]
    fn leaving_keeps_the_others_in_place() {
        let (rooms, ids) = world(5);
        for id in &ids {
            rooms.join(*id, &"a".into());
            rooms.join(*id, &"b".into());
        }
        rooms.leave(ids[0], "a");
        rooms.leave(ids[0], "a");
        remove(&rooms, ids[3]);
        rooms.leave(ids[4], "a");
        assert_eq!(found(&rooms, &ids, &Selector::to("a")), [1, 2]);
        assert_eq!(found(&rooms, &ids, &Selector::to("b")), [0, 1, 2, 4]);
        assert_eq!(rooms.len(), 4);
    }

    #[test]
    fn the_last_one_out_takes_the_room_along() {
        let (rooms, ids) = world(2);
        rooms.join(ids[0], &"a".into());
        rooms.join(ids[1], &"a".into());
        remove(&rooms, ids[0]);
        rooms.leave(ids[1], "a");
        assert!(rooms.shards.iter().all(|shard| shard.lock().rooms.is_empty()));
    }

    #[test]
    fn a_socket_lists_its_rooms_its_own_first() {
        let (rooms, ids) = world(1);
        rooms.join(ids[0], &"a".into());
        assert_eq!(rooms.rooms_of(ids[0]), [Room::new(ids[0].as_str()), Room::new("a")]);
        remove(&rooms, ids[0]);
        assert!(rooms.rooms_of(ids[0]).is_empty());
    }

    fn remove(rooms: &Rooms, id: Sid) {
        let member = rooms.select(&Selector::to(id.as_str())).remove(0);
        rooms.remove(id, &member.profile);
    }

    fn world(count: usize) -> (Rooms, Vec<Sid>) {
        let rooms = Rooms::new(2);
        let ids: Vec<_> = (0..count)
            .map(|index| {
                Sid::new(Tag::from_bits(7), ((index as u128) << 64) | ((index as u128) * 0x9e37_79b9))
            })
            .collect();
        for id in &ids {
            let handshake = Handshake::new(Bytes::new(), ([127, 0, 0, 1], 1).into());
            let profile = Arc::new(Profile::new(handshake));
            rooms.add(Member {
                id: *id,
                mailbox: Mailbox::new(1000, MailboxExcess::Close, Protocol::V4, Transport::Polling),
                profile,
            });
        }
        (rooms, ids)
    }

    fn found(rooms: &Rooms, ids: &[Sid], selector: &Selector) -> Vec<usize> {
        let mut found = Vec::new();
        rooms.for_each(selector, |member| {
            found.extend(ids.iter().position(|id| *id == member.id));
        });
        found.sort_unstable();
        found
    }
}
