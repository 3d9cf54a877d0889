//! Workers die, clients misbehave, and nobody hangs.

#![expect(clippy::unwrap_used, reason = "a test that fails to set itself up may panic")]

mod world;

use std::sync::atomic::Ordering;
use std::time::Duration;

use sockeye_edge::config::{Group, Limits, Queue};
use sockeye_edge::{BindError, Config, ConfigError, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use world::{POLL, SOCKET, World, all, read_answer, read_head, sid, until, upgrade};

#[tokio::test]
async fn a_session_that_nobody_has_gets_the_official_refusal_at_once() {
    let (world, workers) = World::with(1).await;
    let nobodys = format!("{POLL}&sid=ZZZZZZxxxxxxxxxxxxxx");
    for target in [&nobodys, "/socket.io/?sid=short&transport=polling"] {
        let answer = world.get(target).await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n{\"code\":1,\"message\":\"Session ID unknown\"}"), "{answer}");
    }
    let answer = world.say(&upgrade("/socket.io/?transport=websocket&sid=ZZZZZZxxxxxxxxxxxxxx")).await;
    assert_eq!(answer, REFUSED_UPGRADE);
    assert_eq!(workers[0].counts.requests.load(Ordering::Relaxed), 0);
    assert_eq!(world.control.stats().unknown_sids, 3);
}

#[tokio::test]
async fn a_dead_workers_sessions_are_refused_before_and_after_the_edge_knows() {
    let (world, mut workers) = World::with(2).await;
    let dead = sid(workers[0].tag);
    // A kept-alive upstream connection that the death breaks.
    world.get(&format!("{POLL}&sid={dead}")).await;
    workers[0].kill().await;
    for _ in 0..2 {
        for request in [
            format!("GET {POLL}&sid={dead} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
            format!(
                "POST {POLL}&sid={dead} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\n2"
            ),
        ] {
            let answer = world.say(&request).await;
            assert!(answer.ends_with("{\"code\":1,\"message\":\"Session ID unknown\"}"), "{answer}");
        }
        let answer = world.say(&upgrade(&format!("{SOCKET}&sid={dead}"))).await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.ends_with("Session ID unknown"), "{answer}");
        workers[0].forgotten().await;
    }
}

#[tokio::test]
async fn new_sessions_go_to_the_living_while_the_edge_does_not_know_of_a_death() {
    let (world, mut workers) = World::with(2).await;
    workers[0].kill().await;
    for _ in 0..10 {
        let answer = world.get(POLL).await;
        assert!(answer.contains(workers[1].tag.as_str()), "{answer}");
        let mut stream = world.connect().await;
        stream.write_all(upgrade(SOCKET).as_bytes()).await.unwrap();
        assert!(read_head(&mut stream).await.contains(workers[1].tag.as_str()));
    }
}

#[tokio::test]
async fn what_may_have_had_an_effect_ends_with_its_worker_and_what_only_reads_goes_to_another() {
    let (world, mut workers) = World::with(2).await;
    let mut posting = world.connect().await;
    posting.write_all(b"POST /hang HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    until(|| workers[0].counts.hanging.load(Ordering::Relaxed) == 1).await;
    // It is the second's turn, then the first's.
    world.get("/").await;
    let mut reading = world.connect().await;
    reading.write_all(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    until(|| workers[0].counts.hanging.load(Ordering::Relaxed) == 2).await;
    workers[0].kill().await;
    let (head, _) = read_answer(&mut posting).await;
    assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    until(|| workers[1].counts.hanging.load(Ordering::Relaxed) == 1).await;
    assert_eq!(workers[1].counts.requests.load(Ordering::Relaxed), 2, "the page, and what was read anew");
}

#[tokio::test]
async fn connections_that_a_dead_worker_never_served_are_assigned_anew() {
    let world = World::start(Config::default());
    let mut deaf = world.deaf_worker(1).await;
    let address = world.address;
    let clients: Vec<_> = (0..300)
        .map(|_| {
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(upgrade(SOCKET).as_bytes()).await.unwrap();
                read_head(&mut stream).await
            })
        })
        .collect();
    let mut bound = world.connect().await;
    bound.write_all(upgrade(&format!("{SOCKET}&sid={}", sid(deaf.tag))).as_bytes()).await.unwrap();
    until(|| world.control.stats().handed_over == 301).await;
    deaf.kill().await;
    deaf.forgotten().await;
    let heir = world.worker(2).await;
    for head in clients {
        assert_eq!(head.await.unwrap(), format!("HTTP/1.1 101 {}\r\n\r\n", heir.tag));
    }
    let mut answer = String::new();
    bound.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("\r\n\r\nSession ID unknown"),
        "{answer}"
    );
    assert_eq!(world.control.stats().returned, 301);
}

