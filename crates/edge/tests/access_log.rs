//! Each request leaves a line, without its session's secret; and the counters tell who stays on polling.

#![expect(clippy::unwrap_used, reason = "a test that fails to set itself up may panic")]

mod programs;
mod world;

use std::path::Path;

use programs::Program;
use sockeye_edge::Config;
use sockeye_edge::config::{AccessLog, Group, LogFormat, Members, Site};
use tokio::io::AsyncWriteExt;
use world::{POLL, SOCKET, World, read_head, sid, until, upgrade};

#[tokio::test]
async fn each_request_leaves_a_line_and_a_renamed_file_is_opened_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let config = Config {
        listeners: Config::listen("127.0.0.1:0".parse().unwrap()).listeners,
        access_log: Some(AccessLog { path: Some(path.clone()), format: LogFormat::Json }),
        trust: vec!["127.0.0.1".parse().unwrap()],
        ..Config::default()
    };
    let world = World::of(config.clone());
    let worker = world.worker(0).await;
    let tag = worker.tag;
    world.get("/page?a=b").await;
    world.get("/plain").await;
    world.say(&format!("GET {POLL} HTTP/1.1\r\nHost: io.example\r\nX-Forwarded-For: 192.0.2.7\r\nUser-Agent: test\r\nConnection: close\r\n\r\n")).await;
    world.get(&format!("{POLL}&sid={}", sid(tag))).await;
    let mut socket = world.connect().await;
    socket.write_all(upgrade(&format!("{SOCKET}&sid={}", sid(tag))).as_bytes()).await.unwrap();
    read_head(&mut socket).await;
    world.get(&format!("{POLL}&sid=nobodysxxxxxxxxxxxxx")).await;
    let lines = lines(&path, 6);
    let find = |what: &str| {
        lines.iter().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what} in {lines:?}"))
    };
    for (what, parts) in [
        (
            "/page?a=b",
            vec!["\"status\":200", "\"method\":\"GET\"", "\"host\":\"a\"", "\"peer\":\"127.0.0.1\""],
        ),
        ("\"/plain\"", vec!["\"target\":\"/plain\""]),
        (
            "\"agent\":\"test\"",
            vec![
                "\"sid\":\"AAAAAA\"",
                "\"client\":\"192.0.2.7\"",
                "\"transport\":\"polling\"",
                "\"host\":\"io.example\"",
            ],
        ),
        (
            "transport=polling&sid=AAAAAA\"",
            vec!["\"sid\":\"AAAAAA\"", "\"upstream\":\"AAAAAA\"", "\"bytes\":"],
        ),
        (
            "transport=websocket&sid=AAAAAA\"",
            vec!["\"status\":101", "\"transport\":\"websocket\"", "\"upstream\":\"AAAAAA\""],
        ),
        ("sid=nobody", vec!["\"status\":400"]),
    ] {
        let line = find(what);
        for part in parts {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
    assert!(!lines.iter().any(|line| line.contains(&sid(tag))), "{lines:?}");

    let moved = directory.path().join("access.log.1");
    std::fs::rename(&path, &moved).unwrap();
    world.control.apply(config).unwrap();
    world.get("/after").await;
    assert!(self::lines(&path, 1)[0].contains("/after"));
    assert_eq!(std::fs::read_to_string(&moved).unwrap().lines().count(), 6);
    assert_eq!(world.control.stats().log_dropped, 0);
}

#[tokio::test]
async fn the_line_of_a_handshake_has_as_much_of_the_sid_as_those_of_its_session() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let program = Program::start("aaaaaaa").await;
    let servers = sockeye_edge::parse_servers(&program.at).unwrap();
    let world = World::start(Config {
        access_log: Some(AccessLog { path: Some(path.clone()), format: LogFormat::Json }),
        groups: vec![Group::new("app", Members::Static(servers))],
        sites: vec![Site::everything("app")],
        ..Config::default()
    });
    world.get(POLL).await;
    world.get(&format!("{POLL}&sid=aaaaaaa-000000000000")).await;
    for line in lines(&path, 2) {
        assert!(line.contains("\"sid\":\"aaaaaa\""), "{line}");
        assert!(!line.contains("aaaaaaa"), "{line}");
    }
}

#[tokio::test]
async fn an_access_log_that_cannot_be_opened_changes_nothing() {
    let world = World::start(Config::default());
    let log = AccessLog { path: Some("/nowhere/access.log".into()), format: LogFormat::Combined };
    let listeners = Config::listen("127.0.0.1:0".parse().unwrap()).listeners;
    let faulty = Config { access_log: Some(log), listeners, ..Config::default() };
    let error = world.control.apply(faulty).unwrap_err();
    assert!(
        error.to_string().contains("/nowhere/access.log") || error.to_string().contains("3000"),
        "{error}"
    );
}

#[tokio::test]
async fn who_stays_on_polling_is_counted() {
    let (world, workers) = World::with(1).await;
    for _ in 0..3 {
        world.get(POLL).await;
    }
    let mut socket = world.connect().await;
    let target = format!("{SOCKET}&sid={}", sid(workers[0].tag));
    socket.write_all(upgrade(&target).as_bytes()).await.unwrap();
    read_head(&mut socket).await;
    let mut bare = world.connect().await;
    bare.write_all(upgrade(SOCKET).as_bytes()).await.unwrap();
    read_head(&mut bare).await;
    let listener = || world.control.stats().listeners[0].clone();
    until(|| listener().upgrades_taken == 2).await;
    let listener = listener();
    assert_eq!((listener.polling_sessions, listener.upgraded_sessions), (3, 1));
    assert_eq!(listener.upgrades_asked, 2);
}

/// The lines of a log, once there are so many.
fn lines(path: &Path, count: usize) -> Vec<String> {
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.lines().count() >= count && text.ends_with('\n') {
            return text.lines().map(str::to_owned).collect();
        }
        std::thread::yield_now();
    }
}
