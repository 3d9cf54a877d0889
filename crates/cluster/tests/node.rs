//! What a node sends, does and skips.

use bytes::Bytes;
use sockeye_cluster::node::{Output, Stats, Step, To};
use sockeye_cluster::{Flags, Message, Node, Nsp, Packet, Peer, Selector, wire};

#[test]
fn alone_a_node_sends_nothing() {
    let mut node = Node::new("me".into());
    node.handle_publish(&Nsp::new("/"), broadcast());
    node.handle_close();
    assert_eq!(outputs(&mut node), []);
    assert_eq!(node.stats(), Stats::default());
}

#[test]
fn what_is_published_is_sent_once_in_the_official_form() {
    let mut node = node_with_peer();
    node.handle_publish(&Nsp::new("/chat"), broadcast());
    let frame = Bytes::from_static(
        br#"{"type":3,"data":{"packet":{"type":2,"data":["e",1]},"opts":{"rooms":["r"],"except":[],"flags":{}}},"uid":"me","nsp":"/chat"}"#,
    );
    assert_eq!(outputs(&mut node), [Output::Send { to: To::All, frame }]);
    assert_eq!(node.stats().sent, 1);
}

#[test]
fn a_local_broadcast_stays() {
    let mut node = node_with_peer();
    let Message::Broadcast { selector, flags, packet, request_id } = broadcast() else { unreachable!() };
    let flags = Flags { local: true, ..flags };
    node.handle_publish(&Nsp::new("/"), Message::Broadcast { selector, flags, packet, request_id });
    assert_eq!(outputs(&mut node), []);
}

#[test]
fn a_packet_that_is_no_json_is_counted_not_sent() {
    let mut node = node_with_peer();
    let packet = Packet::binary("[", vec![Bytes::new()]);
    node.handle_publish(&Nsp::new("/"), Message::ServerSideEmit { packet, request_id: None });
    assert_eq!(outputs(&mut node), []);
    assert_eq!(node.stats().unsendable, 1);
}

