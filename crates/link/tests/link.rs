//! Both ends of a link in one process, over real Unix sockets and real TCP connections.
#![expect(clippy::unwrap_used, reason = "the helpers of tests panic as the tests do")]

use std::future::Future;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with,
};
use sockeye_link::{
    Assign, Config, Connection, Event, HEAD_BYTES_MAX, Handover, Listener, Load, Parent, Ready, Report,
    Reports,
};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

#[tokio::test]
async fn a_worker_hears_its_assignment_and_the_parent_hears_the_worker() {
    let house = House::new(Config::default());
    let (_handover, mut reports, parent) = house.worker().await;
    let ready = Ready { tag: "abcdef".into(), http: "/x/abcdef.sock".into(), port: None, asked: None };
    parent.reporter().ready(ready.clone());
    assert!(matches!(soon(reports.next()).await, Some(Report::Ready(said)) if said == ready));
    parent.reporter().draining();
    assert!(matches!(soon(reports.next()).await, Some(Report::Draining)));
    parent.reporter().load(3, 7);
    soon(parent.bye()).await;
    assert!(matches!(soon(reports.next()).await, Some(Report::Load(Load { sessions: 3, arrived: 7 }))));
    assert!(matches!(soon(reports.next()).await, Some(Report::Bye)));
    assert!(soon(reports.next()).await.is_none());
}

#[tokio::test]
async fn the_kernel_says_which_process_a_worker_is() {
    let house = House::new(Config::default());
    let worker = tokio::spawn(Box::pin(connect_worker(house.path())));
    let arrival = soon(house.listener.accept()).await.unwrap();
    assert_eq!((arrival.pid, arrival.instance), (std::process::id(), 2));
    drop(arrival);
    assert!(soon(worker).await.unwrap().is_err(), "an arrival that is dropped is a refusal");
}

#[tokio::test]
async fn a_stranger_on_the_link_does_not_keep_workers_out() {
    let house = House::new(Config::default());
    let stranger = raw_connect(&house.path());
    send(&stranger, b"\x01{\"version\":99,\"pid\":1,\"instance\":1}", SendFlags::empty()).unwrap();
    house.worker().await;
}

#[tokio::test]
async fn a_connection_travels_with_its_peer_and_the_bytes_read() {
    let house = House::new(Config::default());
    let (handover, mut reports, mut parent) = house.worker().await;
    let (client, connection) = house.client(b"GET / HTTP/1.1\r\n");
    let peer = connection.peer;
    handover.pass(connection).unwrap();
    let arrived = next_connection(&mut parent).await;
    assert_eq!((arrived.peer, &arrived.read[..]), (peer, &b"GET / HTTP/1.1\r\n"[..]));
    assert_eq!(peer, client.local_addr().unwrap());
    answer(arrived, b"hello");
    assert_eq!(read(client).await, b"hello");
    drop((handover, parent));
    assert!(soon(reports.next()).await.is_none(), "nothing comes back of what was receipted");
}

#[tokio::test]
async fn the_largest_head_travels_and_a_larger_one_is_given_back() {
    let house = House::new(Config::default());
    let (handover, _reports, mut parent) = house.worker().await;
    let (_client, connection) = house.client(&vec![7; HEAD_BYTES_MAX + 1]);
    let mut connection = handover.pass(connection).unwrap_err();
    let head = connection.read.slice(1..);
    connection.read = head.clone();
    handover.pass(connection).unwrap();
    assert_eq!(next_connection(&mut parent).await.read, head);
}

#[tokio::test]
async fn every_connection_of_a_burst_arrives_once_and_in_order() {
    let house = House::new(Config::default());
    let (handover, mut reports, mut parent) = house.worker().await;
    let mut clients = Vec::new();
    for n in 0..1000 {
        let (client, connection) = house.client(format!("{n}").as_bytes());
        handover.pass(connection).unwrap();
        clients.push(client);
    }
    for n in 0..1000 {
        let arrived = next_connection(&mut parent).await;
        assert_eq!(arrived.read, format!("{n}"));
        answer(arrived, format!("answer {n}").as_bytes());
    }
    for (n, client) in clients.into_iter().enumerate() {
        assert_eq!(read(client).await, format!("answer {n}").as_bytes());
    }
    drop(parent);
    assert!(soon(reports.next()).await.is_none());
    let stats = handover.stats();
    assert_eq!((stats.sent, stats.receipted, stats.returned), (1000, 1000, 0));
}