#[tokio::test]
async fn clients_wait_for_a_worker_that_is_about_to_come() {
    let world = World::start(Config::default());
    let address = world.address;
    let clients: Vec<_> = [format!("GET {POLL} HTTP/1.1\r\nHost: a\r\n\r\n"), upgrade(SOCKET)]
        .into_iter()
        .map(|request| {
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(request.as_bytes()).await.unwrap();
                read_head(&mut stream).await
            })
        })
        .collect();
    until(|| world.control.stats().open == 2).await;
    let _worker = world.worker(1).await;
    let heads = all(clients).await;
    assert!(heads[0].as_ref().unwrap().starts_with("HTTP/1.1"), "{heads:?}");
    assert!(heads.iter().all(|head| !head.as_ref().unwrap().contains("503")), "{heads:?}");
}

#[tokio::test]
async fn patience_has_an_end_and_so_has_the_number_of_the_patient() {
    let queue = Queue { wait_max: Duration::from_millis(50), waiters_max: 2 };
    let config = Config { groups: vec![Group { queue, ..Group::workers() }], ..Config::default() };
    let world = World::start(config);
    let address = world.address;
    let answers = all((0..6).map(|n| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = if n % 2 == 0 {
            format!("GET {POLL} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        } else {
            upgrade(SOCKET)
        };
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.to_lowercase()
    }))
    .await;
    for answer in answers {
        assert!(answer.starts_with("http/1.1 503") && answer.contains("retry-after: 1\r\n"), "{answer}");
    }
    assert_eq!(world.control.stats().unavailable, 6);
}

#[tokio::test]
async fn bad_heads_are_refused_as_the_rows_say() {
    let config = limited(Limits { head_time_max: Duration::from_millis(100), ..Limits::default() });
    let world = World::start(config);
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(17_000));
    let endless = format!("GET /{}", "x".repeat(100_000));
    for (request, status) in [
        (large.as_str(), "HTTP/1.1 431 "),
        (&endless, "HTTP/1.1 431 "),
        ("GET / HTTP/1.1\r\nHost: a\r\nX", "HTTP/1.1 408 "),
        ("\x16\x03\x01\x02\x00\x01\x00\x01", "HTTP/1.1 400 "),
        ("nonsense\r\n\r\n", "HTTP/1.1 400 "),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 400 "),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", "HTTP/1.1 400 "),
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "HTTP/1.1 400 "),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 400 ",
        ),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 405 "),
        ("", ""),
    ] {
        let answer = world.say(request).await;
        assert!(answer.starts_with(status), "{status}: {answer}");
        assert!(!status.is_empty() || answer.is_empty(), "{answer}");
    }
    assert_eq!(world.control.stats().bad_heads, 8);
    until(|| world.control.stats().open == 0).await;
}

#[tokio::test]
async fn later_heads_of_a_connection_have_the_same_limits() {
    let (world, workers) = World::with(1).await;
    for (request, status) in [
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(17_000)), "HTTP/1.1 431 "),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(100_000)), "HTTP/1.1 4"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(17_000)), "HTTP/1.1 431 "),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: x\r\n".repeat(1000)), "HTTP/1.1 431 "),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "HTTP/1.1 400 "),
        ("nonsense\r\n\r\n".to_owned(), "HTTP/1.1 400 "),
    ] {
        let mut stream = world.connect().await;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        read_answer(&mut stream).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = read_head(&mut stream).await;
        assert!(head.starts_with(status), "{status}: {head}");
    }
    assert_eq!(workers[0].counts.requests.load(Ordering::Relaxed), 6, "the first of each");
    until(|| world.control.stats().open == 0).await;
}

#[tokio::test]
async fn a_client_that_ends_before_its_head_is_let_go() {
    let (world, _workers) = World::with(1).await;
    for said in ["", "G", "GET / HTTP/1.1\r\nHost: a\r\n"] {
        let mut stream = world.connect().await;
        stream.write_all(said.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "{said}");
    }
    until(|| world.control.stats().open == 0).await;
}

#[tokio::test]
async fn half_an_upgrade_is_none() {
    let (world, workers) = World::with(1).await;
    for half in [
        "GET /live HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: close\r\n\r\n",
        "GET /live HTTP/1.0\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        "POST /live HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade, close\r\n\r\n",
        "GET /live HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade, close\r\n\r\n",
    ] {
        let answer = tokio::time::timeout(Duration::from_secs(5), world.say(half)).await.expect(half);
        let [ten, eleven] = ["HTTP/1.0 200", "HTTP/1.1 200"].map(|status| answer.starts_with(status));
        assert!(ten || eleven, "{answer}");
        assert!(answer.contains(workers[0].tag.as_str()), "{answer}");
    }
}

