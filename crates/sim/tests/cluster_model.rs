//! Nodes on a bus that is not to be trusted, held against a model that sees everything.
//!
//! Checked after each event: a request ends exactly when the model says so, with what the model says; at the latest when its time is
//! up. A broadcast is delivered at most once a node, one that wants acks also where the bus repeats; on a sound bus exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sockeye_cluster::node::{Asker, Output, Question, Step, To};
use sockeye_cluster::{
    Flags, Message, Node, Nsp, Outcome, Packet, Peer, Request, RequestId, Selector, Uid, Why, wire,
};
use sockeye_sim::bus::{Bus, Dice, Faults};

#[test]
fn on_a_sound_bus_everything_is_delivered_once_and_nothing_is_missing() {
    for seed in 0..100 {
        let mut world = World::new(seed, Faults { delay_max: SHORT, ..Faults::default() }, 100);
        world.run(&[Act::Publish, Act::Request]);
        world.settle();
        assert_eq!(world.partial, 0, "seed {seed}");
        let nodes = world.members.len();
        for (serial, delivered) in &world.delivered {
            assert_eq!(
                delivered.iter().filter(|count| **count == 1).count(),
                nodes - 1,
                "seed {seed}: {serial}"
            );
        }
        assert!(world.ended > 10, "seed {seed}");
    }
}

#[test]
fn whatever_the_bus_does_requests_end_as_the_model_says() {
    let sound = Faults { delay_max: SHORT, ..Faults::default() };
    let rows = [
        ("reorder", sound),
        ("slow", Faults { delay_max: TIMEOUT * 2, ..sound }),
        ("loss", Faults { loss_percent: 30, ..sound }),
        ("repeat", Faults { repeat_percent: 50, delay_max: TIMEOUT / 2, ..sound }),
        ("all", Faults { loss_percent: 20, repeat_percent: 30, delay_max: TIMEOUT, in_order: false }),
        ("connections", Faults { in_order: true, ..sound }),
    ];
    for (name, faults) in rows {
        let (mut partial, mut ended) = (0, 0);
        for seed in 0..150 {
            let mut world = World::new(seed, faults, 90);
            world.run(&TROUBLE);
            world.settle();
            for (serial, delivered) in &world.delivered {
                let most = if faults.repeat_percent == 0 || world.asked.contains(serial) { 1 } else { 2 };
                assert!(
                    delivered.iter().all(|count| *count <= most),
                    "{name}, seed {seed}: {serial} {delivered:?}"
                );
            }
            partial += world.partial;
            ended += world.ended;
        }
        assert!(partial > 0 && partial < ended, "{name}: {partial} partial of {ended}");
    }
}

const SHORT: Duration = Duration::from_millis(200);

/// The time of each request.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How long it takes until a member hears that another is gone, at most.
const DETECTION: Duration = Duration::from_secs(1);

/// Acts of one run.
const ACTS: usize = 100;

/// What may happen.
#[derive(Clone, Copy, Debug)]
enum Act {
    Publish,
    Request,
    Kill,
    Leave,
    Part,
    Heal,
}

/// Much that goes well, and a little that does not.
const TROUBLE: [Act; 12] = {
    use Act::{Heal, Kill, Leave, Part, Publish, Request};
    [Publish, Publish, Request, Request, Request, Request, Request, Request, Kill, Leave, Part, Heal]
};

/// What a member does after a while.
enum Chore {
    Ack { asker: Rc<Asker>, own: Option<RequestId>, value: String },
    Sockets { asker: Asker, own: Option<RequestId>, text: String },
    Value { asker: Asker, text: String },
    HearOfLoss(usize),
    HearOfReturn(usize),
}

/// A node, and what its driver and the model know.
struct Member {
    node: Node,
    alive: bool,
    /// Whether each of its clients acks.
    clients: Vec<bool>,
    /// Whether a handler answers server-side events.
    answers: bool,
    requests: BTreeMap<RequestId, History>,
}

/// All that a request's node has heard of it.
struct History {
    kind: Kind,
    deadline: Instant,
    asked: BTreeSet<Uid>,
    events: Vec<Heard>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Acks,
    FirstAck,
    One,
}

enum Heard {
    Count(Uid, u64),
    Answer(Uid, String),
    Gone(Uid),
    Over(Why),
}

