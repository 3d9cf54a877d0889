//! Who hears what: rooms, broadcasts, and sockets that are moved by others.

use crate::harness::{Client, Host, Log, heard, until};
use sockeye::{Broadcast, Config, Event, Namespace, Server, Socket};
use std::num::NonZeroUsize;
use tokio::sync::mpsc::Receiver;

/// A choice of sockets by the first of them, with everybody's ids.
type Choose = fn(&Socket, &[Socket]) -> Broadcast;

#[tokio::test]
async fn a_broadcast_reaches_whom_it_means_and_each_once() {
    // Sockets 0 to 3; 0 is in a, 1 in a and b, 2 in b, 3 in none.
    let rows: [(&str, Choose, &[usize]); 20] = [
        ("everybody", |s, _| s.namespace().everybody(), &[0, 1, 2, 3]),
        ("local", |s, _| s.namespace().local(), &[0, 1, 2, 3]),
        ("to a", |s, _| s.namespace().to("a"), &[0, 1]),
        ("to a and b", |s, _| s.namespace().to("a").to("b"), &[0, 1, 2]),
        ("to a twice", |s, _| s.namespace().to("a").to("a"), &[0, 1]),
        ("to nobody", |s, _| s.namespace().to("none"), &[]),
        ("to nobody and a", |s, _| s.namespace().to("none").to("a"), &[0, 1]),
        ("except a", |s, _| s.namespace().except("a"), &[2, 3]),
        ("except a and b", |s, _| s.namespace().except("a").except("b"), &[3]),
        ("to a except b", |s, _| s.namespace().to("a").except("b"), &[0]),
        ("to an id", |s, all| s.namespace().to(all[3].id()), &[3]),
        ("to an id and its room", |s, all| s.namespace().to(all[1].id()).to("a"), &[0, 1]),
        ("except an id", |s, all| s.namespace().except(all[3].id()), &[0, 1, 2]),
        ("to a by a socket", |s, _| s.to("a"), &[1]),
        ("to b by a socket", |s, _| s.to("b"), &[1, 2]),
        ("broadcast", |s, _| s.broadcast(), &[1, 2, 3]),
        ("broadcast except", |s, _| s.except("b"), &[3]),
        ("broadcast to oneself", |s, _| s.to(s.id()), &[]),
        ("broadcast to an id", |s, all| s.to(all[2].id()), &[2]),
        ("local to b by a socket", |s, _| s.broadcast().local().to("b"), &[1, 2]),
    ];
    for threads in [1, 8] {
        let config = Config { threads: NonZeroUsize::new(threads).unwrap(), ..Config::default() };
        let (host, mut entered) = host(config).await;
        let (mut clients, sockets) = crowd(&host, &mut entered, 4).await;
        sockets[0].join(["a"]);
        sockets[1].join(["a", "b"]);
        sockets[2].join(["b", "b"]);
        for (what, choose, expected) in rows {
            choose(&sockets[0], &sockets).emit("said", what).unwrap();
            for (index, client) in clients.iter_mut().enumerate() {
                if expected.contains(&index) {
                    client.hears(&[&format!(r#"42["said","{what}"]"#)]).await;
                }
                client.hears_nothing().await;
            }
        }
    }
}

#[tokio::test]
async fn namespaces_do_not_hear_each_other() {
    let (host, mut entered) = host(Config::default()).await;
    let mut client = Client::enter(&host).await;
    let main = heard(&mut entered).await;
    client.join("40/other").await;
    let other = heard(&mut entered).await;
    main.join(["room"]);
    other.join(["room"]);
    other.namespace().to("room").emit("x", 1).unwrap();
    main.namespace().to("room").emit("x", 2).unwrap();
    main.namespace().to(other.id()).emit("x", 3).unwrap();
    client.hears(&[r#"42/other,["x",1]"#, r#"42["x",2]"#]).await;
    client.hears_nothing().await;
    assert_eq!((main.namespace().name(), other.namespace().name()), ("/", "/other"));
}

#[tokio::test]
async fn a_socket_is_in_its_own_room_until_it_is_gone() {
    let (host, mut entered) = host(Config::default()).await;
    let (clients, sockets) = crowd(&host, &mut entered, 2).await;
    let rooms = |socket: &Socket| socket.rooms().iter().map(ToString::to_string).collect::<Vec<_>>();
    let id = clients[0].id.clone();
    assert_eq!(sockets[0].id().as_str(), id);
    assert_eq!(rooms(&sockets[0]), [&*id]);
    sockets[0].join(["a", "b", "a"]);
    assert_eq!(rooms(&sockets[0]), [&*id, "a", "b"]);
    sockets[0].leave("a");
    sockets[0].leave("none");
    assert_eq!(rooms(&sockets[0]), [&*id, "b"]);
    drop(clients);
    until(|| sockets[0].namespace().local_len() == 0).await;
    assert!(sockets[0].rooms().is_empty());
    sockets[0].join(["a"]);
    assert!(sockets[0].rooms().is_empty());
    assert_eq!(sockets[0].namespace().local_len(), 0);
}

#[tokio::test]
async fn a_room_is_left_by_leaving_and_by_being_gone() {
    let (host, mut entered) = host(Config::default()).await;
    let (mut clients, sockets) = crowd(&host, &mut entered, 3).await;
    sockets.iter().for_each(|socket| socket.join(["room"]));
    sockets[0].leave("room");
    clients[1].say("41").await;
    until(|| !sockets[1].is_connected()).await;
    sockets[0].namespace().to("room").emit("x", 1).unwrap();
    clients[2].hears(&[r#"42["x",1]"#]).await;
    clients[0].hears_nothing().await;
    clients[1].join("40").await;
    clients[1].hears_nothing().await;
}

#[tokio::test]
async fn sockets_are_moved_and_disconnected_by_others() {
    let (host, mut entered) = host(Config::default()).await;
    let (mut clients, sockets) = crowd(&host, &mut entered, 4).await;
    let main: Namespace = sockets[0].namespace();
    sockets[0].join(["a"]);
    sockets[1].join(["a"]);
    main.to("a").sockets_join(["b", "c"]);
    main.to(sockets[2].id()).sockets_join(["c"]);
    main.to("b").except(sockets[0].id()).sockets_leave(["c"]);
    main.to("c").emit("x", 1).unwrap();
    for (index, client) in clients.iter_mut().enumerate() {
        if [0, 2].contains(&index) {
            client.hears(&[r#"42["x",1]"#]).await;
        }
        client.hears_nothing().await;
    }
    main.everybody().sockets_leave(["a", "b"]);
    main.to("a").to("b").emit("x", 2).unwrap();
    // Out of the namespace, with the connection left, and without.
    main.to("c").except(sockets[2].id()).disconnect_sockets(false);
    clients[0].hears(&["41"]).await;
    clients[0].join("40").await;
    heard(&mut entered).await;
    sockets[3].broadcast().except(sockets[1].id()).disconnect_sockets(true);
    for client in [0, 2] {
        clients[client].hears(&["41"]).await;
        clients[client].ws.ended().await;
    }
    clients[1].hears_nothing().await;
    clients[3].hears_nothing().await;
    until(|| main.local_len() == 2).await;
}

#[tokio::test]
async fn anybody_may_emit_from_any_task() {
    let mut server = Server::new(Config::default());
    let main = server.namespace("/").handle();
    server.namespace("/").on("mark", async |event: Event| event.ack(()));
    let host = Host::of(server).await;
    let mut client = Client::enter(&host).await;
    client.hears_nothing().await;
    std::thread::spawn(move || {
        for number in 0..100 {
            main.emit("x", number).unwrap();
        }
    })
    .join()
    .unwrap();
    for number in 0..100 {
        client.hears(&[&format!(r#"42["x",{number}]"#)]).await;
    }
}

#[tokio::test]
async fn volatile_events_are_dropped_for_who_cannot_take_them() {
    let (host, mut entered) = host(Config::default()).await;
    let sid = host.open_polling().await;
    host.push(&sid, "40").await;
    let socket = heard(&mut entered).await;
    host.poll(&sid).await;
    // Nobody polls: the one is dropped, the other waits.
    host.settle().await;
    socket.emit_volatile("x", 1).unwrap();
    socket.namespace().volatile().emit("x", 2).unwrap();
    socket.emit("x", 3).unwrap();
    assert_eq!(host.poll(&sid).await.body, r#"42["x",3]"#);
    // With a poll that waits it goes out.
    let poll = host.begin_poll(&sid).await;
    socket.emit_volatile("x", 4).unwrap();
    assert_eq!(crate::harness::answer(poll).await.body, r#"42["x",4]"#);
    let mut client = Client::enter(&host).await;
    let socket = heard(&mut entered).await;
    client.hears_nothing().await;
    socket.emit_volatile("x", 5).unwrap();
    client.hears(&[r#"42["x",5]"#]).await;
}

#[tokio::test]
async fn what_is_said_on_connecting_comes_after_the_answer() {
    let host = Host::with(Config::default(), |main| {
        main.guard(async |socket: Socket| {
            socket.join(["too early"]);
            Ok(())
        });
        main.on_connect(async |socket: Socket| {
            socket.join(["room"]);
            socket.namespace().to("room").emit("room", ())?;
            socket.namespace().to("too early").emit("early", ())?;
            socket.broadcast().emit("newcomer", ())?;
            socket.emit("self", ())
        });
    })
    .await;
    let mut first = Client::enter(&host).await;
    first.hears(&[r#"42["room"]"#, r#"42["self"]"#]).await;
    let mut second = Client::enter(&host).await;
    second.hears(&[r#"42["room"]"#, r#"42["self"]"#]).await;
    first.hears(&[r#"42["room"]"#, r#"42["newcomer"]"#]).await;
}

/// A server with two namespaces that lists who enters.
async fn host(config: Config) -> (Host, Receiver<Socket>) {
    let (log, entered) = Log::new();
    let mut server = Server::new(config);
    for name in ["/", "/other"] {
        let log = log.clone();
        server
            .namespace(name)
            .on_connect(move |socket: Socket| {
                log.add(socket);
                async {}
            })
            .on("mark", async |event: Event| event.ack(()));
    }
    (Host::of(server).await, entered)
}

async fn crowd(host: &Host, entered: &mut Receiver<Socket>, size: usize) -> (Vec<Client>, Vec<Socket>) {
    let (mut clients, mut sockets) = (Vec::new(), Vec::new());
    for _ in 0..size {
        clients.push(Client::enter(host).await);
        sockets.push(heard(entered).await);
    }
    (clients, sockets)
}
