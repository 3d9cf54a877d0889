//! An adapter beside a server of the official software on the same backplane (`tests/official-node.mjs`): every kind of message, both ways.

use std::path::PathBuf;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use sockeye_cluster::{Flags, Message, Nsp, Packet, RequestId, Selector};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::backend::Backend;
use crate::server::{Server, patient};

/// What a backplane of the official software does otherwise than others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habits {
    /// It says when it leaves (all but MongoDB).
    pub says_goodbye: bool,
    /// What has to be in `tests/node_modules`.
    pub packages: &'static [&'static str],
}

/// Starts an official server with these arguments and talks with it. What has to be installed and is not is said aloud: `skipped`.
///
/// # Panics
///
/// At the first thing that either side does not understand.
pub async fn talk(backend: &dyn Backend, habits: Habits, arguments: impl FnOnce(&Nsp) -> Vec<String>) {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests");
    for package in habits.packages {
        if !tests.join("node_modules").join(package).exists() {
            println!("skipped: no npm package {package} in tests/node_modules");
            return;
        }
    }
    let nsp = Nsp::new("/mixed");
    let us = Server::open(backend, &nsp).await;
    let arguments = arguments(&nsp);
    let mut node = Official::start(&tests.join("official-node.mjs"), &arguments);
    meet(&us, &mut node).await;
    we_emit(&us, &mut node).await;
    we_ask(&us, &mut node).await;
    it_emits(&us, &mut node).await;
    it_asks(&us, &mut node).await;
    an_emitter_emits(&us, &mut node).await;
    we_disconnect(&us, &mut node).await;
    node.end().await;
    if habits.says_goodbye {
        while us.message().await.0.message != Message::AdapterClose {}
    }
    assert_eq!(us.channel.stats().malformed, 0, "expected to understand every message");
}

/// Both know of each other before anything is asked. The official server says that it is ready before it listens.
async fn meet(us: &Server, node: &mut Official) {
    node.sid = text(&node.line("ready").await);
    let met = async {
        loop {
            us.publish(vec![Message::InitialHeartbeat]).await;
            let heard = tokio::time::timeout(std::time::Duration::from_millis(200), us.message()).await;
            if heard.is_ok_and(|(envelope, _)| envelope.message == Message::Heartbeat) {
                return;
            }
        }
    };
    patient("Node.js to answer", met).await;
}

