//! What a client can do, a row each, against any server that does what `tests/client-node.mjs` says.

use crate::harness::{PATIENCE, Server, Software, Wire, Wishes};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sockeye_client::{
    AckError, Args, Cause, Client, Config, ConnectError, Disconnected, EmitError, Event, Excess, FromArgs,
    Incoming, Limits, Phase, Reconnection, Socket, Transport, Upgrade,
};
use std::time::Duration;
use tokio::time::timeout;

/// Makes a test of each row.
#[macro_export]
macro_rules! rows {
    ($software:expr; $($name:ident),* $(,)?) => {$(
        #[tokio::test]
        async fn $name() {
            rows::$name($software).await;
        }
    )*};
}

/// The default: polling first, then the move.
pub(crate) async fn a_client_moves_from_polling_to_a_websocket(software: Software) {
    let Some(server) = plain(&software).await else { return };
    let (client, socket) = joined(&server.url(), Config::default()).await;
    let status = within(client.wait(|status| status.upgrade != Upgrade::Pending)).await;
    assert_eq!((status.upgrade, status.phase), (Upgrade::Done, Phase::Open));
    within(client.wait(|status| status.transport == Some(Transport::WebSocket))).await;
    assert_eq!(status.greeting.expect("it is open").ping_interval, Duration::from_secs(25));
    echo(&socket).await;
    // What is said in the middle of the move arrives, in order.
    let (_client, socket) = joined(&server.url(), Config::default()).await;
    for number in 0..200 {
        socket.emit("message", number).expect("there is room");
        tokio::task::yield_now().await;
    }
    for number in 0..200 {
        assert_eq!(heard::<u32>(&socket, "message-back").await, number);
    }
}

pub(crate) async fn polling_alone_does(software: Software) {
    let Some(server) = plain(&software).await else { return };
    let (client, socket) = joined(&server.url(), only(Transport::Polling)).await;
    echo(&socket).await;
    let status = client.status();
    assert_eq!((status.transport, status.upgrade), (Some(Transport::Polling), Upgrade::Pending));
    let config = Config { upgrade: false, ..Config::default() };
    let (client, socket) = joined(&server.url(), config).await;
    echo(&socket).await;
    assert_eq!(client.status().transport, Some(Transport::Polling));
}

pub(crate) async fn a_websocket_alone_does(software: Software) {
    let Some(server) = plain(&software).await else { return };
    let (client, socket) = joined(&server.url(), only(Transport::WebSocket)).await;
    echo(&socket).await;
    assert_eq!(client.status().transport, Some(Transport::WebSocket));
}

pub(crate) async fn payloads_are_typed_raw_or_several(software: Software) {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Point {
        x: f64,
        name: String,
    }
    let Some(server) = plain(&software).await else { return };
    let (_client, socket) = joined(&server.url(), Config::default()).await;
    let point = || Point { x: 1.5, name: "€ \u{1e} \"".to_owned() };
    socket.emit("message", (point(), [1, 2], ())).expect("there is room");
    let event = next_event(&socket, "message-back").await;
    assert_eq!(event.data::<(Point, Vec<u8>, Option<u8>)>().expect("the same"), (point(), vec![1, 2], None));
    socket.emit("message", event.args()).expect("there is room");
    let again = next_event(&socket, "message-back").await;
    assert_eq!(again.args(), event.args());
    socket.emit("message", ()).expect("there is room");
    assert_eq!(next_event(&socket, "message-back").await.args().json(), b"");
    assert!(matches!(socket.emit("connect", ()), Err(EmitError::ReservedName(_))));
}

pub(crate) async fn acks_go_both_ways_and_may_be_late(software: Software) {
    let Some(server) = plain(&software).await else { return };
    let (_client, socket) = joined(&server.url(), Config::default()).await;
    let answer: (u8, String) = answer(socket.emit_with_ack("message-with-ack", (1, "two"))).await;
    assert_eq!(answer, (1, "two".to_owned()));
    let wrong = within(socket.emit_with_ack::<u8>("message-with-ack", "text")).await;
    assert!(matches!(wrong, Err(AckError::Answer(_))), "{wrong:?}");
    // Nobody answers.
    let nothing =
        within(socket.emit_with_ack_within::<()>(Duration::from_millis(50), "nobody-hears", ())).await;
    assert!(matches!(nothing, Err(AckError::TimedOut)), "{nothing:?}");
    socket.emit("ask", "why").expect("there is room");
    let question = next_event(&socket, "question").await;
    assert!(question.wants_ack());
    question.ack((question.data::<String>().expect("text"), 42)).expect("there is room");
    question.ack("only the first answer counts").expect("there is room");
    assert_eq!(heard::<(String, u8)>(&socket, "heard").await, ("why".to_owned(), 42));
}

