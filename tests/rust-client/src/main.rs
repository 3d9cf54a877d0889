//! The stock Rust client (`rust_socketio`) against a server of the `contract` app.
//!
//! usage: `rust-client URL polling|websocket|upgrade|any`
//!
//! Says `held` when all rows held, then waits for a line on its input: the server was started again. Says `back` when the
//! client has come back by itself, and exits with 0. What the client cannot do is not asked of it: bytes and an ack in one packet (it
//! sends the wrong type), bytes on a WebSocket (the official server's answer is lost on it, too), more than one attachment, an answer
//! to the server's ack.

use rust_socketio::client::Client;
use rust_socketio::{ClientBuilder, Event, Payload, TransportType};
use serde_json::{Value, json};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// How long any answer may take.
const WITHIN: Duration = Duration::from_secs(20);

/// Answers that may wait to be looked at.
const WAITING_MAX: usize = 10_000;

fn main() {
    let mut words = std::env::args().skip(1);
    let url = words.next().expect("an address");
    let transport = words.next().expect("a transport");
    let peer = Peer::connect(&url, "/", &transport, json!({"token": "äbc"}));
    assert_eq!(peer.next("auth"), [json!({"token": "äbc"})]);
    let home = peer.ask("whoami", Payload::Text(Vec::new()));
    let expected = if transport == "polling" { "polling" } else { "websocket" };
    assert_eq!(home[0]["transport"], expected, "{home:?}");
    events_and_acks_come_back_whole(&peer);
    if transport == "polling" {
        bytes_come_back_whole(&peer);
    }
    rooms_hold(&peer, &Peer::connect(&url, "/", &transport, json!({})));
    namespaces_are_apart(&peer, &Peer::connect(&url, "/custom", &transport, json!({"n": 1})));
    refused_hear_why(&url, &transport);
    println!("held");
    std::io::stdin().read_line(&mut String::new()).expect("a line");
    // The greeting of the server that was started anew: the client came by itself, with its credentials.
    assert_eq!(peer.next("auth"), [json!({"token": "äbc"})]);
    events_and_acks_come_back_whole(&peer);
    peer.client.disconnect().expect("it goes");
    println!("back");
}

fn events_and_acks_come_back_whole(peer: &Peer) {
    for row in [
        vec![json!(1), json!("2"), json!({"3": ["4", null, true]})],
        vec![json!("ünïcødé 🐟 \u{2028}")],
        vec![json!("x".repeat(200_000))],
    ] {
        peer.emit("message", Payload::Text(row.clone()));
        assert_eq!(peer.next("message-back"), row);
        // Its acks come as one value: the list of what the server said.
        assert_eq!(peer.ask("message-with-ack", Payload::Text(row.clone())), row);
    }
}

fn bytes_come_back_whole(peer: &Peer) {
    for length in [1, 300, 100_000] {
        let bytes: Vec<u8> = (0..length).map(|n: u32| n.to_le_bytes()[0]).collect();
        peer.emit("message", Payload::from(bytes.clone()));
        assert_eq!(peer.next("message-back"), spelled(&bytes));
    }
}

fn rooms_hold(peer: &Peer, outsider: &Peer) {
    assert_eq!(outsider.next("auth"), [json!({})], "the client may speak when the server has greeted it");
    peer.ask("join", Payload::from(json!("rust room")));
    outsider.emit("room", Payload::Text(vec![json!("rust room"), json!("to the room")]));
    assert_eq!(peer.next("room"), [json!("to the room")]);
    peer.emit("broadcast-others", Payload::from(json!("others")));
    assert_eq!(outsider.next("broadcast-others"), [json!("others")]);
    outsider.ask("rooms", Payload::Text(Vec::new()));
    assert!(outsider.heard.try_iter().all(|(event, _)| event != "room"), "an outsider hears no room");
    outsider.client.disconnect().expect("it goes");
}

fn namespaces_are_apart(peer: &Peer, custom: &Peer) {
    assert_eq!(custom.next("auth"), [json!({"n": 1})]);
    custom.emit("broadcast", Payload::from(json!("custom")));
    assert_eq!(custom.next("broadcast"), [json!("custom")]);
    peer.emit("broadcast", Payload::from(json!("main")));
    assert_eq!(peer.next("broadcast"), [json!("main")]);
    custom.client.disconnect().expect("it goes");
}

fn refused_hear_why(url: &str, transport: &str) {
    let refused = Peer::connect(url, "/", transport, json!({"deny": "not you"}));
    let words = refused.next("error");
    assert!(words[0].to_string().contains("not you"), "{words:?}");
    drop(refused.client.disconnect());
}

/// One client, and what it heard.
struct Peer {
    client: Client,
    heard: Receiver<(String, Vec<Value>)>,
}

impl Peer {
    fn connect(url: &str, namespace: &str, transport: &str, auth: Value) -> Self {
        let transport = match transport {
            "polling" => TransportType::Polling,
            "websocket" => TransportType::Websocket,
            "upgrade" => TransportType::WebsocketUpgrade,
            "any" => TransportType::Any,
            other => panic!("no transport {other}"),
        };
        let (sender, heard) = sync_channel(WAITING_MAX);
        let mut builder = ClientBuilder::new(url)
            .namespace(namespace)
            .transport_type(transport)
            .auth(auth)
            .reconnect_on_disconnect(true)
            .reconnect_delay(50, 500);
        for event in ["auth", "message-back", "broadcast", "broadcast-others", "room", "error"] {
            let sender = sender.clone();
            builder = builder.on(Event::from(event), move |payload, _| {
                sender.send((event.to_owned(), values(payload))).expect("the test listens");
            });
        }
        Self { client: builder.connect().expect("it connects"), heard }
    }

    fn emit(&self, event: &str, payload: Payload) {
        self.client.emit(event, payload).expect("it is sent");
    }

    /// The arguments of the next event of that name; what comes before it is dropped.
    fn next(&self, event: &str) -> Vec<Value> {
        loop {
            let (name, values) = self.heard.recv_timeout(WITHIN).unwrap_or_else(|_| panic!("no {event}"));
            if name == event {
                return values;
            }
        }
    }

    /// Emits, and returns what the ack says.
    fn ask(&self, event: &str, payload: Payload) -> Vec<Value> {
        let (sender, answer): (SyncSender<Payload>, _) = sync_channel(2);
        let said = move |payload: Payload, _| drop(sender.try_send(payload));
        self.client.emit_with_ack(event, payload, WITHIN, said).expect("it is sent");
        values(answer.recv_timeout(WITHIN).unwrap_or_else(|_| panic!("no ack of {event}")))
    }
}

/// Texts as they are, bytes as a list of numbers.
fn values(payload: Payload) -> Vec<Value> {
    match payload {
        Payload::Binary(bytes) => spelled(&bytes),
        Payload::Text(values) => match values.as_slice() {
            [Value::Array(said)] => said.clone(),
            _ => values,
        },
        #[expect(deprecated, reason = "the enum has it")]
        Payload::String(text) => vec![json!(text)],
    }
}

fn spelled(bytes: &[u8]) -> Vec<Value> {
    bytes.iter().map(|byte| json!(byte)).collect()
}
