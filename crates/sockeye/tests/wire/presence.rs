//! Who is in which room on servers that meet on a backplane in memory, or in a mesh; clients are real.

use crate::harness::{Client, Host, Log, heard, until};
use sockeye::{Config, Presence, PresenceEvent, Server, Socket};
use sockeye_adapter_suite::memory::{Bus, Kind};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

#[tokio::test]
async fn who_joins_and_leaves_is_known_on_all_servers() {
    for kind in [Kind::Plain, Kind::Selecting, Kind::Keeping] {
        let bus = Bus::new(kind);
        let config = || Config { adapter: Some(bus.adapter()), ..Config::default() };
        let mut nodes = (Node::start(config()).await, Node::start(config()).await);
        comes_and_goes(&mut nodes.0, &mut nodes.1).await;
        bus.cut();
        let (client, socket) = nodes.0.enter().await;
        socket.join(["doc:late"]);
        until(|| nodes.0.io.presence_count("doc:late") == 1).await;
        assert_eq!(nodes.1.io.presence_count("doc:late"), 0, "{kind:?}");
        bus.heal();
        until(|| nodes.1.io.presence_count("doc:late") == 1).await;
        drop(client);
    }
}

#[tokio::test]
async fn the_same_in_a_mesh_which_knows_at_once_that_a_server_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let config = || Config { mesh_dir: Some(dir.path().join("mesh")), ..Config::default() };
    let (mut one, mut other) = (Node::start(config()).await, Node::start(config()).await);
    comes_and_goes(&mut one, &mut other).await;
    let (_client, socket) = one.enter().await;
    socket.join(["doc:1"]);
    until(|| other.io.presence_count("doc:1") == 1).await;
    one.host.handle.close();
    until(|| other.io.presence_count("doc:1") == 0).await;
    assert_eq!(other.io.presence_rooms(), [""; 0]);
}

#[tokio::test]
async fn a_server_that_is_alone_knows_its_own() {
    let mut node = Node::start(Config::default()).await;
    let (_client, socket) = node.enter().await;
    socket.join(["doc:1", "other"]);
    assert_eq!((node.io.presence_count("doc:1"), node.io.presence_count("other")), (1, 0));
    assert!(matches!(heard(&mut node.events).await, PresenceEvent::Joined { .. }));
    let mut plain = Server::new(Config::default());
    assert!(plain.namespace("/").handle().presence("doc:1").is_empty());
}

async fn comes_and_goes(one: &mut Node, other: &mut Node) {
    let (client, socket) = one.enter().await;
    socket.set_data(serde_json::json!({"name": "Ada", "secret": 1})).unwrap();
    socket.join(["doc:1", "doc:2", "not tracked"]);
    until(|| other.io.presence_count("doc:1") == 1 && other.io.presence_count("doc:2") == 1).await;
    let who = other.io.presence("doc:1").remove(0);
    assert_eq!((who.id(), who.data::<String>().unwrap()), (socket.id().as_str(), Some("Ada".to_owned())));
    let mut rooms = other.io.presence_rooms();
    rooms.sort_unstable();
    assert_eq!(rooms, ["doc:1", "doc:2"]);
    for node in [&mut *one, other] {
        for expected in ["doc:1", "doc:2"] {
            let event = heard(&mut node.events).await;
            assert!(matches!(&event, PresenceEvent::Joined { room, .. } if room == expected), "{event:?}");
        }
    }
    socket.set_data(serde_json::json!({"name": "Grace"})).unwrap();
    socket.leave("doc:2");
    for node in [&mut *one, other] {
        let (mut changed, mut left) = (false, false);
        while !(changed && left) {
            match heard(&mut node.events).await {
                PresenceEvent::Changed { who, .. } => {
                    changed |= who.data::<String>().unwrap().unwrap() == "Grace"
                }
                PresenceEvent::Left { room, .. } => left |= room == "doc:2",
                event @ (PresenceEvent::Joined { .. } | _) => panic!("{event:?}"),
            }
        }
    }
    drop(client);
    for node in [one, other] {
        let event = heard(&mut node.events).await;
        assert!(matches!(&event, PresenceEvent::Left { room, .. } if room == "doc:1"), "{event:?}");
        assert!(node.io.presence("doc:1").is_empty());
    }
}

struct Node {
    host: Host,
    io: sockeye::Namespace,
    entered: Receiver<Socket>,
    events: Receiver<PresenceEvent>,
}

impl Node {
    async fn start(config: Config) -> Self {
        let mut server = Server::new(config);
        let (log, entered) = Log::new();
        let (told, events) = Log::new();
        let mut tracked = Presence::default();
        tracked.interval = Duration::from_millis(200);
        let io = server
            .namespace("/")
            .on_connect(move |socket: Socket| {
                log.add(socket);
                async {}
            })
            .track_presence(
                tracked.of_rooms(|room| room.starts_with("doc:")).showing(|data| data["name"].clone()),
            )
            .on_presence(move |_: &sockeye::Namespace, event: &PresenceEvent| told.add(event.clone()))
            .handle();
        Self { host: Host::of(server).await, io, entered, events }
    }

    async fn enter(&mut self) -> (Client, Socket) {
        let client = Client::enter(&self.host).await;
        (client, heard(&mut self.entered).await)
    }
}
