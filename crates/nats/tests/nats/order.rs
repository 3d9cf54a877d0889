//! What only this adapter promises, on a real NATS server: the sender's order over all subjects, and that nothing is missed with recovery.

use std::sync::Arc;
use std::time::Duration;

use crate::proxy::Proxy;
use crate::server::Server;
use parking_lot::Mutex;
use sockeye_cluster::adapter::{Adapter, AdapterError, Arrival, Channel, Letter, Opening};
use sockeye_cluster::node::To;
use sockeye_cluster::{Flags, Message, Packet, Selector};
use sockeye_nats::{Config, Nats};
use tokio::sync::mpsc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_server_says_to_rooms_and_to_all_is_heard_in_its_order() {
    let Some(server) = Server::start(&[]) else { return };
    for parameters in ["", "?recovery=10m"] {
        let a = Node::open(&server.url(parameters)).await;
        let mut b = Node::open(&server.url(parameters)).await;
        for room in ["x", "y", "Ab3dE_00000000000000"] {
            b.channel.listen(room.into()).await.expect("it listens");
        }
        let rooms = [None, Some("x"), Some("y"), Some("Ab3dE_00000000000000"), Some("nobody there")];
        for batch in 0..100 {
            let numbers = (0..50).map(|k| 50 * batch + k);
            a.say(numbers.map(|n| event(rooms[(n * 7 + n / 5) % 5], n)).collect()).await;
        }
        let expected = (0..5000).filter(|n| (n * 7 + n / 5) % 5 != 4);
        for n in expected {
            assert_eq!(b.number().await, n, "{parameters}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_while_a_connection_was_away_comes_once_and_in_order() {
    let Some(server) = Server::start(&[]) else { return };
    let proxy = Proxy::start(server.port).await;
    let a = Node::open(&server.url("?recovery=10m")).await;
    let mut b = Node::open(&proxy.url("?recovery=10m")).await;
    b.channel.listen("x".into()).await.expect("it listens");
    let mut said = 0;
    for round in 0..3 {
        a.say(vec![event(None, said)]).await;
        assert_eq!(b.number().await, said);
        said += 1;
        proxy.cut().await;
        for _ in 0..20 * (round + 1) {
            a.say(vec![event(None, said), event(Some("x"), said + 1), event(Some("not b's"), 0)]).await;
            said += 2;
        }
        proxy.heal();
        // Some are said while the others are read.
        for _ in 0..20 {
            a.say(vec![event(Some("x"), said)]).await;
            said += 1;
        }
        for n in said - 40 * (round + 1) - 20..said {
            assert_eq!(b.number().await, n);
        }
        assert_eq!(b.resumed.recv().await, Some(true));
    }
    let stats = b.channel.stats();
    assert_eq!((stats.disconnects, stats.gaps, stats.malformed), (3, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_stream_has_forgotten_is_told_to_be_lost() {
    let Some(server) = Server::start(&[]) else { return };
    let proxy = Proxy::start(server.port).await;
    let a = Node::open(&server.url("?recovery=10m")).await;
    let mut b = Node::open(&proxy.url("?recovery=10m")).await;
    a.say(vec![event(None, 0)]).await;
    assert_eq!(b.number().await, 0);
    proxy.cut().await;
    a.say(vec![event(None, 1), event(None, 2)]).await;
    let client = Box::pin(async_nats::connect(server.url(""))).await.expect("it connects");
    let stream = async_nats::jetstream::new(client).get_stream("sockeye-log").await.expect("it is there");
    stream.purge().sequence(3).await.expect("it is purged");
    proxy.heal();
    assert_eq!(b.number().await, 2);
    assert_eq!(b.resumed.recv().await, Some(false));
    assert_eq!(b.channel.stats().gaps, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_connection_nothing_counts_as_published_and_core_nats_tells_the_gap() {
    let Some(server) = Server::start(&[]) else { return };
    let proxy = Proxy::start(server.port).await;
    let mut a = Node::open(&proxy.url("")).await;
    proxy.cut().await;
    // The client notices the cut when it reads, at once.
    while a.channel.publish(vec![letter(event(None, 0))]).await[0].is_ok() {}
    let error = a.channel.publish(vec![letter(event(None, 0))]).await.remove(0).expect_err("there is nobody");
    assert!(matches!(error, AdapterError::Unreachable(_)), "{error}");
    proxy.heal();
    assert_eq!(a.resumed.recv().await, Some(false));
    assert!(a.channel.publish(vec![letter(event(None, 0))]).await[0].is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_too_long_is_refused_and_says_what_to_raise() {
    let Some(server) = Server::start(&[]) else { return };
    for parameters in ["", "?recovery=10m"] {
        let a = Node::open(&server.url(parameters)).await;
        let text = format!("[\"n\",\"{}\"]", "x".repeat(2 << 20));
        let long = Message::Broadcast {
            selector: Selector::all(),
            flags: Flags::default(),
            packet: Packet::text(text),
            request_id: None,
        };
        let results =
            a.channel.publish(vec![letter(event(None, 0)), letter(long), letter(event(None, 1))]).await;
        let refused = results[1].as_ref().expect_err("it is too long").to_string();
        assert!(refused.contains("the server takes 1048576: raise max_payload"), "{refused}");
        assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    }
}

/// A server of Socket.IO, and what it hears.
struct Node {
    channel: Arc<dyn Channel>,
    numbers: mpsc::Receiver<usize>,
    resumed: mpsc::Receiver<bool>,
}

impl Node {
    async fn open(url: &str) -> Self {
        let config = Config::from_url(url).expect("it is an address");
        let adapter = Nats::new(Config { publish_timeout: Duration::from_secs(1), ..config });
        let (told, numbers) = mpsc::channel(10_000);
        let (gap, resumed) = mpsc::channel(100);
        let last = Mutex::new(());
        let inbox = Arc::new(move |arrival| {
            let _one_after_the_other = last.lock();
            match arrival {
                Arrival::Message { envelope, .. } => {
                    told.try_send(number_in(&envelope.message)).expect("there is room");
                }
                Arrival::Resumed { whole } => gap.try_send(whole).expect("there is room"),
                Arrival::Malformed => panic!("expected messages"),
            }
        });
        let uid = format!("{:016x}", rand::random::<u64>()).into();
        let channel = adapter.open(Opening { nsp: "/".into(), uid, inbox }).await.expect("it opens");
        Self { channel, numbers, resumed }
    }

    async fn say(&self, messages: Vec<Message>) {
        for result in self.channel.publish(messages.into_iter().map(letter).collect()).await {
            result.expect("it is published");
        }
    }

    async fn number(&mut self) -> usize {
        let number = tokio::time::timeout(Duration::from_secs(30), self.numbers.recv()).await;
        number.expect("a message comes").expect("the channel is open")
    }
}

fn letter(message: Message) -> Letter {
    Letter { to: To::All, message }
}

fn event(room: Option<&str>, number: usize) -> Message {
    let selector = room.map_or_else(Selector::all, Selector::to);
    let packet = Packet::text(format!("[\"n\",{number}]"));
    Message::Broadcast { selector, flags: Flags::default(), packet, request_id: None }
}

fn number_in(message: &Message) -> usize {
    let Message::Broadcast { packet, .. } = message else { panic!("expected an event, got {message:?}") };
    let (_, number): (String, usize) = serde_json::from_slice(&packet.data).expect("a name and a number");
    number
}
