//! Requests to a node of another machine, over TCP: those who know the secret get through, others get nothing.

#![expect(clippy::unwrap_used, reason = "a test that fails to set itself up may panic")]

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use sockeye_relay::{Address, Config, NodeListener, Origin, Relay, RelayError, Secret, Socket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

#[tokio::test]
async fn a_node_that_knows_the_secret_is_answered_and_its_connection_is_kept() {
    let (address, node) = serve(2).await;
    let relay = Relay::new(Config { node_trust: Some(secret(b's').into()), ..Config::default() });
    for _ in 0..100 {
        let response = relay.request(&address, get(), &origin().relayed_by("Ab3dE_")).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    }
    assert_eq!(relay.stats().connects, 1);
    drop(relay);
    node.abort();
}

#[tokio::test]
async fn another_secret_and_none_reach_nobody_and_the_request_comes_back() {
    let (address, node) = serve(0).await;
    for (node_trust, expected) in
        [(Some(secret(b't').into()), "it has another secret"), (None, "there is no node_trust")]
    {
        let relay = Relay::new(Config { node_trust, ..Config::default() });
        let refused = relay.request(&address, get(), &origin()).await.err().unwrap();
        let RelayError::Refused { source, .. } = refused else { panic!("expected nothing to be sent") };
        assert!(source.to_string().contains(expected), "{source}");
        assert!(!sockeye_relay::is_nobody(&source), "the node lives");
    }
    node.abort();
}

#[tokio::test]
async fn who_speaks_http_to_the_port_gets_not_a_byte() {
    let (Address::Node(address), node) = serve(0).await else { panic!("it is a node's") };
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(&[b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".as_slice(), &[b'x'; 100]].concat())
        .await
        .unwrap();
    let mut got = Vec::new();
    // It is closed with bytes unread, which the kernel may tell as a reset.
    drop(stream.read_to_end(&mut got).await);
    assert_eq!(got, b"");
    node.abort();
}

#[tokio::test]
async fn who_says_nothing_keeps_nobody_out() {
    let (address, node) = serve(1).await;
    let Address::Node(port) = &address else { panic!("it is a node's") };
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(TcpStream::connect(port).await.unwrap());
    }
    let relay = Relay::new(Config { node_trust: Some(secret(b's').into()), ..Config::default() });
    assert!(relay.request(&address, get(), &origin()).await.is_ok());
    node.abort();
}

/// A node that answers `ok` to each request of those whom it lets in.
async fn serve(connections_max: usize) -> (Address, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut door = NodeListener::new(listener, secret(b's'));
    let address = Address::Node(door.local_addr().unwrap());
    let node = tokio::spawn(async move {
        let mut let_in = 0;
        loop {
            let (socket, _): (Socket, SocketAddr) = door.accept().await.unwrap();
            let_in += 1;
            assert!(let_in <= connections_max, "somebody was let in");
            tokio::spawn(answer(socket));
        }
    });
    (address, node)
}

async fn answer(mut socket: Socket) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while matches!(socket.read(&mut byte).await, Ok(1)) {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            assert!(head.starts_with(b"GET /here HTTP/1.1\r\n"), "{head:?}");
            head.clear();
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        }
    }
}

fn secret(byte: u8) -> Secret {
    Secret::new([byte; 32]).unwrap()
}

fn get() -> Request<Empty<Bytes>> {
    Request::get("/here").body(Empty::new()).unwrap()
}

fn origin() -> Origin {
    Origin::new("192.0.2.7:5000".parse().unwrap())
}
