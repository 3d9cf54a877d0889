//! What a client gets back when it comes back, in virtual time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use sockeye_cluster::recovery::{Config, Offset, Restored, Stats, Store};
use sockeye_cluster::{Packet, Pid, Room, Selector};
use sockeye_proto::sid::Sid;

#[test]
fn a_client_gets_its_session_and_exactly_what_it_has_missed() {
    let mut world = World::new(Config::default());
    world.open("p", 1);
    world.store.join(&"p".into(), &"kitchen".into());
    world.emit(&Selector::all(), "met");
    let met = world.last.clone();
    let missed = [
        world.emit(&Selector::to("kitchen"), "a room of its own"),
        world.emit(&Selector::to(sid(1).as_str()), "itself"),
        world.emit(&Selector::all(), "everybody"),
    ];
    world.emit(&Selector::to("cellar"), "another room");
    world.emit(&Selector::all().and_except("kitchen"), "all but a room of its own");
    world.store.close(&"p".into(), Bytes::from_static(b"data"), world.now);
    let later = world.emit(&Selector::to("cellar").and_to("kitchen"), "while it was away");

    world.pass(Duration::from_secs(119));
    let Restored { sid: id, rooms, data, missed: got, ends: None } = world.restore("p", Some(&met)).unwrap()
    else {
        panic!("a credential")
    };
    assert_eq!((id, &*data), (sid(1), &b"data"[..]));
    assert_eq!(rooms, [Room::new(sid(1).as_str()), Room::new("kitchen")]);
    let expected: Vec<_> = missed.into_iter().chain([later]).collect();
    assert_eq!(got.iter().map(|(_, packet)| packet.clone()).collect::<Vec<_>>(), expected);
    for (offset, packet) in got {
        assert!(packet.data.ends_with(format!(r#","{offset}"]"#).as_bytes()));
    }
}

#[test]
fn the_rooms_are_those_of_the_moment() {
    let mut world = World::new(Config::default());
    let (pid, room) = ("p".into(), Room::new("r"));
    world.open("p", 1);
    world.emit(&Selector::to("r"), "before");
    world.store.join(&pid, &room);
    world.store.join(&pid, &room);
    world.emit(&Selector::to("r"), "first stay");
    world.store.leave(&pid, &room);
    world.store.leave(&pid, &room);
    world.emit(&Selector::to("r"), "outside");
    world.store.join(&pid, &room);
    world.emit(&Selector::to("r"), "second stay");
    world.store.leave(&pid, &room);
    world.emit(&Selector::all().and_except("r"), "not excepted any more");
    world.close("p");
    // While the client is away its rooms stay as they were.
    world.store.join(&pid, &room);
    world.emit(&Selector::to("r"), "away");
    let restored = world.restore("p", None).unwrap();
    assert_eq!(names(&restored), ["first stay", "second stay", "not excepted any more"]);
    assert_eq!(restored.rooms.len(), 1);
}

#[test]
fn without_an_offset_or_with_one_of_a_former_session_it_goes_on_from_its_beginning() {
    let mut world = World::new(Config::default());
    world.emit(&Selector::all(), "before");
    let former = world.last.clone();
    for offset in [None, Some(former.as_str()), Some("-------0-")] {
        world.emit(&Selector::all(), "before, too");
        world.open("p", 1);
        world.close("p");
        world.emit(&Selector::all(), "missed");
        assert_eq!(names(&world.restore("p", offset).unwrap()), ["missed"], "{offset:?}");
    }
    // Nothing said, nothing missed.
    world.open("p", 1);
    world.close("p");
    assert!(world.restore("p", None).unwrap().missed.is_empty());
}

#[test]
fn a_session_is_restored_once_and_again_after_its_next_end() {
    let mut world = World::new(Config::default());
    world.open("p", 1);
    world.emit(&Selector::all(), "1");
    assert_eq!(world.restore("p", None), None, "its client is here");
    assert!(world.store.is_here(&"p".into()));
    world.close("p");
    assert_eq!(names(&world.restore("p", None).unwrap()), ["1"]);
    assert_eq!(world.restore("p", None), None, "restored already");
    world.emit(&Selector::all(), "2");
    world.close("p");
    // The connection broke before it could meet anything: it still has no offset.
    assert_eq!(names(&world.restore("p", None).unwrap()), ["1", "2"]);
    let met = world.last.clone();
    world.close("p");
    assert!(names(&world.restore("p", Some(&met)).unwrap()).is_empty());
    assert_eq!(world.store.stats().restored, 3);
}

#[test]
fn whoever_cannot_be_told_everything_begins_anew() {
    let small = Config { packets_max: 2, ..Config::default() };
    let tight = Config { packet_bytes_max: 700, ..Config::default() };
    let brief = Config { missed_bytes_max: 40, ..Config::default() };
    let forgetful = Config { former_rooms_max: 1, ..Config::default() };
    type Row = (&'static str, Config, fn(&mut World), Option<&'static str>, fn(&Stats) -> u64);
    let rows: [Row; 8] = [
        ("too many since", small, |world| world.emit_many(3), None, |stats| stats.incomplete),
        ("too many bytes since", tight, |world| world.emit_many(20), None, |stats| stats.incomplete),
        ("too much to send", brief, |world| world.emit_many(5), None, |stats| stats.incomplete),
        ("a tick for an offset", small, |_| {}, Some("tick"), |stats| stats.strange),
        ("an offset of the future", small, |_| {}, Some("zzzzzzzzz"), |stats| stats.strange),
        ("too late", small, |world| world.pass(Duration::from_secs(120)), None, |stats| stats.unknown),
        ("gone for good", small, |world| world.store.forget(&"p".into()), None, |stats| stats.unknown),
        ("rooms forgotten", forgetful, World::wander, None, |stats| stats.incomplete),
    ];
    for (what, config, happens, offset, count) in rows {
        let mut world = World::new(config);
        world.open("p", 1);
        if what == "rooms forgotten" {
            happens(&mut world);
            world.close("p");
        } else {
            world.close("p");
            happens(&mut world);
        }
        assert_eq!(world.restore("p", offset), None, "{what}");
        assert_eq!(count(&world.store.stats()), 1, "{what}: {:?}", world.store.stats());
        assert!(!world.store.is_here(&"p".into()), "{what}");
    }
}

#[test]
fn a_quiet_client_recovers_however_long_it_was_connected() {
    let mut world = World::new(Config::default());
    world.open("p", 1);
    for _ in 0..100 {
        world.emit(&Selector::to("another"), "noise");
        world.pass(Duration::from_secs(60));
    }
    world.close("p");
    world.emit(&Selector::all(), "missed");
    assert_eq!(names(&world.restore("p", None).unwrap()), ["missed"]);
}

#[test]
fn what_was_cut_does_not_matter_once_it_is_old() {
    let mut world = World::new(Config { packets_max: 1, ..Config::default() });
    world.open("p", 1);
    world.emit_many(5);
    world.pass(Duration::from_secs(205));
    world.close("p");
    world.emit(&Selector::all(), "missed");
    assert_eq!(names(&world.restore("p", None).unwrap()), ["missed"]);
    assert_eq!(world.store.stats().cut, 4);
}

#[test]
fn sessions_are_bounded_in_number_and_size() {
    let mut world = World::new(Config { sessions_max: 2, data_bytes_max: 4, ..Config::default() });
    for pid in ["a", "b", "c"] {
        world.open(pid, 1);
        world.close(pid);
        world.pass(Duration::from_secs(1));
    }
    world.open("d", 1);
    world.store.close(&"d".into(), Bytes::from_static(b"12345"), world.now);
    assert_eq!(world.store.stats().evicted, 2);
    for (pid, kept) in [("a", false), ("b", true), ("c", true), ("d", false)] {
        assert_eq!(world.restore(pid, None).is_some(), kept, "{pid}");
    }
}

#[test]
fn time_forgets_events_and_sessions() {
    let mut world = World::new(Config::default());
    assert_eq!(world.store.poll_timeout(), None);
    world.emit(&Selector::all(), "e");
    assert_eq!(world.store.poll_timeout(), Some(world.now + Duration::from_secs(205)));
    world.open("p", 1);
    world.close("p");
    assert_eq!(world.store.poll_timeout(), Some(world.now + Duration::from_secs(120)));
    world.pass(Duration::from_secs(120));
    assert_eq!(world.store.stats().expired, 1);
    world.pass(Duration::from_secs(85));
    assert_eq!(world.store.poll_timeout(), None);
}

#[test]
fn for_ever_is_a_duration_too() {
    let config = Config { max_disconnection_duration: Duration::MAX, ..Config::default() };
    let mut world = World::new(config);
    world.open("p", 1);
    world.emit(&Selector::all(), "e");
    world.close("p");
    world.pass(Duration::from_secs(1 << 30));
    assert_eq!(world.store.poll_timeout(), None);
    assert_eq!(names(&world.restore("p", None).unwrap()), ["e"]);
}

#[test]
fn an_event_ends_in_its_offset_and_one_that_is_not_stored_never_in_another_string() {
    let store = || Store::new(Config::default(), 1);
    let rows = [
        (r#"["e"]"#, r#"["e","--------1"]"#, r#"["e","--------0"]"#),
        (r#"["e","s"]"#, r#"["e","s","--------1"]"#, r#"["e","s","--------0"]"#),
        (r#"["e","\"]" ] "#, r#"["e","\"]" ,"--------1"]"#, r#"["e","\"]" ,"--------0"]"#),
        (r#"["e",1]"#, r#"["e",1,"--------1"]"#, r#"["e",1]"#),
        (r#"["e",{"a":"b"}]"#, r#"["e",{"a":"b"},"--------1"]"#, r#"["e",{"a":"b"}]"#),
        (r#"["e",["s"]]"#, r#"["e",["s"],"--------1"]"#, r#"["e",["s"]]"#),
        (r#"["e",null]"#, r#"["e",null,"--------1"]"#, r#"["e",null]"#),
        ("[]", r#"["--------1"]"#, "[]"),
    ];
    for (event, stored, stamped) in rows {
        let packet = Packet::binary(event, vec![Bytes::from_static(b"part")]);
        let appended = store().append(&Selector::all(), &packet, Instant::now());
        assert_eq!(appended, Packet::binary(stored, packet.attachments.clone()));
        assert_eq!(store().stamp(&packet), Packet::binary(stamped, packet.attachments));
    }
}

proptest! {
    #[test]
    fn offsets_read_back_and_sort(numbers in proptest::collection::vec(0..=Offset::MAX, 2)) {
        let texts: Vec<_> = numbers.iter().map(|number| Offset::new(*number).to_string()).collect();
        prop_assert_eq!(texts[0].cmp(&texts[1]), numbers[0].cmp(&numbers[1]));
        prop_assert_eq!(texts[0].parse(), Ok(Offset::new(numbers[0])));
        prop_assert_eq!(texts[0].len(), Offset::LEN);
    }

    /// Clients that lose their connections (which is noticed later), wander between rooms and come back, against a model that knows
    /// what each was meant to get.
    #[test]
    fn each_event_arrives_once_in_order_or_the_session_begins_anew(
        acts in proptest::collection::vec((0..7u8, 0..3usize, 0..3usize, 0..40u64), 1..200),
        packets_max in prop_oneof![Just(5usize), Just(10_000)],
    ) {
        let mut world = World::new(Config { packets_max, ..Config::default() });
        let mut clients: [Client; 3] = Default::default();
        for (serial, (act, who, room, seconds)) in acts.into_iter().enumerate() {
            let room = Room::from(["x", "y", "z"][room]);
            let pid = Pid::from(format!("pid-{who}-{}", clients[who].life));
            let client = &mut clients[who];
            match act {
                0 if !client.known => world.enter(client, pid, who),
                0 | 1 if client.known && !client.away => {
                    world.store.join(&pid, &room);
                    client.rooms.insert(room, ());
                }
                2 if client.known && !client.away => {
                    world.store.leave(&pid, &room);
                    client.rooms.remove(&room);
                }
                // The network breaks; at once, or later, the server hears of it.
                3 if client.known => client.deaf = client.deaf.or(Some(world.now)),
                4 if client.deaf.is_some() && !client.away => {
                    world.store.close(&pid, Bytes::new(), world.now);
                    client.away = true;
                }
                5 if client.away => {
                    let offset = client.offset.clone();
                    match world.restore(pid, offset.as_deref()) {
                        Some(restored) => {
                            restored.missed.iter().for_each(|(_, packet)| client.meet(packet));
                            (client.away, client.deaf) = (false, None);
                            prop_assert_eq!(&client.met, &client.meant);
                        }
                        None => {
                            prop_assert!(packets_max == 5 || world.store.stats().expired > 0);
                            *client = Client { life: client.life + 1, offset, ..Client::default() };
                        }
                    }
                }
                6 => {
                    world.pass(Duration::from_secs(seconds));
                    // The server notices a dead connection within the time that it was told.
                    for (who, client) in clients.iter_mut().enumerate() {
                        let deaf = client.deaf.is_some_and(|since| world.now - since >= Duration::from_secs(45));
                        if deaf && !std::mem::replace(&mut client.away, true) {
                            let pid = Pid::from(format!("pid-{who}-{}", client.life));
                            world.store.close(&pid, Bytes::new(), world.now);
                        }
                    }
                }
                _ => {
                    let packet = world.emit(&Selector::to(room.clone()), &serial.to_string());
                    for client in clients.iter_mut().filter(|client| client.rooms.contains_key(&room)) {
                        client.meant.push(serial.to_string());
                        if client.deaf.is_none() {
                            client.meet(&packet);
                        }
                    }
                }
            }
        }
    }
}

/// A stock client, and what it should know.
#[derive(Debug, Default)]
struct Client {
    known: bool,
    life: usize,
    rooms: BTreeMap<Room, ()>,
    deaf: Option<Instant>,
    away: bool,
    offset: Option<String>,
    met: Vec<String>,
    meant: Vec<String>,
}

impl Client {
    fn meet(&mut self, packet: &Packet) {
        let array: Vec<String> = serde_json::from_slice(&packet.data).expect("it is an array of strings");
        self.offset = array.last().cloned();
        self.met.push(array[0].clone());
    }
}

/// A store, the time, and the last offset.
struct World {
    store: Store,
    now: Instant,
    last: String,
}

impl World {
    fn new(config: Config) -> Self {
        Self { store: Store::new(config, 1 << 50), now: Instant::now(), last: String::new() }
    }

    fn open(&mut self, pid: &str, number: u128) {
        self.store.open(pid.into(), sid(number), [Room::new(sid(number).as_str())]);
    }

    fn enter(&mut self, client: &mut Client, pid: Pid, number: usize) {
        self.store.open(pid, sid(number as u128), []);
        client.known = true;
    }

    fn close(&mut self, pid: &str) {
        self.store.close(&pid.into(), Bytes::new(), self.now);
    }

    fn emit(&mut self, selector: &Selector, name: &str) -> Packet {
        let packet = self.store.append(selector, &Packet::text(format!(r#"["{name}"]"#)), self.now);
        let array: Vec<String> = serde_json::from_slice(&packet.data).expect("it is an array of strings");
        self.last.clone_from(&array[1]);
        packet
    }

    fn emit_many(&mut self, count: usize) {
        for _ in 0..count {
            self.emit(&Selector::all(), "e");
        }
    }

    /// Has two former stays in rooms.
    fn wander(&mut self) {
        for room in ["a", "b"] {
            self.store.join(&"p".into(), &room.into());
            self.emit(&Selector::to(room), "e");
            self.store.leave(&"p".into(), &room.into());
        }
    }

    fn restore(&mut self, pid: impl Into<Pid>, offset: Option<&str>) -> Option<Restored> {
        self.store.restore(&pid.into(), offset, self.now)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.store.handle_timeout(self.now);
    }
}

fn names(restored: &Restored) -> Vec<String> {
    let name = |(_, packet): &(Offset, Packet)| {
        let array: Vec<String> = serde_json::from_slice(&packet.data).expect("it is an array of strings");
        array[0].clone()
    };
    restored.missed.iter().map(name).collect()
}

fn sid(number: u128) -> Sid {
    Sid::new("Ab3dE_".parse().expect("it is well formed"), number)
}
