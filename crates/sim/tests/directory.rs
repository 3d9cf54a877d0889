//! The node directory on a bus that delays, loses, repeats and reorders, and that a partition cuts: when it is calm again, all know who lives.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sockeye_cluster::directory::{Directory, Entry, LEASE, NODES, Output, REFRESH, SETTLE_TIMEOUT};
use sockeye_cluster::node::To;
use sockeye_cluster::{Address, Envelope, Message, Uid};
use sockeye_proto::sid::Tag;
use sockeye_sim::bus::{Bus, Dice, Faults};

const MEMBERS: usize = 8;

#[test]
fn after_any_faults_all_know_who_lives_and_nobody_else() {
    for seed in 0..60 {
        let faults = Faults {
            delay_max: Duration::from_millis(400),
            loss_percent: 25,
            repeat_percent: 25,
            in_order: false,
        };
        let mut world = World::new(seed, faults);
        for _ in 0..60 {
            world.disturb();
            world.run_for(Duration::from_millis(700));
        }
        world.bus.partition([]);
        world.calm();
        // Half of what is lost was lost by faults: what is under way arrives, leases run out, all say who they are.
        world.run_for(LEASE + REFRESH * 2 + SETTLE_TIMEOUT);
        world.check(seed);
    }
}

#[test]
fn whoever_is_settled_on_a_bus_that_is_only_slow_is_known_to_all_who_were() {
    for seed in 0..60 {
        let faults = Faults { delay_max: Duration::from_millis(60), ..Faults::default() };
        let mut world = World::new(seed, faults);
        for _ in 0..30 {
            world.come_somebody();
            let before = world.settled();
            world.run_for(Duration::from_millis(100));
            for new in world.settled().into_iter().filter(|node| !before.contains(node)) {
                for old in &before {
                    let tag = world.tags[&new];
                    assert!(world.nodes[old].owner(tag).is_some(), "seed {seed}: {old} does not know {new}");
                    let tag = world.tags[old];
                    assert!(world.nodes[&new].owner(tag).is_some(), "seed {seed}: {new} does not know {old}");
                }
            }
        }
    }
}

/// Nodes by number; those that have gone are not there.
struct World {
    now: Instant,
    dice: Dice,
    bus: Bus<(To, Message)>,
    nodes: BTreeMap<usize, Directory>,
    tags: BTreeMap<usize, Tag>,
    /// Each process has its own uid.
    came: usize,
    uids: BTreeMap<usize, Uid>,
    faults: Faults,
    seed: u64,
}

impl World {
    fn new(seed: u64, faults: Faults) -> Self {
        Self {
            now: Instant::now(),
            dice: Dice::new(seed ^ 0x5eed),
            bus: Bus::new(seed, faults),
            nodes: BTreeMap::new(),
            tags: BTreeMap::new(),
            came: 0,
            uids: BTreeMap::new(),
            faults,
            seed,
        }
    }

    /// Something happens.
    fn disturb(&mut self) {
        let node = self.pick();
        match self.dice.below(10) {
            0..=4 => self.come_somebody(),
            5 => drop(self.nodes.remove(&node)),
            6 => {
                if let Some(directory) = self.nodes.get_mut(&node) {
                    directory.handle_close();
                }
                self.flush();
                self.nodes.remove(&node);
            }
            7 => {
                let far = self.nodes.keys().copied().filter(|node| node % 2 == 0).collect::<Vec<_>>();
                self.bus.partition(far);
            }
            8 => self.bus.partition([]),
            _ => {
                if let Some(directory) = self.nodes.get_mut(&node) {
                    directory.handle_resumed(self.now);
                }
            }
        }
    }

    fn pick(&mut self) -> usize {
        let index = self.dice.index(self.nodes.len().max(1));
        self.nodes.keys().nth(index).copied().unwrap_or(0)
    }

