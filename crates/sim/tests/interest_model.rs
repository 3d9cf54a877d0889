//! What members of a mesh send each other by interest, held against a mesh that sends everything to everybody.
//!
//! Each message is on its way to each member, and only says whether it was really sent. When one arrives that was not, nobody may be selected
//! there whom it was for: whoever was when it was said, or became so by what its sender had said before. Joins, leaves, newcomers, deaths and
//! broken connections come as the dice say, and messages take their time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sockeye_cluster::mesh::{BOARD_BYTES, Ears, Hears, Mark, Tally};
use sockeye_cluster::{Flags, Message, Nsp, Packet, Room, Selector};
use sockeye_proto::sid::{Sid, Tag};
use sockeye_sim::bus::{Bus, Dice, Faults};

#[test]
fn no_broadcast_is_lost_that_a_mesh_without_interest_would_have_carried() {
    let (mut carried, mut spared) = (0, 0);
    for seed in 0..300 {
        let mut world = World::new(seed);
        for _ in 0..300 {
            world.step();
        }
        carried += world.carried;
        spared += world.spared;
    }
    assert!(carried > 10_000 && spared > 10_000, "{carried} carried, {spared} spared");
}

const DELAY: Duration = Duration::from_millis(40);

const ROOMS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// When somebody came to be in a room, and by whose message.
#[derive(Clone, Copy, Debug)]
struct Since {
    step: u64,
    /// The sender, and when it had said so.
    by: Option<(usize, u64)>,
}

/// A member: its sockets with their rooms, its board, and what it knows of the others.
struct Member {
    tag: Tag,
    alive: bool,
    sockets: BTreeMap<Sid, BTreeMap<Room, Since>>,
    tally: Tally,
    board: Vec<u8>,
    ears: Ears,
}

/// What is said, and for whom.
#[derive(Clone, Debug)]
struct Said {
    selector: Selector,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Event,
    Join(Room),
    Leave(Room),
}

#[derive(Clone)]
enum Load {
    Said { said: Said, sent: bool, step: u64 },
    Mark(u64),
    Marked(u64),
}

