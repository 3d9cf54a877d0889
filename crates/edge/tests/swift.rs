//! Upgrades and requests on the swift way, before servers that speak in bytes: what is believed of their answers, and what they see.

#![expect(clippy::unwrap_used, reason = "a test that fails to set itself up may panic")]

mod raw;
mod world;

use sockeye_edge::Config;
use sockeye_edge::config::{Check, Group, Members, Site};
use sockeye_edge::parse_servers;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use raw::Raw;
use world::{SOCKET, World, read_answer, read_head, until, upgrade};

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

#[tokio::test]
async fn a_websocket_is_relayed_byte_for_byte_from_the_101_on() {
    let server = Raw::answering(&format!("{SWITCH}X-App: 1\r\n\r\n0{{}}")).await;
    let world = before(&[&server]);
    let mut client = world.connect().await;
    client.write_all((upgrade(SOCKET) + "early").as_bytes()).await.unwrap();
    assert_eq!(read_head(&mut client).await, format!("{}X-App: 1\r\n\r\n", sorted(SWITCH)));
    let mut said = [0; 3];
    client.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"0{}");
    client.write_all(b"more").await.unwrap();
    let seen = server.heard(|seen| seen.ends_with("earlymore")).await;
    assert!(seen.contains("\r\nX-Forwarded-For: 127.0.0.1\r\n"), "{seen}");
    assert_eq!(seen.matches("Upgrade: websocket\r\n").count(), 1, "{seen}");
    let stats = world.control.stats();
    assert_eq!((stats.groups[0].servers[0].tunnels, stats.groups[0].servers[0].sessions), (1, 1));
    assert_eq!((stats.listeners[0].upgrades_asked, stats.listeners[0].upgrades_taken), (1, 1));
    drop(client);
    until(|| world.control.stats().groups[0].servers[0].sessions == 0).await;
}

#[tokio::test]
async fn a_101_is_believed_only_if_it_is_whole() {
    for (from, to) in [
        ("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "s3pPLMBiTxaQ9kYGzzhZRbK+xOx="),
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("Connection: Upgrade", "Connection: close"),
        ("HTTP/1.1", "HTTP/1.0"),
        ("HTTP/1.1 101 Switching Protocols", "nonsense"),
    ] {
        let server = Raw::answering(&(SWITCH.replace(from, to) + "\r\n")).await;
        let world = before(&[&server]);
        let answer = world.say(&upgrade(SOCKET)).await;
        assert!(
            answer.starts_with("HTTP/1.1 502 ") && answer.ends_with("the worker broke off"),
            "{to}: {answer}"
        );
        let stats = &world.control.stats().groups[0].servers[0];
        assert_eq!((stats.tunnels, stats.sessions, stats.on_the_way), (0, 0, 0), "{to}");
    }
    // Who asks for nothing is not switched either.
    let server = Raw::answering(&(SWITCH.to_owned() + "\r\n")).await;
    assert!(before(&[&server]).get("/").await.starts_with("HTTP/1.1 502 "));
}

#[tokio::test]
async fn a_refusal_is_an_ordinary_answer_and_nothing_is_read_after_it() {
    let server = Raw::answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nX-App: 1\r\n\r\nno").await;
    let world = before(&[&server]);
    // What would have been frames is no request.
    let answer = world.say(&(upgrade(SOCKET) + "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    assert_eq!(
        answer,
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nX-App: 1\r\nConnection: close\r\n\r\nno"
    );
    assert!(!server.seen().contains("smuggled"));
    let stats = &world.control.stats().groups[0].servers[0];
    assert_eq!((stats.tunnels, stats.sessions, stats.on_the_way), (0, 0, 0));
}

#[tokio::test]
async fn an_upgrade_that_broke_off_without_a_word_goes_to_another_server() {
    let (broken, well) = (Raw::answering("").await, Raw::answering(&format!("{SWITCH}\r\n")).await);
    let world = before(&[&broken, &well]);
    for _ in 0..4 {
        let mut client = world.connect().await;
        client.write_all(upgrade(SOCKET).as_bytes()).await.unwrap();
        assert!(read_head(&mut client).await.starts_with("HTTP/1.1 101 "));
    }
    assert!(broken.seen().contains("GET "), "it was tried");
    // Of one that said something it is not known what it did.
    let half = Raw::answering("HTTP/1.1 101 Swi").await;
    assert!(before(&[&half]).say(&upgrade(SOCKET)).await.starts_with("HTTP/1.1 502 "));
    assert_eq!(half.seen().matches("GET ").count(), 1);
}

#[tokio::test]
async fn an_upgrade_follows_requests_on_the_same_connection() {
    let server = Raw::answering_each(|head| {
        if head.contains("Upgrade") {
            format!("{SWITCH}\r\n")
        } else {
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into()
        }
    })
    .await;
    let world = before(&[&server]);
    let mut client = world.connect().await;
    for _ in 0..2 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert!(read_answer(&mut client).await.0.starts_with("HTTP/1.1 200 "));
    }
    client.write_all(upgrade(SOCKET).as_bytes()).await.unwrap();
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 101 "));
}

/// The edge before these servers, which nobody asks how they are.
fn before(servers: &[&Raw]) -> World {
    let lines: Vec<&str> = servers.iter().map(|server| server.at.as_str()).collect();
    let mut group = Group::new("app", Members::Static(parse_servers(&lines.join("\n")).unwrap()));
    group.health.check = Check::Off;
    World::start(Config { sites: vec![Site::everything("app")], groups: vec![group], ..Config::default() })
}

/// The same answer in the order in which the edge writes it.
fn sorted(switch: &str) -> String {
    switch.replace(
        "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
    )
}