/// What a request comes to: who answered what, and who is missing, why, and how many clients.
type Account = (Vec<(Uid, String)>, Vec<(Uid, Why, Option<u64>)>);

impl History {
    /// The model: looks at everything that was heard, from the beginning, and says how the request ends if it does.
    fn account(&self) -> Option<Account> {
        let (mut asked, mut counts, mut gone) = (self.asked.clone(), BTreeMap::new(), BTreeSet::new());
        let (mut answers, mut over) = (Vec::new(), None);
        for event in &self.events {
            match event {
                Heard::Count(uid, clients) => {
                    asked.insert(uid.clone());
                    counts.entry(uid.clone()).or_insert(*clients);
                }
                Heard::Answer(uid, text) => {
                    asked.insert(uid.clone());
                    answers.push((uid.clone(), text.clone()));
                }
                Heard::Gone(uid) if asked.contains(uid) => {
                    gone.insert(uid.clone());
                }
                Heard::Gone(_) => {}
                Heard::Over(why) => over = Some(*why),
            }
        }
        // No more acks than clients, no more than one of anything else.
        let mut kept: BTreeMap<Uid, u64> = BTreeMap::new();
        answers.retain(|(uid, _)| {
            let most = if self.kind == Kind::One { 1 } else { counts.get(uid).copied().unwrap_or(u64::MAX) };
            let kept = kept.entry(uid.clone()).or_default();
            let keep = *kept < most;
            *kept += u64::from(keep);
            keep
        });
        let kept_of = |uid: &Uid| kept.get(uid).copied().unwrap_or(0);
        let done = |uid: &Uid| match self.kind {
            Kind::Acks | Kind::FirstAck => counts.get(uid).is_some_and(|clients| kept_of(uid) >= *clients),
            Kind::One => kept_of(uid) > 0,
        };
        let enough = self.kind == Kind::FirstAck && !answers.is_empty();
        if over.is_none() && !enough && asked.iter().any(|uid| !done(uid) && !gone.contains(uid)) {
            return None;
        }
        let missing = asked.iter().filter(|uid| !enough && !done(uid)).map(|uid| {
            let why = if gone.contains(uid) { Why::Gone } else { over.unwrap_or(Why::Late) };
            (uid.clone(), why, counts.get(uid).map(|clients| clients - kept_of(uid)))
        });
        Some((answers, missing.collect()))
    }
}

/// The cluster. Of a hundred clients and handlers `willing` answer.
struct World {
    seed: u64,
    now: Instant,
    dice: Dice,
    bus: Bus<Bytes>,
    members: Vec<Member>,
    chores: BTreeMap<(Instant, u64), (usize, Chore)>,
    serial: u64,
    /// How often each event was delivered, by member.
    delivered: BTreeMap<u64, Vec<u32>>,
    /// The events that want acks.
    asked: BTreeSet<u64>,
    ended: usize,
    partial: usize,
}

impl World {
    fn new(seed: u64, faults: Faults, willing: u64) -> Self {
        let mut dice = Dice::new(seed.wrapping_mul(31));
        let count = 2 + dice.index(4);
        let mut members: Vec<_> = (0..count).map(|at| Member::new(at, &mut dice, willing)).collect();
        for (at, member) in members.iter_mut().enumerate() {
            for other in (0..count).filter(|other| *other != at) {
                member.node.handle_joined(peer(other));
            }
            while member.node.poll_step().is_some() {}
        }
        Self {
            seed,
            now: Instant::now(),
            dice,
            bus: Bus::new(seed, faults),
            members,
            chores: BTreeMap::new(),
            serial: 0,
            delivered: BTreeMap::new(),
            asked: BTreeSet::new(),
            ended: 0,
            partial: 0,
        }
    }

    fn run(&mut self, acts: &[Act]) {
        for _ in 0..ACTS {
            let until = self.now + self.dice.up_to(SHORT);
            self.pass_until(until);
            let at = self.dice.index(self.members.len());
            let act = acts[self.dice.index(acts.len())];
            if self.members[at].alive {
                self.act(at, act);
            }
        }
    }

