//! The node directory, told by hand: who is known, who is settled, who gives way.

use std::time::{Duration, Instant};

use sockeye_cluster::adapter::Letter;
use sockeye_cluster::directory::{
    Directory, Entry, LEASE, NODES, Output, REFRESH, SETTLE_ROUND, SETTLE_TIMEOUT,
};
use sockeye_cluster::node::To;
use sockeye_cluster::{Address, Envelope, Message, Packet, Uid};
use sockeye_proto::sid::Tag;

#[test]
fn two_nodes_know_each_other_when_they_are_settled() {
    let mut world = World::new();
    let (a, b) = (world.come("a", 1), world.come("b", 2));
    world.run_for(SETTLE_ROUND * 2);
    assert!(world.nodes[a].is_settled() && world.nodes[b].is_settled());
    assert_eq!(world.nodes[a].owner(tag(2)), Some(&tcp(2)));
    assert_eq!(world.nodes[b].owner(tag(1)), Some(&tcp(1)));
    assert_eq!(world.nodes[a].owner(tag(3)), None, "nobody has it");
    assert_eq!(world.nodes[a].owner(tag(1)), None, "it is one's own");
}

#[test]
fn where_nodes_are_counted_nobody_waits_for_nobody() {
    let mut world = World::new();
    let a = world.come("a", 1);
    world.nodes[a].handle_nodes(1, world.now);
    assert!(world.nodes[a].is_settled(), "it is alone");
    let b = world.come("b", 2);
    world.nodes[b].handle_nodes(2, world.now);
    assert!(!world.nodes[b].is_settled(), "the other has not answered");
    world.deliver();
    assert!(world.nodes[b].is_settled());
}

#[test]
fn a_node_that_does_not_answer_is_waited_for_as_long_as_is_said() {
    let mut world = World::new();
    let (a, b) = (world.come("a", 1), world.come("b", 2));
    world.run_for(SETTLE_ROUND * 2);
    world.deaf.push(a);
    // It is known by what it said, and never confirms.
    world.nodes[a].handle_resumed(world.now);
    world.mute.push(b);
    let c = world.come("c", 3);
    let began = world.now;
    world.run_for(SETTLE_TIMEOUT - Duration::from_millis(1));
    assert!(!world.nodes[c].is_settled());
    world.run_for(Duration::from_millis(1));
    assert!(world.nodes[c].is_settled());
    assert_eq!(world.now - began, SETTLE_TIMEOUT);
}

#[test]
fn sockets_are_for_neighbours_and_ports_for_all() {
    let mut world = World::new();
    let a = world.come("a", 1);
    let mut near = entry(2);
    near.machine = "m1".into();
    near.unix = Some("/run/2.sock".into());
    let mut far = near.clone();
    (far.tag, far.machine) = (tag(3), "m9".into());
    let mut shut = entry(4);
    shut.tcp = None;
    for (uid, entry) in [("b", near), ("c", far), ("d", shut)] {
        world.come_as(uid, entry);
    }
    world.run_for(SETTLE_ROUND * 2);
    assert_eq!(world.nodes[a].owner(tag(2)), Some(&Address::Unix("/run/2.sock".into())));
    assert_eq!(world.nodes[a].owner(tag(3)), Some(&tcp(2)));
    assert_eq!(world.nodes[a].owner(tag(4)), None, "it cannot be reached");
    assert_eq!(world.nodes[a].iter().count(), 3);
}

#[test]
fn a_node_that_leaves_is_gone_at_once_and_one_that_dies_with_its_lease() {
    let mut world = World::new();
    let (a, b, c) = (world.come("a", 1), world.come("b", 2), world.come("c", 3));
    world.run_for(SETTLE_ROUND * 2);
    world.nodes[b].handle_close();
    world.deliver();
    assert_eq!(world.nodes[a].owner(tag(2)), None);
    world.kill(c);
    world.run_for(LEASE - REFRESH);
    assert_eq!(world.nodes[a].owner(tag(3)), Some(&tcp(3)));
    world.run_for(REFRESH);
    assert_eq!(world.nodes[a].owner(tag(3)), None);
    let stats = world.nodes[a].stats();
    assert_eq!((stats.joined, stats.left, stats.expired), (2, 1, 1));
}

