//! Requests and upgrades reach the right worker, whole.

#![expect(clippy::unwrap_used, reason = "a test that fails to set itself up may panic")]

mod world;

use std::sync::atomic::Ordering;

use sockeye_edge::Config;
use sockeye_edge::config::{Group, Members};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use world::{POLL, SOCKET, World, all, read_answer, read_head, sid, until, upgrade};

#[tokio::test]
async fn each_request_of_a_kept_connection_goes_its_own_way() {
    let (world, workers) = World::with(3).await;
    let mut stream = world.connect().await;
    for round in 0..10 {
        for worker in &workers {
            let target = format!("{POLL}&sid={}&round={round}", sid(worker.tag));
            stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
            let (_, body) = read_answer(&mut stream).await;
            assert_eq!(body, format!("{} GET {target}", worker.tag));
        }
    }
}

#[tokio::test]
async fn a_thousand_requests_on_one_connection_cost_one_upstream_connection() {
    let (world, workers) = World::with(1).await;
    let mut stream = world.connect().await;
    for n in 0..1000 {
        stream.write_all(format!("GET /n{n} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        let (head, body) = read_answer(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(body, format!("{} GET /n{n}", workers[0].tag));
    }
    let stats = world.control.stats();
    assert_eq!((stats.accepted, stats.relay.connects, stats.relay.requests), (1, 1, 1000));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let (world, workers) = World::with(2).await;
    let mut stream = world.connect().await;
    let [first, second] = [sid(workers[0].tag), sid(workers[1].tag)];
    let request = |sid: &str| format!("GET {POLL}&sid={sid} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all((request(&first) + &request(&second) + &request(&first)).as_bytes()).await.unwrap();
    for expected in [0, 1, 0] {
        let (_, body) = read_answer(&mut stream).await;
        assert!(body.starts_with(workers[expected].tag.as_str()), "{body}");
    }
}

#[tokio::test]
async fn bodies_arrive_whole_however_they_are_framed() {
    let (world, workers) = World::with(1).await;
    let tag = workers[0].tag;
    let mut stream = world.connect().await;
    let big = "x".repeat(3_000_000);
    let head = format!("POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", big.len());
    stream.write_all((head + &big).as_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut stream).await.1, format!("{tag} 3000000"));
    stream.write_all(b"POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
    for _ in 0..100 {
        stream.write_all(b"5\r\nhello\r\n").await.unwrap();
        tokio::task::yield_now().await;
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(read_answer(&mut stream).await.1, format!("{tag} 500"));
}

#[tokio::test]
async fn old_and_careful_clients_are_served_too() {
    let (world, workers) = World::with(1).await;
    let tag = workers[0].tag;
    let answer = world.say("GET /x HTTP/1.0\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with(&format!("{tag} GET /x")),
        "{answer}"
    );
    let answer = world.say("HEAD /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("content-length: 14\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    let mut stream = world.connect().await;
    let head = "POST /count HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_head(&mut stream).await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").await.unwrap();
    assert_eq!(read_answer(&mut stream).await.1, format!("{tag} 3"));
    // A target with an authority names the host; a client's own Upgrade to something else is not carried.
    stream
        .write_all(b"GET http://b/headers HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        .await
        .unwrap();
    let (head, body) = read_answer(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 200") && body.starts_with("b edge "), "{head}{body}");
}

#[tokio::test]
async fn an_answer_without_a_body_ends_with_its_head() {
    let (world, workers) = World::with(1).await;
    let mut stream = world.connect().await;
    for (request, status) in [
        ("GET /nothing", "HTTP/1.1 204"),
        ("HEAD /nothing", "HTTP/1.1 204"),
        ("GET /unchanged", "HTTP/1.1 304"),
        ("HEAD /x", "HTTP/1.1 200"),
    ] {
        stream.write_all(format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        let head = read_head(&mut stream).await;
        assert!(head.starts_with(status), "{request}: {head}");
    }
    stream.write_all(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let (_, body) = read_answer(&mut stream).await;
    assert_eq!(body, format!("{} GET /x", workers[0].tag), "nothing of the earlier answers is left");
    assert_eq!(world.control.stats().relay.connects, 1);
}

#[tokio::test]
async fn workers_learn_who_asks_and_cannot_be_lied_to() {
    let (world, _workers) = World::with(1).await;
    let mut stream = world.connect().await;
    let peer = stream.local_addr().unwrap();
    stream
        .write_all(
            b"GET /headers HTTP/1.1\r\nHost: chat.example\r\nX-Sockeye-Peer: 6.6.6.6:6\r\n\
              X-Sockeye-Relayed: AAAAAA\r\nX-Sockeye-Forged: 1\r\nX-Forwarded-For: 10.1.1.1\r\n\r\n",
        )
        .await
        .unwrap();
    let (_, body) = read_answer(&mut stream).await;
    assert_eq!(body, format!("chat.example edge {peer} {} -", peer.ip()));
}

#[tokio::test]
async fn a_client_that_wants_to_close_is_closed_and_the_upstream_connection_kept() {
    let (world, _workers) = World::with(1).await;
    for _ in 0..10 {
        let answer = world.get("/x").await;
        assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    }
    until(|| world.control.stats().open == 0).await;
    assert_eq!(world.control.stats().relay.connects, 1);
}

#[tokio::test]
async fn an_upgrade_is_handed_over_with_every_byte_read() {
    let (world, workers) = World::with(2).await;
    for worker in &workers {
        let mut stream = world.connect().await;
        let request = upgrade(&format!("{SOCKET}&sid={}", sid(worker.tag))) + "early";
        let (front, back) = request.split_at(40);
        stream.write_all(front.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
        stream.write_all(back.as_bytes()).await.unwrap();
        assert_eq!(read_head(&mut stream).await, format!("HTTP/1.1 101 {}\r\n\r\n", worker.tag));
        stream.write_all(b" late").await.unwrap();
        let mut echoed = [0; 10];
        stream.read_exact(&mut echoed).await.unwrap();
        assert_eq!(&echoed, b"early late");
        assert_eq!(worker.counts.handovers.load(Ordering::Relaxed), 1);
    }
    // The edge holds nothing of them any more.
    until(|| world.control.stats().open == 0).await;
    assert_eq!(world.control.stats().handed_over, 2);
}

#[tokio::test]
async fn an_upgrade_that_comes_later_on_a_connection_goes_through_a_tunnel() {
    let (world, workers) = World::with(2).await;
    let mut stream = world.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_answer(&mut stream).await;
    let tag = workers[1].tag;
    tunnel(&mut stream, &format!("{SOCKET}&sid={}", sid(tag)), tag.as_str()).await;
    until(|| world.control.stats().relay.tunnels == 1 && world.control.stats().open == 0).await;
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    until(|| world.control.stats().relay.tunnels == 0).await;
}

#[tokio::test]
async fn an_upgrade_of_the_applications_own_goes_through_a_tunnel() {
    let (world, workers) = World::with(1).await;
    let mut stream = world.connect().await;
    tunnel(&mut stream, "/live", workers[0].tag.as_str()).await;
}

#[tokio::test]
async fn a_hundred_clients_at_once_are_split_evenly() {
    for target in [POLL, SOCKET] {
        let (world, workers) = World::with(2).await;
        let address = world.address;
        all((0..100).map(|_| async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = if target == POLL {
                format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
            } else {
                upgrade(target)
            };
            stream.write_all(request.as_bytes()).await.unwrap();
            read_head(&mut stream).await
        }))
        .await;
        let split: Vec<_> = workers.iter().map(|w| w.counts.arrived.load(Ordering::Relaxed)).collect();
        assert_eq!(split, [50, 50], "{target}");
        let loads = || {
            world
                .control
                .stats()
                .workers
                .iter()
                .map(|w| u64::from(w.share.sessions) + w.share.on_the_way)
                .collect::<Vec<_>>()
        };
        until(|| loads() == [50, 50]).await;
    }
}

#[tokio::test]
async fn health_and_readiness_are_the_edges_own_word() {
    let group = Group::new(Group::WORKERS, Members::Workers { ready_min: 2.try_into().unwrap() });
    let world = World::start(Config { groups: vec![group], ..Config::default() });
    let (ok, not_ready) = ("HTTP/1.1 200", "HTTP/1.1 503");
    check(&world, "GET", "/health", ok, "ok").await;
    check(&world, "HEAD", "/health", ok, "").await;
    check(&world, "GET", "/health.txt", ok, "").await;
    check(&world, "GET", "/ready", not_ready, "no worker is ready").await;
    let mut first = world.worker(1).await;
    check(&world, "GET", "/ready", not_ready, "no worker is ready").await;
    let second = world.worker(2).await;
    check(&world, "GET", "/ready", ok, "ok").await;
    check(&world, "HEAD", "/ready", ok, "").await;
    first.kill().await;
    first.forgotten().await;
    check(&world, "GET", "/ready", ok, "ok").await;
    world.control.drain(second.tag);
    check(&world, "HEAD", "/ready", not_ready, "").await;
    check(&world, "GET", "/health", ok, "ok").await;
}

async fn check(world: &World, method: &str, target: &str, status: &str, body: &str) {
    let request = format!("{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = world.say(&request).await;
    assert!(answer.starts_with(status), "{method} {target}: {answer}");
    assert_eq!(answer.split_once("\r\n\r\n").unwrap().1, body, "{method} {target}");
}

/// Upgrades, and expects an echo behind the worker's greeting.
async fn tunnel(stream: &mut TcpStream, target: &str, greeting: &str) {
    stream.write_all(upgrade(target).as_bytes()).await.unwrap();
    let head = read_head(stream).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    stream.write_all(b"hello").await.unwrap();
    let mut answer = vec![0; greeting.len() + 5];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), format!("{greeting}hello"));
}
