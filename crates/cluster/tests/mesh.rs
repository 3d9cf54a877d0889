//! Whom a member of a mesh dials, greets and forgets.

use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use sockeye_cluster::Peer;
use sockeye_cluster::mesh::{
    Conn, DialError, FRAME_BYTES_MAX, FrameDecoder, HELLO_TIMEOUT, Hello, MEMBERS_MAX, Mesh, Output,
    REDIAL_MAX, REDIAL_MIN, SETTLE_TIMEOUT, frame_header, tag_of_socket,
};
use sockeye_proto::sid::Tag;

#[test]
fn a_newcomer_alone_is_settled_at_once() {
    let mut world = World::new();
    world.list(&["aaaaaa"]);
    world.expect([Output::Settled]);
    assert_eq!(world.mesh.poll_timeout(), None);
}

#[test]
fn a_newcomer_dials_whom_it_finds_and_is_settled_when_they_dial_back() {
    let mut world = World::new();
    world.list(&["bbbbbb", "cccccc"]);
    world.expect([Output::Dial(tag("bbbbbb")), Output::Dial(tag("cccccc"))]);

    world.mesh.handle_dialled(tag("bbbbbb"), world.now);
    world.expect([greeting("bbbbbb")]);
    world.hello("bbbbbb");
    world.expect([Output::Joined(peer("bbbbbb"))]);
    // Hello first, dial done after: the order does not matter.
    world.hello("cccccc");
    world.expect([Output::Joined(peer("cccccc"))]);
    assert!(!world.mesh.is_settled());
    world.mesh.handle_dialled(tag("cccccc"), world.now);
    world.expect([greeting("cccccc"), Output::Settled]);
    assert!(world.mesh.is_settled());
    assert_eq!(world.mesh.poll_timeout(), None);
}

#[test]
fn a_newcomer_does_not_wait_for_a_member_that_hangs() {
    let mut world = World::new();
    world.list(&["bbbbbb"]);
    world.mesh.handle_dialled(tag("bbbbbb"), world.now);
    world.expect([Output::Dial(tag("bbbbbb")), greeting("bbbbbb")]);
    assert_eq!(world.mesh.poll_timeout(), Some(world.now + SETTLE_TIMEOUT));
    world.pass(SETTLE_TIMEOUT);
    world.expect([Output::Settled]);
}

#[test]
fn a_stale_socket_is_removed_when_it_refuses_twice() {
    let mut world = World::new();
    world.list(&["bbbbbb"]);
    world.expect([Output::Dial(tag("bbbbbb"))]);
    world.fail("bbbbbb", DialError::Refused);
    world.expect([Output::Settled]);
    world.pass(REDIAL_MIN);
    world.expect([Output::Dial(tag("bbbbbb"))]);
    world.fail("bbbbbb", DialError::Refused);
    world.expect([Output::Unlink(tag("bbbbbb"))]);
    assert_eq!(world.mesh.poll_timeout(), None);
}

#[test]
fn a_member_between_bind_and_listen_is_met_all_the_same() {
    let mut world = World::new();
    world.list(&["bbbbbb"]);
    world.fail("bbbbbb", DialError::Refused);
    world.pass(REDIAL_MIN);
    world.outputs();
    world.mesh.handle_dialled(tag("bbbbbb"), world.now);
    world.expect([greeting("bbbbbb")]);
    world.hello("bbbbbb");
    world.expect([Output::Joined(peer("bbbbbb"))]);
}

#[test]
fn a_socket_that_vanished_is_forgotten() {
    let mut world = World::new();
    world.list(&["bbbbbb"]);
    world.fail("bbbbbb", DialError::NoSocket);
    world.expect([Output::Dial(tag("bbbbbb")), Output::Settled]);
    assert_eq!(world.mesh.poll_timeout(), None);
}

#[test]
fn whoever_says_hello_is_dialled_back() {
    let mut world = World::settled();
    let conn = world.hello("bbbbbb");
    world.expect([Output::Dial(tag("bbbbbb")), Output::Joined(peer("bbbbbb"))]);
    world.mesh.handle_dialled(tag("bbbbbb"), world.now);
    world.expect([greeting("bbbbbb")]);
    world.mesh.handle_frame(conn, Bytes::from_static(b"{}"), world.now);
    world.expect([Output::Received { from: tag("bbbbbb"), payload: Bytes::from_static(b"{}") }]);
}

