//! What is done about clients that do not take their mail: drop the oldest, keep the latest of a kind.

use crate::harness::{Client, Frame, Host, Log, heard};
use sockeye::{Config, Event, Limit, MailboxExcess, Server, Socket};
use tokio::sync::mpsc::Receiver;

const LIMIT: u32 = 300_000;
/// More than the kernel's buffers hold.
const FLOOD: usize = 600;

#[tokio::test]
async fn the_oldest_are_dropped_and_the_rest_comes_in_order() {
    let config =
        Config { mailbox_bytes_max: LIMIT, mailbox_excess: MailboxExcess::DropOldest, ..Config::default() };
    let (host, mut entered) = host(config).await;
    let mut slow = Client::enter(&host).await;
    let socket = heard(&mut entered).await;
    let text = "x".repeat(50_000);
    for number in 0..FLOOD {
        socket.emit("n", (number, &text)).unwrap();
        tokio::task::yield_now().await;
    }
    let numbers = numbers(&mut slow, FLOOD - 1).await;
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    assert!(numbers.len() < FLOOD, "nothing was dropped");
    let stats = host.handle.stats();
    assert_eq!(stats.traffic.mail_dropped_oldest, (FLOOD - numbers.len()) as u64);
    assert_eq!(stats.limit(Limit::MailboxBytesMax), 0);
    slow.hears_nothing().await;
}

#[tokio::test]
async fn what_is_awaited_is_never_dropped() {
    let config =
        Config { mailbox_bytes_max: LIMIT, mailbox_excess: MailboxExcess::DropOldest, ..Config::default() };
    let (host, mut entered) = host(config).await;
    let mut slow = Client::enter(&host).await;
    let socket = heard(&mut entered).await;
    let text = "x".repeat(50_000);
    for number in 0..FLOOD / 2 {
        socket.emit("n", (number, &text)).unwrap();
        tokio::task::yield_now().await;
    }
    // The answer to the client, and a question: both wait behind what is dropped.
    slow.say(r#"427["mark"]"#).await;
    let asking = socket.clone();
    let asked = tokio::spawn(async move { asking.emit_with_ack::<u64>("how many?", ()).await });
    host.settle().await;
    for number in FLOOD / 2..FLOOD {
        socket.emit("n", (number, &text)).unwrap();
        tokio::task::yield_now().await;
    }
    let (mut marked, mut asked_for) = (false, false);
    while !(marked && asked_for) {
        match slow.text().await.as_str() {
            "437[]" => marked = true,
            r#"420["how many?"]"# => asked_for = true,
            event => assert!(event.starts_with(r#"42["n""#), "{event}"),
        }
    }
    slow.say("430[5]").await;
    assert_eq!(asked.await.unwrap().unwrap(), 5);
}

#[tokio::test]
async fn where_nothing_may_be_dropped_the_connection_is_closed() {
    let config =
        Config { mailbox_bytes_max: LIMIT, mailbox_excess: MailboxExcess::DropOldest, ..Config::default() };
    let (host, mut entered) = host(config).await;
    let mut slow = Client::enter(&host).await;
    let socket = heard(&mut entered).await;
    let text = "x".repeat(50_000);
    while socket.is_connected() {
        let (socket, text) = (socket.clone(), text.clone());
        tokio::spawn(async move { drop(socket.emit_with_ack::<u64>("q", &text).await) });
        tokio::task::yield_now().await;
    }
    while !matches!(slow.next().await, Frame::Close(_) | Frame::End) {}
    assert_eq!(host.handle.stats().limit(Limit::MailboxBytesMax), 1);
}

#[tokio::test]
async fn one_socket_may_be_treated_otherwise() {
    let config = Config { mailbox_bytes_max: LIMIT, ..Config::default() };
    let (host, mut entered) = host(config).await;
    let mut patient = Client::enter(&host).await;
    let spared = heard(&mut entered).await;
    spared.set_mailbox_excess(MailboxExcess::DropOldest);
    let _closed = Client::enter(&host).await;
    let closed = heard(&mut entered).await;
    let text = "x".repeat(50_000);
    let mut said = 0;
    while closed.is_connected() {
        spared.namespace().emit("n", (said, &text)).unwrap();
        said += 1;
        tokio::task::yield_now().await;
    }
    let numbers = numbers(&mut patient, said - 1).await;
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    assert!(spared.is_connected());
    assert_eq!(host.handle.stats().limit(Limit::MailboxBytesMax), 1);
}

#[tokio::test]
async fn a_slow_client_gets_the_latest_of_each_key_in_the_order_in_which_they_were_said() {
    const CURSORS: usize = 3;
    let config = Config { mailbox_bytes_max: LIMIT, ..Config::default() };
    let (host, mut entered) = host(config).await;
    let mut slow = Client::enter(&host).await;
    let socket = heard(&mut entered).await;
    let main = socket.namespace();
    let text = "x".repeat(50_000);
    for number in 0..FLOOD {
        let key = format!("cursor {}", number % CURSORS);
        // One socket's and everybody's are the same key.
        match number % 2 {
            0 => socket.coalesce(&key).emit("n", (number, &text)).unwrap(),
            _ => main.everybody().coalesce(&key).emit("n", (number, &text)).unwrap(),
        }
        tokio::task::yield_now().await;
    }
    main.emit("last", ()).unwrap();
    let mut numbers = Vec::new();
    loop {
        let event = slow.text().await;
        if event == r#"42["last"]"# {
            break;
        }
        numbers.push(number(&event));
    }
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    assert!(numbers.ends_with(&[FLOOD - 3, FLOOD - 2, FLOOD - 1]), "{numbers:?}");
    assert_eq!(host.handle.stats().traffic.mail_coalesced, (FLOOD - numbers.len()) as u64);
    assert_eq!(host.handle.stats().limit(Limit::MailboxBytesMax), 0);
}

#[tokio::test]
async fn a_client_that_polls_gets_the_latest_of_each_key() {
    let (host, mut entered) = host(Config::default()).await;
    let sid = host.open_polling().await;
    host.push(&sid, "40").await;
    host.poll(&sid).await;
    let socket = heard(&mut entered).await;
    for number in 0..3 {
        socket.coalesce("a").emit("a", number).unwrap();
        socket.emit("b", number).unwrap();
        socket.coalesce("c").emit("c", number).unwrap();
    }
    let body = host.poll(&sid).await.body;
    let expected = [r#"42["b",0]"#, r#"42["b",1]"#, r#"42["a",2]"#, r#"42["b",2]"#, r#"42["c",2]"#];
    assert_eq!(body.split('\x1e').collect::<Vec<_>>(), expected);
}

/// A server that hands out its sockets.
async fn host(config: Config) -> (Host, Receiver<Socket>) {
    let (sockets, entered) = Log::new();
    let mut server = Server::new(config);
    server
        .namespace("/")
        .on_connect(move |socket: Socket| {
            sockets.add(socket);
            async {}
        })
        .on("mark", async |event: Event| event.ack(()));
    (Host::of(server).await, entered)
}

/// The numbers that a client hears, up to the last one.
async fn numbers(client: &mut Client, last: usize) -> Vec<usize> {
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last) {
        numbers.push(number(&client.text().await));
    }
    numbers
}

fn number(event: &str) -> usize {
    let rest = event.strip_prefix(r#"42["n","#).unwrap_or_else(|| panic!("unexpected {event:.60}"));
    rest.split_once(',').unwrap().0.parse().unwrap()
}