struct World {
    dice: Dice,
    bus: Bus<(u64, Load)>,
    now: Instant,
    step: u64,
    members: Vec<Member>,
    /// How often the connection from one to another has been made.
    lines: BTreeMap<(usize, usize), u64>,
    nsp: Nsp,
    carried: u64,
    spared: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let faults = Faults { delay_max: DELAY, in_order: true, ..Faults::default() };
        let mut world = Self {
            dice: Dice::new(seed),
            bus: Bus::new(seed ^ 0x5eed, faults),
            now: Instant::now(),
            step: 0,
            members: Vec::new(),
            lines: BTreeMap::new(),
            nsp: Nsp::new("/"),
            carried: 0,
            spared: 0,
        };
        for _ in 0..3 {
            world.come();
        }
        world
    }

    fn step(&mut self) {
        self.step += 1;
        let who = self.somebody();
        match self.dice.below(100) {
            0..10 => self.connect(who),
            10..25 => self.join_here(who),
            25..33 => self.leave_here(who),
            33..39 => self.disconnect(who),
            39..47 => {
                let room = self.room();
                self.say(who, What::Join(room));
            }
            47..50 => {
                let room = self.room();
                self.say(who, What::Leave(room));
            }
            50..52 if self.living().len() < 5 => self.come(),
            52..54 if self.living().len() > 2 => self.die(who),
            54..57 => self.break_line(who),
            57..75 => self.now += self.dice.up_to(DELAY),
            _ => self.say(who, What::Event),
        }
        while let Some(parcel) = self.bus.take(self.now) {
            let line = self.lines[&(parcel.from, parcel.to)];
            // What was under way on a broken connection is lost in either mesh.
            if parcel.load.0 == line && self.members[parcel.from].alive && self.members[parcel.to].alive {
                self.arrive(parcel.from, parcel.to, parcel.load.1);
            }
        }
    }

    fn living(&self) -> Vec<usize> {
        (0..self.members.len()).filter(|who| self.members[*who].alive).collect()
    }

    fn somebody(&mut self) -> usize {
        let living = self.living();
        living[self.dice.index(living.len())]
    }

    fn room(&mut self) -> Room {
        // Now and then that of a socket, wherever it is.
        let who = self.somebody();
        let socket = self.socket(who);
        match socket {
            Some(id) if self.dice.percent(25) => Room::new(id.as_str()),
            _ => ROOMS[self.dice.index(ROOMS.len())].into(),
        }
    }

    fn selector(&mut self) -> Selector {
        let one = self.room();
        match self.dice.below(10) {
            0 => Selector::all(),
            1 | 2 => Selector::to(one).and_to(self.room()),
            _ => Selector::to(one),
        }
    }

    fn socket(&mut self, who: usize) -> Option<Sid> {
        let ids: Vec<_> = self.members[who].sockets.keys().copied().collect();
        (!ids.is_empty()).then(|| ids[self.dice.index(ids.len())])
    }

    /// A newcomer; the others are told at once, as a mesh's hellos do.
    fn come(&mut self) {
        let who = self.members.len();
        let tag = Tag::from_bits(self.dice.roll());
        let board = vec![0; BOARD_BYTES.get() as usize];
        let (sockets, tally, ears) = (BTreeMap::new(), Tally::default(), Ears::default());
        self.members.push(Member { tag, alive: true, sockets, tally, board, ears });
        for other in self.living() {
            if other != who {
                self.dial(who, other);
                self.dial(other, who);
            }
        }
    }

    fn die(&mut self, who: usize) {
        self.members[who].alive = false;
        let tag = self.members[who].tag;
        self.members.iter_mut().for_each(|member| member.ears.handle_left(tag));
    }

    /// The connection from a member to another breaks and is made anew.
    fn break_line(&mut self, who: usize) {
        let other = self.somebody();
        if other != who {
            let tag = self.members[other].tag;
            self.members[who].ears.handle_lost(tag);
            self.dial(who, other);
        }
    }

    fn dial(&mut self, from: usize, to: usize) {
        *self.lines.entry((from, to)).or_default() += 1;
        let tag = self.members[to].tag;
        let hears = Hears { board: Some(BOARD_BYTES), ..Hears::default() };
        self.members[from].ears.handle_hello(tag, hears);
        if let Some(number) = self.members[from].ears.handle_moving(tag) {
            self.post(from, to, Load::Mark(number));
        }
    }

    fn post(&mut self, from: usize, to: usize, load: Load) {
        let line = self.lines[&(from, to)];
        self.bus.send(from, to, (line, load), self.now);
    }

    fn say(&mut self, who: usize, what: What) {
        let since = Since { step: self.step, by: None };
        let said = Said { selector: self.selector(), what };
        let (message, moves) = (said.message(), matches!(said.what, What::Join(_)));
        self.obey(who, &said, since);
        for other in self.living() {
            if other == who {
                continue;
            }
            let (tag, board) = (self.members[other].tag, &self.members[other].board);
            let look = |place: u32| board[place as usize] != 0;
            let sent = self.members[who].ears.hears(tag, &self.nsp, &message, look);
            self.post(who, other, Load::Said { said: said.clone(), sent, step: self.step });
            if sent
                && moves
                && let Some(number) = self.members[who].ears.handle_moving(tag)
            {
                self.post(who, other, Load::Mark(number));
            }
        }
    }

    fn arrive(&mut self, from: usize, to: usize, load: Load) {
        let tag = self.members[from].tag;
        match load {
            Load::Mark(number) => self.post(to, from, Load::Marked(number)),
            Load::Marked(number) => {
                if let Some(next) = self.members[to].ears.handle_marked(tag, number) {
                    self.post(to, from, Load::Mark(next));
                }
            }
            Load::Said { said, sent: true, step } => {
                self.carried += 1;
                let since = Since { step: self.step, by: Some((from, step)) };
                self.obey(to, &said, since);
            }
            Load::Said { said, sent: false, step } => {
                self.spared += 1;
                for (id, since) in self.members[to].selected(&said.selector) {
                    let early = since.step < step;
                    let led_to = since.by.is_some_and(|(by, step_of)| by == from && step_of < step);
                    assert!(!early && !led_to, "{id} of {to} misses {said:?} of {from} at {step}: {since:?}");
                }
            }
        }
    }

    fn obey(&mut self, who: usize, said: &Said, since: Since) {
        let member = &mut self.members[who];
        for (id, _) in member.selected(&said.selector) {
            match &said.what {
                What::Event => {}
                What::Join(room) => member.join(&self.nsp, id, room, since),
                What::Leave(room) => member.leave(&self.nsp, id, room),
            }
        }
    }

    fn connect(&mut self, who: usize) {
        // Now and then one that has come back from elsewhere.
        let foreign = self.dice.percent(30);
        let tag = if foreign { Tag::from_bits(self.dice.roll()) } else { self.members[who].tag };
        let id = Sid::new(tag, u128::from(self.dice.roll()));
        let (nsp, step) = (self.nsp.clone(), self.step);
        let member = &mut self.members[who];
        member.enter(&nsp, None);
        if id.tag() != member.tag {
            member.enter(&nsp, Some(id.as_str()));
        }
        let own = (Room::new(id.as_str()), Since { step, by: None });
        member.sockets.insert(id, BTreeMap::from([own]));
    }

    fn disconnect(&mut self, who: usize) {
        let Some(id) = self.socket(who) else { return };
        let nsp = self.nsp.clone();
        let member = &mut self.members[who];
        let rooms = member.sockets.remove(&id).unwrap_or_default();
        for room in rooms.keys().filter(|room| ***room != *id.as_str() || id.tag() != member.tag) {
            let mark = member.tally.leave(&nsp, Some(room));
            write(&mut member.board, mark);
        }
        let mark = member.tally.leave(&nsp, None);
        write(&mut member.board, mark);
    }

    fn join_here(&mut self, who: usize) {
        let (Some(id), room) = (self.socket(who), self.room()) else { return };
        let since = Since { step: self.step, by: None };
        self.members[who].join(&self.nsp, id, &room, since);
    }

    fn leave_here(&mut self, who: usize) {
        let (Some(id), room) = (self.socket(who), self.room()) else { return };
        self.members[who].leave(&self.nsp, id, &room);
    }
}