#[test]
fn a_member_that_died_is_gone_at_once_and_its_socket_soon() {
    let mut world = World::settled();
    let conn = world.meet("bbbbbb");
    world.mesh.handle_incoming_lost(conn, world.now);
    world.expect([Output::Left(tag("bbbbbb")), Output::HangUp(tag("bbbbbb"))]);
    world.pass(REDIAL_MIN);
    world.expect([Output::Dial(tag("bbbbbb"))]);
    world.fail("bbbbbb", DialError::Refused);
    world.pass(REDIAL_MIN * 2);
    world.expect([Output::Dial(tag("bbbbbb"))]);
    world.fail("bbbbbb", DialError::Refused);
    world.expect([Output::Unlink(tag("bbbbbb"))]);
}

#[test]
fn the_end_of_both_connections_is_one_departure_in_either_order() {
    for outgoing_first in [false, true] {
        let mut world = World::settled();
        let conn = world.meet("bbbbbb");
        if outgoing_first {
            world.mesh.handle_outgoing_lost(tag("bbbbbb"), world.now);
            world.mesh.handle_incoming_lost(conn, world.now);
            world.expect([Output::Left(tag("bbbbbb"))]);
        } else {
            world.mesh.handle_incoming_lost(conn, world.now);
            world.mesh.handle_outgoing_lost(tag("bbbbbb"), world.now);
            world.expect([Output::Left(tag("bbbbbb")), Output::HangUp(tag("bbbbbb"))]);
        }
        world.pass(REDIAL_MIN);
        world.expect([Output::Dial(tag("bbbbbb"))]);
        world.fail("bbbbbb", DialError::NoSocket);
        assert_eq!(world.mesh.poll_timeout(), None);
    }
}

#[test]
fn a_member_that_cannot_be_written_to_stays_and_is_dialled_again() {
    let mut world = World::settled();
    world.meet("bbbbbb");
    world.mesh.handle_outgoing_lost(tag("bbbbbb"), world.now);
    world.expect([]);
    let mut pause = REDIAL_MIN;
    for _ in 0..10 {
        assert_eq!(world.mesh.poll_timeout(), Some(world.now + pause));
        world.pass(pause);
        world.expect([Output::Dial(tag("bbbbbb"))]);
        // It is heard, so even a missing socket is no reason to forget it.
        world.fail("bbbbbb", DialError::NoSocket);
        pause = (pause * 2).min(REDIAL_MAX);
    }
    assert_eq!(pause, REDIAL_MAX);
}

#[test]
fn a_member_that_was_cut_off_but_lives_comes_back() {
    let mut world = World::settled();
    let conn = world.meet("bbbbbb");
    world.mesh.handle_incoming_lost(conn, world.now);
    world.outputs();
    world.pass(REDIAL_MIN);
    world.mesh.handle_dialled(tag("bbbbbb"), world.now);
    world.expect([Output::Dial(tag("bbbbbb")), greeting("bbbbbb")]);
    world.hello("bbbbbb");
    world.expect([Output::Joined(peer("bbbbbb"))]);
}

#[test]
fn a_hello_ends_the_pause_before_a_dial() {
    let mut world = World::settled();
    let conn = world.meet("bbbbbb");
    world.mesh.handle_incoming_lost(conn, world.now);
    world.outputs();
    world.hello("bbbbbb");
    world.expect([Output::Dial(tag("bbbbbb")), Output::Joined(peer("bbbbbb"))]);
}

#[test]
fn the_newer_of_two_connections_counts() {
    let mut world = World::settled();
    let older = world.meet("bbbbbb");
    let newer = world.hello("bbbbbb");
    world.expect([Output::Close(older)]);
    world.mesh.handle_incoming_lost(older, world.now);
    world.mesh.handle_frame(older, Bytes::from_static(b"{}"), world.now);
    world.expect([]);
    world.mesh.handle_incoming_lost(newer, world.now);
    world.expect([Output::Left(tag("bbbbbb")), Output::HangUp(tag("bbbbbb"))]);
}

#[test]
fn another_process_under_the_same_tag_replaces_the_first() {
    let mut world = World::settled();
    let older = world.meet("bbbbbb");
    let conn = world.mesh.handle_accepted(world.now);
    let hello = Hello { uid: "other".into(), ..hello("bbbbbb") };
    world.mesh.handle_frame(conn, hello.encode().into(), world.now);
    world.expect([Output::Close(older), Output::Left(tag("bbbbbb")), Output::Joined(hello.peer())]);
}

