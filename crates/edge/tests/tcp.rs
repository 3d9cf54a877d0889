//! TCP mode, with and without TLS that ends here; and the PROXY header that tells servers who the client is.

#![expect(clippy::unwrap_used, reason = "a test that fails to set itself up may panic")]

mod world;

use std::num::NonZero;

use sockeye_edge::config::{
    Affinity, Check, Endpoint, Group, Health, Listener, Members, ProxyVersion, Server, ServerState, Serves,
    Site, Tls,
};
use sockeye_edge::{Config, ConfigError, Proxy};
use sockeye_proto::ProxyHeader;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use world::{SOCKET, World, get, read_head, say, until, upgrade};

#[tokio::test]
async fn a_whole_connection_is_handed_to_a_worker() {
    let world = World::of(Config::workers(tcp(Group::WORKERS, None)));
    let worker = world.worker(0).await;
    let mut stream = world.connect().await;
    stream.write_all((upgrade(SOCKET) + "early").as_bytes()).await.unwrap();
    assert_eq!(read_head(&mut stream).await, format!("HTTP/1.1 101 {}\r\n\r\n", worker.tag));
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"early");
    assert_eq!(world.control.stats().handed_over, 1);
}

#[tokio::test]
async fn bytes_go_both_ways_and_servers_hear_who_the_client_is() {
    for version in [None, Some(ProxyVersion::V1), Some(ProxyVersion::V2)] {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let world = World::of(before(&[&server], tcp("app", version)));
        let mut stream = world.connect().await;
        stream.write_all(b"hello").await.unwrap();
        let (mut upstream, _) = server.accept().await.unwrap();
        if version.is_some() {
            let header = hear_proxy(&mut upstream).await;
            let (source, target) = (stream.local_addr().unwrap(), world.address);
            assert_eq!(header, ProxyHeader::Client { source, target });
        }
        let mut heard = [0; 5];
        upstream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
        // Each end can be done before the other.
        stream.shutdown().await.unwrap();
        assert_eq!(upstream.read(&mut heard).await.unwrap(), 0);
        upstream.write_all(b"world").await.unwrap();
        drop(upstream);
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.unwrap();
        assert_eq!(said, b"world");
        until(|| world.control.stats().relay.tunnels == 0).await;
    }
}

#[tokio::test]
async fn tls_ends_here_and_the_rest_is_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let tls = Tls { certificates: vec![world::certificate(directory.path(), "a", &["a"])] };
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listener = Listener { tls: Some(tls), ..tcp("app", Some(ProxyVersion::V2)) };
    let world = World::of(before(&[&server], listener));
    let mut stream = world::connect_tls(world.address, "a", &[]).await;
    stream.write_all(b"hello").await.unwrap();
    let (mut upstream, _) = server.accept().await.unwrap();
    let source = stream.get_ref().0.local_addr().unwrap();
    assert_eq!(hear_proxy(&mut upstream).await, ProxyHeader::Client { source, target: world.address });
    let mut heard = [0; 5];
    upstream.read_exact(&mut heard).await.unwrap();
    upstream.write_all(&heard).await.unwrap();
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
}

#[tokio::test]
async fn a_dead_server_is_passed_over_and_sessions_are_counted() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let servers =
        [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
    let config = before(&[&dead, &servers[0], &servers[1]], tcp("app", None));
    drop(dead);
    let world = World::of(config);
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(world.connect().await);
    }
    let mut upstreams = Vec::new();
    for server in &servers {
        for _ in 0..5 {
            upstreams.push(server.accept().await.unwrap());
        }
    }
    until(|| world.control.stats().relay.tunnels == 10).await;
}

#[tokio::test]
async fn an_address_leads_to_one_server_however_many_connections_it_has() {
    let servers =
        [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
    let mut config = before(&[&servers[0], &servers[1]], tcp("app", None));
    config.groups[0].affinity = vec![Affinity::Address { three_octets: false, bound_percent: 125 }];
    let world = World::of(config);
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(world.connect().await);
    }
    until(|| world.control.stats().relay.tunnels == 10).await;
    let mut tunnels: Vec<u64> =
        world.control.stats().groups[0].servers.iter().map(|server| server.tunnels).collect();
    tunnels.sort_unstable();
    assert_eq!(tunnels, [0, 10]);
}

#[tokio::test]
async fn http_says_who_the_client_is_on_a_connection_for_each_request() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = before(&[&server], tcp("app", None));
    config.listeners =
        vec![Listener { serves: Serves::Http(Default::default()), ..config.listeners[0].clone() }];
    config.groups[0].send_proxy = Some(ProxyVersion::V1);
    let world = World::of(config);
    for _ in 0..2 {
        let client = world.connect().await;
        let source = client.local_addr().unwrap();
        let asked = tokio::spawn(async move { say(client, &get("a", "/x")).await });
        let (mut upstream, _) = server.accept().await.unwrap();
        let header = hear_proxy(&mut upstream).await;
        assert_eq!(header, ProxyHeader::Client { source, target: world.address });
        assert!(read_head(&mut upstream).await.starts_with("GET /x HTTP/1.1\r\n"));
        upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        assert!(asked.await.unwrap().ends_with("\r\n\r\nok"));
    }
    assert_eq!(world.control.stats().relay.idle, 0);
}

#[tokio::test]
async fn bytes_that_a_worker_would_trust_are_not_carried_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let tls = Tls { certificates: vec![world::certificate(directory.path(), "a", &["a"])] };
    let plain = tcp(Group::WORKERS, None);
    for listener in [
        Listener { tls: Some(tls), ..plain.clone() },
        tcp(Group::WORKERS, Some(ProxyVersion::V1)),
        Listener { at: Endpoint::Unix(directory.path().join("edge.sock")), ..plain },
    ] {
        let error = Proxy::bind(Config::workers(listener)).err().unwrap();
        assert!(matches!(error, ConfigError::TcpToWorkers(_)), "{error}");
    }
}

fn tcp(group: &str, send_proxy: Option<ProxyVersion>) -> Listener {
    Listener {
        at: Endpoint::Tcp("127.0.0.1:0".parse().unwrap()),
        serves: Serves::Tcp { group: group.to_owned(), send_proxy },
        ..Listener::default()
    }
}

/// An edge before these servers, which it does not ask for their health.
fn before(servers: &[&TcpListener], listener: Listener) -> Config {
    let server = |server: &&TcpListener| {
        let at = server.local_addr().unwrap();
        Server {
            name: at.to_string(),
            at: Endpoint::Tcp(at),
            weight: NonZero::<u16>::MIN,
            sessions_max: None,
            tag: None,
            state: ServerState::Up,
        }
    };
    let mut group = Group::new("app", Members::Static(servers.iter().map(server).collect()));
    group.health = Health { check: Check::Off, ..Health::default() };
    Config { groups: vec![group], sites: vec![Site::everything("app")], ..Config::workers(listener) }
}

async fn hear_proxy(stream: &mut TcpStream) -> ProxyHeader {
    let mut read = Vec::new();
    loop {
        read.push(stream.read_u8().await.unwrap());
        if let Some((header, _)) = ProxyHeader::parse(&read).unwrap() {
            return header;
        }
    }
}