pub(crate) async fn attachments_go_both_ways(software: Software) {
    let Some(server) = plain(&software).await else { return };
    for transport in [Transport::Polling, Transport::WebSocket] {
        let (_client, socket) = joined(&server.url(), only(transport)).await;
        let bytes = Bytes::from((0..=255).cycle().take(100_000).collect::<Vec<u8>>());
        socket.emit("message", (&bytes, "and", [&Bytes::new()])).expect("there is room");
        let back: (Bytes, String, Vec<Bytes>) = heard(&socket, "message-back").await;
        assert_eq!(back, (bytes.clone(), "and".to_owned(), vec![Bytes::new()]));
        assert_eq!(answer::<Bytes>(socket.emit_with_ack("message-with-ack", &bytes)).await, bytes);
        socket.emit("ask", &bytes).expect("there is room");
        let question = next_event(&socket, "question").await;
        question.ack(question.data::<Bytes>().expect("bytes")).expect("there is room");
        assert_eq!(heard::<Bytes>(&socket, "heard").await, bytes);
        let many = vec![bytes.slice(..1); 11];
        assert!(matches!(
            socket.emit("message", &many),
            Err(EmitError::TooManyAttachments { count: 11, max: 10 })
        ));
    }
}

pub(crate) async fn namespaces_share_one_connection(software: Software) {
    let Some(server) = plain(&software).await else { return };
    let (client, main) = joined(&server.url(), Config::default()).await;
    let custom = client.socket("custom").expect("there is room");
    within(custom.connected()).await.expect("it exists");
    assert_eq!((custom.namespace(), client.status().connections), ("/custom", 1));
    assert_ne!(main.id(), custom.id());
    custom.disconnect().expect("there is room");
    disconnected(&custom, |why| *why == Disconnected::ByClient).await;
    echo(&main).await;
    custom.connect().expect("there is room");
    within(custom.connected()).await.expect("it exists");
    echo(&custom).await;
    assert_eq!(client.status().connections, 1);
}

pub(crate) async fn credentials_are_shown(software: Software) {
    let Some(server) = plain(&software).await else { return };
    let client = Client::new(&server.url(), Config::default()).expect("a URL");
    let socket = client.socket_with("/", json!({"token": "abc"})).expect("an object");
    assert_eq!(heard::<Value>(&socket, "auth").await, json!({"token": "abc"}));
    assert!(client.socket_with("/other", "no object").is_err());
}

