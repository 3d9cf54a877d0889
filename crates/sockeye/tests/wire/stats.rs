//! A server in numbers: what clients did is counted, under its name.

use crate::harness::{Client, Host, POLLING, WEBSOCKET, answer, read_to_end, until, within};
use sockeye::{Config, DisconnectReason, Event, Limit, Refusal, Server, Socket};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn what_clients_do_is_counted() {
    let mut server = Server::new(Config::default());
    server.namespace("/").on("echo", async |event: Event| event.ack(()));
    server.namespace("/no").guard(async |_: Socket| Err(Refusal::new("no")));
    let host = Host::of(server).await;
    let mut client = Client::enter(&host).await;
    client.say(r#"421["echo"]"#).await;
    client.hears(&["431[]"]).await;
    client.say(r#"42["nobody"]"#).await;
    client.say("40/no").await;
    client.hears(&[r#"44/no,{"message":"no"}"#]).await;
    let stats = host.handle.stats();
    assert_eq!((stats.sessions, stats.sessions_opened), (1, 1));
    assert_eq!((stats.connects, stats.connect_errors), (1, 1));
    assert_eq!(stats.sockets, [("/".to_owned(), 1), ("/no".to_owned(), 0)]);
    let traffic = stats.traffic;
    assert_eq!((traffic.events_handled, traffic.events_ignored), (1, 1));
    assert_eq!((traffic.packets_in, traffic.packets_out), (4, 3));
    assert!(traffic.bytes_in > 40 && traffic.bytes_out > 40, "{traffic:?}");
    client.say("41").await;
    drop(client);
    within(until(|| host.handle.stats().sessions == 0)).await;
    let stats = host.handle.stats();
    assert_eq!(stats.disconnects_for(DisconnectReason::ClientNamespaceDisconnect), 1);
    // What a session counted outlives it.
    assert_eq!(stats.traffic.events_handled, 1);
}

#[tokio::test]
async fn every_refusal_is_counted_under_its_code() {
    let host = Host::with(Config::default(), |_| {}).await;
    host.open_polling().await;
    for (query, code) in [
        ("EIO=4".to_owned(), 0),
        (format!("{POLLING}&sid=AAAAAAAAAAAAAAAAAAAA"), 1),
        (WEBSOCKET.to_owned(), 3),
        ("EIO=2&transport=polling".to_owned(), 5),
    ] {
        let before = host.handle.stats().refusals[code].2;
        assert_eq!(host.get(&host.target(&query)).await.status, 400);
        assert_eq!(host.handle.stats().refusals[code].2, before + 1, "{query}");
    }
}

#[tokio::test]
async fn a_limit_that_is_met_is_counted_under_its_name() {
    let config = Config {
        max_payload: 100,
        head_bytes_max: 2_000,
        head_timeout: Duration::from_millis(100),
        body_timeout: Duration::from_millis(100),
        connect_timeout: Duration::from_millis(300),
        ..Config::default()
    };
    let host = Host::with(config, |_| {}).await;
    let long = "x".repeat(101);
    let mut client = Client::enter(&host).await;
    client.say(&long).await;
    counted(&host, Limit::MaxPayload, 1).await;
    let sid = host.open_polling().await;
    assert_eq!(host.push(&sid, &long).await.status, 413);
    counted(&host, Limit::MaxPayload, 2).await;
    let mut stream = host.connect().await;
    drop(stream.write_all(format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(100_000)).as_bytes()).await);
    counted(&host, Limit::HeadBytesMax, 1).await;
    let stream = host.connect().await;
    assert_eq!(answer(stream).await.status, 408);
    counted(&host, Limit::HeadTimeout, 1).await;
    let sid = host.open_polling().await;
    let mut stream = host.connect().await;
    let target = host.poll_target(&sid);
    let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n4");
    stream.write_all(head.as_bytes()).await.unwrap();
    counted(&host, Limit::BodyTimeout, 1).await;
    let sid = host.open_polling().await;
    assert_eq!(host.poll(&sid).await.body, "1");
    // A client that does not even poll is counted once, too.
    let _silent = host.open_polling().await;
    within(until(|| host.handle.stats().limit(Limit::ConnectTimeout) >= 2)).await;
    let stats = host.handle.stats();
    assert!(stats.limit(Limit::ConnectTimeout) <= stats.sessions_opened, "{stats:?}");
}

#[tokio::test]
async fn metrics_are_served_on_a_listener_of_their_own() {
    let address = free_address().await;
    let host = Host::with(Config { metrics: Some(address), ..Config::default() }, |_| {}).await;
    let _client = Client::enter(&host).await;
    let page = fetch(address, "/metrics").await;
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("text/plain; version=0.0.4"), "{page}");
    assert!(page.contains("\nsockeye_sessions 1\n"), "{page}");
    assert!(page.contains("\nsockeye_sockets{namespace=\"/\"} 1\n"), "{page}");
    assert!(host.handle.metrics_text().contains("\nsockeye_sessions 1\n"));
    assert!(fetch(address, "/").await.starts_with("HTTP/1.1 404"));
    // Not on the public port.
    assert_eq!(host.get("/metrics").await.status, 404);
    // Neither for whoever says there that the house asks.
    assert!(fetch(host.address, "/metrics").await.starts_with("HTTP/1.1 404"));
}

async fn counted(host: &Host, limit: Limit, times: u64) {
    within(until(|| host.handle.stats().limit(limit) == times)).await;
}

async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn fetch(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nX-Sockeye-Relayed: house\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    String::from_utf8(within(read_to_end(&mut stream)).await).unwrap()
}