    /// A node comes. Tags are few, so that they collide.
    fn come_somebody(&mut self) {
        if self.nodes.len() >= MEMBERS {
            return;
        }
        self.came += 1;
        let number = self.came;
        let tag = self.draw();
        let tcp = Some(address(number));
        let entry = Entry { tag, machine: "m".into(), unix: None, tcp, load: 0 };
        let uid = Uid::from(format!("{:02}-{number}", (number * 37) % 100));
        let mut directory = Directory::new(uid.clone(), entry);
        directory.handle_start(self.now);
        self.uids.insert(number, uid);
        self.tags.insert(number, tag);
        self.nodes.insert(number, directory);
        self.flush();
    }

    fn draw(&mut self) -> Tag {
        Tag::from_bits(self.dice.below(40))
    }

    /// From here on nothing goes wrong.
    fn calm(&mut self) {
        let calm = Faults { delay_max: Duration::from_millis(20), ..Faults::default() };
        let mut bus = Bus::new(self.seed, calm);
        std::mem::swap(&mut self.bus, &mut bus);
        // What was under way arrives late.
        while let Some(due) = bus.next_due() {
            let parcel = bus.take(due).expect("it is due");
            self.bus.send(parcel.from, parcel.to, parcel.load, self.now);
        }
        assert!(self.faults.delay_max < LEASE);
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timer = self.nodes.values().filter_map(Directory::poll_timeout).min();
            let Some(due) = timer.into_iter().chain(self.bus.next_due()).min().filter(|due| *due <= end)
            else {
                break;
            };
            self.now = self.now.max(due);
            while let Some(parcel) = self.bus.take(self.now) {
                let Some(directory) = self.nodes.get_mut(&parcel.to) else { continue };
                let uid = self.uids[&parcel.from].clone();
                let envelope = Envelope { uid, nsp: NODES.into(), message: parcel.load.1 };
                directory.handle_envelope(envelope, self.now);
            }
            for directory in self.nodes.values_mut() {
                directory.handle_timeout(self.now);
            }
            self.flush();
        }
        self.now = end;
    }

    fn flush(&mut self) {
        for node in self.nodes.keys().copied().collect::<Vec<_>>() {
            while let Some(output) = self.nodes.get_mut(&node).and_then(Directory::poll_output) {
                match output {
                    Output::Send(letter) => self.send(node, &letter.to, &letter.message),
                    Output::TagTaken(_) => {
                        let tag = self.draw();
                        self.tags.insert(node, tag);
                        self.nodes.get_mut(&node).expect("it is there").handle_tag(tag, self.now);
                    }
                    Output::Joined(_) | Output::Left(_) | Output::Settled => {}
                }
            }
        }
    }

    fn send(&mut self, from: usize, to: &To, message: &Message) {
        for node in self.nodes.keys().copied() {
            let uid = self.uids[&node].clone();
            if node != from && (*to == To::All || *to == To::One(uid)) {
                self.bus.send(from, node, (to.clone(), message.clone()), self.now);
            }
        }
    }

    fn settled(&self) -> Vec<usize> {
        self.nodes.iter().filter(|(_, directory)| directory.is_settled()).map(|(node, _)| *node).collect()
    }

    /// All know all others; each tag that only one has leads to it.
    fn check(&self, seed: u64) {
        for (node, directory) in &self.nodes {
            assert!(directory.is_settled(), "seed {seed}: {node} is not settled");
            let known: Vec<_> = directory.iter().map(|peer| peer.uid.clone()).collect();
            let mut living: Vec<_> = self
                .nodes
                .keys()
                .filter(|other| *other != node)
                .map(|other| self.uids[other].clone())
                .collect();
            living.sort();
            assert_eq!(known, living, "seed {seed}: what {node} knows");
            for other in self.nodes.keys().filter(|other| *other != node) {
                let tag = self.tags[other];
                if self.nodes.keys().filter(|node| self.tags[node] == tag).count() == 1 {
                    let owner = Some(&Address::Tcp(address(*other)));
                    assert_eq!(directory.owner(tag), owner, "seed {seed}: {node} asked for {other}");
                }
            }
        }
    }
}

fn address(number: usize) -> std::net::SocketAddr {
    ([10, 0, 0, 1], u16::try_from(number).expect("there are few")).into()
}