#[test]
fn living_nodes_are_known_for_as_long_as_they_live_and_say_their_load() {
    let mut world = World::new();
    let (a, b) = (world.come("a", 1), world.come("b", 2));
    world.nodes[b].handle_load(7);
    for _ in 0..60 {
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.nodes[a].owner(tag(2)), Some(&tcp(2)));
    }
    assert_eq!(world.nodes[a].load(tag(2)), Some(7));
    assert_eq!(world.nodes[a].stats().joined, 1);
}

#[test]
fn of_two_nodes_with_one_tag_the_later_draws_another() {
    for (first, second) in [("a", "b"), ("b", "a")] {
        let mut world = World::new();
        let old = world.come(first, 1);
        world.run_for(SETTLE_ROUND * 2);
        let new = world.come(second, 1);
        world.deliver();
        assert_eq!(world.taken, [(new, tag(1))]);
        assert!(!world.nodes[new].is_settled());
        world.nodes[new].handle_tag(tag(5), world.now);
        world.run_for(SETTLE_ROUND * 2);
        assert!(world.nodes[new].is_settled());
        assert_eq!(world.nodes[old].owner(tag(5)), Some(&tcp(1)), "the address stays");
        assert_eq!(world.nodes[new].owner(tag(1)), Some(&tcp(1)), "it is the other's");
    }
}

#[test]
fn of_two_newcomers_with_one_tag_one_draws_until_it_has_its_own() {
    let mut world = World::new();
    let (a, b) = (world.come("a", 1), world.come("b", 1));
    let c = world.come("c", 2);
    world.deliver();
    assert_eq!(world.taken, [(b, tag(1))]);
    world.nodes[b].handle_tag(tag(2), world.now);
    world.deliver();
    assert_eq!(world.taken[1], (b, tag(2)), "it is known to be another's");
    world.nodes[b].handle_tag(tag(3), world.now);
    world.run_for(SETTLE_TIMEOUT);
    let tags: Vec<_> = [a, b, c].iter().map(|node| world.nodes[*node].tag()).collect();
    assert_eq!(tags, [tag(1), tag(3), tag(2)]);
    assert!(world.nodes.iter().all(Directory::is_settled));
}

#[test]
fn while_nothing_can_be_published_nobody_is_forgotten() {
    let mut world = World::new();
    let (a, b) = (world.come("a", 1), world.come("b", 2));
    world.run_for(SETTLE_ROUND * 2);
    world.mute.extend([a, b]);
    for node in [a, b] {
        world.nodes[node].handle_published(false, world.now);
    }
    world.run_for(LEASE * 5);
    assert_eq!(world.nodes[a].owner(tag(2)), Some(&tcp(2)));
    // It is back, and one of them is not.
    world.mute.clear();
    world.kill(b);
    world.nodes[a].handle_published(true, world.now);
    world.run_for(LEASE - REFRESH);
    assert_eq!(world.nodes[a].owner(tag(2)), Some(&tcp(2)), "it has its time to say that it lives");
    world.run_for(REFRESH);
    assert_eq!(world.nodes[a].owner(tag(2)), None);
}

#[test]
fn after_a_gap_all_are_asked() {
    let mut world = World::new();
    let a = world.come("a", 1);
    world.deaf.push(a);
    let _b = world.come("b", 2);
    world.run_for(SETTLE_ROUND * 2);
    assert_eq!(world.nodes[a].owner(tag(2)), None);
    world.deaf.clear();
    world.nodes[a].handle_resumed(world.now);
    world.deliver();
    assert_eq!(world.nodes[a].owner(tag(2)), Some(&tcp(2)));
}

#[test]
fn what_comes_late_or_twice_changes_nothing() {
    let mut world = World::new();
    let a = world.come("a", 1);
    let mut b = Directory::new("b".into(), entry(2));
    b.handle_start(world.now);
    let first = said(&mut b);
    b.handle_load(9);
    b.handle_resumed(world.now);
    let second = said(&mut b);
    b.handle_close();
    let last = said(&mut b);
    let directory = &mut world.nodes[a];
    directory.handle_envelope(from("b", second.clone()), world.now);
    directory.handle_envelope(from("b", first.clone()), world.now);
    assert_eq!(directory.load(tag(2)), Some(9));
    directory.handle_envelope(from("b", last), world.now);
    for late in [first, second] {
        directory.handle_envelope(from("b", late), world.now);
    }
    assert_eq!(directory.owner(tag(2)), None, "the dead do not come back");
    assert_eq!(directory.stats().stale, 3);
}