#[test]
fn each_message_for_sockets_becomes_something_to_do_here() {
    let nsp = || Nsp::new("/");
    let selector = || Selector::to("r").and_except("x");
    let opts = r#""opts":{"rooms":["r"],"except":["x"],"flags":{"volatile":true}}"#;
    let volatile = Flags { volatile: true, ..Flags::default() };
    let rows = [
        (
            format!(
                r#"{{"uid":"u","nsp":"/","type":3,"data":{{{opts},"packet":{{"type":2,"data":["e"]}}}}}}"#
            ),
            Output::Deliver {
                nsp: nsp(),
                selector: selector(),
                flags: volatile,
                packet: Packet::text(r#"["e"]"#),
            },
        ),
        (
            format!(r#"{{"uid":"emitter","nsp":"/","type":4,"data":{{{opts},"rooms":["a"]}}}}"#),
            Output::Join { nsp: nsp(), selector: selector(), rooms: vec!["a".into()] },
        ),
        (
            format!(r#"{{"uid":"u","nsp":"/","type":5,"data":{{{opts},"rooms":["a"]}}}}"#),
            Output::Leave { nsp: nsp(), selector: selector(), rooms: vec!["a".into()] },
        ),
        (
            format!(r#"{{"uid":"u","nsp":"/","type":6,"data":{{{opts}}}}}"#),
            Output::Disconnect { nsp: nsp(), selector: selector(), close: false },
        ),
    ];
    for (frame, output) in rows {
        let mut node = Node::new("me".into());
        node.handle_frame(&Bytes::from(frame.clone()));
        assert_eq!(outputs(&mut node), [output], "{frame}");
        assert_eq!(node.stats(), Stats { received: 1, ..Stats::default() }, "{frame}");
    }
}

#[test]
fn what_is_not_for_this_node_is_counted_and_skipped() {
    let rows: [(&[u8], Stats); 6] = [
        (b"", Stats { malformed: 1, ..Stats::default() }),
        (b"{\"type\":99,\"uid\":\"u\",\"nsp\":\"/\"}", Stats { malformed: 1, ..Stats::default() }),
        (b"{\"type\":13,\"uid\":\"me\",\"nsp\":\"/\"}", Stats { own: 1, ..Stats::default() }),
        (b"{\"type\":2,\"uid\":\"u\",\"nsp\":\"/\"}", Stats::default()),
        (
            br#"{"type":11,"data":{"requestId":"r","clientCount":1},"uid":"u","nsp":"/"}"#,
            Stats { stray: 1, ..Stats::default() },
        ),
        (
            br#"{"type":8,"data":{"requestId":"r","sockets":[]},"uid":"u","nsp":"/"}"#,
            Stats { stray: 1, ..Stats::default() },
        ),
    ];
    for (frame, stats) in rows {
        let mut node = Node::new("me".into());
        node.handle_frame(&Bytes::from_static(frame));
        assert_eq!(outputs(&mut node), []);
        assert_eq!(node.stats(), stats, "{}", String::from_utf8_lossy(frame));
    }
}

#[test]
fn sids_have_an_owner_while_its_server_is_here() {
    let mut node = node_with_peer();
    let tag = "Ab3dE_".parse().unwrap();
    assert_eq!(node.owner(tag).map(ToString::to_string).as_deref(), Some("/run/b0b.sock"));
    assert_eq!(node.owner("Zz9-00".parse().unwrap()), None);

    node.handle_left(tag);
    assert_eq!(outputs(&mut node), [Output::PeerLeft(peer())]);
    assert_eq!(node.owner(tag), None);

    node.handle_left(tag);
    assert_eq!(outputs(&mut node), []);
}

#[test]
fn a_server_that_says_goodbye_is_gone_before_its_connection_ends() {
    let mut leaver = Node::new("b0b".into());
    leaver.handle_joined(Peer { uid: "me".into(), tag: None, http: None, guest: false });
    outputs(&mut leaver);
    leaver.handle_close();
    let sent = outputs(&mut leaver);
    let [Output::Send { to: To::All, frame }] = sent.as_slice() else { panic!("expected one frame") };

    let mut node = node_with_peer();
    node.handle_frame(frame);
    assert_eq!(outputs(&mut node), [Output::PeerLeft(peer())]);
    node.handle_left("Ab3dE_".parse().unwrap());
    assert_eq!(outputs(&mut node), []);
}

#[test]
fn a_server_that_comes_again_replaces_itself() {
    let mut node = node_with_peer();
    node.handle_joined(peer());
    assert_eq!(outputs(&mut node), []);

    let moved = Peer { http: None, ..peer() };
    node.handle_joined(moved.clone());
    assert_eq!(outputs(&mut node), [Output::PeerLeft(peer()), Output::PeerJoined(moved.clone())]);

    let other_uid = Peer { uid: "b1b".into(), ..peer() };
    node.handle_joined(other_uid.clone());
    assert_eq!(outputs(&mut node), [Output::PeerLeft(moved), Output::PeerJoined(other_uid)]);
    assert_eq!(node.peers().len(), 1);
}

#[test]
fn a_node_is_no_peer_of_itself() {
    let mut node = Node::new("me".into());
    node.handle_joined(Peer { uid: "me".into(), tag: None, http: None, guest: false });
    assert_eq!(outputs(&mut node), []);
    assert!(node.peers().is_empty());
}

#[test]
fn binary_parts_arrive_as_they_left() {
    let mut sender = node_with_peer();
    let packet = Packet::binary(
        r#"["e",{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}}]"#,
        vec![Bytes::from_static(b"\0\xff"), Bytes::new()],
    );
    let message = Message::Broadcast {
        selector: Selector::all(),
        flags: Flags::default(),
        packet: packet.clone(),
        request_id: None,
    };
    sender.handle_publish(&Nsp::new("/"), message);
    let sent = outputs(&mut sender);
    let [Output::Send { to: To::All, frame }] = sent.as_slice() else { panic!("expected one frame") };
    assert_ne!(frame[0], b'{');
    assert!(wire::decode(frame).is_ok());

    let mut node = Node::new("you".into());
    node.handle_frame(frame);
    let delivered = outputs(&mut node);
    assert!(matches!(delivered.as_slice(), [Output::Deliver { packet: arrived, .. }] if *arrived == packet));
}

fn broadcast() -> Message {
    Message::Broadcast {
        selector: Selector::to("r"),
        flags: Flags::default(),
        packet: Packet::text(r#"["e",1]"#),
        request_id: None,
    }
}

fn peer() -> Peer {
    Peer {
        uid: "b0b".into(),
        tag: Some("Ab3dE_".parse().expect("it is well formed")),
        http: Some("/run/b0b.sock".parse().expect("it is well formed")),
        guest: false,
    }
}

fn node_with_peer() -> Node {
    let mut node = Node::new("me".into());
    node.handle_joined(peer());
    assert_eq!(outputs(&mut node), [Output::PeerJoined(peer())]);
    node
}

#[track_caller]
fn outputs(node: &mut Node) -> Vec<Output> {
    let act = |step| match step {
        Step::Act(output) => output,
        Step::Answer(question) => panic!("nobody asked for {question:?}"),
        Step::Finish(outcome) => panic!("nothing was under way: {outcome:?}"),
    };
    std::iter::from_fn(|| node.poll_step()).map(act).collect()
}
