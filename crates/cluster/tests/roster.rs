//! Who is in which room, on servers that hear each other well, badly, or no more.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sockeye_cluster::Uid;
use sockeye_cluster::roster::{Change, Config, Event, Kind, Roster, SEATS_A_SAY, Say, Seat};

#[test]
fn a_socket_that_joins_anywhere_is_seen_everywhere_and_told_once() {
    let mut world = World::of(3);
    world.servers[0].handle_present(&"r".into(), "a", Some("1".into()));
    world.servers[1].handle_present(&"r".into(), "b", None);
    world.run(100);
    for server in 0..3 {
        assert_eq!(world.ids(server, "r"), ["a", "b"]);
        let told: Vec<_> =
            world.told(server).into_iter().map(|event| (event.id.to_string(), event.change)).collect();
        assert_eq!(told, [("a".to_owned(), Change::Joined), ("b".to_owned(), Change::Joined)]);
    }
    world.servers[0].handle_present(&"r".into(), "a", Some("2".into()));
    world.servers[1].handle_absent(&"r".into(), "b");
    world.run(100);
    for server in 0..3 {
        let told: Vec<_> = world.told(server).into_iter().map(|event| (event.data, event.change)).collect();
        assert_eq!(told, [(Some("2".into()), Change::Shown), (None, Change::Left)]);
        assert_eq!(world.servers[server].rooms().count(), 1);
    }
}

#[test]
fn of_a_server_that_is_silent_the_sockets_leave_when_its_time_is_over_and_not_before() {
    let mut world = World::of(2);
    world.servers[0].handle_present(&"r".into(), "a", None);
    world.run(100);
    drop(world.told(1));
    world.dead.insert(0);
    let timeout = Config::default().timeout;
    world.run(timeout.as_millis() as u64 - 200);
    assert_eq!(world.ids(1, "r"), ["a"]);
    world.run(400);
    assert_eq!(world.ids(1, "r"), [""; 0]);
    assert_eq!(world.told(1).pop().map(|event| event.change), Some(Change::Left));
    assert_eq!(world.servers[1].stats().expired, 1);
    // It was only frozen.
    world.dead.remove(&0);
    world.run(3200);
    assert_eq!(world.ids(1, "r"), ["a"]);
}

#[test]
fn a_server_that_is_known_to_be_gone_is_not_waited_for() {
    let mut world = World::of(3);
    world.servers[0].handle_present(&"r".into(), "a", None);
    world.run(100);
    world.dead.insert(0);
    world.servers[1].handle_lost(&Uid::from("uid 0"));
    assert_eq!(world.ids(1, "r"), [""; 0]);
    world.dead.remove(&0);
    world.servers[0].handle_close();
    world.run(50);
    assert_eq!(world.ids(2, "r"), [""; 0]);
}

#[test]
fn whoever_comes_later_hears_of_all_in_parts() {
    let mut world = World::of(1);
    for number in 0..SEATS_A_SAY * 2 + 1 {
        world.servers[0].handle_present(&"r".into(), &format!("{number:05}"), None);
    }
    world.run(100);
    world.add();
    world.run(3200);
    assert_eq!(world.servers[1].count("r"), SEATS_A_SAY * 2 + 1);
    assert_eq!(world.servers[0].stats().asked + world.servers[1].stats().asked, 2);
}

#[test]
fn what_was_missed_is_asked_for_and_what_comes_twice_is_nothing() {
    let mut world = World::of(2);
    world.run(100);
    world.servers[0].handle_present(&"r".into(), "a", None);
    let lost = std::iter::from_fn(|| world.servers[0].poll_say()).count();
    assert_eq!(lost, 1);
    world.servers[0].handle_present(&"r".into(), "b", None);
    let change = world.servers[0].poll_say().unwrap();
    assert!(matches!(&change.kind, Kind::Changed { before: 1, version: 2, .. }), "{change:?}");
    let now = world.now;
    world.servers[1].handle_say(change.clone(), now);
    assert_eq!(world.ids(1, "r"), [""; 0]);
    world.run(100);
    assert_eq!(world.ids(1, "r"), ["a", "b"]);
    let now = world.now;
    world.servers[0].handle_absent(&"r".into(), "b");
    world.run(50);
    world.servers[1].handle_say(change, now);
    assert_eq!(world.ids(1, "r"), ["a"]);
}

#[test]
fn a_socket_that_goes_on_at_another_server_has_not_left() {
    let mut world = World::of(3);
    world.servers[0].handle_present(&"r".into(), "a", None);
    world.run(100);
    drop(world.told(2));
    world.servers[1].handle_present(&"r".into(), "a", None);
    world.run(100);
    world.servers[0].handle_absent(&"r".into(), "a");
    world.run(100);
    assert_eq!((world.told(2), world.ids(2, "r")), (vec![], vec!["a".to_owned()]));
    world.servers[1].handle_absent(&"r".into(), "a");
    world.run(100);
    assert_eq!(world.told(2).pop().map(|event| event.change), Some(Change::Left));
}

