//! Requests to the cluster: who is asked, what is answered, and how each ends, in virtual time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sockeye_cluster::node::{Asker, EMITTER, Output, Question, REQUEST_TIMEOUT_MAX, Step, To};
use sockeye_cluster::{
    ANSWERS_BYTES_MAX, Answer, Envelope, Flags, Message, Missing, Node, Nsp, Outcome, Packet, Peer,
    REQUEST_TIMEOUT, REQUESTS_MAX, Refused, Request, RequestId, Selector, Uid, Why, wire,
};

const ID: &str = "00000000000000ff";

#[test]
fn a_request_is_one_official_frame_to_all_and_a_question_to_this_server() {
    let opts = |timeout| format!(r#""opts":{{"rooms":["r"],"except":[],"flags":{{{timeout}}}}}"#);
    let rows = [
        (
            broadcast(Flags::default()),
            format!(
                r#"{{"type":3,"data":{{"packet":{{"type":2,"data":["e"]}},"requestId":"{ID}",{}}},"uid":"me","nsp":"/"}}"#,
                opts(r#""timeout":5000"#)
            ),
            true,
        ),
        (
            fetch(Flags::default()),
            format!(r#"{{"type":7,"data":{{{},"requestId":"{ID}"}},"uid":"me","nsp":"/"}}"#, opts("")),
            true,
        ),
        (
            ask(),
            format!(r#"{{"type":9,"data":{{"requestId":"{ID}","packet":["e"]}},"uid":"me","nsp":"/"}}"#),
            false,
        ),
    ];
    for (request, frame, here) in rows {
        let mut world = World::with_peers(&["b"]);
        assert_eq!(world.begin(request), ID);
        let steps = world.steps();
        assert_eq!(steps[0], Step::Act(Output::Send { to: To::All, frame: frame.into() }));
        assert_eq!(steps.len(), if here { 2 } else { 1 }, "{steps:?}");
        assert_eq!(world.node.poll_timeout(), Some(world.now + REQUEST_TIMEOUT));
    }
}

#[test]
fn acks_are_complete_when_each_server_has_counted_and_each_client_acked() {
    // Who says what, in an order that a bus may make of it; the last word ends the request.
    let rows: [Words; 5] = [
        &[("me", Count(1)), ("b", Count(2)), ("c", Count(0)), ("b", Ack), ("me", Ack), ("b", Ack)],
        &[("b", Ack), ("b", Ack), ("me", Ack), ("c", Count(0)), ("b", Count(2)), ("me", Count(1))],
        &[("b", Count(0)), ("c", Count(0)), ("me", Count(0))],
        // Repeats count once, and no more acks count than there are clients.
        &[("b", Count(1)), ("b", Count(1)), ("b", Ack), ("b", Ack), ("c", Count(0)), ("me", Count(0))],
        // A server that came after the question is waited for from its first word.
        &[("me", Count(0)), ("d", Count(1)), ("c", Count(0)), ("b", Count(0)), ("d", Ack)],
    ];
    for words in rows {
        let mut world = World::with_peers(&["b", "c"]);
        world.begin(broadcast(Flags::default()));
        let asker = world.own_question();
        for (at, (uid, word)) in words.iter().enumerate() {
            assert_eq!(world.finished(), None, "before word {at} of {words:?}");
            world.say(&asker, uid, *word);
        }
        let outcome = world.finished().unwrap();
        let acks = words.iter().filter(|(_, word)| matches!(word, Ack)).count();
        let repeated = usize::from(world.node.stats().stray > 0);
        assert_eq!(outcome.answers.len(), acks - repeated, "{words:?}");
        assert!(outcome.is_complete());
        assert_eq!((world.node.pending(), world.node.poll_timeout()), (0, None));
    }
}

#[test]
fn what_is_missing_when_the_time_is_up_is_named() {
    let missing = |uid: &str, why, clients| Missing { uid: uid.into(), why, clients };
    let rows: [(Words, usize, Vec<Missing>); 4] = [
        (&[("me", Count(0))], 0, vec![missing("b", Why::Late, None), missing("c", Why::Late, None)]),
        (
            &[("me", Count(2)), ("me", Ack), ("b", Count(3)), ("b", Ack), ("c", Ack)],
            3,
            vec![
                missing("b", Why::Late, Some(2)),
                missing("c", Why::Late, None),
                missing("me", Why::Late, Some(1)),
            ],
        ),
        (
            &[("me", Count(0)), ("b", Count(2)), ("b", Ack), ("b", Leave), ("c", Leave)],
            1,
            vec![missing("b", Why::Gone, Some(1)), missing("c", Why::Gone, None)],
        ),
        (&[("me", Count(0)), ("b", Count(1)), ("b", Ack), ("c", Count(0)), ("b", Leave)], 1, vec![]),
    ];
    for (words, answers, missing) in rows {
        let mut world = World::with_peers(&["b", "c"]);
        world.begin(broadcast(Flags::default()));
        let asker = world.own_question();
        for (uid, word) in words {
            world.say(&asker, uid, *word);
        }
        let outcome = world.finished().unwrap_or_else(|| {
            world.pass(REQUEST_TIMEOUT - Duration::from_millis(1));
            assert_eq!(world.finished(), None);
            world.pass(Duration::from_millis(1));
            world.finished().unwrap()
        });
        assert_eq!((outcome.answers.len(), &outcome.missing), (answers, &missing), "{words:?}");
        let clients = missing.iter().filter_map(|missing| missing.clients).sum::<u64>();
        assert_eq!(outcome.clients_missing(), clients);
        assert_eq!(world.node.stats().partial, u64::from(!missing.is_empty()));
        world.pass(REQUEST_TIMEOUT);
        assert_eq!(world.finished(), None);
    }
}

#[test]
fn one_ack_is_enough_where_the_room_is_one_socket() {
    let mut world = World::with_peers(&["b", "c"]);
    world.begin(broadcast(Flags { expect_single_response: true, ..Flags::default() }));
    let asker = world.own_question();
    world.say(&asker, "me", Count(0));
    world.say(&asker, "c", Ack);
    let outcome = world.finished().unwrap();
    assert_eq!((outcome.answers.len(), outcome.missing), (1, vec![]));
}

#[test]
fn sockets_come_as_one_array_from_each_server() {
    let mut world = World::with_peers(&["b", "c"]);
    let id = world.begin(fetch(Flags::default()));
    let Some(Step::Answer(Question::FetchSockets { asker, nsp, selector })) = world.steps().pop() else {
        panic!("this server is asked too")
    };
    assert!(asker.is_here());
    assert_eq!((nsp.as_str(), selector), ("/", Selector::to("r")));
    world.hear("b", sockets(&id, r#"[{"id":"s"}]"#));
    world.hear("b", sockets(&id, r#"[{"id":"again"}]"#));
    world.hear("c", Message::ServerSideEmitResponse { request_id: id.clone(), packet: Packet::text("1") });
    world.hear("c", sockets(&id, "[]"));
    assert_eq!(world.finished(), None);
    world.node.handle_sockets(asker, Packet::text(r#"[{"id":"t"}]"#));
    let answer = |uid: &str, text: &'static str| Answer { uid: uid.into(), packet: Packet::text(text) };
    let answers = vec![answer("b", r#"[{"id":"s"}]"#), answer("c", "[]"), answer("me", r#"[{"id":"t"}]"#)];
    let whole = Outcome { request_id: id, nsp: Nsp::new("/"), answers, missing: vec![] };
    assert_eq!(world.finished(), Some(whole));
    assert_eq!(world.node.stats().stray, 2);
}

#[test]
fn other_servers_answer_a_server_side_event_and_the_dead_are_not_waited_for() {
    let mut world = World::with_peers(&["b", "c", "d"]);
    let id = world.begin(ask());
    let value = |text: &'static str| Message::ServerSideEmitResponse {
        request_id: id.clone(),
        packet: Packet::text(text),
    };
    world.hear("b", value("1"));
    world.hear("d", value("null"));
    // It died; its connection ended.
    world.node.handle_lost(&"c".into());
    let outcome = world.finished().unwrap();
    assert_eq!(outcome.answers.iter().map(|answer| &*answer.uid).collect::<Vec<_>>(), ["b", "d"]);
    assert_eq!(outcome.missing, [Missing { uid: "c".into(), why: Why::Gone, clients: None }]);
}

#[test]
fn alone_or_local_a_request_asks_this_server_only() {
    let local = Flags { local: true, ..Flags::default() };
    let rows: [(&[&str], Request, bool); 5] = [
        (&[], broadcast(Flags::default()), true),
        (&[], fetch(Flags::default()), true),
        (&[], ask(), false),
        (&["b"], broadcast(local.clone()), true),
        (&["b"], fetch(local), true),
    ];
    for (peers, request, here) in rows {
        let mut world = World::with_peers(peers);
        world.begin(request);
        let steps = world.steps();
        assert_eq!(steps.len(), 1, "{steps:?}");
        match steps.into_iter().next().unwrap() {
            Step::Answer(Question::DeliverWithAck { asker, .. }) => world.node.handle_client_count(&asker, 0),
            Step::Answer(Question::FetchSockets { asker, .. }) => {
                world.node.handle_sockets(asker, Packet::text("[]"));
            }
            Step::Finish(outcome) => {
                assert!(!here && outcome.is_complete() && outcome.answers.is_empty());
                continue;
            }
            step @ (Step::Act(_) | Step::Answer(_)) => panic!("{step:?}"),
        }
        assert!(here && world.finished().unwrap().is_complete());
    }
}

#[test]
fn a_question_is_answered_to_its_asker_alone() {
    let id = || RequestId::new("e0f1");
    let (selector, flags) = (Selector::to("r"), Flags::default());
    let rows = [
        (
            Message::Broadcast {
                selector: selector.clone(),
                flags: flags.clone(),
                packet: Packet::text(r#"["e"]"#),
                request_id: Some(id()),
            },
            vec![
                Message::BroadcastClientCount { request_id: id(), client_count: 2 },
                Message::BroadcastAck { request_id: id(), packet: Packet::text("1") },
                Message::BroadcastAck { request_id: id(), packet: Packet::text("2") },
            ],
        ),
        (Message::FetchSockets { selector, flags, request_id: id() }, vec![sockets(&id(), "[]")]),
        (
            Message::ServerSideEmit { packet: Packet::text(r#"["e"]"#), request_id: Some(id()) },
            vec![Message::ServerSideEmitResponse { request_id: id(), packet: Packet::text("42") }],
        ),
    ];
    for (question, answers) in rows {
        // The asker need not be known: its hello may still be under way.
        let mut world = World::with_peers(&["c"]);
        world.hear("b", question.clone());
        world.hear("b", question);
        assert_eq!(world.node.stats().repeated, 1);
        match world.steps().pop().unwrap() {
            Step::Answer(Question::DeliverWithAck { asker, flags, .. }) => {
                assert_eq!(flags.timeout, Some(REQUEST_TIMEOUT));
                world.node.handle_client_count(&asker, 2);
                world.node.handle_ack(&asker, Packet::text("1"));
                world.node.handle_ack(&asker, Packet::text("2"));
            }
            Step::Answer(Question::FetchSockets { asker, .. }) => {
                world.node.handle_sockets(asker, Packet::text("[]"));
            }
            Step::Answer(Question::ServerSideEmit { asker, .. }) => {
                world.node.handle_value(asker.unwrap(), Packet::text("42"));
            }
            step @ (Step::Act(_) | Step::Finish(_)) => panic!("{step:?}"),
        }
        let sent = answers.into_iter().map(|message| {
            let envelope = Envelope { uid: "me".into(), nsp: Nsp::new("/"), message };
            Step::Act(Output::Send { to: To::One("b".into()), frame: wire::encode(&envelope).unwrap() })
        });
        assert_eq!(world.steps(), sent.collect::<Vec<_>>());
    }
}

#[test]
fn an_emitter_is_heard_but_never_answered_nor_waited_for() {
    let id = |text| Some(RequestId::new(text));
    let packet = || Packet::text(r#"["e"]"#);
    let mut world = World::with_peers(&[]);
    let (selector, flags) = (Selector::all(), Flags::default());
    world.hear(EMITTER, Message::Broadcast { selector, flags, packet: packet(), request_id: id("1") });
    world.hear(EMITTER, Message::ServerSideEmit { packet: packet(), request_id: id("2") });
    world.hear(EMITTER, Message::ServerSideEmit { packet: packet(), request_id: None });
    let steps = world.steps();
    assert!(matches!(steps[0], Step::Act(Output::Deliver { .. })), "{steps:?}");
    for step in &steps[1..] {
        assert!(matches!(step, Step::Answer(Question::ServerSideEmit { asker: None, .. })), "{step:?}");
    }
    assert_eq!(steps.len(), 3);
    let id = world.begin(fetch(Flags::default()));
    world.hear(EMITTER, sockets(&id, "[]"));
    assert_eq!(world.node.stats().stray, 1);
}

#[test]
fn wishes_about_time_are_kept_within_reason() {
    let rows = [
        (None, REQUEST_TIMEOUT),
        (Some(Duration::from_millis(20)), Duration::from_millis(20)),
        (Some(Duration::MAX), REQUEST_TIMEOUT_MAX),
    ];
    for (timeout, expected) in rows {
        for request in [
            broadcast(Flags { timeout, ..Flags::default() }),
            fetch(Flags { timeout, ..Flags::default() }),
            Request::ServerSideEmit { packet: Packet::text("[]"), timeout },
        ] {
            let mut world = World::with_peers(&["b"]);
            world.begin(request);
            assert_eq!(world.node.poll_timeout(), Some(world.now + expected));
        }
    }
}

#[test]
fn what_is_too_much_is_refused_by_name() {
    let mut world = World::with_peers(&["b"]);
    for _ in 0..REQUESTS_MAX {
        world.begin(ask());
    }
    assert_eq!(world.node.handle_request(&Nsp::new("/"), ask(), 0, world.now), Err(Refused::TooMany));
    world.pass(REQUEST_TIMEOUT);
    let ended = world.steps().into_iter().filter(|step| matches!(step, Step::Finish(_)));
    assert_eq!((ended.count(), world.node.pending()), (REQUESTS_MAX, 0));

    let broken = Packet::binary("[", vec![Bytes::new()]);
    let request = Request::ServerSideEmit { packet: broken, timeout: None };
    assert_eq!(world.node.handle_request(&Nsp::new("/"), request, 0, world.now), Err(Refused::Unsendable));
    assert_eq!((world.node.pending(), world.node.stats().refused), (0, 2));
    assert_eq!(world.steps(), []);
}

#[test]
fn an_answer_that_is_too_long_to_keep_counts_as_missing() {
    let mut world = World::with_peers(&["b", "c"]);
    let id = world.begin(ask());
    let long = Packet::text(vec![b' '; ANSWERS_BYTES_MAX]);
    world.hear_value("b", &id, long);
    world.hear_value("c", &id, Packet::text("1"));
    let outcome = world.finished().unwrap();
    assert_eq!(outcome.answers.len(), 1);
    assert_eq!(outcome.missing, [Missing { uid: "b".into(), why: Why::TooLong, clients: None }]);
}

#[test]
fn senseless_numbers_and_names_harm_nobody() {
    let mut world = World::with_peers(&["b", "c"]);
    world.begin(broadcast(Flags::default()));
    let asker = world.own_question();
    for uid in ["b", "c", "me"] {
        world.say(&asker, uid, Count(u64::MAX));
        world.say(&asker, uid, Ack);
    }
    world.pass(REQUEST_TIMEOUT);
    assert_eq!(world.finished().unwrap().clients_missing(), u64::MAX);

    let long = "x".repeat(1000);
    for _ in 0..2 {
        let (selector, flags) = (Selector::all(), Flags::default());
        world.hear(&long, Message::FetchSockets { selector, flags, request_id: RequestId::new(&long) });
    }
    assert_eq!(world.steps().len(), 2);
}

#[test]
fn a_server_that_closes_leaves_no_request_behind() {
    let mut world = World::with_peers(&["b"]);
    world.begin(ask());
    world.node.handle_close();
    assert_eq!(world.finished().unwrap().missing[0].why, Why::Closed);
    world.begin(fetch(Flags::default()));
    assert_eq!(world.finished().unwrap().missing.len(), 2);
    assert_eq!(world.node.poll_timeout(), None);
}

#[test]
fn ids_that_the_caller_draws_twice_are_told_apart() {
    let mut world = World::with_peers(&["b"]);
    assert_eq!(world.begin(ask()), ID);
    assert_eq!(world.begin(ask()), "0000000000000100");
}

#[test]
fn a_guest_is_asked_for_sockets_but_not_waited_for_by_servers() {
    let mut world = World::with_peers(&["b"]);
    world.node.handle_joined(Peer { uid: "g".into(), tag: None, http: None, guest: true });
    let id = world.begin(Request::ServerSideEmit { packet: Packet::text(r#"["e"]"#), timeout: None });
    world.hear("b", Message::ServerSideEmitResponse { request_id: id, packet: Packet::text("1") });
    let over = world.steps().into_iter().find_map(|step| match step {
        Step::Finish(outcome) => Some(outcome),
        Step::Act(_) | Step::Answer(_) => None,
    });
    assert!(over.is_some_and(|outcome| outcome.is_complete() && outcome.answers.len() == 1));
    world.begin(Request::FetchSockets { selector: Selector::all(), flags: Flags::default() });
    assert_eq!(world.node.pending(), 1);
}

/// What a server says of a broadcast.
#[derive(Clone, Copy, Debug)]
enum Word {
    Count(u64),
    Ack,
    Leave,
}
use Word::{Ack, Count, Leave};

/// Who says what.
type Words<'a> = &'a [(&'a str, Word)];

/// A node, its peers and the time.
struct World {
    node: Node,
    now: Instant,
}

impl World {
    fn with_peers(uids: &[&str]) -> Self {
        let mut node = Node::new("me".into());
        for uid in uids {
            node.handle_joined(Peer { uid: (*uid).into(), tag: None, http: None, guest: false });
        }
        let mut world = Self { node, now: Instant::now() };
        world.steps();
        world
    }

    #[track_caller]
    fn begin(&mut self, request: Request) -> RequestId {
        self.node.handle_request(&Nsp::new("/"), request, 255, self.now).expect("it is not refused")
    }

    /// The question that a broadcast put to this server.
    fn own_question(&mut self) -> Asker {
        match self.steps().pop() {
            Some(Step::Answer(Question::DeliverWithAck { asker, .. })) => asker,
            step => panic!("{step:?}"),
        }
    }

    fn say(&mut self, asker: &Asker, uid: &str, word: Word) {
        let request_id = || RequestId::new(ID);
        let packet = || Packet::text("[1]");
        match (uid, word) {
            ("me", Count(clients)) => self.node.handle_client_count(asker, clients),
            ("me", Ack) => self.node.handle_ack(asker, packet()),
            (_, Leave) => self.hear(uid, Message::AdapterClose),
            (_, Count(client_count)) => {
                self.hear(uid, Message::BroadcastClientCount { request_id: request_id(), client_count });
            }
            (_, Ack) => self.hear(uid, Message::BroadcastAck { request_id: request_id(), packet: packet() }),
        }
    }

    fn hear(&mut self, uid: &str, message: Message) {
        self.node.handle_envelope(Envelope { uid: Uid::new(uid), nsp: Nsp::new("/"), message });
    }

    fn hear_value(&mut self, uid: &str, id: &RequestId, packet: Packet) {
        self.hear(uid, Message::ServerSideEmitResponse { request_id: id.clone(), packet });
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.node.handle_timeout(self.now);
    }

    fn steps(&mut self) -> Vec<Step> {
        std::iter::from_fn(|| self.node.poll_step()).collect()
    }

    /// The one request that is over, if it is.
    #[track_caller]
    fn finished(&mut self) -> Option<Outcome> {
        let mut over = self.steps().into_iter().filter_map(|step| match step {
            Step::Finish(outcome) => Some(outcome),
            Step::Act(_) | Step::Answer(_) => None,
        });
        let outcome = over.next();
        assert_eq!(over.next(), None);
        outcome
    }
}

fn broadcast(flags: Flags) -> Request {
    Request::Broadcast { selector: Selector::to("r"), flags, packet: Packet::text(r#"["e"]"#) }
}

fn fetch(flags: Flags) -> Request {
    Request::FetchSockets { selector: Selector::to("r"), flags }
}

fn ask() -> Request {
    Request::ServerSideEmit { packet: Packet::text(r#"["e"]"#), timeout: None }
}

fn sockets(id: &RequestId, text: &'static str) -> Message {
    Message::FetchSocketsResponse { request_id: id.clone(), sockets: Packet::text(text) }
}