#[tokio::test]
async fn a_worker_that_dies_gives_back_what_it_did_not_receipt_and_another_answers() {
    let house = House::new(Config::default());
    let (first, mut reports, parent) = house.worker().await;
    let (second, _second_reports, mut other) = house.worker().await;
    let mut clients = Vec::new();
    for n in 0..300 {
        let (client, connection) = house.client(format!("{n}").as_bytes());
        first.pass(connection).unwrap();
        clients.push(client);
    }
    // Wait until the socket holds a full window of them: the worker dies with them unread.
    while first.stats().unreceipted < 128 {
        tokio::task::yield_now().await;
    }
    drop(parent);
    for n in 0..300 {
        let Some(Report::Returned(connection)) = soon(reports.next()).await else {
            panic!("connection {n} is lost")
        };
        assert_eq!(connection.read, format!("{n}"));
        second.pass(connection).unwrap();
    }
    assert!(soon(reports.next()).await.is_none());
    for _ in 0..300 {
        let arrived = next_connection(&mut other).await;
        let word = [b"answer ", &arrived.read[..]].concat();
        answer(arrived, &word);
    }
    for (n, client) in clients.into_iter().enumerate() {
        assert_eq!(read(client).await, format!("answer {n}").as_bytes());
    }
    let (_client, connection) = house.client(b"");
    assert!(first.pass(connection).is_err(), "a door to nobody is shut");
}

#[tokio::test]
async fn a_full_queue_gives_back_and_loses_nothing() {
    let config = Config { window: NonZeroUsize::new(4).unwrap(), queue: 8, ..Config::default() };
    let house = House::new(config);
    let (handover, _reports, mut parent) = house.worker().await;
    let (mut taken, mut refused, mut clients) = (0, 0, Vec::new());
    while refused == 0 {
        let (client, connection) = house.client(b"x");
        clients.push(client);
        match handover.pass(connection) {
            Ok(()) => taken += 1,
            Err(_) => refused += 1,
        }
        // Let the link's task move what it can, so that the window and the queue are both met.
        settle(&handover).await;
    }
    assert_eq!((taken, handover.stats().refused), (12, 1));
    for _ in 0..taken {
        next_connection(&mut parent).await;
    }
}

#[tokio::test]
async fn a_drain_overtakes_the_queue_which_comes_back() {
    let config = Config { window: NonZeroUsize::new(1).unwrap(), ..Config::default() };
    let house = House::new(config);
    let (handover, mut reports, mut parent) = house.worker().await;
    let clients: Vec<_> = (0..3).map(|n| house.client(format!("{n}").as_bytes())).collect();
    for (_client, connection) in clients {
        handover.pass(connection).unwrap();
        settle(&handover).await;
    }
    handover.drain(Duration::from_secs(3));
    assert!(!handover.is_open());
    for n in 1..3 {
        let Some(Report::Returned(connection)) = soon(reports.next()).await else { panic!("expected {n}") };
        assert_eq!(connection.read, format!("{n}"));
    }
    assert_eq!(next_connection(&mut parent).await.read, "0");
    assert!(matches!(soon(parent.next()).await, Event::Drain(within) if within == Duration::from_secs(3)));
    handover.stop();
    assert!(matches!(soon(parent.next()).await, Event::Stop));
}

#[tokio::test]
async fn a_worker_knows_that_its_parent_is_gone() {
    let house = House::new(Config::default());
    let (handover, reports, mut parent) = house.worker().await;
    let (client, connection) = house.client(b"x");
    drop(reports);
    assert!(handover.pass(connection).is_err());
    assert_eq!(read(client).await, b"", "it is closed when its last owner lets go");
    assert!(matches!(soon(parent.next()).await, Event::Gone));
    assert!(matches!(soon(parent.next()).await, Event::Gone));
    parent.reporter().load(1, 1);
}

