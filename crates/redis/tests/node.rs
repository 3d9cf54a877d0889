//! Servers in Node.js with the official adapters, on the same redis-server: what one says, the other understands, in both directions.

mod harness;

use std::sync::Arc;

use bytes::Bytes;
use harness::RedisServer;
use harness::node::{Node, PATIENCE};
use serde_json::{Value, json};
use sockeye_cluster::adapter::{Arrival, Channel, Letter, Opening, Position};
use sockeye_cluster::node::To;
use sockeye_cluster::{Envelope, Flags, Message, Packet, RequestId, Room, Selector, Uid};
use sockeye_redis::Address;
use tokio::sync::mpsc;

#[tokio::test]
async fn classic_speaks_with_the_official_adapter() {
    both_ways("redis", "", "classic").await;
}

#[tokio::test]
async fn classic_with_answers_to_one_speaks_with_the_official_adapter() {
    both_ways("redis", "?specific_responses=true", "classic-specific").await;
}

#[tokio::test]
async fn sharded_speaks_with_the_official_adapter_in_each_mode() {
    for mode in ["static", "dynamic", "dynamic-private"] {
        both_ways("redis+sharded", &format!("?mode={mode}"), &format!("sharded-{mode}")).await;
    }
}

#[tokio::test]
async fn streams_speaks_with_the_official_adapter() {
    both_ways("redis+streams", "", "streams").await;
}

#[tokio::test]
async fn several_streams_are_spread_as_by_the_official_adapter() {
    both_ways("redis+streams", "?stream_count=4", "streams-4").await;
}

#[tokio::test]
async fn the_official_emitter_is_heard() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let Some(mut node) = Node::start(redis.port, "emitter").await else { return };
    let mut peer = Peer::open(&redis, "redis", "").await;
    peer.channel.listen("kitchen".into()).await.expect("it listens");
    emits(&mut node, &mut peer).await;
    orders(&mut node, &mut peer).await;
    node.obeys(json!({"do": "tell", "args": ["told", 1]})).await;
    let packet = Packet::text(r#"["told",1]"#);
    assert_eq!(peer.message().await, Message::ServerSideEmit { packet, request_id: None });
    assert_eq!(peer.last_uid, "emitter");
}