#[test]
fn what_is_not_understood_is_counted_and_skipped() {
    let mut world = World::new();
    let a = world.come("a", 1);
    for text in [
        "[]",
        "[\"here\"]",
        "[\"here\",{}]",
        "[\"here\",{\"count\":1}]",
        "[\"here\",{\"count\":1,\"tag\":\"short\",\"machine\":\"m\"}]",
        "[\"known\",{\"count\":1,\"tag\":\"Ab3dE_\",\"machine\":\"m\"}]",
        "[\"other\",{\"count\":1}]",
        "[7,{}]",
        "nothing",
    ] {
        let message = Message::ServerSideEmit { packet: Packet::text(text), request_id: None };
        world.nodes[a].handle_envelope(from("b", message), world.now);
    }
    assert_eq!(world.nodes[a].stats().malformed, 9);
    world.nodes[a].handle_envelope(from("b", Message::Heartbeat), world.now);
    let odd =
        "[\"here\",{\"count\":1,\"tag\":\"Ab3dE_\",\"machine\":\"m\",\"tcp\":\"nowhere\",\"news\":[1]}]";
    let message = Message::ServerSideEmit { packet: Packet::text(odd), request_id: None };
    world.nodes[a].handle_envelope(from("b", message), world.now);
    assert_eq!(world.nodes[a].iter().count(), 1, "what is not known is left out");
    assert_eq!(world.nodes[a].stats().malformed, 9);
}

/// Directories, and a bus that is at once; some may not speak, or not hear.
struct World {
    now: Instant,
    nodes: Vec<Directory>,
    uids: Vec<Uid>,
    mute: Vec<usize>,
    deaf: Vec<usize>,
    taken: Vec<(usize, Tag)>,
}

impl World {
    fn new() -> Self {
        let (nodes, uids, mute, deaf, taken) = (vec![], vec![], vec![], vec![], vec![]);
        Self { now: Instant::now(), nodes, uids, mute, deaf, taken }
    }

    fn come(&mut self, uid: &str, number: u16) -> usize {
        self.come_as(uid, entry(number))
    }

    fn come_as(&mut self, uid: &str, entry: Entry) -> usize {
        let mut directory = Directory::new(uid.into(), entry);
        directory.handle_start(self.now);
        self.nodes.push(directory);
        self.uids.push(uid.into());
        self.nodes.len() - 1
    }

    fn kill(&mut self, node: usize) {
        self.mute.push(node);
        self.deaf.push(node);
    }

    /// Carries what is said until nobody says anything.
    fn deliver(&mut self) {
        loop {
            let mut letters = Vec::new();
            for node in 0..self.nodes.len() {
                while let Some(output) = self.nodes[node].poll_output() {
                    match output {
                        Output::Send(letter) => letters.push((node, letter)),
                        Output::TagTaken(tag) => self.taken.push((node, tag)),
                        Output::Joined(_) | Output::Left(_) | Output::Settled => {}
                    }
                }
            }
            if letters.is_empty() {
                return;
            }
            for (from, letter) in letters {
                self.carry(from, &letter);
            }
        }
    }

    fn carry(&mut self, from: usize, letter: &Letter) {
        for to in 0..self.nodes.len() {
            let meant = letter.to == To::All || letter.to == To::One(self.uids[to].clone());
            if to != from && meant && !self.mute.contains(&from) && !self.deaf.contains(&to) {
                let envelope = self::from(&self.uids[from].clone(), letter.message.clone());
                self.nodes[to].handle_envelope(envelope, self.now);
            }
        }
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.deliver();
        while let Some(due) =
            self.nodes.iter().filter_map(Directory::poll_timeout).min().filter(|due| *due <= end)
        {
            self.now = self.now.max(due);
            for node in &mut self.nodes {
                node.handle_timeout(self.now);
            }
            self.deliver();
        }
        self.now = end;
    }
}

fn said(directory: &mut Directory) -> Message {
    let mut said = None;
    while let Some(output) = directory.poll_output() {
        if let Output::Send(letter) = output {
            said = Some(letter.message);
        }
    }
    said.expect("it said something")
}

fn from(uid: &str, message: Message) -> Envelope {
    Envelope { uid: uid.into(), nsp: NODES.into(), message }
}

fn entry(number: u16) -> Entry {
    let machine = format!("m{number}").into();
    Entry { tag: tag(number), machine, unix: None, tcp: Some(([10, 0, 0, 1], number).into()), load: 0 }
}

fn tag(number: u16) -> Tag {
    Tag::from_bits(number.into())
}

fn tcp(number: u16) -> Address {
    Address::Tcp(([10, 0, 0, 1], number).into())
}
