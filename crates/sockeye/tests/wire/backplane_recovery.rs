//! Clients whose connection breaks, and who come back to any server of a backplane in memory that keeps sessions.

use crate::harness::{Client, Host, Log, Ws, heard, until};
use serde_json::{Value, json};
use sockeye::{Config, Namespace, Recovery, Refusal, Server, Socket};
use sockeye_adapter_suite::memory::{Bus, Kind};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

#[tokio::test]
async fn what_was_missed_comes_once_and_in_order_on_another_server() {
    let bus = Bus::new(Kind::Keeping);
    let (mut a, mut b) = (Node::start(&bus).await, Node::start(&bus).await);
    let (mut client, socket) = a.enter().await;
    let (id, pid) = (client.id.clone(), client.pid.clone());
    socket.join(["room"]);
    socket.set_data("mine").unwrap();
    b.main.to("room").emit("n", 1).unwrap();
    let offset = numbered(&client.text().await, r#"42["n",1,"#);
    // What cannot be missed is stamped with what was met last.
    b.main.volatile().emit("tick", ()).unwrap();
    assert_eq!(client.text().await, format!(r#"42["tick","{offset}"]"#));
    a.host.settle().await;
    a.crash().await;
    drop(client);
    b.main.to("room").emit("n", 2).unwrap();
    b.main.to("other").emit("n", "not its").unwrap();
    b.main.to(socket.id()).emit("n", 3).unwrap();
    b.main.volatile().emit("n", "gone").unwrap();

    let (mut client, texts) = back(&b.host, &pid, Some(&offset)).await;
    assert_eq!(texts.len(), 3, "{texts:?}");
    numbered(&texts[0], r#"42["n",2,"#);
    numbered(&texts[1], r#"42["n",3,"#);
    assert_eq!(texts[2], format!(r#"40{{"sid":"{id}","pid":"{pid}"}}"#));
    let socket = b.entered(true).await;
    assert_eq!((socket.id().as_str(), socket.rooms().len()), (id.as_str(), 2));
    assert_eq!(socket.data::<String>().unwrap().as_deref(), Some("mine"));
    socket.emit("n", 4).unwrap();
    let four = numbered(&client.text().await, r#"42["n",4,"#);

    // And again, to the same server, from a later place.
    drop(client);
    b.main.to("room").emit("n", 5).unwrap();
    let (_client, texts) = back(&b.host, &pid, Some(&four)).await;
    numbered(&texts[0], r#"42["n",5,"#);
    b.entered(true).await;
    assert_eq!((texts.len(), b.host.handle.stats().recovery.unwrap().restored), (2, 2));
}

#[tokio::test]
async fn a_client_that_has_met_no_event_goes_on_too() {
    let bus = Bus::new(Kind::Keeping);
    let (mut a, mut b) = (Node::start(&bus).await, Node::start(&bus).await);
    b.main.emit("n", "before").unwrap();
    let (client, socket) = a.enter().await;
    drop(client);
    until(|| !socket.is_connected()).await;
    b.main.emit("n", 1).unwrap();
    let (_client, texts) = back(&b.host, &socket_pid(&a), None).await;
    assert_eq!(texts.len(), 2, "{texts:?}");
    numbered(&texts[0], r#"42["n",1,"#);
    assert_eq!(b.entered(true).await.data::<Value>().unwrap(), None);
}

#[tokio::test]
async fn a_server_lets_go_of_a_connection_that_it_did_not_know_to_be_dead() {
    let bus = Bus::new(Kind::Keeping);
    let (mut a, mut b) = (Node::start(&bus).await, Node::start(&bus).await);
    let (mut client, socket) = a.enter().await;
    let pid = client.pid.clone();
    a.host.settle().await;
    let (mut moved, _) = back(&b.host, &pid, None).await;
    let there = b.entered(true).await;
    client.ws.ended().await;
    until(|| !socket.is_connected()).await;
    // By another connection to the same server, too: what its former socket says is said by the session.
    let (mut again, _) = back(&b.host, &pid, None).await;
    moved.ws.ended().await;
    let socket = b.entered(true).await;
    there.emit("n", 1).unwrap();
    socket.join(["room"]);
    b.main.to("room").emit("n", 2).unwrap();
    let first = again.text().await;
    numbered(&first, r#"42["n",1,"#);
    numbered(&again.text().await, r#"42["n",2,"#);
    // And neither of the former has written over it or ended it.
    b.host.settle().await;
    drop(again);
    until(|| !socket.is_connected()).await;
    let (_client, texts) = back(&a.host, &pid, None).await;
    assert_eq!(texts.len(), 3, "{texts:?}");
    a.entered(true).await;
}

#[tokio::test]
async fn who_cannot_go_on_begins_anew() {
    let bus = Bus::new(Kind::Keeping);
    let (mut a, mut b) = (Node::start(&bus).await, Node::start(&bus).await);
    // A pid that nobody has, and one that nobody could have.
    for pid in ["nobody", &"x".repeat(1000)] {
        back(&b.host, pid, None).await;
        b.entered(false).await;
    }
    // After it was put out.
    let (mut client, socket) = a.enter().await;
    socket.disconnect();
    assert_eq!(client.text().await, "41");
    back(&b.host, &client.pid, None).await;
    b.entered(false).await;
    // While its credential ends.
    let (client, socket) = a.enter().await;
    socket.expire_in(Duration::from_secs(60));
    a.host.settle().await;
    drop(client);
    until(|| !socket.is_connected()).await;
    back(&b.host, &socket_pid(&a), None).await;
    b.entered(false).await;
    // And whom a guard does not let in, if it is asked.
    let (client, socket) = a.enter().await;
    drop(client);
    until(|| !socket.is_connected()).await;
    let strict = Node::with(&bus, Recovery { skip_middlewares: false, ..Recovery::default() }).await;
    let (mut ws, _) = Box::pin(Ws::session(&strict.host)).await;
    ws.send(&format!("40{}", json!({"pid": socket_pid(&a), "deny": true}))).await;
    assert!(ws.text().await.starts_with("44"));
    back(&b.host, &socket_pid(&a), None).await;
    b.entered(false).await;
}

#[tokio::test]
async fn more_missed_than_may_be_given_back_begins_anew() {
    let bus = Bus::new(Kind::Keeping);
    let mut a = Node::start(&bus).await;
    let mut b = Node::with(&bus, Recovery { missed_bytes_max: 20, ..Recovery::default() }).await;
    let (client, socket) = a.enter().await;
    drop(client);
    until(|| !socket.is_connected()).await;
    b.main.emit("n", "twenty characters, or a few more").unwrap();
    let (_client, texts) = back(&b.host, &socket_pid(&a), None).await;
    b.entered(false).await;
    assert_eq!((texts.len(), b.host.handle.stats().recovery.unwrap().incomplete), (1, 1));
}

#[tokio::test]
async fn sessions_are_written_down_when_the_backplane_is_back() {
    let bus = Bus::new(Kind::Keeping);
    let mut a = Node::start(&bus).await;
    // It is open when a client is in.
    let (_first, _) = a.enter().await;
    bus.cut();
    let (mut client, socket) = a.enter().await;
    // Nothing is held back: it is delivered here, without a place.
    socket.emit("said", "into the void").unwrap();
    assert_eq!(client.text().await, r#"42["said","into the void",null]"#);
    bus.heal();
    drop(client);
    until(|| !socket.is_connected()).await;
    back(&a.host, &socket_pid(&a), None).await;
    a.entered(true).await;
}

#[tokio::test]
async fn a_client_that_wanders_hears_each_event_once_and_in_order() {
    const COUNT: u64 = 600;
    let bus = Bus::new(Kind::Keeping);
    let (mut a, mut b, c) = (Node::start(&bus).await, Node::start(&bus).await, Node::start(&bus).await);
    let (mut client, socket) = a.enter().await;
    socket.join(["room"]);
    a.host.settle().await;
    let pid = client.pid.clone();
    let (from_a, from_b, from_c) = (a.main.clone(), b.main.clone(), c.main.clone());
    let speaking = tokio::spawn(async move {
        for n in 0..COUNT {
            [&from_a, &from_b, &from_c][n as usize % 3].to("room").emit("n", n).unwrap();
            tokio::task::yield_now().await;
            if n % 3 == 2 {
                // One says what the next one follows: between servers there is no other order.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    let (mut heard, mut offset, mut moves) = (Vec::new(), None, 0);
    while heard.len() < COUNT as usize {
        let text = client.text().await;
        take_number(&text, &mut heard, &mut offset);
        if heard.len() as u64 > 60 * (moves + 1) {
            moves += 1;
            let to = if moves % 2 == 0 { &mut a } else { &mut b };
            // Every third time its former connection stays, as one that is dead and not known to be.
            let former = client;
            let stays = (moves % 3 == 0).then_some(former);
            let (next, texts) = back(&to.host, &pid, offset.as_deref()).await;
            to.entered(true).await;
            texts.iter().for_each(|text| take_number(text, &mut heard, &mut offset));
            client = next;
            drop(stays);
        }
    }
    speaking.await.unwrap();
    let mut sorted = heard.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..COUNT).collect::<Vec<_>>(), "each once");
    for one in 0..3 {
        let said: Vec<_> = heard.iter().filter(|n| *n % 3 == one).collect();
        assert!(said.is_sorted(), "in the order of its server");
    }
    assert!(moves >= 8);
}

fn take_number(text: &str, heard: &mut Vec<u64>, offset: &mut Option<String>) {
    let Some(rest) = text.strip_prefix("42") else { return };
    let (_, number, place): (String, u64, String) = serde_json::from_str(rest).unwrap();
    heard.push(number);
    *offset = Some(place);
}

/// A server on the bus, and whoever enters it.
struct Node {
    host: Host,
    main: Namespace,
    entries: Receiver<Socket>,
    pid: String,
}

impl Node {
    async fn start(bus: &Bus) -> Self {
        Self::with(bus, Recovery::default()).await
    }

    async fn with(bus: &Bus, recovery: Recovery) -> Self {
        let config = Config {
            adapter: Some(bus.adapter()),
            connection_state_recovery: Some(recovery),
            ..Config::default()
        };
        let (log, entries) = Log::new();
        let mut server = Server::new(config);
        let main = server
            .namespace("/")
            .guard(|socket: Socket| async move {
                let auth: Value = socket.handshake().auth()?;
                if auth.get("deny").is_some() { Err(Refusal::new("no")) } else { Ok(()) }
            })
            .on_connect(move |socket: Socket| {
                log.add(socket);
                async {}
            })
            .handle();
        Self { host: Host::of(server).await, main, entries, pid: String::new() }
    }

    async fn enter(&mut self) -> (Client, Socket) {
        let client = Client::enter(&self.host).await;
        self.pid.clone_from(&client.pid);
        (client, self.entered(false).await)
    }

    async fn entered(&mut self, recovered: bool) -> Socket {
        let socket = heard(&mut self.entries).await;
        assert_eq!(socket.recovered(), recovered);
        socket
    }

    /// Ends at once: nothing is awaited.
    async fn crash(&self) {
        self.host.serving.abort();
        until(|| self.host.serving.is_finished()).await;
    }
}

/// The session of the client that entered last.
fn socket_pid(node: &Node) -> String {
    node.pid.clone()
}

/// Comes back and returns what is heard up to the answer to CONNECT.
async fn back(host: &Host, pid: &str, offset: Option<&str>) -> (Client, Vec<String>) {
    let auth = match offset {
        Some(offset) => json!({"pid": pid, "offset": offset}),
        None => json!({"pid": pid}),
    };
    let (mut ws, _) = Box::pin(Ws::session(host)).await;
    ws.send(&format!("40{auth}")).await;
    let mut texts = Vec::new();
    while !texts.last().is_some_and(|text: &String| text.starts_with("40")) {
        texts.push(ws.text().await);
    }
    (Client::on(ws), texts)
}

/// The offset that ends an event.
fn numbered(text: &str, start: &str) -> String {
    let rest = text.strip_prefix(start).unwrap_or_else(|| panic!("expected {start}…, got {text}"));
    rest.strip_prefix('"').and_then(|rest| rest.strip_suffix("\"]")).unwrap().to_owned()
}