    /// Lets everything come to its end.
    fn settle(&mut self) {
        self.pass_until(self.now + TIMEOUT * 10);
        for member in self.members.iter().filter(|member| member.alive) {
            assert_eq!((member.node.pending(), member.node.poll_timeout()), (0, None), "seed {}", self.seed);
            assert!(member.requests.is_empty(), "seed {}", self.seed);
        }
    }

    fn act(&mut self, at: usize, act: Act) {
        match act {
            Act::Publish => {
                let packet = self.event();
                let (selector, flags) = (Selector::all(), Flags::default());
                let message = Message::Broadcast { selector, flags, packet, request_id: None };
                self.members[at].node.handle_publish(&Nsp::new("/"), message);
                self.heed(at, None);
            }
            Act::Request => self.request(at),
            // The last one that lives stays.
            Act::Kill | Act::Leave if self.members.iter().filter(|member| member.alive).count() < 2 => {}
            Act::Kill => {
                self.members[at].alive = false;
                self.tell_all(at, || Chore::HearOfLoss(at));
            }
            Act::Leave => {
                for history in self.members[at].requests.values_mut() {
                    history.events.push(Heard::Over(Why::Closed));
                }
                self.members[at].node.handle_close();
                self.heed(at, None);
                self.members[at].alive = false;
                self.tell_all(at, || Chore::HearOfLoss(at));
            }
            Act::Part => {
                let far: Vec<_> = (0..self.members.len()).filter(|_| self.dice.percent(40)).collect();
                self.bus.partition(far);
                self.tell_cut(Chore::HearOfLoss);
            }
            Act::Heal => {
                self.tell_cut(Chore::HearOfReturn);
                self.bus.partition([]);
            }
        }
    }