#[tokio::test]
async fn loads_are_coalesced_and_the_last_one_arrives() {
    let house = House::new(Config::default());
    let (_handover, mut reports, parent) = house.worker().await;
    let reporter = parent.reporter();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let reporter = reporter.clone();
            std::thread::spawn(move || (1..=10_000).for_each(|n| reporter.load(n, u64::from(n))))
        })
        .collect();
    tokio::task::spawn_blocking(|| threads.into_iter().for_each(|thread| thread.join().unwrap()))
        .await
        .unwrap();
    reporter.load(9, 99_999);
    let mut heard = 0;
    loop {
        let Some(Report::Load(load)) = soon(reports.next()).await else { panic!("expected a load") };
        heard += 1;
        if load == (Load { sessions: 9, arrived: 99_999 }) {
            break;
        }
    }
    assert!(heard < 40_000, "{heard} of 40,001 loads were sent");
}

#[tokio::test]
async fn a_worker_that_breaks_the_protocol_is_gone() {
    for packet in [&b"\x00"[..], b"\x03\x00\x00\x00\x00\x00\x00\x00\x09", &[1; 5000]] {
        let house = House::new(Config::default());
        let worker = raw_connect(&house.path());
        send(&worker, &hello(), SendFlags::empty()).unwrap();
        let (handover, mut reports) = soon(house.listener.accept()).await.unwrap().assign(assign());
        let (_client, connection) = house.client(b"x");
        handover.pass(connection).unwrap();
        settle(&handover).await;
        send(&worker, packet, SendFlags::empty()).unwrap();
        assert!(matches!(soon(reports.next()).await, Some(Report::Returned(_))));
        assert!(soon(reports.next()).await.is_none());
    }
}

#[tokio::test]
async fn a_receipt_said_before_death_counts_however_the_death_is_met() {
    // Whether the parent meets the death while sending or receiving is chance: both are met in so many rounds.
    for _ in 0..32 {
        let house = House::new(Config::default());
        let worker = raw_connect(&house.path());
        send(&worker, &hello(), SendFlags::empty()).unwrap();
        let (handover, mut reports) = soon(house.listener.accept()).await.unwrap().assign(assign());
        let mut clients: Vec<_> = (0..3).map(|n| house.client(format!("{n}").as_bytes())).collect();
        let (_last_client, last) = clients.pop().unwrap();
        for (_client, connection) in clients {
            handover.pass(connection).unwrap();
        }
        settle(&handover).await;
        send(&worker, b"\x03\x00\x00\x00\x00\x00\x00\x00\x01", SendFlags::empty()).unwrap();
        drop(worker);
        handover.pass(last).unwrap();
        for n in 1..3 {
            let Some(Report::Returned(connection)) = soon(reports.next()).await else {
                panic!("expected {n}")
            };
            assert_eq!(connection.read, format!("{n}"));
        }
        assert!(soon(reports.next()).await.is_none());
    }
}

#[tokio::test]
async fn a_connection_that_lost_its_descriptor_on_the_way_comes_back() {
    let house = House::new(Config::default());
    let worker = raw_connect(&house.path());
    send(&worker, &hello(), SendFlags::empty()).unwrap();
    let (handover, mut reports) = soon(house.listener.accept()).await.unwrap().assign(assign());
    let (_client, connection) = house.client(b"x");
    handover.pass(connection).unwrap();
    settle(&handover).await;
    send(&worker, b"\x07\x00\x00\x00\x00\x00\x00\x00\x01", SendFlags::empty()).unwrap();
    assert!(matches!(soon(reports.next()).await, Some(Report::Returned(_))));
}

