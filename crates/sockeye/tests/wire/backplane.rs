//! Servers of one process that meet on a backplane in memory; clients are real.

use crate::harness::{Client, Host, Log, heard, until, within};
use serde_json::Value;
use sockeye::{BackplaneEvent, Config, Event, Missing, Namespace, Server, ServerEvent, Socket};
use sockeye_adapter_suite::memory::{Bus, Kind};
use sockeye_cluster::{Envelope, Flags, Message, Nsp, Packet, Selector};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

const KINDS: [Kind; 3] = [Kind::Plain, Kind::Selecting, Kind::Keeping];

#[tokio::test]
async fn what_is_said_on_one_server_is_heard_on_the_other() {
    for kind in KINDS {
        let bus = Bus::new(kind);
        let (a, b) = (Node::start(&bus).await, Node::start(&bus).await);
        let (mut at_a, here) = a.enter().await;
        let (mut at_b, there) = b.enter().await;
        a.main.emit("said", "to all").unwrap();
        at_a.hears(&[r#"42["said","to all"]"#]).await;
        at_b.hears(&[r#"42["said","to all"]"#]).await;
        there.join_and_listen(["kitchen"]).await;
        a.main.to("kitchen").emit("said", "to a room").unwrap();
        a.main.to(there.id()).emit("said", "to one").unwrap();
        a.main.local().emit("said", "here").unwrap();
        b.main.except("kitchen").emit("said", "to the others").unwrap();
        at_b.hears(&[r#"42["said","to a room"]"#, r#"42["said","to one"]"#]).await;
        at_a.hears(&[r#"42["said","here"]"#, r#"42["said","to the others"]"#]).await;
        // And what was said has not come back.
        at_a.hears_nothing().await;
        at_b.hears_nothing().await;
        // A socket's broadcast leaves out the socket alone.
        here.broadcast().emit("said", "by a socket").unwrap();
        at_b.hears(&[r#"42["said","by a socket"]"#]).await;
        at_a.hears_nothing().await;
    }
}

#[tokio::test]
async fn a_following_emit_sees_a_join_that_was_awaited() {
    for kind in KINDS {
        let bus = Bus::new(kind);
        let (a, b) = (Node::start(&bus).await, Node::start(&bus).await);
        let (mut at_a, _here) = a.enter().await;
        let (mut at_b, there) = b.enter().await;
        // Names are learnt from what is heard.
        b.main.server_side_emit("hello", ()).unwrap();
        a.main.server_side_emit("hello", ()).unwrap();
        assert_eq!(a.main.count().await.unwrap().value, 2);
        for n in 0..20 {
            let room = format!("room {n}");
            a.main.everybody().sockets_join_and_listen([room.as_str()]).await;
            a.main.to(room.as_str()).emit("said", n).unwrap();
            at_b.hears(&[&format!(r#"42["said",{n}]"#)]).await;
            at_a.hears(&[&format!(r#"42["said",{n}]"#)]).await;
        }
        assert_eq!(there.rooms().len(), 21);
        a.main.everybody().sockets_leave(["room 0"]);
        within(until_rooms(&there, 20)).await;
        a.main.to(there.id()).disconnect_sockets(true);
        at_b.ws.ended().await;
    }
}

#[tokio::test]
async fn a_server_listens_for_the_rooms_of_its_sockets() {
    let bus = Bus::new(Kind::Selecting);
    let a = Node::start(&bus).await;
    let (client, socket) = a.enter().await;
    let (_other, other) = a.enter().await;
    let uid = bus.uids(&Nsp::new("/")).remove(0);
    let listened = || -> usize { bus.rooms(&uid).len() };
    socket.join_and_listen(["kitchen"]).await;
    other.join_and_listen(["kitchen"]).await;
    assert_eq!(listened(), 3, "a room and two ids");
    socket.leave("kitchen");
    socket.join_and_listen(["attic"]).await;
    assert_eq!(listened(), 4);
    drop(client);
    until(|| listened() == 2).await;
}

#[tokio::test]
async fn questions_go_to_all_servers() {
    for kind in KINDS {
        let bus = Bus::new(kind);
        let (a, b) = (Node::start(&bus).await, Node::start(&bus).await);
        let (mut at_a, _here) = a.enter().await;
        let (mut at_b, there) = b.enter().await;
        there.join_and_listen(["kitchen"]).await;
        there.set_data("b's").unwrap();
        let sockets = a.main.fetch_sockets().await.unwrap();
        assert_eq!(sockets.len(), 2, "{kind:?}");
        let remote = a.main.to("kitchen").fetch_sockets().await.unwrap().remove(0);
        assert_eq!((remote.data::<String>().unwrap().unwrap().as_str(), remote.rooms().len()), ("b's", 2));

        let asking = a.main.clone();
        let asking = tokio::spawn(async move { asking.everybody().emit_with_ack::<u8>("q", ()).await });
        at_a.hears(&[r#"420["q"]"#]).await;
        at_a.say("430[1]").await;
        at_b.hears(&[r#"420["q"]"#]).await;
        at_b.say("430[2]").await;
        let mut answers = asking.await.unwrap().unwrap();
        answers.values.sort_unstable();
        assert_eq!((answers.values, answers.missing), (vec![1, 2], Missing::default()));

        let answers = a.main.server_side_emit_with_ack::<String>("who?", "a").await.unwrap();
        assert_eq!((answers.values, answers.missing), (vec!["a and b".to_owned()], Missing::default()));

        // Before and after the others are known by name.
        for _ in 0..2 {
            let count = a.main.count().await.unwrap();
            assert_eq!((count.value, count.missing), (2, Missing::default()));
            let rooms = a.main.to("kitchen").rooms().await.unwrap();
            assert!(
                rooms.is_complete() && rooms.value.contains("kitchen") && rooms.value.len() == 2,
                "{rooms:?}"
            );
        }
        assert_eq!(a.main.local().count().await.unwrap().value, 1);
    }
}

#[tokio::test]
async fn who_cannot_be_asked_is_missing() {
    for kind in KINDS {
        let bus = Bus::new(kind);
        let (a, b) = (Node::start(&bus).await, Node::start(&bus).await);
        let (_at_a, _here) = a.enter().await;
        let (_at_b, _there) = b.enter().await;
        assert_eq!(a.main.count().await.unwrap().value, 2, "{kind:?}");
        bus.cut();
        let patience = Duration::from_millis(300);
        let count = a.main.everybody().timeout(patience).count().await.unwrap();
        assert_eq!((count.value, count.missing.nodes), (1, 1), "{kind:?}");
        let answers = a.main.to("nobody").timeout(patience).emit_with_ack::<Value>("q", ()).await.unwrap();
        assert_eq!(answers.missing.nodes, 1);
        bus.heal();
        assert_eq!(a.main.count().await.unwrap().value, 2);
    }
}

#[tokio::test]
async fn namespaces_that_clients_bring_to_life_are_on_the_backplane() {
    let bus = Bus::new(Kind::Plain);
    let mut clients = Vec::new();
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let config = Config { cleanup_empty_child_namespaces: true, ..on(&bus) };
        let mut server = Server::new(config);
        server.dynamic_namespace("/game-*").on("say", |event: Event| async move {
            event.namespace().emit("said", event.data::<String>()?)?;
            sockeye::Ok(())
        });
        let host = Host::of(server).await;
        clients.push(Client::enter_with(&host, "40/game-7,").await);
        nodes.push(host);
    }
    let nsp = Nsp::new("/game-7");
    until(|| bus.uids(&nsp).len() == 2).await;
    clients[0].say(r#"42/game-7,["say","hi"]"#).await;
    for client in &mut clients {
        client.hears(&[r#"42/game-7,["said","hi"]"#]).await;
    }
    clients.remove(0).ws.close(None).await;
    until(|| bus.uids(&nsp).len() == 1).await;
}

#[tokio::test]
async fn an_emitter_is_heard_and_a_lost_connection_is_told() {
    let bus = Bus::new(Kind::Plain);
    let (told, mut events) = Log::new();
    let mut server = Server::new(on(&bus));
    server.on_backplane(move |event| told.add(event.clone()));
    let a = Node::serve(server).await;
    let (mut client, _socket) = a.enter().await;
    let emitted = Envelope {
        uid: "emitter".into(),
        nsp: "/".into(),
        message: Message::Broadcast {
            selector: Selector::all(),
            flags: Flags::default(),
            packet: Packet::text(r#"["said","by an emitter"]"#),
            request_id: None,
        },
    };
    bus.say(&emitted).unwrap();
    client.hears(&[r#"42["said","by an emitter"]"#]).await;
    let nsp = || "/".to_owned();
    bus.scribble(&Nsp::new("/"));
    assert_eq!(heard(&mut events).await, BackplaneEvent::Malformed { nsp: nsp() });
    bus.cut();
    a.main.emit("said", "into the void").unwrap();
    client.hears(&[r#"42["said","into the void"]"#]).await;
    assert_eq!(heard(&mut events).await, BackplaneEvent::Unpublished { nsp: nsp(), messages: 1 });
    bus.heal();
    assert_eq!(heard(&mut events).await, BackplaneEvent::Resumed { nsp: nsp(), whole: false });
    let stats = a.host.handle.stats().backplanes;
    assert_eq!((stats.len(), stats[0].0.as_str()), (1, "/"));
    let stats = stats[0].1;
    assert_eq!((stats.malformed, stats.gaps, stats.disconnects), (1, 1, 1), "{stats:?}");
}

#[tokio::test]
async fn more_than_may_wait_is_refused_and_told() {
    let bus = Bus::new(Kind::Plain);
    let (told, mut events) = Log::new();
    let mut server = Server::new(Config { backplane_bytes_max: 10_000, ..on(&bus) });
    server.on_backplane(move |event| told.add(event.clone()));
    let a = Node::serve(server).await;
    let (mut client, _socket) = a.enter().await;
    // The task that publishes has no turn while this one does not wait.
    for n in 0..20 {
        a.main.emit("said", (n, "x".repeat(1000))).unwrap();
    }
    for n in 0..20 {
        assert!(client.text().await.starts_with(&format!(r#"42["said",{n},"#)), "all are heard here");
    }
    assert!(matches!(heard(&mut events).await, BackplaneEvent::Unpublished { messages: 1, .. }));
    assert!(a.host.handle.stats().backplanes[0].1.refused > 0);
}

#[tokio::test]
async fn a_server_that_cannot_reach_its_backplane_does_not_begin() {
    let bus = Bus::new(Kind::Plain);
    bus.refuse(true);
    let host = Host::of(Server::new(on(&bus))).await;
    let error = within(host.serving).await.unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot find other nodes on memory: expected to reach the backplane: the bus is told to refuse"
    );
}

#[tokio::test]
async fn a_server_that_closes_leaves_the_backplane() {
    let bus = Bus::new(Kind::Plain);
    let (a, b) = (Node::start(&bus).await, Node::start(&bus).await);
    let peers = || a.host.handle.stats().backplanes.first().map_or(0, |(_, stats)| stats.peers);
    until(|| peers() == 1).await;
    b.host.handle.close();
    within(b.host.serving).await.unwrap().unwrap();
    assert_eq!(bus.uids(&Nsp::new("/")).len(), 1);
    assert_eq!(peers(), 0);
}

/// A server on the bus, and whoever enters it.
struct Node {
    host: Host,
    main: Namespace,
    entered: tokio::sync::Mutex<Receiver<Socket>>,
}

impl Node {
    async fn start(bus: &Bus) -> Self {
        Self::serve(Server::new(on(bus))).await
    }

    async fn serve(mut server: Server) -> Self {
        let (log, entered) = Log::new();
        let main = server
            .namespace("/")
            .on_connect(move |socket: Socket| {
                log.add(socket);
                async {}
            })
            .on("mark", |event: Event| async move { event.ack(()) })
            .on_server_event("who?", |event: ServerEvent| async move {
                let who: String = event.data()?;
                event.ack(format!("{who} and b"))?;
                sockeye::Ok(())
            })
            .handle();
        Self { host: Host::of(server).await, main, entered: entered.into() }
    }

    async fn enter(&self) -> (Client, Socket) {
        let client = Client::enter(&self.host).await;
        (client, heard(&mut *self.entered.lock().await).await)
    }
}

async fn until_rooms(socket: &Socket, count: usize) {
    until(|| socket.rooms().len() == count).await;
}

fn on(bus: &Bus) -> Config {
    Config { adapter: Some(bus.adapter()), ..Config::default() }
}