#[test]
fn a_connection_that_opens_with_no_hello_is_closed() {
    let rows: [&[u8]; 10] = [
        b"",
        b"{}",
        b"\x81\xa4mesh\x01",
        br#"{"mesh":2,"tag":"bbbbbb","uid":"u"}"#,
        br#"{"mesh":1,"tag":"bbbbb","uid":"u"}"#,
        br#"{"mesh":1,"tag":"../etc","uid":"u"}"#,
        br#"{"mesh":1,"tag":"bbbbbb"}"#,
        br#"{"mesh":1,"uid":"u"}"#,
        // Itself, by tag and by uid.
        br#"{"mesh":1,"tag":"aaaaaa","uid":"u"}"#,
        br#"{"mesh":1,"tag":"bbbbbb","uid":"uid-aaaaaa"}"#,
    ];
    for payload in rows {
        let mut world = World::settled();
        let conn = world.mesh.handle_accepted(world.now);
        world.mesh.handle_frame(conn, Bytes::from_static(payload), world.now);
        world.expect([Output::Close(conn)]);
        assert_eq!(world.mesh.stats().strangers, 1, "{}", String::from_utf8_lossy(payload));
    }
}

#[test]
fn a_hello_longer_than_its_limit_is_none() {
    let mut world = World::settled();
    let conn = world.mesh.handle_accepted(world.now);
    let padded = format!(r#"{{"mesh":1,"tag":"bbbbbb","uid":"u","x":"{}"}}"#, "x".repeat(4096));
    world.mesh.handle_frame(conn, padded.into(), world.now);
    world.expect([Output::Close(conn)]);
}

#[test]
fn fields_that_nobody_knows_and_odd_addresses_do_not_spoil_a_hello() {
    let mut world = World::settled();
    let conn = world.mesh.handle_accepted(world.now);
    let payload = br#"{"x":[1],"http":"nowhere","uid":"u","tag":"bbbbbb","mesh":1}"#;
    world.mesh.handle_frame(conn, Bytes::from_static(payload), world.now);
    let peer = Peer { uid: "u".into(), tag: Some(tag("bbbbbb")), http: None, guest: false };
    world.expect([Output::Dial(tag("bbbbbb")), Output::Joined(peer)]);
}

#[test]
fn a_connection_that_says_nothing_is_closed_in_time() {
    let mut world = World::settled();
    let conn = world.mesh.handle_accepted(world.now);
    assert_eq!(world.mesh.poll_timeout(), Some(world.now + HELLO_TIMEOUT));
    world.pass(HELLO_TIMEOUT - Duration::from_millis(1));
    world.expect([]);
    world.pass(Duration::from_millis(1));
    world.expect([Output::Close(conn)]);
    assert_eq!(world.mesh.poll_timeout(), None);
}

#[test]
fn connections_beyond_the_limit_are_closed_at_once() {
    let mut world = World::settled();
    for _ in 0..MEMBERS_MAX {
        world.mesh.handle_accepted(world.now);
    }
    world.expect([]);
    let conn = world.mesh.handle_accepted(world.now);
    world.expect([Output::Close(conn)]);
    assert_eq!(world.mesh.stats().refused, 1);
}

#[test]
fn only_a_tag_and_its_ending_name_a_socket() {
    let rows = [
        ("Ab3-_9.sock", true),
        ("Ab3-_9.sock.new", false),
        ("Ab3-_9", false),
        ("Ab3-_99.sock", false),
        ("Ab3/_9.sock", false),
        (".sock", false),
        ("", false),
    ];
    for (name, expected) in rows {
        assert_eq!(tag_of_socket(name).is_some(), expected, "{name}");
    }
}

#[test]
fn a_frame_longer_than_the_limit_is_refused_on_both_sides() {
    assert!(frame_header(FRAME_BYTES_MAX).is_ok());
    assert!(frame_header(FRAME_BYTES_MAX + 1).is_err());
    let too_long = u32::try_from(FRAME_BYTES_MAX + 1).unwrap().to_be_bytes();
    assert!(FrameDecoder::default().decode(&mut &too_long[..]).is_err());
    let longest = u32::try_from(FRAME_BYTES_MAX).unwrap().to_be_bytes();
    assert_eq!(FrameDecoder::default().decode(&mut &longest[..]), Ok(None));
}

proptest! {
    #[test]
    fn frames_come_out_the_same_however_the_stream_is_cut(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..10),
        cuts in proptest::collection::vec(1_usize..20, 1..20),
    ) {
        let stream: Vec<u8> =
            payloads.iter().flat_map(|p| [&frame_header(p.len()).unwrap()[..], p].concat()).collect();
        let mut decoder = FrameDecoder::default();
        let (mut rest, mut frames, mut cuts) = (&stream[..], Vec::new(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (mut input, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            rest = after;
            while let Some(frame) = decoder.decode(&mut input).unwrap() {
                frames.push(frame);
            }
            prop_assert!(input.is_empty());
        }
        prop_assert!(decoder.is_idle());
        prop_assert_eq!(frames, payloads);
    }

    /// Whatever happens in whatever order: joined and left alternate, and nothing panics.
    #[test]
    fn a_member_joins_and_leaves_in_turn(steps in proptest::collection::vec((0_usize..9, 0_usize..3), 0..80)) {
        let names = ["bbbbbb", "cccccc", "dddddd"];
        let (mut world, mut conns, mut here) = (World::new(), Vec::new(), [false; 3]);
        for (step, which) in steps {
            let (name, now) = (names[which], world.now);
            match step {
                0 => world.list(&[name]),
                1 => world.mesh.handle_dialled(tag(name), now),
                2 => world.fail(name, DialError::Refused),
                3 => world.fail(name, DialError::NoSocket),
                4 => world.fail(name, DialError::Other),
                5 => world.mesh.handle_outgoing_lost(tag(name), now),
                6 => conns.push(world.hello(name)),
                7 if !conns.is_empty() => {
                    let conn = conns.swap_remove(which % conns.len());
                    world.mesh.handle_incoming_lost(conn, now);
                }
                _ => world.pass(REDIAL_MIN),
            }
            for output in world.outputs() {
                if let Output::Joined(peer) = &output {
                    let at = names.iter().position(|name| Some(tag(name)) == peer.tag).unwrap();
                    prop_assert!(!std::mem::replace(&mut here[at], true));
                }
                if let Output::Left(gone) = &output {
                    let at = names.iter().position(|name| tag(name) == *gone).unwrap();
                    prop_assert!(std::mem::replace(&mut here[at], false));
                }
            }
        }
    }
}

/// A mesh and the time that it is told.
struct World {
    mesh: Mesh,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self { mesh: Mesh::new(hello("aaaaaa")), now: Instant::now() }
    }

    fn settled() -> Self {
        let mut world = Self::new();
        world.list(&[]);
        world.expect([Output::Settled]);
        world
    }

    fn list(&mut self, names: &[&str]) {
        self.mesh.handle_listing(names.iter().map(|name| tag(name)), self.now);
    }

    fn hello(&mut self, name: &str) -> Conn {
        let conn = self.mesh.handle_accepted(self.now);
        self.mesh.handle_frame(conn, hello(name).encode().into(), self.now);
        conn
    }

    /// Brings a member in, connected both ways.
    fn meet(&mut self, name: &str) -> Conn {
        let conn = self.hello(name);
        self.mesh.handle_dialled(tag(name), self.now);
        self.outputs();
        conn
    }

    fn fail(&mut self, name: &str, error: DialError) {
        self.mesh.handle_dial_failed(tag(name), error, self.now);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.mesh.handle_timeout(self.now);
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.mesh.poll_output()).collect()
    }

    #[track_caller]
    fn expect<const N: usize>(&mut self, expected: [Output; N]) {
        assert_eq!(self.outputs(), expected);
    }
}

fn tag(name: &str) -> Tag {
    name.parse().expect("it is well formed")
}

fn hello(name: &str) -> Hello {
    Hello {
        tag: tag(name),
        uid: format!("uid-{name}").into(),
        http: Some(format!("/http/{name}.sock").parse().expect("it is well formed")),
        guest: false,
        seen: None,
        board: None,
    }
}

fn peer(name: &str) -> Peer {
    hello(name).peer()
}

fn greeting(to: &str) -> Output {
    Output::Write { to: tag(to), payload: hello("aaaaaa").encode().into() }
}