pub(crate) async fn a_refusal_is_told_and_can_be_mended(software: Software) {
    let Some(server) = plain(&software).await else { return };
    let client = Client::new(&server.url(), Config::default()).expect("a URL");
    let nowhere = client.socket("/nowhere").expect("there is room");
    let refused = ConnectError::Refused { message: "Invalid namespace".to_owned(), data: None };
    assert_eq!(within(nowhere.connected()).await, Err(refused));
    let guarded = client.socket("/guarded").expect("there is room");
    let Err(ConnectError::Refused { message, data }) = within(guarded.connected()).await else {
        panic!("expected a refusal");
    };
    let data: Value = serde_json::from_str(&data.expect("data")).expect("JSON");
    assert_eq!((message.as_str(), data), ("wrong token", json!({"code": 42})));
    assert!(matches!(within(guarded.next()).await, Some(Incoming::Refused { .. })));
    guarded.set_auth(json!({"token": "good"})).expect("an object");
    guarded.connect().expect("there is room");
    within(async {
        while guarded.connected().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    echo(&guarded).await;
    assert_eq!(client.status().connections, 1);
}

pub(crate) async fn a_client_that_is_put_out_stays_out_until_it_asks(software: Software) {
    let Some(server) = plain(&software).await else { return };
    let (client, socket) = joined(&server.url(), Config::default()).await;
    socket.emit("out", ()).expect("there is room");
    disconnected(&socket, |why| *why == Disconnected::ByServer).await;
    socket.emit("message", "kept").expect("there is room");
    socket.connect().expect("there is room");
    assert_eq!(heard::<String>(&socket, "message-back").await, "kept");
    assert_eq!(client.status().connections, 1);
}

pub(crate) async fn the_request_carries_headers_and_query(software: Software) {
    let Some(server) = plain(&software).await else { return };
    for transport in [Transport::Polling, Transport::WebSocket] {
        let mut config = only(transport);
        config.headers.insert("x-test", "1 2".parse().expect("a value"));
        config.query.push(("a".to_owned(), "b &=é".to_owned()));
        let (_client, socket) = joined(&format!("{}/?from=url", server.url()), config).await;
        let seen: (String, String) = answer(socket.emit_with_ack("handshake", ())).await;
        assert_eq!(seen, ("1 2".to_owned(), "b &=é".to_owned()));
    }
}

/// Killed and started again: the client comes back by itself, and what was said meanwhile goes then.
pub(crate) async fn a_client_outlives_its_server(software: Software) {
    let Some(mut server) = plain(&software).await else { return };
    let (client, socket) = joined(&server.url(), quick()).await;
    let first = socket.id();
    server.kill().await;
    let cut = |why: &Disconnected| {
        matches!(why, Disconnected::Connection(closed)
            if matches!(closed.cause, Cause::TransportClose | Cause::TransportError))
    };
    disconnected(&socket, cut).await;
    let (unanswered, never_sent) =
        (socket.emit_with_ack::<u8>("message-with-ack", 1), socket.emit("message", "kept"));
    never_sent.expect("there is room");
    let mut unanswered = std::pin::pin!(unanswered);
    assert!(timeout(Duration::ZERO, &mut unanswered).await.is_err(), "it waits for the connection");
    server.start_again().await;
    within(socket.connected()).await.expect("it comes back");
    assert_ne!(socket.id(), first);
    assert_eq!(heard::<String>(&socket, "message-back").await, "kept");
    assert_eq!(answer(unanswered).await, 1);
    assert_eq!(client.status().connections, 2);
}

pub(crate) async fn what_was_missed_comes_before_a_client_goes_on(software: Software) {
    let Some(server) = Server::start(&software, Wishes { recovery: true, ..Wishes::default() }).await else {
        return;
    };
    for config in [quick(), Config { transports: vec![Transport::WebSocket], ..quick() }] {
        let wire = Wire::to(server.port).await;
        let (client, socket) = joined(&wire.url(), config).await;
        // A server sees at once that a WebSocket broke; between two polls it has to wait for its own ping.
        within(client.wait(|status| status.transport == Some(Transport::WebSocket))).await;
        let id = socket.id();
        let (_other, speaker) = joined(&server.url(), Config::default()).await;
        speaker.emit("say", "before").expect("there is room");
        // The arguments are followed by the offset.
        assert_eq!(heard::<(String,)>(&socket, "said").await.0, "before");
        wire.cut();
        disconnected(&socket, |why| matches!(why, Disconnected::Connection(_))).await;
        for word in ["one", "two"] {
            speaker.emit("say", (word, Bytes::from(word))).expect("there is room");
        }
        // The server has done that when it answers.
        answer::<()>(speaker.emit_with_ack("message-with-ack", ())).await;
        wire.mend();
        for word in ["one", "two"] {
            let (text, bytes): (String, Bytes) = heard(&socket, "said").await;
            assert_eq!((text.as_str(), &bytes[..]), (word, word.as_bytes()));
        }
        loop {
            match within(socket.next()).await.expect("it goes on") {
                Incoming::Connected(connected) => {
                    assert!(connected.recovered);
                    break;
                }
                Incoming::Event(event) => assert_ne!(event.name(), "said", "nothing comes twice"),
                Incoming::Disconnected(_) | Incoming::Refused { .. } | _ => panic!("it is to go on"),
            }
        }
        assert_eq!(socket.id(), id);
    }
}

pub(crate) async fn a_dead_wire_is_noticed_by_the_missing_pings(software: Software) {
    let Some(server) = Server::start(&software, Wishes { ping: true, ..Wishes::default() }).await else {
        return;
    };
    for transport in [Transport::Polling, Transport::WebSocket] {
        let wire = Wire::to(server.port).await;
        let (client, socket) = joined(&wire.url(), Config { transports: vec![transport], ..quick() }).await;
        wire.go_dead();
        let timed_out = |why: &Disconnected| matches!(why, Disconnected::Connection(closed) if closed.cause == Cause::PingTimeout);
        disconnected(&socket, timed_out).await;
        wire.mend();
        within(client.wait(|status| status.connections >= 2)).await;
        within(socket.connected()).await.expect("it comes back");
    }
}

pub(crate) async fn volatile_events_are_dropped_while_the_client_is_out(software: Software) {
    let Some(mut server) = plain(&software).await else { return };
    let (_client, socket) = joined(&server.url(), quick()).await;
    server.kill().await;
    disconnected(&socket, |_| true).await;
    socket.emit_volatile("message", "volatile").expect("it is dropped");
    socket.emit("message", "kept").expect("there is room");
    server.start_again().await;
    assert_eq!(heard::<String>(&socket, "message-back").await, "kept");
    socket.emit_volatile("message", "now").expect("it can go");
    assert_eq!(heard::<String>(&socket, "message-back").await, "now");
}

pub(crate) async fn a_client_says_goodbye(software: Software) {
    let Some(server) = plain(&software).await else { return };
    let (_watcher, watcher) = joined(&server.url(), Config::default()).await;
    for transport in [Transport::Polling, Transport::WebSocket] {
        // By its own word, and by the end of its last handle.
        let (client, socket) = joined(&server.url(), only(transport)).await;
        within(client.close()).await;
        assert_eq!(heard::<String>(&watcher, "left").await, "client namespace disconnect");
        assert_eq!(client.status().phase, Phase::Over);
        assert!(matches!(socket.emit("message", ()), Err(EmitError::Closed)));
        while within(socket.next()).await.is_some() {}
        let (client, socket) = joined(&server.url(), only(transport)).await;
        drop((client, socket));
        assert_eq!(heard::<String>(&watcher, "left").await, "client namespace disconnect");
    }
}

pub(crate) async fn limits_have_outcomes(software: Software) {
    let Some(server) = plain(&software).await else { return };
    // Too much to send.
    let limits = Limits { outgoing_bytes_max: 100, ..Limits::default() };
    let (_client, socket) = joined(&server.url(), Config { limits, ..Config::default() }).await;
    let full = socket.emit("message", "x".repeat(200));
    assert!(matches!(full, Err(EmitError::Full { limit: "outgoing_bytes_max" })), "{full:?}");
    for _ in 0..20 {
        // Each is written before the next: its room is given back.
        answer::<String>(socket.emit_with_ack("message-with-ack", "x".repeat(40))).await;
    }
    // Too much comes: the connection is closed, or the oldest is dropped.
    let limits = Limits { incoming_max: 3, ..Limits::default() };
    let (client, socket) = joined(&server.url(), Config { limits, ..quick() }).await;
    for number in 0..10 {
        socket.emit("message", number).expect("there is room");
    }
    let overrun = |status: &sockeye_client::Status| {
        status.last_end.as_ref().is_some_and(|end| end.cause == Cause::Overrun)
    };
    within(client.wait(overrun)).await;
    let limits = Limits { excess: Excess::DropOldest, ..limits };
    let (client, socket) = joined(&server.url(), Config { limits, ..quick() }).await;
    for number in 0..10 {
        socket.emit("message", number).expect("there is room");
    }
    within(client.wait(|status| status.dropped >= 7)).await;
    assert_eq!(client.status().connections, 1);
    // Too many answers are waited for.
    let limits = Limits { acks_max: 0, ..Limits::default() };
    let (_client, socket) = joined(&server.url(), Config { limits, ..Config::default() }).await;
    let full = within(socket.emit_with_ack::<()>("message-with-ack", ())).await;
    assert!(matches!(full, Err(AckError::Emit(EmitError::Full { limit: "acks_max" }))), "{full:?}");
}

async fn plain(software: &Software) -> Option<Server> {
    Server::start(software, Wishes::default()).await
}

/// Comes back soon.
fn quick() -> Config {
    let reconnection = Reconnection {
        delay: Duration::from_millis(10),
        delay_max: Duration::from_millis(100),
        ..Reconnection::default()
    };
    Config { reconnection: Some(reconnection), ..Config::default() }
}

fn only(transport: Transport) -> Config {
    Config { transports: vec![transport], ..Config::default() }
}

pub(crate) async fn joined(url: &str, config: Config) -> (Client, Socket) {
    let client = Client::new(url, config).expect("a URL");
    let socket = client.socket("/").expect("there is room");
    within(socket.connected()).await.expect("a connection");
    (client, socket)
}

pub(crate) async fn echo(socket: &Socket) {
    socket.emit("message", "hello").expect("there is room");
    assert_eq!(heard::<String>(socket, "message-back").await, "hello");
}

/// The data of the next event of this name.
pub(crate) async fn heard<T: FromArgs>(socket: &Socket, name: &str) -> T {
    next_event(socket, name).await.data().expect("data of the type that was sent")
}

async fn next_event(socket: &Socket, name: &str) -> Event {
    loop {
        if let Incoming::Event(event) = within(socket.next()).await.expect("the client goes on")
            && event.name() == name
        {
            return event;
        }
    }
}

async fn disconnected(socket: &Socket, expected: impl Fn(&Disconnected) -> bool) {
    loop {
        if let Incoming::Disconnected(why) = within(socket.next()).await.expect("the client goes on") {
            assert!(expected(&why), "{why:?}");
            return;
        }
    }
}

async fn answer<T>(asked: impl Future<Output = Result<T, AckError>>) -> T {
    within(asked).await.expect("an answer")
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it happens in time")
}

/// Arguments can be held without a type.
const _: fn(&Args) -> &[u8] = Args::json;