#[tokio::test]
async fn a_worker_that_gets_no_descriptor_says_which_before_its_receipt() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("link.sock");
    let listener = seqpacket();
    rustix::net::bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    rustix::net::listen(&listener, 1).unwrap();
    let raw_parent = tokio::task::spawn_blocking(move || {
        let worker = rustix::net::accept(&listener).unwrap();
        assert_eq!(recv_packet(&worker)[0], 1);
        let assign = serde_json::to_vec(&assign()).unwrap();
        send(&worker, &[&[65], &assign[..]].concat(), SendFlags::empty()).unwrap();
        send(&worker, b"\x42\x04\x7f\x00\x00\x01\x00\x50GET", SendFlags::empty()).unwrap();
        let words = [recv_packet(&worker), recv_packet(&worker)];
        send(&worker, b"\x44", SendFlags::empty()).unwrap();
        words
    });
    let (mut parent, _assign) = soon(connect_worker(path)).await.unwrap();
    assert!(matches!(soon(parent.next()).await, Event::Stop));
    let words = soon(raw_parent).await.unwrap();
    assert_eq!(words, [[7, 0, 0, 0, 0, 0, 0, 0, 1], [3, 0, 0, 0, 0, 0, 0, 0, 1]]);
}

/// A parent's listener, and a TCP listener for clients.
struct House {
    directory: TempDir,
    listener: Listener,
    tcp: TcpListener,
}

impl House {
    fn new(config: Config) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = Listener::bind_with(&directory.path().join("link.sock"), config).unwrap();
        Self { directory, listener, tcp: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("link.sock")
    }

    async fn worker(&self) -> (Handover, Reports, Parent) {
        let worker = tokio::spawn(Box::pin(connect_worker(self.path())));
        let (handover, reports) = soon(self.listener.accept()).await.unwrap().assign(assign());
        let (parent, assigned) = soon(worker).await.unwrap().unwrap();
        assert_eq!(assigned, assign());
        (handover, reports, parent)
    }

    fn client(&self, read: &[u8]) -> (TcpStream, Connection) {
        let client = TcpStream::connect(self.tcp.local_addr().unwrap()).unwrap();
        let (stream, peer): (TcpStream, SocketAddr) = self.tcp.accept().unwrap();
        (client, Connection { stream, peer, read: Bytes::copy_from_slice(read) })
    }
}

/// How long anything here may take before it has failed.
const BOUND: Duration = Duration::from_secs(10);

async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(BOUND, future).await.expect("nothing happened in time")
}

async fn connect_worker(path: PathBuf) -> std::io::Result<(Parent, Assign)> {
    Parent::connect(&path, 2).await
}

/// Lets the link's task run until it can do no more without the worker.
async fn settle(handover: &Handover) {
    let mut before = None;
    while before != Some(handover.stats()) {
        before = Some(handover.stats());
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
    }
}

async fn next_connection(parent: &mut Parent) -> Connection {
    let event = soon(parent.next()).await;
    let Event::Connection(connection) = event else { panic!("expected a connection, got {event:?}") };
    connection
}

fn answer(mut connection: Connection, bytes: &[u8]) {
    connection.stream.write_all(bytes).unwrap();
}

/// Reads to the end, which comes once the parent's copy is closed as well.
async fn read(client: TcpStream) -> Vec<u8> {
    client.set_nonblocking(true).unwrap();
    let (mut client, mut bytes) = (tokio::net::TcpStream::from_std(client).unwrap(), Vec::new());
    soon(client.read_to_end(&mut bytes)).await.unwrap();
    bytes
}

fn assign() -> Assign {
    Assign {
        tag: "abcdef".into(),
        mesh_dir: "/x/mesh".into(),
        http_path: "/x/http/abcdef.sock".into(),
        host: None,
        port: None,
        threads: NonZeroUsize::new(1),
    }
}

fn raw_connect(path: &Path) -> OwnedFd {
    let socket = seqpacket();
    connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    socket
}

fn seqpacket() -> OwnedFd {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

fn recv_packet(from: &OwnedFd) -> Vec<u8> {
    let mut buffer = [0; 4096];
    let (bytes, _) = rustix::net::recv(from, &mut buffer, RecvFlags::empty()).unwrap();
    buffer[..bytes].to_vec()
}

/// A worker's first packet, as its bytes.
fn hello() -> Vec<u8> {
    format!("\x01{{\"version\":{},\"pid\":1,\"instance\":1}}", sockeye_link::VERSION).into_bytes()
}
