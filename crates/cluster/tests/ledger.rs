//! Members of a mesh that come, speak, die and lag behind, and clients that go from one to the other: each event reaches each client that it
//! was for, once, and in the order of whoever said it; or the session begins anew.
//!
//! Connections are queues: in order, of any delay, and what was written before its writer was killed still arrives.

#![expect(clippy::unwrap_used, reason = "the world is a test as a whole")]

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use sockeye_cluster::adapter::{Position, Session};
use sockeye_cluster::recovery::{Config, Entry, Found, Ledger, Place, Places, Said, Sightings};
use sockeye_cluster::{Flags, Packet, Pid, Room, Selector, Uid};
use sockeye_proto::sid::{Sid, Tag};

const ROOMS: [&str; 3] = ["a", "b", "c"];
const CLIENTS: usize = 6;

#[test]
fn each_event_is_met_once_in_order_or_the_session_begins_anew() {
    let (mut restored, mut anew) = (0, 0);
    for seed in 0..200 {
        let mut world = World::new(seed);
        for _ in 0..600 {
            world.step();
        }
        world.settle();
        world.check();
        restored += world.restored;
        anew += world.anew;
    }
    assert!(restored > 1_000, "restored {restored}, anew {anew}");
    // Members are killed all the time: now and then nobody is left who was there for long enough.
    assert!(anew * 20 < restored, "restored {restored}, anew {anew}");
}

#[test]
fn a_client_that_is_ahead_of_its_member_gets_nothing_twice() {
    let mut world = World::new(0);
    let (one, two) = (world.start(), world.start());
    world.settle();
    let client = world.enter(one);
    // `two` has not read yet what the client of `one` meets.
    world.say(one, "a");
    world.say(one, "a");
    world.deliver(one, two);
    world.cut(client);
    assert!(world.come_back(client, two));
    world.say(two, "a");
    let offset: Places = world.clients[client].offset.clone().unwrap().parse().unwrap();
    assert_eq!(offset.number(world.members[&one].tag), 2, "what it has met stays met");
    world.settle();
    world.check();
    assert_eq!(world.clients[client].met.len(), 3);
}

#[test]
fn what_was_dropped_before_it_was_old_makes_a_client_begin_anew() {
    let mut world = World::new(0);
    world.config.packets_max = 2;
    let one = world.start();
    let client = world.enter(one);
    world.cut(client);
    for _ in 0..3 {
        world.say(one, "a");
    }
    assert!(!world.come_back(client, one));
    assert_eq!(world.members[&one].ledger.stats().cut, 1);
}

#[test]
fn a_copy_that_does_not_fit_is_not_taken_and_who_waits_too_long_is_forgotten() {
    let now = Instant::now();
    let config = Config { copy_bytes_max: 1000, sessions_max: 2, ..Config::default() };
    let mut ledger = Ledger::new(config);
    let session = |pid: &str, data: usize| Session {
        pid: pid.into(),
        sid: "Ab3dE_00000000000000".parse().unwrap(),
        rooms: vec![],
        data: vec![b' '; data].into(),
        start: None,
    };
    ledger.handle_session(session("long", 900), Some("u".into()), false, now);
    assert_eq!((ledger.copies().0, ledger.stats().evicted), (0, 1));
    for pid in ["one", "two", "three"] {
        ledger.handle_session(session(pid, 0), Some("u".into()), false, now);
    }
    assert_eq!((ledger.copies().0, ledger.held().away), (3, 0));
    ledger.handle_left(&"u".into(), now);
    assert_eq!((ledger.copies().0, ledger.held().away, ledger.stats().evicted), (2, 2, 2));
    ledger.handle_timeout(now + config.max_disconnection_duration);
    assert_eq!((ledger.copies(), ledger.stats().expired), ((0, 0), 2));
    assert_eq!(ledger.poll_timeout(), None);
}