#[tokio::test]
async fn a_worker_that_says_nothing_costs_the_request_and_no_more() {
    let relay = sockeye_relay::Config { answer_time_max: Duration::from_millis(100), ..Default::default() };
    let mut group = Group::workers();
    group.timeouts.heartbeat = Some(Duration::from_millis(50));
    let world = World::start(Config { relay, groups: vec![group], ..Config::default() });
    let worker = world.worker(1).await;
    let mut stream = world.connect().await;
    for target in ["/hang".to_owned(), format!("/hang?sid={}", sid(worker.tag))] {
        stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        let (head, body) = read_answer(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 504"), "{head}{body}");
    }
    until(|| worker.counts.hanging.load(Ordering::Relaxed) == 0).await;
    stream.write_all(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(read_answer(&mut stream).await.0.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn new_clients_keep_away_from_a_worker_that_takes_nothing() {
    let world = World::start(Config::default());
    let deaf = world.deaf_worker(1).await;
    let lively = world.worker(2).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = world.connect().await;
        stream.write_all(upgrade(SOCKET).as_bytes()).await.unwrap();
        held.push(stream);
    }
    until(|| world.control.stats().handed_over == 2).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3)).await;
    tokio::time::resume();
    for _ in 0..10 {
        let mut stream = world.connect().await;
        stream.write_all(upgrade(SOCKET).as_bytes()).await.unwrap();
        assert!(read_head(&mut stream).await.contains(lively.tag.as_str()));
        assert!(world.get("/x").await.contains(lively.tag.as_str()));
        // Its own sessions still reach it.
        assert!(world.get(&format!("{POLL}&sid={}", sid(deaf.tag))).await.contains(deaf.tag.as_str()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_drips_its_head_is_cut_in_time_and_holds_up_nobody() {
    let (world, _workers) = World::with(1).await;
    let mut slow = world.connect().await;
    let started = tokio::time::Instant::now();
    let mut said = 0;
    let cut = loop {
        let byte = if said == 0 { b"G" } else { b"x" };
        if slow.write_all(byte).await.is_err() {
            break true;
        }
        said += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
        if world.control.stats().bad_heads == 1 {
            break true;
        }
        if said > 30 {
            break false;
        }
    };
    assert!(cut && started.elapsed() <= Duration::from_secs(12), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_request_at_the_worker() {
    let (world, workers) = World::with(1).await;
    let mut stream = world.connect().await;
    stream.write_all(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    until(|| workers[0].counts.hanging.load(Ordering::Relaxed) == 1).await;
    drop(stream);
    until(|| workers[0].counts.hanging.load(Ordering::Relaxed) == 0).await;
    until(|| world.control.stats().open == 0).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_cut_at_the_client_too() {
    let (world, _workers) = World::with(1).await;
    let answer = world.get("/cut").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("half"), "{answer}");
    assert!(!answer.ends_with("0\r\n\r\n"), "the end was made up: {answer}");
}

#[tokio::test]
async fn one_client_too_many_is_closed_at_once() {
    let config = limited(Limits { connections_max: 2.try_into().unwrap(), ..Limits::default() });
    let world = World::start(config);
    let _held = [world.connect().await, world.connect().await];
    until(|| world.control.stats().open == 2).await;
    assert_eq!(world.connect().await.read(&mut [0; 1]).await.unwrap_or(0), 0);
    assert_eq!(world.control.stats().shed, 1);
}

#[tokio::test]
async fn an_orderly_end_finishes_what_is_under_way_and_cuts_the_rest() {
    let config = limited(Limits { drain_time_max: Duration::from_millis(300), ..Limits::default() });
    let mut world = World::start(config);
    let worker = world.worker(1).await;
    // One in the middle of its body, one idle, one that hangs.
    let mut busy = world.connect().await;
    busy.write_all(b"POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab").await.unwrap();
    until(|| worker.counts.requests.load(Ordering::Relaxed) == 1).await;
    let mut idle = world.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_answer(&mut idle).await;
    let mut hanging = world.connect().await;
    hanging.write_all(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    until(|| worker.counts.hanging.load(Ordering::Relaxed) == 1).await;

    let (address, control) = (world.address, world.control.clone());
    let finishing = async {
        assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0);
        assert!(TcpStream::connect(address).await.is_err(), "the port is closed");
        busy.write_all(b"cd").await.unwrap();
        let (head, body) = read_answer(&mut busy).await;
        assert!(head.to_lowercase().contains("connection: close"), "{head}");
        assert_eq!(body, format!("{} 4", worker.tag));
        assert_eq!(hanging.read(&mut [0; 1]).await.unwrap_or(0), 0);
    };
    tokio::join!(world.stop(), finishing);
    assert_eq!(control.stats().open, 0);
}

#[tokio::test]
async fn a_port_that_cannot_be_had_is_explained_in_a_line() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    let error = Proxy::bind(Config::listen(address)).err().unwrap();
    assert!(matches!(error, ConfigError::Bind(BindError::InUse(at)) if at == address), "{error}");
    let elsewhere = "192.0.2.1:3000".parse().unwrap();
    let error = Proxy::bind(Config::listen(elsewhere)).err().unwrap();
    assert!(matches!(error, ConfigError::Bind(BindError::NoSuchAddress(_))), "{error}");
    assert!(!error.to_string().contains('\n'));
}

const REFUSED_UPGRADE: &str = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\
    Content-type: text/html\r\nContent-Length: 18\r\n\r\nSession ID unknown";

fn limited(limits: Limits) -> Config {
    Config { limits, ..Config::default() }
}
