//! A node on a backplane: who is there, by what they say or by their number, in virtual time.

use std::time::{Duration, Instant};

use sockeye_cluster::adapter::{Letter, Presence};
use sockeye_cluster::node::{Asker, Output, Question, Step, To};
use sockeye_cluster::{
    Envelope, Flags, Message, Missing, Node, Nsp, Outcome, Packet, REQUEST_TIMEOUT, Request, RequestId,
    Selector, UNKNOWN, Uid, Why,
};

const INTERVAL: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(10);
const HEARTBEATS: Presence = Presence::Heartbeats { interval: INTERVAL, timeout: TIMEOUT };

#[test]
fn a_server_that_comes_asks_who_is_there_and_is_answered() {
    let mut world = World::new(HEARTBEATS);
    assert_eq!(world.letters(), [(To::All, Message::InitialHeartbeat)]);
    world.hear("b", Message::InitialHeartbeat);
    assert_eq!(world.letters(), [(To::All, Message::Heartbeat)]);
    assert_eq!(world.peers(), ["b"]);
    // Its own word, an emitter's and a nameless one are no sign of a server.
    for uid in ["me", "emitter", ""] {
        world.hear(uid, Message::Heartbeat);
    }
    assert_eq!(world.peers(), ["b"]);
}

#[test]
fn a_server_says_that_it_lives_when_it_has_said_nothing_else() {
    let mut world = World::new(HEARTBEATS);
    world.letters();
    world.pass(INTERVAL - Duration::from_millis(1));
    assert_eq!(world.letters(), []);
    // Whatever is published is a sign of life.
    world.node.handle_published(world.now);
    world.pass(INTERVAL - Duration::from_millis(1));
    assert_eq!(world.letters(), []);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.letters(), [(To::All, Message::Heartbeat)]);
    world.pass(INTERVAL);
    assert_eq!(world.letters(), [(To::All, Message::Heartbeat)]);
}

#[test]
fn who_is_silent_for_too_long_is_gone_and_waited_for_no_more() {
    let mut world = World::new(HEARTBEATS);
    world.hear("b", Message::Heartbeat);
    world.pass(TIMEOUT - Duration::from_secs(1));
    // Every message is a sign of life.
    world.hear("b", event());
    world.hear("c", Message::Heartbeat);
    world.pass(TIMEOUT - Duration::from_secs(1));
    world.hear("c", Message::Heartbeat);
    let id = world.request(fetch());
    world.answer("c", &id);
    assert_eq!(world.finished(), None);
    world.pass(Duration::from_secs(1));
    let outcome = world.finished().unwrap();
    assert_eq!((outcome.answers.len(), outcome.missing), (2, vec![missing("b", Why::Gone)]));
    assert_eq!(world.peers(), ["c"]);
    world.hear("c", Message::AdapterClose);
    assert!(world.peers().is_empty());
}

#[test]
fn a_counted_server_is_waited_for_whoever_it_is() {
    let mut world = World::new(Presence::Counted);
    assert_eq!(world.letters(), [], "nobody asks who is there");
    world.node.handle_servers(3);
    let id = world.request(fetch());
    assert_eq!(world.letters().len(), 1);
    world.answer("b", &id);
    world.answer("b", &id);
    assert_eq!(world.finished(), None);
    world.answer("c", &id);
    let outcome = world.finished().unwrap();
    assert_eq!((outcome.answers.len(), outcome.is_complete()), (3, true));
    assert_eq!(world.node.poll_timeout(), None);
}

#[test]
fn a_counted_server_that_does_not_answer_is_named_where_there_is_no_doubt() {
    // How many are counted, who was heard before, who answers: who is missing.
    let rows: [(u64, [Names; 3]); 4] = [
        (4, [&[], &["b"], &[UNKNOWN, UNKNOWN]]),
        (3, [&["b", "c"], &["b"], &["c"]]),
        (4, [&["b", "c"], &["b"], &["c", UNKNOWN]]),
        (3, [&["b", "c", "d"], &["b"], &[UNKNOWN]]),
    ];
    for (servers, [known, answer, expected]) in rows {
        let mut world = World::new(Presence::Counted);
        known.iter().for_each(|uid| world.hear(uid, event()));
        world.node.handle_servers(servers);
        let id = world.request(fetch());
        answer.iter().for_each(|uid| world.answer(uid, &id));
        assert_eq!(world.finished(), None);
        world.pass(REQUEST_TIMEOUT);
        let outcome = world.finished().unwrap();
        let expected: Vec<_> = expected.iter().map(|uid| missing(uid, Why::Late)).collect();
        assert_eq!((outcome.answers.len(), outcome.missing), (2, expected));
    }
}