/// One after the other: the official adapter of PostgreSQL fetches long and binary messages all at once, and hands on what is there first.
async fn we_emit(us: &Server, node: &mut Official) {
    let long = "0123456789".repeat(30_000);
    let long_event = format!("[\"long\",{}]", json!(long));
    let binary = r#"["binary",{"_placeholder":true,"num":0},{"b":{"_placeholder":true,"num":1}}]"#;
    let odd = r#"["text","é 🦀 \u0000",1,2.5,-3,null,{"a":[true]}]"#;
    for (selector, data, parts, meant) in [
        (Selector::all(), odd, &[][..], json!(["text", "é 🦀 \0", 1, 2.5, -3, null, {"a": [true]}])),
        (Selector::to("kitchen"), r#"["room"]"#, &[], json!(["room"])),
        (
            Selector::all(),
            binary,
            &[&b"\x00\xff\x01"[..], &b""[..]],
            json!(["binary", {"bytes": "AP8B"}, {"b": {"bytes": ""}}]),
        ),
        (Selector::to("kitchen").and_to("attic"), &long_event, &[], json!(["long", long])),
    ] {
        let not_for_it = event(Selector::all().and_except("kitchen"), r#"["not for it"]"#, &[]);
        us.publish(vec![not_for_it, event(selector, data, parts)]).await;
        assert!(node.next().await == node_hears(meant), "expected Node.js's client to hear {data:.80}");
    }
}

async fn we_ask(us: &Server, node: &mut Official) {
    let request_id = || RequestId::from("0123456789abcdef");
    let flags = Flags { timeout: Some(std::time::Duration::from_secs(4)), ..Flags::default() };
    for (data, parts, ack) in [
        (r#"["acked",1]"#, vec![], Packet::text(r#"{"heard":"acked"}"#)),
        (
            r#"["acked",{"_placeholder":true,"num":0}]"#,
            vec![Bytes::from_static(b"\x07")],
            Packet::binary(r#"{"_placeholder":true,"num":0}"#, vec![Bytes::from_static(b"\x07")]),
        ),
    ] {
        us.publish(vec![Message::Broadcast {
            selector: Selector::all(),
            flags: flags.clone(),
            packet: Packet::binary(data, parts),
            request_id: Some(request_id()),
        }])
        .await;
        // The official adapter of PostgreSQL publishes by several connections, and they come in any order.
        let mut replies = [next(us).await, next(us).await];
        replies.sort_by_key(Message::number);
        let counted = Message::BroadcastClientCount { request_id: request_id(), client_count: 1 };
        let acked = Message::BroadcastAck { request_id: request_id(), packet: ack };
        assert_eq!(replies, [counted, acked]);
        node.line("client").await;
    }
    let fetch = Message::FetchSockets {
        selector: Selector::all(),
        flags: Flags::default(),
        request_id: request_id(),
    };
    us.publish(vec![fetch]).await;
    let Message::FetchSocketsResponse { sockets, .. } = next(us).await else { panic!("expected sockets") };
    let sockets: Value = serde_json::from_slice(&sockets.data).unwrap_or_default();
    assert_eq!(sockets[0]["id"], json!(node.sid));
    assert_eq!(sockets[0]["rooms"], json!([node.sid, "kitchen"]));
    assert_eq!(sockets[0]["data"], json!({"name": "node's client", "n": 1}));
    assert!(sockets[0]["handshake"]["headers"].is_object(), "expected a handshake, got {sockets}");

    let join = |rooms| Message::SocketsJoin { selector: Selector::to("kitchen"), rooms };
    let leave = |rooms| Message::SocketsLeave { selector: Selector::to("attic"), rooms };
    us.publish(vec![join(vec!["attic".into(), "cellar".into()])]).await;
    us.publish(vec![event(Selector::to("cellar"), r#"["joined"]"#, &[])]).await;
    assert_eq!(node.next().await, node_hears(json!(["joined"])));
    us.publish(vec![leave(vec!["cellar".into()])]).await;
    us.publish(vec![
        event(Selector::to("cellar"), r#"["not for it"]"#, &[]),
        event(Selector::to("attic"), r#"["left"]"#, &[]),
    ])
    .await;
    assert_eq!(node.next().await, node_hears(json!(["left"])));

    us.publish(vec![Message::ServerSideEmit {
        packet: Packet::text(r#"["tell",1,{"a":"b"}]"#),
        request_id: None,
    }])
    .await;
    assert_eq!(node.next().await, json!({"server": ["tell", 1, {"a": "b"}]}));
    us.publish(vec![Message::ServerSideEmit {
        packet: Packet::text(r#"["ask","x"]"#),
        request_id: Some(request_id()),
    }])
    .await;
    let answer = Packet::text(r#"{"answer":"x"}"#);
    assert_eq!(next(us).await, Message::ServerSideEmitResponse { request_id: request_id(), packet: answer });
    assert_eq!(node.next().await, json!({"server": ["ask", "x"]}));
}

async fn it_emits(us: &Server, node: &mut Official) {
    let long = "0123456789".repeat(30_000);
    let rows = [
        (
            json!({"args": ["text", "é 🦀 \0", 1, 2.5, -3, null, {"a": [true]}]}),
            Selector::all(),
            Packet::text(r#"["text","é 🦀 \u0000",1,2.5,-3,null,{"a":[true]}]"#),
        ),
        (
            json!({"to": "kitchen", "except": "cook", "args": ["room"]}),
            Selector::to("kitchen").and_except("cook"),
            Packet::text(r#"["room"]"#),
        ),
        (
            json!({"args": ["binary", {"bytes": "AP8B"}, {"b": {"bytes": ""}}]}),
            Selector::all(),
            Packet::binary(
                r#"["binary",{"_placeholder":true,"num":0},{"b":{"_placeholder":true,"num":1}}]"#,
                vec![Bytes::from_static(b"\x00\xff\x01"), Bytes::new()],
            ),
        ),
        (
            json!({"args": ["long", long]}),
            Selector::all(),
            Packet::text(format!("[\"long\",{}]", json!(long))),
        ),
    ];
    for (mut command, selector, packet) in rows {
        command["do"] = json!("emit");
        node.tell(&command).await;
        let Message::Broadcast { selector: to, packet: heard, request_id: None, .. } = next(us).await else {
            panic!("expected an event")
        };
        assert_eq!((to, same(&heard)), (selector, same(&packet)));
        if command["except"].is_null() || command["to"] == "kitchen" {
            node.line("client").await;
        }
    }
    for (command, meant) in [
        (
            json!({"do": "socketsJoin", "to": "kitchen", "rooms": ["loft", "7"]}),
            Message::SocketsJoin {
                selector: Selector::to("kitchen"),
                rooms: vec!["loft".into(), "7".into()],
            },
        ),
        (
            json!({"do": "socketsLeave", "to": "kitchen", "rooms": ["loft"]}),
            Message::SocketsLeave { selector: Selector::to("kitchen"), rooms: vec!["loft".into()] },
        ),
        (
            json!({"do": "disconnectSockets", "to": "nobody", "close": true}),
            Message::DisconnectSockets { selector: Selector::to("nobody"), close: true },
        ),
        (
            json!({"do": "serverSideEmit", "args": ["tell", {"n": [1]}]}),
            Message::ServerSideEmit { packet: Packet::text(r#"["tell",{"n":[1]}]"#), request_id: None },
        ),
    ] {
        node.tell(&command).await;
        assert_eq!(next(us).await, meant);
    }
}

async fn it_asks(us: &Server, node: &mut Official) {
    node.tell(&json!({"do": "emitWithAck", "args": ["ready?"]})).await;
    let Message::Broadcast { request_id: Some(request_id), packet, .. } = next(us).await else {
        panic!("expected an event that wants acks")
    };
    assert_eq!(&*packet.data, br#"["ready?"]"#);
    let ack = |packet| Message::BroadcastAck { request_id: request_id.clone(), packet };
    us.publish(vec![
        Message::BroadcastClientCount { request_id: request_id.clone(), client_count: 2 },
        ack(Packet::text(r#"{"yes":1}"#)),
        ack(Packet::binary(r#"{"_placeholder":true,"num":0}"#, vec![Bytes::from_static(b"\x07")])),
    ])
    .await;
    node.line("client").await;
    let mut acks = node.line("acks").await.as_array().cloned().unwrap_or_default();
    acks.sort_by_key(Value::to_string);
    assert_eq!(json!(acks), json!([{"bytes": "Bw=="}, {"heard": "ready?"}, {"yes": 1}]));

    node.tell(&json!({"do": "fetchSockets"})).await;
    let Message::FetchSockets { request_id, .. } = next(us).await else { panic!("expected a question") };
    let socket = json!([{
        "id": "Ab3dE_00000000000000", "handshake": {"headers": {}, "query": {}, "auth": {}},
        "rooms": ["Ab3dE_00000000000000", "loft"], "data": {"name": "ours"},
    }]);
    let sockets = Packet::text(socket.to_string());
    us.publish(vec![Message::FetchSocketsResponse { request_id, sockets }]).await;
    let sockets = node.line("sockets").await;
    let ours = sockets.as_array().and_then(|all| all.iter().find(|socket| socket["data"]["name"] == "ours"));
    assert_eq!(
        ours,
        Some(
            &json!({"id": "Ab3dE_00000000000000", "rooms": ["Ab3dE_00000000000000", "loft"], "data": {"name": "ours"}})
        )
    );
    assert_eq!(sockets.as_array().map(Vec::len), Some(2));

    node.tell(&json!({"do": "serverSideEmitWithAck", "args": ["ask", 1]})).await;
    let Message::ServerSideEmit { request_id: Some(request_id), packet } = next(us).await else {
        panic!("expected a question")
    };
    assert_eq!(&*packet.data, br#"["ask",1]"#);
    let packet = Packet::text(r#"{"from":"us"}"#);
    us.publish(vec![Message::ServerSideEmitResponse { request_id, packet }]).await;
    assert_eq!(node.line("answers").await, json!([{"from": "us"}]));
}

async fn an_emitter_emits(us: &Server, node: &mut Official) {
    let binary = Packet::binary(r#"["hi",{"_placeholder":true,"num":0}]"#, vec![Bytes::from_static(b"\x07")]);
    let of = |packet: &Packet, selector| Message::Broadcast {
        selector,
        flags: Flags::default(),
        packet: packet.clone(),
        request_id: None,
    };
    for (call, to, args, meant) in [
        ("emit", None, json!(["hi", 1]), of(&Packet::text(r#"["hi",1]"#), Selector::all())),
        ("emit", Some("loft"), json!(["hi", {"bytes": "Bw=="}]), of(&binary, Selector::to("loft"))),
        (
            "socketsJoin",
            Some("loft"),
            json!(["attic"]),
            Message::SocketsJoin { selector: Selector::to("loft"), rooms: vec!["attic".into()] },
        ),
        (
            "serverSideEmit",
            None,
            json!(["tell", 2]),
            Message::ServerSideEmit { packet: Packet::text(r#"["tell",2]"#), request_id: None },
        ),
    ] {
        node.tell(&json!({"do": "emitter", "call": call, "to": to, "args": args})).await;
        let (uid, heard) = next_of(us).await;
        assert_eq!((uid.as_str(), heard), ("emitter", meant));
    }
}

async fn we_disconnect(us: &Server, node: &mut Official) {
    us.publish(vec![Message::DisconnectSockets { selector: Selector::to("kitchen"), close: true }]).await;
    // What the emitter said comes before it, where the official adapter understands its own emitter.
    loop {
        let line = node.next().await;
        if !line["disconnect"].is_null() {
            assert_eq!(line["disconnect"], json!("io server disconnect"));
            return;
        }
    }
}

/// The next message but heartbeats.
async fn next(us: &Server) -> Message {
    next_of(us).await.1
}

async fn next_of(us: &Server) -> (String, Message) {
    loop {
        let (envelope, _) = us.message().await;
        if !matches!(envelope.message, Message::Heartbeat | Message::InitialHeartbeat) {
            return (envelope.uid.to_string(), envelope.message);
        }
    }
}

fn event(selector: Selector, data: &str, parts: &[&'static [u8]]) -> Message {
    let attachments = parts.iter().map(|part| Bytes::from_static(part)).collect();
    let packet = Packet { data: Bytes::from(data.to_owned()), attachments };
    Message::Broadcast { selector, flags: Flags::default(), packet, request_id: None }
}

fn node_hears(event: Value) -> Value {
    json!({ "client": event })
}

/// What a packet means, however its numbers and keys are written.
fn same(packet: &Packet) -> (Value, Vec<String>) {
    let value = serde_json::from_slice(&packet.data).unwrap_or_default();
    (value, packet.attachments.iter().map(|part| STANDARD.encode(part)).collect())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The process. It is killed when it is dropped.
struct Official {
    process: Child,
    commands: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    sid: String,
}

impl Official {
    fn start(script: &std::path::Path, arguments: &[String]) -> Self {
        let started = Command::new("node")
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut process = started.unwrap_or_else(|error| panic!("expected node to start: {error}"));
        let (commands, output) = (process.stdin.take(), process.stdout.take());
        let output = output.unwrap_or_else(|| panic!("expected its output to be piped"));
        Self { process, commands, lines: BufReader::new(output).lines(), sid: String::new() }
    }

    async fn tell(&mut self, command: &Value) {
        let commands = self.commands.as_mut().unwrap_or_else(|| panic!("expected its input to be piped"));
        let written = commands.write_all(format!("{command}\n").as_bytes()).await;
        written.unwrap_or_else(|error| panic!("expected node to listen: {error}"));
    }

    /// What it says next.
    async fn next(&mut self) -> Value {
        let line = patient("a line of node's", self.lines.next_line()).await;
        let Ok(Some(line)) = line else { panic!("expected node to live") };
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("expected JSON of node's: {error}"))
    }

    /// What it says next, which is of this kind.
    async fn line(&mut self, kind: &str) -> Value {
        let mut line = self.next().await;
        assert!(!line[kind].is_null(), "expected {kind}, got {line}");
        line[kind].take()
    }

    async fn end(mut self) {
        self.commands = None;
        let status = patient("node to end", self.process.wait()).await;
        assert!(status.is_ok_and(|status| status.success()), "expected node to end well");
    }
}