#[tokio::test]
async fn a_session_of_node_is_taken_here_and_one_of_ours_there() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let Some(mut node) = Node::start(redis.port, "streams").await else { return };
    let peer = Peer::open(&redis, "redis+streams", "").await;
    peer.counts(2).await;
    node.order(json!({"do": "who"})).await;
    let connected = node.until("connected").await;
    node.order(json!({"do": "emit", "args": ["met"]})).await;
    let (pid, sid) =
        (connected["pid"].as_str().expect("a pid"), connected["connected"].as_str().expect("an id"));
    let met = node.until("heard").await["heard"][1].as_str().expect("an offset").to_owned();
    node.obeys(json!({"do": "lose"})).await;
    node.until("disconnected").await;

    // What it misses here and there.
    let missed =
        [event(Selector::to("kitchen"), r#"["one",{"a":1}]"#), event(Selector::to(sid), r#"["two"]"#)];
    peer.publish(missed.to_vec()).await;
    peer.publish(vec![event(Selector::all().and_except("kitchen"), r#"["not"]"#)]).await;
    node.obeys(json!({"do": "emit", "rooms": ["kitchen"], "args": ["three", {"$bin": "0a"}]})).await;

    // Official servers do not wait for what they write.
    wait_for(|| redis.cli(&["exists", &format!("sio:session:{pid}")]).trim() == "1").await;
    wait_for(|| redis.cli(&["xlen", "socket.io"]).trim() == "5").await;
    let sessions = peer.channel.sessions().expect("sessions are kept");
    let returned = taken(sessions.take(&pid.into(), Some(&met)).await.expect("redis answers"));
    let session = returned.session;
    assert_eq!((&*session.pid, session.sid.as_str(), &session.data[..]), (pid, sid, &br#"{"n":1}"#[..]));
    assert_eq!(session.rooms, [Room::new(sid), "kitchen".into()]);
    let packets: Vec<_> = returned.missed.iter().map(|missed| &missed.packet).collect();
    let three = Packet::binary(r#"["three",{"_placeholder":true,"num":0}]"#, vec![Bytes::from_static(&[10])]);
    assert_eq!(packets, [&Packet::text(r#"["one",{"a":1}]"#), &Packet::text(r#"["two"]"#), &three]);
    assert!(
        sessions.take(&pid.into(), Some(&met)).await.expect("redis answers").is_none(),
        "it is taken once"
    );

    let session = sockeye_cluster::adapter::Session {
        data: Bytes::from_static(br#"{"n":2,"by":"us"}"#),
        start: Some(Position("0-0".into())),
        ..session
    };
    sessions.save(&session, PATIENCE).await.expect("it is saved");
    node.order(json!({"do": "return"})).await;
    let back = node.until("connected").await;
    assert_eq!(
        (&back["recovered"], &back["connected"], &back["data"]),
        (&json!(true), &json!(sid), &json!({"n": 2, "by": "us"}))
    );
    for name in ["one", "two", "three"] {
        assert_eq!(node.until("heard").await["heard"][0], name);
    }
}

#[tokio::test]
async fn old_questions_of_official_servers_are_answered() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let Some(mut node) = Node::start(redis.port, "classic").await else { return };
    let peer = Peer::open(&redis, "redis", "").await;
    peer.counts(2).await;
    peer.channel.listen("attic".into()).await.expect("it listens");
    node.order(json!({"do": "rooms"})).await;
    let rooms = node.until("rooms").await;
    let rooms = rooms["rooms"].as_array().expect("a list");
    assert!(rooms.contains(&json!("attic")) && rooms.contains(&json!("kitchen")), "{rooms:?}");
}

/// All kinds of messages, from there and from here.
async fn both_ways(scheme: &str, query: &str, kind: &str) {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let Some(mut node) = Node::start(redis.port, kind).await else { return };
    let mut peer = Peer::open(&redis, scheme, query).await;
    // Official servers do not wait until they are subscribed.
    peer.counts(2).await;
    peer.channel.listen("kitchen".into()).await.expect("it listens");
    emits(&mut node, &mut peer).await;
    orders(&mut node, &mut peer).await;
    asks(&mut node, &mut peer).await;
    is_heard(&mut node, &peer).await;
    is_answered(&mut node, &mut peer).await;
    is_obeyed(&mut node, &mut peer).await;
}

/// Events of theirs come here.
async fn emits(node: &mut Node, peer: &mut Peer) {
    node.obeys(json!({"do": "emit", "args": ["hello", 1, "é", [null, true, 1.5, -3, {"a": {}}]]})).await;
    assert_eq!(
        peer.message().await,
        event(Selector::all(), r#"["hello",1,"é",[null,true,1.5,-3,{"a":{}}]]"#)
    );
    node.obeys(json!({"do": "emit", "rooms": ["kitchen"], "except": ["attic", "1"], "args": ["room"], "volatile": true, "compress": false})).await;
    let message = peer.message().await;
    let Message::Broadcast { selector, flags, packet, request_id: None } = message else {
        panic!("{message:?}")
    };
    assert_eq!(selector, Selector::to("kitchen").and_except("attic").and_except("1"));
    assert_eq!(flags, Flags { volatile: true, compress: Some(false), ..Flags::default() });
    assert_eq!(packet, Packet::text(r#"["room"]"#));
    node.obeys(json!({"do": "emit", "rooms": ["a", "b"], "args": ["file", {"$bin": "00ff"}, {"deep": [{"$bin": ""}]}]})).await;
    let packet = Packet::binary(
        r#"["file",{"_placeholder":true,"num":0},{"deep":[{"_placeholder":true,"num":1}]}]"#,
        vec![Bytes::from_static(&[0, 255]), Bytes::new()],
    );
    let selector = Selector::to("a").and_to("b");
    let flags = Flags::default();
    assert_eq!(peer.message().await, Message::Broadcast { selector, flags, packet, request_id: None });
}

/// Orders of theirs come here.
async fn orders(node: &mut Node, peer: &mut Peer) {
    node.obeys(json!({"do": "join", "rooms": ["nobody"], "names": ["x", "y"]})).await;
    let (selector, rooms) = (Selector::to("nobody"), vec!["x".into(), "y".into()]);
    assert_eq!(peer.message().await, Message::SocketsJoin { selector, rooms });
    node.obeys(json!({"do": "leave", "rooms": ["nobody"], "except": ["z"], "names": ["x"]})).await;
    let (selector, rooms) = (Selector::to("nobody").and_except("z"), vec!["x".into()]);
    assert_eq!(peer.message().await, Message::SocketsLeave { selector, rooms });
    node.obeys(json!({"do": "disconnect", "rooms": ["nobody"], "close": true})).await;
    let selector = Selector::to("nobody");
    assert_eq!(peer.message().await, Message::DisconnectSockets { selector, close: true });
}

/// Questions of theirs come here, and our answers reach them.
async fn asks(node: &mut Node, peer: &mut Peer) {
    node.order(json!({"do": "ask", "timeout": 20_000, "args": ["question", 7]})).await;
    let message = peer.message().await;
    let Message::Broadcast { selector, packet, request_id: Some(id), .. } = message else {
        panic!("{message:?}")
    };
    assert_eq!((selector, packet), (Selector::all(), Packet::text(r#"["question",7]"#)));
    let binary = Packet::binary(r#"{"_placeholder":true,"num":0}"#, vec![Bytes::from_static(&[9])]);
    let acks = [Packet::text(r#"{"ours":1}"#), binary]
        .map(|packet| Message::BroadcastAck { request_id: id.clone(), packet });
    peer.reply(Message::BroadcastClientCount { request_id: id, client_count: 2 }).await;
    for ack in acks {
        peer.reply(ack).await;
    }
    let answered = node.until("answers").await;
    let mut answers = answered["answers"].as_array().expect("a list").clone();
    answers.sort_by_key(Value::to_string);
    assert_eq!(answers, [json!({"$bin": "09"}), json!({"got": 7}), json!({"ours": 1})], "{answered}");

    node.order(json!({"do": "fetch", "rooms": ["kitchen"]})).await;
    let message = peer.message().await;
    let Message::FetchSockets { selector, request_id, .. } = message else { panic!("{message:?}") };
    assert_eq!(selector, Selector::to("kitchen"));
    let sockets = Packet::text(
        r#"[{"id":"ours","handshake":{"headers":{}},"rooms":["ours","kitchen"],"data":{"é":1}}]"#,
    );
    peer.reply(Message::FetchSocketsResponse { request_id, sockets }).await;
    let sockets = node.until("sockets").await["sockets"].as_array().expect("a list").clone();
    assert_eq!(sockets.len(), 2);
    assert!(
        sockets.contains(&json!({"id": "ours", "rooms": ["ours", "kitchen"], "data": {"é": 1}})),
        "{sockets:?}"
    );

    node.obeys(json!({"do": "tell", "args": ["told", {"b": 2}]})).await;
    let packet = Packet::text(r#"["told",{"b":2}]"#);
    assert_eq!(peer.message().await, Message::ServerSideEmit { packet, request_id: None });
    node.order(json!({"do": "ask-servers", "args": ["asked", 3]})).await;
    let message = peer.message().await;
    let Message::ServerSideEmit { packet, request_id: Some(request_id) } = message else {
        panic!("{message:?}")
    };
    assert_eq!(packet, Packet::text(r#"["asked",3]"#));
    peer.reply(Message::ServerSideEmitResponse { request_id, packet: Packet::text(r#"["pong",3]"#) }).await;
    assert_eq!(node.until("answers").await["answers"], json!([["pong", 3]]));
}

/// Events of ours reach their client.
async fn is_heard(node: &mut Node, peer: &Peer) {
    let packet =
        Packet::binary(r#"["bytes",{"_placeholder":true,"num":0},"end"]"#, vec![Bytes::from_static(&[1, 2])]);
    let selector = Selector::to("kitchen");
    peer.publish(vec![
        event(Selector::all(), r#"["text",{"n":[1,2.5]}]"#),
        Message::Broadcast { selector, flags: Flags::default(), packet, request_id: None },
        event(Selector::all().and_except("kitchen"), r#"["not for it"]"#),
        event(Selector::to("attic"), r#"["not for it"]"#),
        event(Selector::to("attic").and_to("kitchen"), r#"["last"]"#),
    ])
    .await;
    // In the dynamic modes of the sharded adapter a room's channel is another way, and may be faster.
    let mut heard = Vec::new();
    for _ in 0..3 {
        let mut words = node.until("heard").await["heard"].as_array().expect("a list").clone();
        // The place of an event, where there are any.
        words
            .retain(|word| !word.as_str().is_some_and(|word| word.starts_with(|c: char| c.is_ascii_digit())));
        heard.push(Value::from(words));
    }
    for expected in
        [json!(["text", {"n": [1, 2.5]}]), json!(["bytes", {"$bin": "0102"}, "end"]), json!(["last"])]
    {
        assert!(heard.contains(&expected), "expected {expected} in {heard:?}");
    }
}

/// Questions of ours are answered there.
async fn is_answered(node: &mut Node, peer: &mut Peer) {
    let flags = Flags { timeout: Some(PATIENCE), ..Flags::default() };
    let packet = Packet::text(r#"["question","ours"]"#);
    let id = RequestId::new("0123456789abcdef");
    let request_id = Some(id.clone());
    peer.publish(vec![Message::Broadcast { selector: Selector::to("kitchen"), flags, packet, request_id }])
        .await;
    assert_eq!(
        peer.message().await,
        Message::BroadcastClientCount { request_id: id.clone(), client_count: 1 }
    );
    let packet = Packet::text(r#"{"got":"ours"}"#);
    assert_eq!(peer.message().await, Message::BroadcastAck { request_id: id.clone(), packet });

    let flags = Flags::default();
    peer.publish(vec![Message::FetchSockets { selector: Selector::all(), flags, request_id: id.clone() }])
        .await;
    let message = peer.message().await;
    let Message::FetchSocketsResponse { request_id, sockets } = message else { panic!("{message:?}") };
    assert_eq!(request_id, id);
    let sockets: Value = serde_json::from_slice(&sockets.data).expect("it is JSON");
    assert_eq!((&sockets[0]["data"], &sockets[0]["rooms"][1]), (&json!({"n": 1}), &json!("kitchen")));
    assert!(sockets[0]["handshake"]["headers"].is_object(), "{sockets}");

    let packet = Packet::text(r#"["asked",5]"#);
    peer.publish(vec![Message::ServerSideEmit { packet, request_id: Some(id.clone()) }]).await;
    assert_eq!(node.until("told").await["told"], json!(["asked", 5]));
    let packet = Packet::text(r#""5 from node""#);
    assert_eq!(peer.message().await, Message::ServerSideEmitResponse { request_id: id, packet });
    let packet = Packet::text(r#"["told",{"x":null}]"#);
    peer.publish(vec![Message::ServerSideEmit { packet, request_id: None }]).await;
    assert_eq!(node.until("told").await["told"], json!(["told", {"x": null}]));
}

/// Orders of ours are obeyed there.
async fn is_obeyed(node: &mut Node, peer: &mut Peer) {
    let id = RequestId::new("fedcba9876543210");
    let fetch =
        |selector| Message::FetchSockets { selector, flags: Flags::default(), request_id: id.clone() };
    let join =
        Message::SocketsJoin { selector: Selector::to("kitchen"), rooms: vec!["attic".into(), "2".into()] };
    peer.publish(vec![join]).await;
    peer.answers_until(fetch(Selector::to("attic")), 1).await;
    peer.publish(vec![Message::SocketsLeave { selector: Selector::all(), rooms: vec!["attic".into()] }])
        .await;
    peer.answers_until(fetch(Selector::to("attic")), 0).await;
    peer.publish(vec![Message::DisconnectSockets { selector: Selector::to("2"), close: true }]).await;
    let gone = node.until("disconnected").await;
    assert!(
        ["server namespace disconnect", "forced server close"]
            .contains(&gone["disconnected"].as_str().expect("a reason")),
        "{gone}"
    );
}

/// One of our servers: its channel, and what comes.
struct Peer {
    channel: Arc<dyn Channel>,
    arrivals: mpsc::Receiver<Arrival>,
    uid: Uid,
    /// Who sent the last message.
    last_uid: Uid,
    /// Our replies, which come back in a format that does not name us.
    replies: Vec<Message>,
}

impl Peer {
    async fn open(redis: &RedisServer, scheme: &str, query: &str) -> Self {
        let address: Address =
            format!("{scheme}://127.0.0.1:{}{query}", redis.port).parse().expect("an address");
        let (sender, arrivals) = mpsc::channel(1000);
        let uid = Uid::new("00c0ffee00c0ffee");
        let inbox = Arc::new(move |arrival| sender.try_send(arrival).expect("there is room"));
        let opening = Opening { nsp: "/".into(), uid: uid.clone(), inbox };
        let channel = address.into_adapter().open(opening).await.expect("redis is there");
        Self { channel, arrivals, uid, last_uid: "".into(), replies: Vec::new() }
    }

    async fn counts(&self, servers: u64) {
        let counted = async {
            while self.channel.servers().await.expect("redis counts") != servers {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, counted).await.expect("the other server is counted in time");
    }

    async fn publish(&self, messages: Vec<Message>) {
        let batch = messages.into_iter().map(|message| Letter { to: To::All, message });
        for result in self.channel.publish(batch.collect()).await {
            result.expect("it is published");
        }
    }

    /// Replies to whoever sent the last message.
    async fn reply(&mut self, message: Message) {
        self.replies.push(message.clone());
        let letter = Letter { to: To::One(self.last_uid.clone()), message };
        self.channel.publish(vec![letter]).await.remove(0).expect("it is published");
    }

    /// The next message of somebody else.
    async fn message(&mut self) -> Message {
        loop {
            let arrival =
                tokio::time::timeout(PATIENCE, self.arrivals.recv()).await.expect("it comes in time");
            match arrival.expect("the channel is open") {
                Arrival::Message { envelope: Envelope { uid, .. }, .. } if uid == self.uid => {}
                Arrival::Message { envelope, .. }
                    if envelope.uid.is_nameless() && self.replies.contains(&envelope.message) => {}
                Arrival::Message { envelope, .. } => {
                    self.last_uid = envelope.uid;
                    return envelope.message;
                }
                other @ (Arrival::Malformed | Arrival::Resumed { .. }) => {
                    panic!("expected a message, got {other:?}")
                }
            }
        }
    }

    /// Asks until so many sockets answer: orders and questions may go different ways.
    async fn answers_until(&mut self, question: Message, count: usize) {
        loop {
            self.publish(vec![question.clone()]).await;
            let message = self.message().await;
            let Message::FetchSocketsResponse { sockets, .. } = message else { panic!("{message:?}") };
            let sockets: Vec<Value> = serde_json::from_slice(&sockets.data).expect("it is a list");
            if sockets.len() == count {
                return;
            }
        }
    }
}

async fn wait_for(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it is so in time");
}

fn taken<T>(returned: Option<T>) -> T {
    returned.expect("the session is there")
}

fn event(selector: Selector, data: &'static str) -> Message {
    Message::Broadcast { selector, flags: Flags::default(), packet: Packet::text(data), request_id: None }
}
