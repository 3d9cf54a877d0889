//! Several addresses, sites that tell requests apart, and configurations that replace each other.

#![expect(clippy::unwrap_used, reason = "a test that fails to set itself up may panic")]

mod world;

use std::net::SocketAddr;
use std::path::Path;

use sockeye_edge::config::{
    Does, Endpoint, Group, Http, Listener, Members, Redirect, RedirectStatus, Serves, Site,
};
use sockeye_edge::{BindError, Config, ConfigError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use world::{SOCKET, World, get, read_answer, read_head, say, until, upgrade};

#[tokio::test]
async fn a_listener_that_keeps_its_port_takes_another_host_and_refuses_nobody() {
    let world = World::of(Config { listeners: vec![free("main")], ..Config::default() });
    let worker = world.worker(0).await;
    let port = world.at("main").port();
    let config = |host: &str| {
        let at = Endpoint::Tcp(format!("{host}:{port}").parse().unwrap());
        Config { listeners: vec![Listener { at, ..free("main") }], ..Config::default() }
    };
    let relayed = format!("{} GET /x", worker.tag);
    let ask = async |host: &str| {
        let stream = TcpStream::connect(format!("{host}:{port}")).await.unwrap();
        let answer = say(stream, &get("a", "/x")).await;
        assert!(answer.ends_with(&relayed), "{answer}");
    };
    for _ in 0..10 {
        for host in ["0.0.0.0", "127.0.0.1"] {
            let (_, applied) = tokio::join!(ask("127.0.0.1"), async { world.control.apply(config(host)) });
            applied.unwrap();
            ask("127.0.0.1").await;
        }
    }
    world.control.apply(config("0.0.0.0")).unwrap();
    ask("127.0.0.2").await;
    // Nobody else can have the port meanwhile.
    let other = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap_err();
    assert_eq!(other.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn each_listener_has_its_sites_and_a_redirect_serves_nothing() {
    let redirect = Redirect {
        status: RedirectStatus::Permanent,
        scheme: "https".to_owned(),
        host: None,
        server_names: vec!["chat.example.com".to_owned()],
        port: None,
    };
    let to_https = Serves::Http(Http { redirect: Some(redirect), ..Http::default() });
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("page.html"), "<p>hello").unwrap();
    let config = Config {
        listeners: vec![free("main"), free("other"), Listener { serves: to_https, ..free("plain") }],
        sites: vec![
            Site { listeners: vec!["other".to_owned()], path: "/health".to_owned(), ..health(true) },
            Site { path: "/assets".to_owned(), ..files_of(files.path(), None) },
            Site { hosts: vec!["pages.example".to_owned()], ..files_of(files.path(), Some(Group::WORKERS)) },
            Site { hosts: vec!["io.example".to_owned()], ..Site::everything(Group::WORKERS) },
        ],
        ..Config::default()
    };
    let world = World::of(config);
    let worker = world.worker(0).await;
    let tag = worker.tag;
    let relayed = format!("{tag} GET /x");
    let (main, other, plain) = (world.at("main"), world.at("other"), world.at("plain"));
    for (at, host, target, status, body) in [
        (main, "io.example", "/x", "200", relayed.as_str()),
        (main, "elsewhere", "/x", "404", "nothing is here"),
        (main, "elsewhere", "/health", "404", "nothing is here"),
        (other, "elsewhere", "/health", "200", ""),
        (other, "pages.example", "/page.html", "200", "<p>hello"),
        (other, "pages.example", "/x", "200", relayed.as_str()),
        (main, "pages.example", "/.hidden", "200", &format!("{tag} GET /.hidden")),
        (plain, "chat.example.com:12345", "/a?b=c", "308", "see Location"),
        (plain, "evil.example", "/a?b=c", "308", "see Location"),
    ] {
        let answer = say(TcpStream::connect(at).await.unwrap(), &get(host, target)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}{target}: {answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{host}{target}: {answer}");
        if status == "308" {
            assert!(answer.contains("\r\nlocation: https://chat.example.com/a?b=c\r\n"), "{answer}");
        }
    }
    // An upgrade is told apart in the same way, whether it is handed over or not.
    for (host, status) in [("io.example", "101"), ("elsewhere", "404")] {
        let mut stream = TcpStream::connect(main).await.unwrap();
        stream
            .write_all(upgrade(SOCKET).replace("Host: a", &format!("Host: {host}")).as_bytes())
            .await
            .unwrap();
        let head = read_head(&mut stream).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
    }
    let stats = world.control.stats();
    assert_eq!((stats.listeners[0].upgrades_asked, stats.listeners[0].upgrades_taken), (2, 1));
    assert_eq!(stats.listeners[2].requests, 2);
}

#[tokio::test]
async fn a_unix_socket_is_listened_at_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("edge.sock");
    // What a killed program left is no obstacle, what is in use is one.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let unix = Listener { name: "unix".to_owned(), at: Endpoint::Unix(path.clone()), ..Listener::default() };
    let config = Config { listeners: vec![free("main"), unix.clone()], ..Config::default() };
    let mut world = World::of(config);
    let worker = world.worker(0).await;
    let answer = say(UnixStream::connect(&path).await.unwrap(), &get("a", "/x")).await;
    assert!(answer.ends_with(&format!("{} GET /x", worker.tag)), "{answer}");
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(upgrade(SOCKET).as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101 "));
    let error = world.control.listen(Listener { name: "again".to_owned(), ..unix }).unwrap_err();
    assert!(matches!(error, ConfigError::Bind(BindError::Unix { .. })), "{error}");
    world.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_configuration_replaces_another_without_closing_a_connection() {
    let config = Config { listeners: vec![free("main"), free("old")], ..Config::default() };
    let world = World::of(config.clone());
    let worker = world.worker(0).await;
    let (main, old) = (world.at("main"), world.at("old"));
    let mut kept = TcpStream::connect(main).await.unwrap();
    let mut old_kept = TcpStream::connect(old).await.unwrap();
    let mut tunnel = TcpStream::connect(old).await.unwrap();
    tunnel.write_all(upgrade("/anything").as_bytes()).await.unwrap();
    read_head(&mut tunnel).await;
    for stream in [&mut kept, &mut old_kept] {
        stream.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(read_answer(stream).await.1, format!("{} GET /1", worker.tag));
    }

    let opened = world.control.listen(free("beside")).unwrap();
    let next = Config {
        listeners: vec![free("main"), free("new")],
        sites: vec![Site { path: "/2".to_owned(), ..Site::everything(Group::WORKERS) }],
        ..config.clone()
    };
    world.control.apply(next.clone()).unwrap();
    assert_eq!(world.at("main"), main);
    assert_eq!(Endpoint::Tcp(world.at("beside")), opened);
    let gone = || world.control.stats().listeners.iter().all(|listener| listener.name != "old");
    assert!(gone());
    // Its socket closes as soon as the driver has heard of it.
    while TcpStream::connect(old).await.is_ok() {
        tokio::task::yield_now().await;
    }
    for stream in [&mut kept, &mut old_kept] {
        stream.write_all(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(read_answer(stream).await.1, format!("{} GET /2", worker.tag));
        stream.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(read_answer(stream).await.1, "nothing is here");
    }
    tunnel.write_all(b"still").await.unwrap();
    let mut echo = vec![0; worker.tag.as_str().len() + 5];
    tunnel.read_exact(&mut echo).await.unwrap();
    assert!(echo.ends_with(b"still"));
    for name in ["main", "new", "beside"] {
        let answer = say(TcpStream::connect(world.at(name)).await.unwrap(), &get("a", "/2")).await;
        assert!(answer.ends_with(&format!("{} GET /2", worker.tag)), "{name}: {answer}");
    }

    world.control.unlisten("beside").unwrap();
    assert!(matches!(world.control.unlisten("beside").unwrap_err(), ConfigError::NotOpen(_)));
    until(|| world.control.stats().listeners.len() == 2).await;
}

#[tokio::test]
async fn a_configuration_that_fails_changes_nothing() {
    let config = Config { listeners: vec![free("main")], ..Config::default() };
    let world = World::of(config.clone());
    let worker = world.worker(0).await;
    let main = world.at("main");
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let busy_at = Endpoint::Tcp(busy.local_addr().unwrap());
    let with = |listeners: Vec<Listener>| Config { listeners, ..config.clone() };
    let to_nowhere = Serves::Tcp { group: "nowhere".to_owned(), send_proxy: None };
    let rows: Vec<(Config, &str)> = vec![
        (with(vec![free("new"), Listener { at: busy_at, ..free("busy") }]), "in use by another program"),
        (with(vec![free("a"), free("a")]), "two listeners are named \"a\""),
        (with(vec![Listener { serves: to_nowhere, ..free("main") }]), "names the group \"nowhere\""),
        (
            Config { sites: vec![Site::everything("nowhere")], ..config.clone() },
            "the site for / names the group \"nowhere\", which is not there: there are workers",
        ),
        (
            Config {
                sites: vec![Site { listeners: vec!["gone".to_owned()], ..Site::everything(Group::WORKERS) }],
                ..config.clone()
            },
            "names the listener \"gone\"",
        ),
        (
            Config {
                groups: vec![Group::workers(), Group::new(Group::WORKERS, Members::Static(Vec::new()))],
                ..config.clone()
            },
            "two groups are named \"workers\"",
        ),
    ];
    for (config, message) in rows {
        let error = world.control.apply(config).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert_eq!(world.at("main"), main);
        assert_eq!(world.control.stats().listeners.len(), 1);
        let answer = say(TcpStream::connect(main).await.unwrap(), &get("a", "/x")).await;
        assert!(answer.ends_with(&format!("{} GET /x", worker.tag)), "{answer}");
    }
    assert!(world.control.listen(free("main")).unwrap_err().to_string().contains("two listeners"));
}

fn free(name: &str) -> Listener {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    Listener { name: name.to_owned(), at: Endpoint::Tcp(any), ..Listener::default() }
}

fn health(ready: bool) -> Site {
    Site { does: Does::Health { ready }, ..Site::everything("") }
}

fn files_of(root: &Path, group: Option<&str>) -> Site {
    let does = Does::Files { root: root.to_owned(), group: group.map(str::to_owned) };
    Site { does, ..Site::everything("") }
}
