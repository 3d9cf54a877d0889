//! Questions to many: broadcasts with acks, and who is there.

use crate::harness::{Client, Host, Log, heard};
use serde_json::{Value, json};
use sockeye::{Answers, AskError, Config, Event, Missing, Namespace, RemoteSocket, Server, Socket};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

#[tokio::test]
async fn a_broadcast_gathers_the_acks_of_all() {
    let (host, mut entered) = host().await;
    let (mut clients, sockets) = crowd(&host, &mut entered, 3).await;
    sockets[1].join(["room"]);
    sockets[2].join(["room"]);
    let main = sockets[0].namespace();
    let asking = tokio::spawn(async move { main.to("room").emit_with_ack::<u8>("q", "x").await });
    // Each socket numbers the acks that it owes.
    for (index, client) in clients.iter_mut().enumerate().skip(1) {
        client.hears(&[r#"420["q","x"]"#]).await;
        client.say(&format!("430[{index},\"more\"]")).await;
    }
    let mut answers = asking.await.unwrap().unwrap();
    answers.values.sort_unstable();
    assert_eq!(answers, Answers { values: vec![1, 2], missing: Missing::default() });
    assert!(answers.is_complete());
    clients[0].hears_nothing().await;
}

#[tokio::test]
async fn who_does_not_answer_in_time_is_missing() {
    let (host, mut entered) = host().await;
    let (mut clients, sockets) = crowd(&host, &mut entered, 4).await;
    let main = sockets[0].namespace();
    let patience = Duration::from_millis(100);
    let asking =
        tokio::spawn(
            async move { main.everybody().timeout(patience).emit_with_ack::<String>("q", ()).await },
        );
    clients[0].say(r#"430["yes"]"#).await;
    clients[1].say("430[1]").await;
    clients[2].ws.close(None).await;
    let answers = asking.await.unwrap().unwrap();
    assert_eq!(answers.values, ["yes"]);
    assert_eq!(answers.missing, Missing { clients: 2, nodes: 1, unreadable: 1 });
    // Too late: nobody minds.
    clients[3].hears(&[r#"420["q"]"#]).await;
    clients[3].say("430[2]").await;
    clients[3].hears_nothing().await;
}

#[tokio::test]
async fn nobody_is_asked_where_nobody_is() {
    let (host, mut entered) = host().await;
    let (_clients, sockets) = crowd(&host, &mut entered, 1).await;
    let main = sockets[0].namespace();
    let answers = main.to("none").emit_with_ack::<Value>("q", ()).await.unwrap();
    assert!(answers.values.is_empty() && answers.is_complete());
    let answers = main.server_side_emit_with_ack::<Value>("q", ()).await.unwrap();
    assert!(answers.values.is_empty() && answers.is_complete());
    for name in ["connect", "connection", "new_namespace"] {
        let error = main.server_side_emit(name, ()).unwrap_err();
        assert_eq!(error.to_string(), format!("\"{name}\" is a reserved event name"));
    }
    assert!(main.everybody().emit_with_ack::<Value>("connect", ()).await.is_err());
    assert!(main.to("none").fetch_sockets().await.unwrap().is_empty());
}

#[tokio::test]
async fn sockets_are_fetched_with_what_is_known_of_them() {
    let (host, mut entered) = host().await;
    let mut client = Client::enter_with(&host, r#"40{"token":"t"}"#).await;
    let socket = heard(&mut entered).await;
    let (_others, _) = crowd(&host, &mut entered, 2).await;
    socket.join(["room"]);
    socket.set_data(json!({"name": "n"})).unwrap();
    let main = socket.namespace();
    let all = main.fetch_sockets().await.unwrap();
    assert_eq!(all.len(), 3);
    let none = all.iter().find(|other| *other.id() != client.id.as_str()).unwrap();
    assert_eq!(none.data::<Value>().unwrap(), None);

    let found = main.to("room").fetch_sockets().await.unwrap();
    let [remote] = &found[..] else { panic!("{found:?}") };
    assert_eq!(*remote.id(), client.id.as_str());
    assert_eq!(rooms(remote), [client.id.as_str(), "room"]);
    assert_eq!(remote.data::<Value>().unwrap(), Some(json!({"name": "n"})));
    let handshake = remote.handshake();
    assert_eq!(handshake.auth, json!({"token": "t"}));
    assert_eq!(handshake.query["transport"], "websocket");
    assert_eq!(handshake.address, "127.0.0.1");

    remote.emit("hi", 1).unwrap();
    remote.join(["other"]);
    remote.leave("room");
    client.hears(&[r#"42["hi",1]"#]).await;
    assert_eq!(socket.rooms().iter().map(ToString::to_string).collect::<Vec<_>>(), [&client.id, "other"]);
    remote.disconnect();
    client.hears(&["41"]).await;
    assert_eq!(main.fetch_sockets().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_socket_that_was_fetched_answers() {
    let (host, mut entered) = host().await;
    let (mut clients, sockets) = crowd(&host, &mut entered, 2).await;
    let main = sockets[0].namespace();
    let found = main.to(clients[1].id.as_str()).fetch_sockets().await.unwrap();
    let remote = found[0].clone();
    let asking = tokio::spawn(async move { remote.emit_with_ack::<u8>("q", "x").await });
    clients[1].hears(&[r#"420["q","x"]"#]).await;
    clients[1].say("430[5]").await;
    assert_eq!(asking.await.unwrap().unwrap(), 5);
    clients[0].hears_nothing().await;

    let remote = found[0].clone();
    let late = Duration::from_millis(20);
    let error = remote.emit_with_ack_within::<u8>(late, "q", ()).await.unwrap_err();
    assert_eq!(error.to_string(), "operation has timed out");
    let asking = tokio::spawn(async move { remote.emit_with_ack::<u8>("q", ()).await });
    clients[1].hears(&[r#"421["q"]"#, r#"422["q"]"#]).await;
    clients[1].say(r#"432["no number"]"#).await;
    assert!(matches!(asking.await.unwrap(), Err(AskError::Answer(_))));
    sockets[1].disconnect();
    clients[1].hears(&["41"]).await;
    let error = found[0].emit_with_ack::<u8>("q", ()).await.unwrap_err();
    assert!(matches!(error, AskError::Disconnected), "{error}");
}

#[tokio::test]
async fn a_parent_namespace_is_asked_nothing() {
    let mut server = Server::new(Config::default());
    let parent = server.dynamic_namespace("/room-*").handle();
    let host = Host::of(server).await;
    let _client = Client::enter_with(&host, "40/room-1").await;
    let words = "asking is not supported on parent namespaces: ask each child by itself";
    assert_eq!(parent.fetch_sockets().await.unwrap_err().to_string(), words);
    let asked = parent.everybody().emit_with_ack::<Value>("q", ()).await;
    assert_eq!(asked.unwrap_err().to_string(), words);
    let within = Duration::from_millis(10);
    let asked = parent.server_side_emit_with_ack_within::<Value>(within, "q", ()).await;
    assert_eq!(asked.unwrap_err().to_string(), words);
}

#[tokio::test]
async fn a_handler_that_asks_its_own_client_is_answered() {
    let (log, mut answers) = Log::new();
    let host = Host::with(Config::default(), |main| {
        main.on("ask", move |event: Event| {
            let log = log.clone();
            async move { log.add(event.namespace().everybody().emit_with_ack::<u8>("q", ()).await.unwrap()) }
        });
    })
    .await;
    let mut client = Client::enter(&host).await;
    for _ in 0..200 {
        client.say(r#"42["ask"]"#).await;
    }
    client.hears(&[r#"420["q"]"#]).await;
    client.say("430[7]").await;
    assert_eq!(heard(&mut answers).await.values, [7]);
}

fn rooms(socket: &RemoteSocket) -> Vec<&str> {
    socket.rooms().iter().map(|room| room.as_str()).collect()
}

/// A server whose sockets are logged as they enter, and which acks `mark`.
async fn host() -> (Host, Receiver<Socket>) {
    let (log, entered) = Log::new();
    let host = Host::with(Config::default(), |main| {
        main.on_connect(move |socket: Socket| {
            log.add(socket);
            std::future::ready(())
        })
        .on("mark", |event: Event| async move { event.ack(()) });
    })
    .await;
    (host, entered)
}

async fn crowd(host: &Host, entered: &mut Receiver<Socket>, size: usize) -> (Vec<Client>, Vec<Socket>) {
    let (mut clients, mut sockets) = (Vec::new(), Vec::new());
    for _ in 0..size {
        clients.push(Client::enter(host).await);
        sockets.push(heard(entered).await);
    }
    (clients, sockets)
}

#[expect(dead_code, reason = "shows that the futures can be spawned")]
fn futures_are_send(main: &Namespace) {
    fn send<T: Send>(_: T) {}
    send(main.everybody().emit_with_ack::<Value>("q", ()));
    send(main.fetch_sockets());
    send(main.server_side_emit_with_ack::<Value>("q", ()));
}