    fn request(&mut self, at: usize) {
        let kind = [Kind::Acks, Kind::FirstAck, Kind::One, Kind::One][self.dice.index(4)];
        let flags = Flags {
            timeout: Some(TIMEOUT),
            local: self.dice.percent(10),
            expect_single_response: kind == Kind::FirstAck,
            ..Flags::default()
        };
        let selector = Selector::all();
        let server_side = kind == Kind::One && self.dice.percent(50);
        let request = match kind {
            Kind::Acks | Kind::FirstAck => {
                let packet = self.event();
                self.asked.insert(self.serial);
                if flags.local {
                    self.delivered.remove(&self.serial);
                }
                Request::Broadcast { selector, flags: flags.clone(), packet }
            }
            Kind::One if server_side => {
                Request::ServerSideEmit { packet: Packet::text(r#"["ask"]"#), timeout: flags.timeout }
            }
            Kind::One => Request::FetchSockets { selector, flags: flags.clone() },
        };
        let random = self.dice.roll();
        let node = &mut self.members[at].node;
        let others = node.peers().iter().filter(|_| !flags.local || server_side).map(|peer| peer.uid.clone());
        let asked = others.chain((!server_side).then(|| node.uid().clone())).collect();
        let id = node.handle_request(&Nsp::new("/"), request, random, self.now).expect("few are under way");
        let history = History { kind, deadline: self.now + TIMEOUT, asked, events: Vec::new() };
        self.members[at].requests.insert(id.clone(), history);
        self.heed(at, Some(&id));
    }

    /// An event that nobody said before.
    fn event(&mut self) -> Packet {
        self.serial += 1;
        self.delivered.insert(self.serial, vec![0; self.members.len()]);
        Packet::text(format!(r#"["e",{}]"#, self.serial))
    }

    /// Does what a node says; `own`: the request that it has just taken.
    fn heed(&mut self, at: usize, own: Option<&RequestId>) {
        while let Some(step) = self.members[at].node.poll_step() {
            match step {
                Step::Act(Output::Send { to: To::All, frame }) => {
                    for other in (0..self.members.len()).filter(|other| *other != at) {
                        self.bus.send(at, other, frame.clone(), self.now);
                    }
                }
                Step::Act(Output::Send { to: To::One(uid), frame }) => {
                    self.bus.send(at, number(&uid), frame, self.now);
                }
                Step::Act(Output::Deliver { packet, .. }) => self.deliver(at, &packet),
                Step::Act(
                    Output::Join { .. }
                    | Output::Leave { .. }
                    | Output::Disconnect { .. }
                    | Output::Publish(_),
                ) => {
                    panic!("nobody said so")
                }
                Step::Act(Output::PeerJoined(_) | Output::PeerLeft(_)) => {}
                Step::Answer(question) => self.answer(at, question, own),
                Step::Finish(outcome) => self.finish(at, &outcome),
            }
        }
        self.check_open(at);
    }

    fn deliver(&mut self, at: usize, packet: &Packet) {
        let (_, serial): (String, u64) = serde_json::from_slice(&packet.data).expect("it is one of ours");
        if let Some(delivered) = self.delivered.get_mut(&serial) {
            delivered[at] += 1;
        }
    }

    fn answer(&mut self, at: usize, question: Question, own: Option<&RequestId>) {
        match question {
            Question::DeliverWithAck { asker, packet, .. } => {
                let own = own.filter(|_| asker.is_here()).cloned();
                if own.is_none() {
                    self.deliver(at, &packet);
                }
                let member = &mut self.members[at];
                let (clients, uid) = (member.clients.clone(), member.node.uid().clone());
                if let Some(history) = own.as_ref().and_then(|id| member.requests.get_mut(id)) {
                    history.events.push(Heard::Count(uid.clone(), clients.len() as u64));
                }
                member.node.handle_client_count(&asker, clients.len() as u64);
                let asker = Rc::new(asker);
                for client in (0..clients.len()).filter(|client| clients[*client]) {
                    let value = format!("\"{uid}/{client}\"");
                    self.later(at, Chore::Ack { asker: Rc::clone(&asker), own: own.clone(), value });
                }
            }
            Question::FetchSockets { asker, .. } => {
                let own = own.filter(|_| asker.is_here()).cloned();
                let text = format!("[{at}]");
                self.later(at, Chore::Sockets { asker, own, text });
            }
            Question::ServerSideEmit { asker, .. } => {
                if let Some(asker) = asker.filter(|_| self.members[at].answers) {
                    self.later(at, Chore::Value { asker, text: at.to_string() });
                }
            }
        }
    }

    fn finish(&mut self, at: usize, outcome: &Outcome) {
        let history = self.members[at].requests.remove(&outcome.request_id);
        let history = history.unwrap_or_else(|| panic!("seed {}: it ended twice", self.seed));
        let text = |packet: &Packet| String::from_utf8_lossy(&packet.data).into_owned();
        let answers = outcome.answers.iter().map(|answer| (answer.uid.clone(), text(&answer.packet)));
        let missing =
            outcome.missing.iter().map(|missing| (missing.uid.clone(), missing.why, missing.clients));
        let account = (answers.collect(), missing.collect());
        assert_eq!(Some(account), history.account(), "seed {}", self.seed);
        self.ended += 1;
        self.partial += usize::from(!outcome.is_complete());
    }

    /// What is still open is open in the model, too.
    fn check_open(&self, at: usize) {
        for history in self.members[at].requests.values() {
            assert_eq!(history.account(), None, "seed {}: the node waits for nothing", self.seed);
        }
    }

    fn pass_until(&mut self, end: Instant) {
        loop {
            let alive = self.members.iter().filter(|member| member.alive);
            let timeouts = alive.filter_map(|member| member.node.poll_timeout());
            let chores = self.chores.first_key_value().map(|((due, _), _)| *due);
            let Some(due) = timeouts.chain(chores).chain(self.bus.next_due()).min().filter(|due| *due <= end)
            else {
                break;
            };
            self.now = self.now.max(due);
            if let Some(parcel) = self.bus.take(self.now) {
                if self.members[parcel.to].alive {
                    self.hear(parcel.to, &parcel.load);
                }
            } else if let Some(entry) = self.chores.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (at, chore) = entry.remove();
                if self.members[at].alive {
                    self.work(at, chore);
                }
            } else {
                self.time_out();
            }
        }
        self.now = end;
    }

    fn time_out(&mut self) {
        for at in 0..self.members.len() {
            let member = &mut self.members[at];
            for history in member.requests.values_mut().filter(|history| history.deadline <= self.now) {
                history.events.push(Heard::Over(Why::Late));
            }
            if member.alive {
                member.node.handle_timeout(self.now);
                self.heed(at, None);
            }
        }
    }

    fn hear(&mut self, at: usize, frame: &Bytes) {
        let envelope = wire::decode(frame).expect("the bus does not garble");
        let member = &mut self.members[at];
        let uid = envelope.uid;
        let text = |packet: &Packet| String::from_utf8_lossy(&packet.data).into_owned();
        let heard = match &envelope.message {
            Message::BroadcastClientCount { request_id, client_count } => {
                Some((request_id, Heard::Count(uid, *client_count)))
            }
            Message::BroadcastAck { request_id, packet }
            | Message::ServerSideEmitResponse { request_id, packet }
            | Message::FetchSocketsResponse { request_id, sockets: packet } => {
                Some((request_id, Heard::Answer(uid, text(packet))))
            }
            Message::AdapterClose => {
                member.forget(&uid);
                None
            }
            Message::InitialHeartbeat
            | Message::Heartbeat
            | Message::Broadcast { .. }
            | Message::SocketsJoin { .. }
            | Message::SocketsLeave { .. }
            | Message::DisconnectSockets { .. }
            | Message::FetchSockets { .. }
            | Message::ServerSideEmit { .. } => None,
        };
        if let Some((id, heard)) = heard
            && let Some(history) = member.requests.get_mut(id)
        {
            history.events.push(heard);
        }
        member.node.handle_frame(frame);
        self.heed(at, None);
    }

    fn work(&mut self, at: usize, chore: Chore) {
        let member = &mut self.members[at];
        match chore {
            Chore::Ack { asker, own, value } => {
                member.note_own(own.as_ref(), &value);
                member.node.handle_ack(&asker, Packet::text(value));
            }
            Chore::Sockets { asker, own, text } => {
                member.note_own(own.as_ref(), &text);
                member.node.handle_sockets(asker, Packet::text(text));
            }
            Chore::Value { asker, text } => member.node.handle_value(asker, Packet::text(text)),
            Chore::HearOfLoss(other) => {
                member.forget(&uid(other));
                member.node.handle_lost(&uid(other));
            }
            Chore::HearOfReturn(other) => member.node.handle_joined(peer(other)),
        }
        self.heed(at, None);
    }

    fn later(&mut self, at: usize, chore: Chore) {
        self.serial_chore(at, SHORT, chore);
    }

    fn tell_all(&mut self, about: usize, chore: impl Fn() -> Chore) {
        for at in (0..self.members.len()).filter(|at| *at != about) {
            self.serial_chore(at, DETECTION, chore());
        }
    }

    /// Tells the members on each side of the partition about those on the other.
    fn tell_cut(&mut self, chore: fn(usize) -> Chore) {
        for at in 0..self.members.len() {
            for other in 0..self.members.len() {
                if self.bus.is_cut(at, other) && self.members[other].alive {
                    self.serial_chore(at, DETECTION, chore(other));
                }
            }
        }
    }

    fn serial_chore(&mut self, at: usize, within: Duration, chore: Chore) {
        let due = self.now + self.dice.up_to(within);
        let order = self.dice.roll();
        self.chores.insert((due, order), (at, chore));
    }
}

impl Member {
    fn new(at: usize, dice: &mut Dice, willing: u64) -> Self {
        let clients = (0..dice.index(4)).map(|_| dice.percent(willing)).collect();
        let node = Node::new(uid(at));
        Self { node, alive: true, clients, answers: dice.percent(willing), requests: BTreeMap::new() }
    }

    /// Notes what this member answered itself.
    fn note_own(&mut self, own: Option<&RequestId>, text: &str) {
        if let Some(history) = own.and_then(|id| self.requests.get_mut(id)) {
            history.events.push(Heard::Answer(self.node.uid().clone(), text.to_owned()));
        }
    }

    /// Notes that it hears of the end of another, if it knew it.
    fn forget(&mut self, uid: &Uid) {
        if self.node.peers().get(uid).is_some() {
            for history in self.requests.values_mut() {
                history.events.push(Heard::Gone(uid.clone()));
            }
        }
    }
}

fn uid(at: usize) -> Uid {
    Uid::from(format!("n{at}"))
}

fn number(uid: &Uid) -> usize {
    uid.trim_start_matches('n').parse().expect("it is one of ours")
}

fn peer(at: usize) -> Peer {
    Peer { uid: uid(at), tag: None, http: None, guest: false }
}
