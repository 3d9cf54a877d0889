//! Two servers of one process in one mesh, each with clients of its own.

use super::*;
use crate::{Answers, Config, Missing, Namespace, RemoteSocket, Server, ServerEvent, Socket};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::future::ready;
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

type Client = WebSocketStream<TcpStream>;

#[tokio::test]
async fn a_broadcast_gathers_the_acks_of_every_node() {
    let (nodes, _dir) = pair().await;
    let mut clients = [nodes[0].enter().await, nodes[0].enter().await, nodes[1].enter().await];
    let main = nodes[0].main.clone();
    let asking = tokio::spawn(async move { main.emit_all::<Value>(Duration::from_secs(9)).await });
    for (index, client) in clients.iter_mut().enumerate() {
        assert_eq!(hear(client).await, r#"420["q"]"#);
        say(client, &format!("430[{index}]")).await;
    }
    let mut answers = asking.await.unwrap();
    answers.values.sort_unstable_by_key(Value::to_string);
    assert_eq!(answers, Answers { values: vec![json!(0), json!(1), json!(2)], missing: Missing::default() });

    let main = nodes[1].main.clone();
    let asking = tokio::spawn(async move { main.emit_all::<u8>(Duration::from_millis(100)).await });
    assert_eq!(hear(&mut clients[2]).await, r#"421["q"]"#);
    say(&mut clients[2], "431[5]").await;
    let answers = asking.await.unwrap();
    assert_eq!(answers.values, [5]);
    assert_eq!(answers.missing, Missing { clients: 2, nodes: 1, unreadable: 0 });
}

#[tokio::test]
async fn sockets_of_every_node_are_fetched_and_moved() {
    let (nodes, _dir) = pair().await;
    let mut here = nodes[0].enter().await;
    let mut there = nodes[1].enter().await;
    let sockets = nodes[0].main.fetch_sockets().await.unwrap();
    let mut data: Vec<_> = sockets.iter().map(|socket| socket.data::<String>().unwrap().unwrap()).collect();
    data.sort();
    assert_eq!(data, ["aaaaaa", "bbbbbb"]);
    let remote = sockets.iter().find(|socket| socket.id().starts_with("bbbbbb")).unwrap();
    assert_eq!(remote.handshake().query["EIO"], "4");
    remote.join(["room"]);
    remote.emit("hi", 1).unwrap();
    assert_eq!(hear(&mut there).await, r#"42["hi",1]"#);
    let found = nodes[0].main.to("room").fetch_sockets().await.unwrap();
    assert_eq!(found.iter().map(RemoteSocket::id).collect::<Vec<_>>(), [remote.id()]);
    assert!(nodes[0].main.local().fetch_sockets().await.unwrap().len() == 1);
    remote.disconnect();
    assert_eq!(hear(&mut there).await, "41");
    nodes[1].main.emit("bye", ()).unwrap();
    assert_eq!(hear(&mut here).await, r#"42["bye"]"#);
}

#[tokio::test]
async fn servers_speak_to_each_other_and_answer() {
    let (nodes, _dir) = pair().await;
    let _client = nodes[1].enter().await;
    let answers = nodes[0].main.server_side_emit_with_ack::<(String, usize)>("count", 4).await;
    // One value: the tuple was several.
    assert_eq!(answers.unwrap().missing.unreadable, 1);
    let answers = nodes[0].main.server_side_emit_with_ack::<String>("count", 4).await.unwrap();
    assert_eq!(answers, Answers { values: vec!["bbbbbb".to_owned()], missing: Missing::default() });
    // Without an answer: the other tells its client.
    let mut client = nodes[1].enter().await;
    nodes[0].main.server_side_emit("say", json!({"x": 1})).unwrap();
    assert_eq!(hear(&mut client).await, r#"42["said",{"x":1}]"#);
    let mesh = nodes[0].listening.site.core.mesh.get().unwrap();
    assert_eq!(mesh.stats().malformed, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_emits_after_a_join_reaches_who_has_joined() {
    let (nodes, _dir) = pair().await;
    let mut client = nodes[1].enter().await;
    let mesh = nodes[0].listening.site.core.mesh.get().unwrap();
    // Until the other's board is trusted everything is sent.
    while mesh.stats().spared == 0 {
        nodes[0].main.to("nobody").emit("n", ()).unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for round in 0..300 {
        let room = format!("room{round}");
        // Joined there, or from here.
        let from = &nodes[usize::from(round % 2 == 0)].main;
        from.everybody().sockets_join([room.as_str()]);
        nodes[0].main.to(room.as_str()).emit("n", round).unwrap();
        assert_eq!(hear(&mut client).await, format!(r#"42["n",{round}]"#));
        nodes[1].main.to(room.as_str()).sockets_leave([room.as_str()]);
    }
    // It has left every room.
    let spared = mesh.stats().spared;
    while mesh.stats().spared < spared + 300 {
        (0..300).for_each(|round| nodes[0].main.to(format!("room{round}")).emit("late", round).unwrap());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    nodes[0].main.emit("end", ()).unwrap();
    assert_eq!(hear(&mut client).await, r#"42["end"]"#);
}

#[tokio::test]
async fn a_node_without_that_namespace_has_nobody_in_it() {
    let (nodes, _dir) = pair().await;
    let admin = nodes[0].admin.clone();
    let answers = admin.everybody().emit_with_ack::<Value>("q", ()).await.unwrap();
    assert!(answers.is_complete() && answers.values.is_empty());
    assert!(admin.fetch_sockets().await.unwrap().is_empty());
}

impl Namespace {
    async fn emit_all<T: crate::FromArgs>(&self, timeout: Duration) -> Answers<T> {
        self.everybody().timeout(timeout).emit_with_ack("q", ()).await.unwrap()
    }
}

/// A server in the mesh, on a port of its own.
struct Node {
    listening: Listening,
    main: Namespace,
    admin: Namespace,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Node {
    async fn start(dir: &Path, tag: &'static str) -> Self {
        let mut server = Server::new(Config::default());
        let main = server
            .namespace("/")
            .on_connect(move |socket: Socket| ready(socket.set_data(tag)))
            .on_server_event("count", move |event: ServerEvent| {
                ready(event.ack((tag, event.data::<u8>().ok())))
            })
            .on_server_event("say", |event: ServerEvent| ready(event.namespace().emit("said", event.args())))
            .handle();
        // Only the first has this one.
        let admin = server.namespace(if tag == "aaaaaa" { "/admin" } else { "/other" }).handle();
        let listening = server.start(tag.parse().unwrap());
        let http_path: PathBuf = dir.join(format!("{tag}.http"));
        join_mesh(&listening.site.core, dir, Some(&http_path)).unwrap().settled().await;
        let listener = bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = listening.clone();
        let serving = tokio::spawn(async move { running.run(listener).await });
        Self { listening, main, admin, address, serving }
    }

    /// A client in `/`.
    async fn enter(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket", self.address);
        let (mut client, _) = client_async(url, stream).await.unwrap();
        assert!(hear(&mut client).await.starts_with('0'));
        say(&mut client, "40").await;
        assert!(hear(&mut client).await.starts_with("40{"));
        // The handler of its entry is over when the next one's is: both are this thread's.
        tokio::task::yield_now().await;
        client
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pair() -> ([Node; 2], tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let nodes = [Node::start(dir.path(), "aaaaaa").await, Node::start(dir.path(), "bbbbbb").await];
    // The first hears of the second when it is dialled.
    while !nodes.iter().all(|node| node.listening.site.core.mesh.get().unwrap().has_peers()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (nodes, dir)
}

async fn say(client: &mut Client, text: &str) {
    client.send(Message::text(text)).await.unwrap();
}

async fn hear(client: &mut Client) -> String {
    let next = tokio::time::timeout(Duration::from_secs(20), client.next()).await;
    let message = next.expect("something was to be heard").unwrap().unwrap();
    message.into_text().unwrap().as_str().to_owned()
}