struct World {
    now: Instant,
    config: Config,
    random: u64,
    members: BTreeMap<usize, Member>,
    queues: BTreeMap<(usize, usize), VecDeque<Frame>>,
    clients: Vec<Client>,
    /// All that was said, with its place.
    said: Vec<(Place, Room)>,
    next: usize,
    next_pid: u128,
    restored: u64,
    anew: u64,
}

struct Member {
    tag: Tag,
    uid: Uid,
    sightings: Sightings,
    ledger: Ledger,
    /// Hellos that it waits for before it takes clients.
    awaits: usize,
}

struct Client {
    pid: Pid,
    sid: Sid,
    room: Room,
    /// Who has it, and whether its connection carries anything.
    at: Option<(usize, bool)>,
    start: Places,
    offset: Option<String>,
    met: Vec<Place>,
}

enum Frame {
    Hello(Places),
    Event(Entry),
    Session(Session, bool),
    End,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            now: Instant::now(),
            config: Config::default(),
            random: seed,
            members: BTreeMap::new(),
            queues: BTreeMap::new(),
            clients: Vec::new(),
            said: Vec::new(),
            next: 0,
            next_pid: 0,
            restored: 0,
            anew: 0,
        }
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(1);
        match self.draw(100) {
            0 if self.members.len() < 4 => {
                self.start();
            }
            1 if self.members.len() > 2 => {
                // Only beside somebody who knows everything by then.
                self.settle();
                self.say_some();
                let doomed = self.any_member();
                self.kill(doomed);
            }
            2..=4 if self.clients.len() < CLIENTS => {
                if let Some(member) = self.any_settled() {
                    self.enter(member);
                }
            }
            5..=9 => {
                let client = self.draw(CLIENTS);
                if client < self.clients.len() {
                    self.cut(client);
                }
            }
            10..=19 => {
                let client = self.draw(CLIENTS);
                if client < self.clients.len()
                    && let Some(member) = self.any_settled()
                {
                    self.come_back(client, member);
                }
            }
            20..=49 => self.say_some(),
            _ => {
                let count = self.queues.len();
                let chosen = self.draw(count.max(1));
                if let Some(&(from, to)) = self.queues.keys().nth(chosen) {
                    self.deliver(from, to);
                }
            }
        }
    }

    fn start(&mut self) -> usize {
        let id = self.next;
        self.next += 1;
        let tag: Tag = format!("m{id:05}").parse().unwrap();
        let mut member = Member {
            tag,
            uid: format!("uid{id}").into(),
            sightings: Sightings::new(tag, self.config.age_max()),
            ledger: Ledger::new(self.config),
            awaits: self.members.len(),
        };
        for (&other, known) in &mut self.members {
            let hellos = [Frame::Hello(member.sightings.hello())];
            self.queues.insert((id, other), hellos.into());
            let mut frames: VecDeque<_> = [Frame::Hello(known.sightings.hello())].into();
            let theirs = known.ledger.sessions_of(&known.uid);
            frames.extend(theirs.map(|(session, away)| Frame::Session(session.clone(), away)));
            self.queues.insert((other, id), frames);
        }
        member.ledger.handle_timeout(self.now);
        self.members.insert(id, member);
        id
    }

    fn kill(&mut self, id: usize) {
        self.members.remove(&id);
        self.queues.retain(|(_, to), _| *to != id);
        for ((from, _), queue) in &mut self.queues {
            if *from == id {
                queue.push_back(Frame::End);
            }
        }
        for client in &mut self.clients {
            client.at = client.at.filter(|(member, _)| *member != id);
        }
    }

    fn say_some(&mut self) {
        let (member, room) = (self.any_member(), ROOMS[self.draw(ROOMS.len())]);
        if self.members.contains_key(&member) {
            self.say(member, room);
        }
    }

    fn say(&mut self, id: usize, room: &str) {
        let member = self.members.get_mut(&id).unwrap();
        let at = member.sightings.number();
        self.said.push((at, room.into()));
        let flags = Flags { at: Some(at), ..Flags::default() };
        let entry = Entry::new(at, Selector::to(room), flags, Packet::text(format!(r#"["{at}"]"#)));
        for ((from, _), queue) in &mut self.queues {
            if *from == id {
                queue.push_back(Frame::Event(entry.clone()));
            }
        }
        let said = member.ledger.handle_event(entry, member.sightings.seen(), self.now);
        self.hand_out(id, at, said);
    }

    fn deliver(&mut self, from: usize, to: usize) {
        let Some(frame) = self.queues.get_mut(&(from, to)).and_then(VecDeque::pop_front) else { return };
        let from_tag: Tag = format!("m{from:05}").parse().unwrap();
        let member = self.members.get_mut(&to).unwrap();
        match frame {
            Frame::Hello(seen) => {
                member.sightings.handle_hello(from_tag, &seen, self.now);
                member.awaits = member.awaits.saturating_sub(1);
            }
            Frame::Event(entry) => {
                let at = entry.at;
                if member.sightings.handle_coming(at, self.now) {
                    let said = member.ledger.handle_event(entry, member.sightings.seen(), self.now);
                    member.sightings.handle_delivered(at);
                    self.hand_out(to, at, said);
                }
            }
            Frame::Session(session, away) => {
                let pid = session.pid.clone();
                member.ledger.handle_session(session, Some(format!("uid{from}").into()), away, self.now);
                let moved =
                    |client: &&mut Client| client.pid == pid && client.at.is_some_and(|(at, _)| at == to);
                if let Some(client) = self.clients.iter_mut().find(moved) {
                    client.at = None;
                }
            }
            Frame::End => {
                member.sightings.handle_left(from_tag, self.now);
                member.ledger.handle_left(&format!("uid{from}").into(), self.now);
                self.queues.remove(&(from, to));
            }
        }
    }

    /// Gives an event to the clients of a member, as its driver does.
    fn hand_out(&mut self, id: usize, at: Place, said: Option<Said>) {
        let Some(said) = said else { return };
        let room = self.said.iter().find(|(place, _)| *place == at).map(|(_, room)| room.clone()).unwrap();
        for client in &mut self.clients {
            if client.at != Some((id, true)) || client.room != room {
                continue;
            }
            match said.otherwise.iter().find(|(sid, _)| *sid == client.sid) {
                Some((_, None)) => {}
                Some((_, Some(packet))) => client.take(at, packet),
                None => client.take(at, &said.packet),
            }
        }
    }

    fn enter(&mut self, id: usize) -> usize {
        let index = self.clients.len();
        let sid = Sid::new(self.members[&id].tag, index as u128);
        let client = Client {
            pid: format!("pid{index}").into(),
            sid,
            room: ROOMS[index % ROOMS.len()].into(),
            at: Some((id, true)),
            start: Places::default(),
            offset: None,
            met: Vec::new(),
        };
        self.clients.push(client);
        self.open(index, id);
        index
    }

    fn open(&mut self, index: usize, id: usize) {
        let member = self.members.get_mut(&id).unwrap();
        let client = &mut self.clients[index];
        // A session of its own.
        self.next_pid += 1;
        client.pid = format!("pid{}", self.next_pid).into();
        client.sid = Sid::new(member.tag, self.next_pid);
        let seen = member.sightings.seen();
        client.start = member.ledger.open(client.sid, client.offset.as_deref(), seen, self.now);
        client.met.clear();
        client.at = Some((id, true));
        let start = Some(Position(client.start.to_string().into()));
        self.hold(index, id, start, false);
    }

    /// Has a session kept, and tells all.
    fn hold(&mut self, index: usize, id: usize, start: Option<Position>, away: bool) {
        let client = &self.clients[index];
        let session = Session {
            pid: client.pid.clone(),
            sid: client.sid,
            rooms: vec![client.room.clone()],
            data: "{}".into(),
            start,
        };
        let member = self.members.get_mut(&id).unwrap();
        member.ledger.handle_session(session.clone(), Some(member.uid.clone()), away, self.now);
        for ((from, _), queue) in &mut self.queues {
            if *from == id {
                queue.push_back(Frame::Session(session.clone(), away));
            }
        }
    }

    /// Its line is cut; its member does not know yet.
    fn cut(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.at = client.at.map(|(member, _)| (member, false));
    }

    /// It connects to a member; whether its session goes on.
    fn come_back(&mut self, index: usize, id: usize) -> bool {
        if self.clients[index].at.is_some_and(|(_, alive)| alive) {
            return true;
        }
        let (pid, offset) = (self.clients[index].pid.clone(), self.clients[index].offset.clone());
        let mut member = self.members.remove(&id).unwrap();
        let now = self.now;
        let mut found = member.ledger.find(&pid, offset.as_deref(), &member.sightings, now);
        let mut told = None;
        if found.is_none() {
            for other in self.members.values_mut().filter(|other| other.awaits == 0) {
                if let Some(mut help) = other.ledger.find(&pid, offset.as_deref(), &other.sightings, now) {
                    let seen = other.ledger.offset(other.sightings.seen());
                    if member.ledger.complete(&mut help, &seen, &member.sightings, now) {
                        (found, told) = (Some(help), Some(seen));
                    }
                    break;
                }
            }
        }
        let outcome = found.map(|found: Found| {
            let seen = member.sightings.seen().clone();
            (member.ledger.restore(&found, told.as_ref(), &seen, now), found)
        });
        self.members.insert(id, member);
        let Some((missed, found)) = outcome else {
            self.anew += 1;
            // It keeps the offset of its former session, as the stock client does.
            self.open(index, id);
            return false;
        };
        self.restored += 1;
        let client = &mut self.clients[index];
        for ((packet, _), entry) in missed.iter().zip(&found.missed) {
            client.take(entry.at, packet);
        }
        client.at = Some((id, true));
        self.hold(index, id, found.session.start, false);
        true
    }

    fn settle(&mut self) {
        while let Some((&(from, to), _)) = self.queues.iter().find(|(_, queue)| !queue.is_empty()) {
            self.deliver(from, to);
        }
    }

    fn check(&mut self) {
        for index in 0..self.clients.len() {
            if self.clients[index].at.is_none_or(|(_, alive)| !alive) {
                let member = self.any_settled().unwrap();
                self.come_back(index, member);
            }
        }
        for (index, client) in self.clients.iter().enumerate() {
            let mut by: BTreeMap<Tag, (Vec<u64>, Vec<u64>)> = BTreeMap::new();
            for (place, room) in &self.said {
                if *room == client.room && !client.start.has(*place) {
                    by.entry(place.tag).or_default().0.push(place.number);
                }
            }
            for place in &client.met {
                by.entry(place.tag).or_default().1.push(place.number);
            }
            for (tag, (said, met)) in by {
                assert_eq!(met, said, "client {index}, what {tag} said");
            }
        }
    }

    fn any_settled(&mut self) -> Option<usize> {
        let settled: Vec<_> =
            self.members.iter().filter(|(_, member)| member.awaits == 0).map(|(id, _)| *id).collect();
        (!settled.is_empty()).then(|| settled[self.draw(settled.len())])
    }

    fn any_member(&mut self) -> usize {
        let chosen = self.draw(self.members.len().max(1));
        self.members.keys().nth(chosen).copied().unwrap_or_default()
    }

    fn draw(&mut self, below: usize) -> usize {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.random >> 33).unwrap() % below
    }
}

impl Client {
    fn take(&mut self, at: Place, packet: &Packet) {
        self.met.push(at);
        let text = std::str::from_utf8(&packet.data).unwrap();
        let last = text.trim_end_matches("\"]").rsplit('"').next().unwrap();
        self.offset = Some(last.to_owned());
    }
}