impl Said {
    fn message(&self) -> Message {
        let selector = self.selector.clone();
        match &self.what {
            What::Event => {
                let packet = Packet::text("[]");
                Message::Broadcast { selector, flags: Flags::default(), packet, request_id: None }
            }
            What::Join(room) => Message::SocketsJoin { selector, rooms: vec![room.clone()] },
            What::Leave(room) => Message::SocketsLeave { selector, rooms: vec![room.clone()] },
        }
    }
}

impl Member {
    /// The selected sockets, and since when each is.
    fn selected(&self, selector: &Selector) -> Vec<(Sid, Since)> {
        let mut selected = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (id, rooms) in &self.sockets {
            for (room, since) in rooms {
                let own = **room == *id.as_str();
                let meant = if selector.rooms.is_empty() { own } else { selector.rooms.contains(room) };
                if meant
                    && (seen.insert(*id)
                        || since.step < selected.get(id).map_or(u64::MAX, |known: &Since| known.step))
                {
                    selected.insert(*id, *since);
                }
            }
        }
        selected.into_iter().collect()
    }

    fn join(&mut self, nsp: &Nsp, id: Sid, room: &Room, since: Since) {
        if self.sockets[&id].contains_key(room) {
            return;
        }
        self.enter(nsp, Some(room));
        self.sockets.entry(id).or_default().insert(room.clone(), since);
    }

    fn leave(&mut self, nsp: &Nsp, id: Sid, room: &Room) {
        // Nobody leaves its own.
        if **room != *id.as_str() && self.sockets.entry(id).or_default().remove(room).is_some() {
            let mark = self.tally.leave(nsp, Some(room));
            write(&mut self.board, mark);
        }
    }

    fn enter(&mut self, nsp: &Nsp, room: Option<&str>) {
        let mark = self.tally.enter(nsp, room);
        write(&mut self.board, mark);
    }
}

fn write(board: &mut [u8], mark: Option<Mark>) {
    if let Some(Mark { place, heard }) = mark {
        board[place as usize] = u8::from(heard);
    }
}