#[test]
fn what_is_too_much_is_left_out_and_counted() {
    let now = Instant::now();
    let config = Config { members_max: 2, data_bytes_max: 3, ..Config::default() };
    let mut roster = Roster::new("me".into(), config, now);
    for id in ["a", "b", "c"] {
        roster.handle_present(&"r".into(), id, Some("12345".into()));
    }
    assert_eq!((roster.count("r"), roster.stats().refused), (2, 1));
    assert!(roster.members("r").all(|(_, data)| data.is_none()));
    let present =
        (0..3).map(|id| Seat { room: "s".into(), id: id.to_string().into(), data: Some("12345".into()) });
    let kind = Kind::All { version: 1, part: 0, last: true, present: present.collect() };
    roster.handle_say(Say { from: "other".into(), uid: Uid::from("u"), kind }, now);
    assert_eq!((roster.count("s"), roster.stats().refused), (2, 2));
    assert!(roster.members("s").all(|(_, data)| data.is_none()));
}

#[test]
fn however_a_bus_treats_messages_all_agree_when_it_is_well_again() {
    for seed in 1..=30u64 {
        let mut world = World::of(4);
        world.random = seed;
        let mut wanted: Vec<BTreeSet<String>> = vec![BTreeSet::new(); 4];
        world.bad = true;
        for step in 0..60 {
            let server = (world.draw() % 4) as usize;
            let id = format!("{server} {}", world.draw() % 8);
            if world.draw().is_multiple_of(3) {
                world.servers[server].handle_absent(&"r".into(), &id);
                wanted[server].remove(&id);
            } else {
                world.servers[server].handle_present(&"r".into(), &id, Some(step.to_string().into()));
                wanted[server].insert(id);
            }
            world.run(20 * (1 + step % 7));
        }
        world.bad = false;
        world.run(7000);
        let all: Vec<String> = wanted.into_iter().flatten().collect();
        for server in 0..4 {
            assert_eq!(world.ids(server, "r"), all, "seed {seed}, server {server}");
        }
        let shown = |server: usize| -> Vec<_> {
            world.servers[server].members("r").map(|(id, data)| (id.clone(), data.clone())).collect()
        };
        assert!((1..4).all(|server| shown(server) == shown(0)), "seed {seed}");
    }
}

#[test]
fn what_is_said_is_read_and_what_is_nothing_is_skipped() {
    let seat =
        |id: &str, data: Option<&str>| Seat { room: "r\"".into(), id: id.into(), data: data.map(Into::into) };
    for kind in [
        Kind::Here { version: 3 },
        Kind::Ask { of: "x".into() },
        Kind::Changed {
            before: 0,
            version: 1,
            present: vec![seat("a", Some(r#"{"ü":[1]}"#)), seat("b", None)],
            absent: vec![("r".into(), "c".into())],
        },
        Kind::All { version: u64::MAX, part: 0, last: false, present: vec![] },
        Kind::Gone,
    ] {
        let say = Say { from: "me".into(), uid: Uid::from("u"), kind };
        assert_eq!(Say::read(say.json().as_bytes()), Some(say));
    }
    for json in
        ["", "{}", "[]", r#"{"say":"here","from":"a","uid":"b"}"#, r#"{"say":"?","from":"a","uid":"b"}"#]
    {
        assert_eq!(Say::read(json.as_bytes()), None, "{json}");
    }
}

/// Servers on a bus, and the time.
struct World {
    servers: Vec<Roster>,
    dead: BTreeSet<usize>,
    now: Instant,
    bad: bool,
    random: u64,
    /// What comes late.
    late: Vec<(usize, Say)>,
}

impl World {
    fn of(count: usize) -> Self {
        let now = Instant::now();
        let mut world =
            Self { servers: Vec::new(), dead: BTreeSet::new(), now, bad: false, random: 7, late: Vec::new() };
        (0..count).for_each(|_| world.add());
        world
    }

    fn add(&mut self) {
        let number = self.servers.len();
        let mut roster = Roster::new(format!("name {number}").into(), Config::default(), self.now);
        roster.handle_uid(Uid::from(format!("uid {number}")));
        self.servers.push(roster);
    }

    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Lets time pass, in steps of ten milliseconds.
    fn run(&mut self, millis: u64) {
        for _ in 0..millis.div_ceil(10) {
            self.now += Duration::from_millis(10);
            for (to, say) in std::mem::take(&mut self.late) {
                self.servers[to].handle_say(say, self.now);
            }
            for from in 0..self.servers.len() {
                if self.dead.contains(&from) {
                    continue;
                }
                self.servers[from].handle_timeout(self.now);
                while let Some(say) = self.servers[from].poll_say() {
                    // As it goes over a bus.
                    let say = Say::read(say.json().as_bytes()).expect("it is what was written");
                    (0..self.servers.len()).filter(|to| *to != from).for_each(|to| self.carry(to, &say));
                }
            }
        }
    }

    fn carry(&mut self, to: usize, say: &Say) {
        match if self.bad { self.draw() % 10 } else { 9 } {
            0..=2 => {}
            3 => self.late.push((to, say.clone())),
            4 => {
                self.late.push((to, say.clone()));
                self.servers[to].handle_say(say.clone(), self.now);
            }
            _ => self.servers[to].handle_say(say.clone(), self.now),
        }
    }

    fn ids(&self, server: usize, room: &str) -> Vec<String> {
        self.servers[server].members(room).map(|(id, _)| id.to_string()).collect()
    }

    fn told(&mut self, server: usize) -> Vec<Event> {
        std::iter::from_fn(|| self.servers[server].poll_event()).collect()
    }
}
