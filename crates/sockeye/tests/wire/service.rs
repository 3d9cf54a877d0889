//! Inside somebody else's server, and closing in order.

use crate::harness::{
    Client, Frame, Host, Log, POLLING, WEBSOCKET, Ws, answer, handshake_head, read_head, until, within,
};
use axum::Router;
use axum::routing::get;
use sockeye::{Config, Event, Handle, Server, Socket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn axum_routes_and_socket_io_live_on_one_port() {
    for route in [true, false] {
        let (host, _) = under_axum(route).await;
        assert_eq!(host.get("/hello").await.body, "hello");
        let nowhere = host.get("/nowhere").await;
        assert_eq!(nowhere.status, 404);
        // By polling, on a WebSocket, and from one to the other.
        let sid = host.open_polling().await;
        host.push(&sid, "40").await;
        assert!(host.poll(&sid).await.body.starts_with("40{"));
        host.push(&sid, r#"421["mark"]"#).await;
        assert_eq!(host.poll(&sid).await.body, "431[]");
        let poll = host.begin("GET", &host.poll_target(&sid), "", "").await;
        let mut ws = Ws::probe(&host, &sid).await;
        assert_eq!(answer(poll).await.body, "6");
        ws.send("5").await;
        ws.send(r#"422["mark"]"#).await;
        assert_eq!(ws.text().await, "432[]");
        let mut client = Client::enter(&host).await;
        client.hears_nothing().await;
        let big = "x".repeat(300_000);
        client.say(&format!(r#"427["echo","{big}"]"#)).await;
        client.hears(&[&format!(r#"437["{big}"]"#)]).await;
        assert_eq!(host.get("/hello").await.body, "hello");
    }
}

#[tokio::test]
async fn below_axum_requests_are_refused_in_the_same_words() {
    let (host, _) = under_axum(true).await;
    for (query, body) in [
        ("EIO=4", r#"{"code":0,"message":"Transport unknown"}"#),
        ("EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA", r#"{"code":1,"message":"Session ID unknown"}"#),
        ("EIO=3&transport=polling", r#"{"code":5,"message":"Unsupported protocol version"}"#),
    ] {
        let refused = host.get(&host.target(query)).await;
        assert_eq!((refused.status, &*refused.body), (400, body), "{query}");
    }
    let target = host.target(&format!("{WEBSOCKET}&sid=AAAAAAAAAAAAAAAAAAAA"));
    let mut stream = host.connect().await;
    stream.write_all(handshake_head(&target).as_bytes()).await.unwrap();
    assert!(within(read_head(&mut stream)).await.unwrap().starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn a_service_that_is_closed_ends_its_clients_and_refuses_new_ones() {
    let (host, handle) = under_axum(true).await;
    let mut client = Client::enter(&host).await;
    let sid = host.open_polling().await;
    handle.close();
    assert!(matches!(client.next().await, Frame::Close(_)));
    within(async {
        while host.get(&host.target(POLLING)).await.status != 503 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    Ws::open(&host, WEBSOCKET).await.ended().await;
    assert_eq!(host.poll(&sid).await.status, 400);
    assert_eq!(host.get("/hello").await.body, "hello");
}

#[tokio::test]
async fn a_server_that_is_closed_leaves_nothing_behind() {
    let tasks = tokio::runtime::Handle::current().metrics();
    assert_eq!(tasks.num_alive_tasks(), 0);
    let (log, mut reasons) = Log::new();
    let host = Host::with(Config::default(), |main| {
        main.on_disconnect(move |_: Socket, reason| {
            let log = log.clone();
            async move {
                // A farewell to a database, say.
                tokio::time::sleep(Duration::from_millis(30)).await;
                log.add(reason.to_string());
            }
        });
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(Client::enter(&host).await);
    }
    let sid = host.open_polling().await;
    host.push(&sid, "40").await;
    let probe = Ws::probe(&host, &sid).await;
    let mut idle = host.connect().await;
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    within(read_head(&mut idle)).await.unwrap();
    let _silent = host.connect().await;
    host.settle().await;
    host.handle.close();
    for client in &mut clients {
        assert!(matches!(client.next().await, Frame::Close(_)));
        assert_eq!(client.next().await, Frame::End);
    }
    drop(clients);
    drop(probe);
    within(host.serving).await.unwrap().unwrap();
    for _ in 0..4 {
        assert_eq!(
            reasons.try_recv().unwrap(),
            "server shutting down",
            "handlers are done when serve returns"
        );
    }
    within(until(|| tasks.num_alive_tasks() == 0)).await;
    assert!(TcpStream::connect(host.address).await.is_err(), "the port is free");
}

#[tokio::test]
async fn a_server_that_closes_does_not_wait_for_ever() {
    let host = Host::with(Config::default(), |main| {
        main.on("stuck", async |_: Event| std::future::pending::<()>().await);
    })
    .await;
    let mut client = Client::enter(&host).await;
    client.say(r#"42["stuck"]"#).await;
    host.settle().await;
    host.handle.close();
    within(host.serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_handle_may_be_closed_before_and_more_than_once() {
    let server = Server::new(Config::default());
    server.handle().close();
    let host = Host::of(server).await;
    host.handle.close();
    within(host.serving).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_clients_come_talk_and_go_at_once() {
    const CLIENTS: usize = 200;
    let left = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&left);
    let mut server = Server::new(Config::default());
    let main = server
        .namespace("/")
        .on("mark", async |event: Event| event.ack(()))
        .on_disconnect(move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
            async {}
        })
        .handle();
    let host = Arc::new(Host::of(server).await);
    let mut work = tokio::task::JoinSet::new();
    for number in 0..CLIENTS {
        let host = Arc::clone(&host);
        work.spawn(async move {
            let mut client = if number % 2 == 0 {
                Client::enter(&host).await
            } else {
                let sid = host.open_polling().await;
                let mut ws = Ws::probe(&host, &sid).await;
                ws.send("5").await;
                let mut client = Client::on(ws);
                client.join("40").await;
                client
            };
            for _ in 0..10 {
                client.hears_nothing().await;
            }
            client
        });
    }
    let clients = within(work.join_all()).await;
    assert_eq!(main.local_len(), CLIENTS);
    drop(clients);
    until(|| main.local_len() == 0 && left.load(Ordering::SeqCst) == CLIENTS).await;
}

/// An axum app with a route of its own and Socket.IO beside it: as a route, or for all that is left.
async fn under_axum(route: bool) -> (Host, Handle) {
    let mut server = Server::new(Config::default());
    server
        .namespace("/")
        .on("mark", async |event: Event| event.ack(()))
        .on("echo", async |event: Event| event.ack(event.args()));
    let handle = server.handle();
    let service = server.into_service();
    let app = Router::new().route("/hello", get(async || "hello"));
    let app = if route { app.route_service("/socket.io/", service) } else { app.fallback_service(service) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    (Host::at(address, handle.clone(), serving), handle)
}