#[test]
fn replies_without_a_name_count_for_one_server_each() {
    let mut world = World::new(Presence::Counted);
    world.node.handle_servers(3);
    let id = world.request(fetch());
    world.answer("", &id);
    assert_eq!(world.finished(), None);
    world.answer("", &id);
    assert_eq!(world.finished().unwrap().answers.len(), 3);
    // One server has two clients, the other has one; acks come in between.
    let id = world.request(Request::Broadcast {
        selector: Selector::all(),
        flags: Flags::default(),
        packet: Packet::text(r#"["e"]"#),
    });
    let ack = |world: &mut World| {
        let packet = Packet::text("1");
        world.hear("", Message::BroadcastAck { request_id: id.clone(), packet });
    };
    let count = |world: &mut World, client_count| {
        world.hear("", Message::BroadcastClientCount { request_id: id.clone(), client_count });
    };
    count(&mut world, 1);
    ack(&mut world);
    ack(&mut world);
    assert_eq!(world.finished(), None);
    count(&mut world, 2);
    assert_eq!(world.finished(), None);
    ack(&mut world);
    let outcome = world.finished().unwrap();
    assert_eq!((outcome.answers.len(), outcome.is_complete()), (3, true));
}

#[test]
fn alone_a_request_is_not_published() {
    let mut world = World::new(Presence::Counted);
    world.node.handle_servers(1);
    world.request(fetch());
    assert!(world.finished().unwrap().is_complete());
    assert_eq!(world.letters(), []);
}

#[test]
fn a_request_that_the_backplane_does_not_take_ends_with_what_is_here() {
    for presence in [Presence::Counted, HEARTBEATS] {
        let mut world = World::new(presence);
        world.hear("b", event());
        world.node.handle_servers(2);
        let id = world.request(fetch());
        assert_eq!(world.finished(), None);
        world.node.handle_unpublished(Some(&id));
        let outcome = world.finished().unwrap();
        assert_eq!((outcome.answers.len(), outcome.missing), (1, vec![missing("b", Why::Unasked)]));
    }
}

/// Some uids.
type Names = &'static [&'static str];

struct World {
    node: Node,
    now: Instant,
    steps: Vec<Step>,
}

impl World {
    fn new(presence: Presence) -> Self {
        let now = Instant::now();
        Self { node: Node::on_backplane("me".into(), presence, now), now, steps: Vec::new() }
    }

    fn hear(&mut self, uid: &str, message: Message) {
        self.node.handle_arrival(Envelope { uid: uid.into(), nsp: "/".into(), message }, self.now);
    }

    fn answer(&mut self, uid: &str, id: &RequestId) {
        self.hear(uid, Message::FetchSocketsResponse { request_id: id.clone(), sockets: Packet::text("[]") });
    }

    /// Asks, and answers for this server: no client, or no socket.
    fn request(&mut self, request: Request) -> RequestId {
        let id = self.node.handle_request(&Nsp::new("/"), request, 255, self.now).expect("it is taken");
        self.collect();
        while let Some(at) = self.steps.iter().position(|step| matches!(step, Step::Answer(_))) {
            let Step::Answer(question) = self.steps.remove(at) else { unreachable!() };
            self.reply(question);
        }
        id
    }

    fn reply(&mut self, question: Question) {
        match question {
            Question::DeliverWithAck { asker, .. } => self.node.handle_client_count(&asker, 0),
            Question::FetchSockets { asker, .. } => self.sockets(asker),
            Question::ServerSideEmit { .. } => {}
        }
    }

    fn sockets(&mut self, asker: Asker) {
        self.node.handle_sockets(asker, Packet::text("[]"));
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.node.poll_timeout().filter(|due| *due <= end) {
            self.now = due;
            self.node.handle_timeout(due);
        }
        self.now = end;
    }

    fn collect(&mut self) {
        self.steps.extend(std::iter::from_fn(|| self.node.poll_step()));
    }

    fn letters(&mut self) -> Vec<(To, Message)> {
        self.collect();
        let steps = std::mem::take(&mut self.steps);
        let letters = steps.into_iter().filter_map(|step| match step {
            Step::Act(Output::Publish(Letter { to, message })) => Some((to, message)),
            Step::Act(_) | Step::Answer(_) | Step::Finish(_) => None,
        });
        letters.collect()
    }

    fn finished(&mut self) -> Option<Outcome> {
        self.collect();
        let at = self.steps.iter().position(|step| matches!(step, Step::Finish(_)))?;
        match self.steps.remove(at) {
            Step::Finish(outcome) => Some(outcome),
            Step::Act(_) | Step::Answer(_) => None,
        }
    }

    fn peers(&self) -> Vec<&str> {
        self.node.peers().iter().map(|peer| peer.uid.as_str()).collect()
    }
}

fn fetch() -> Request {
    Request::FetchSockets { selector: Selector::all(), flags: Flags::default() }
}

fn event() -> Message {
    Message::Broadcast {
        selector: Selector::all(),
        flags: Flags::default(),
        packet: Packet::text(r#"["e"]"#),
        request_id: None,
    }
}

fn missing(uid: &str, why: Why) -> Missing {
    Missing { uid: Uid::from(uid), why, clients: None }
}
