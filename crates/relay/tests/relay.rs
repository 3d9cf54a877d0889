//! The relay against upstreams that behave and upstreams that do not, on real sockets.

#![expect(clippy::unwrap_used, reason = "a test that fails to set itself up may panic")]

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sockeye_relay::{Address, Body, Breach, Config, Origin, Relay, RelayError, Rewind, Socket};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

#[tokio::test]
async fn a_thousand_requests_use_one_connection() {
    let upstream = Raw::start(|mut stream, _| async move {
        while let Some(head) = read_head(&mut stream).await {
            assert!(head.starts_with("GET /n"), "{head}");
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        }
    });
    let relay = Relay::new(Config::default());
    for n in 0..1000 {
        let response = relay.request(&upstream.address, get(&format!("/n{n}")), &origin()).await.unwrap();
        assert_eq!(text(response).await, "ok");
    }
    assert_eq!(upstream.connections(), 1);
    let stats = relay.stats();
    assert_eq!((stats.requests, stats.connects, stats.idle), (1000, 1, 1));
}

#[tokio::test]
async fn bodies_stream_both_ways_and_keep_their_framing() {
    let upstream = serve(|request: Request<Incoming>| async move {
        let length = request.headers().get("content-length").map(|v| v.to_str().unwrap().to_owned());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(Full::new(Bytes::from(format!("{length:?} {}", body.len()))))
    });
    let relay = Relay::new(Config::default());
    let known = Request::post("/").body(Full::new(Bytes::from(vec![7; 1_000_000]))).unwrap();
    let response = relay.request(&upstream.address, known, &origin()).await.unwrap();
    assert_eq!(text(response).await, "Some(\"1000000\") 1000000");
    let pieces = pieces_of(vec!["a", "bc", "def"]);
    let response =
        relay.request(&upstream.address, Request::post("/").body(pieces).unwrap(), &origin()).await.unwrap();
    assert_eq!(text(response).await, "None 6");
    assert_eq!(relay.stats().connects, 1);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_says_nothing_is_given_up_and_a_slow_upload_is_not() {
    let upstream = Raw::start(|mut stream, _| async move {
        for answer in ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", ""] {
            let mut read = Vec::new();
            while !read.ends_with(b"0\r\n\r\n") {
                read.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        stream.read_u8().await.unwrap_err();
    });
    let relay = Relay::new(Config::default());
    let limit = Config::default().answer_time_max;
    let slow = || Request::post("/").body(paced(vec!["a", "b", "c", "d"], limit / 2)).unwrap();
    let response = relay.request(&upstream.address, slow(), &origin()).await.unwrap();
    assert_eq!(text(response).await, "ok");
    let started = tokio::time::Instant::now();
    let Err(RelayError::Broken(Breach::Silent(silent))) =
        relay.request(&upstream.address, slow(), &origin()).await
    else {
        panic!("it answered")
    };
    assert_eq!(silent, limit);
    let waited = started.elapsed();
    // The upload takes five pauses of half a limit; the silence after it is seen within twice the limit.
    assert!(waited >= limit * 7 / 2 && waited <= limit * 9 / 2, "{waited:?}");
    upstream.closed().await;
}

#[tokio::test]
async fn nobody_there_hands_the_request_back_whole() {
    let relay = Relay::new(Config::default());
    let nowhere = Address::Unix("/nonexistent/socket".into());
    let request = Request::post("/x").body(Full::new(Bytes::from_static(b"body"))).unwrap();
    let Err(RelayError::Refused { request, .. }) = relay.request(&nowhere, request, &origin()).await else {
        panic!("not refused")
    };
    assert!(request.headers().is_empty(), "{request:?}");
    let upstream = serve(|request: Request<Incoming>| async move {
        assert_eq!(request.headers()["x-forwarded-for"], "192.0.2.7");
        Response::new(Full::new(request.into_body().collect().await.unwrap().to_bytes()))
    });
    let response = relay.request(&upstream.address, *request, &origin()).await.unwrap();
    assert_eq!(text(response).await, "body");
}

#[tokio::test]
async fn a_get_is_sent_again_when_its_kept_connection_breaks() {
    // The first connection answers once and breaks at the second request, after reading it.
    let upstream = Raw::start(|mut stream, nth| async move {
        let mut served = 0;
        while read_head(&mut stream).await.is_some() {
            if nth == 0 && served == 1 {
                return;
            }
            served += 1;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx").await.unwrap();
        }
    });
    let relay = Relay::new(Config::default());
    for _ in 0..2 {
        let response = relay.request(&upstream.address, get("/"), &origin()).await.unwrap();
        assert_eq!(text(response).await, "x");
    }
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn a_post_is_never_sent_again() {
    let posts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&posts);
    let upstream = Raw::start(move |mut stream, _| {
        let posts = Arc::clone(&counted);
        async move {
            while let Some(head) = read_head(&mut stream).await {
                if head.starts_with("POST") {
                    posts.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            }
        }
    });
    let relay = Relay::new(Config::default());
    relay.request(&upstream.address, get("/"), &origin()).await.unwrap();
    let post = Request::post("/").body(Body::full("1")).unwrap();
    let Err(RelayError::Broken(_)) = relay.request(&upstream.address, post, &origin()).await else {
        panic!("not broken")
    };
    assert_eq!(posts.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_not_used() {
    let upstream = Raw::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    });
    let relay = Relay::new(Config::default());
    for _ in 0..20 {
        // POSTs, which would not be repeated.
        let post = Request::post("/").body(Body::full("1")).unwrap();
        let response = relay.request(&upstream.address, post, &origin()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        drop(response);
        upstream.closed().await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_of_its_body() {
    let upstream = Raw::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
    });
    let relay = Relay::new(Config::default());
    let response = relay.request(&upstream.address, get("/"), &origin()).await.unwrap();
    assert!(response.into_body().collect().await.is_err());
    assert_eq!(relay.stats().idle, 0);
}

#[tokio::test]
async fn a_client_that_goes_away_takes_the_upstream_connection_with_it() {
    let (told, mut hears) = tokio::sync::mpsc::channel(1);
    let upstream = Raw::start(move |mut stream, _| {
        let told = told.clone();
        async move {
            read_head(&mut stream).await;
            told.send("asked").await.unwrap();
            assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0);
            told.send("closed").await.unwrap();
        }
    });
    let relay = Relay::new(Config::default());
    let (address, origin) = (upstream.address.clone(), origin());
    let waiting = tokio::spawn(async move { relay.request(&address, get("/"), &origin).await.map(drop) });
    assert_eq!(hears.recv().await, Some("asked"));
    waiting.abort();
    assert_eq!(hears.recv().await, Some("closed"));
}

#[tokio::test]
async fn rubbish_and_unasked_switches_are_errors() {
    for rubbish in [
        &b"SSH-2.0-OpenSSH\r\n\r\n"[..],
        b"",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let upstream = Raw::start(move |mut stream, _| async move {
            read_head(&mut stream).await;
            stream.write_all(rubbish).await.unwrap();
        });
        let relay = Relay::new(Config::default());
        let failed = relay.request(&upstream.address, get("/"), &origin()).await.unwrap_err();
        assert!(matches!(failed, RelayError::Broken(_) | RelayError::Switched), "{failed:?}");
        assert_eq!(relay.stats().idle, 0);
    }
}

#[tokio::test]
async fn hop_by_hop_headers_of_the_answer_stay_behind() {
    let upstream = Raw::start(|mut stream, _| async move {
        read_head(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\nConnection: close, X-Own\r\nX-Own: 1\r\nKeep-Alive: timeout=5\r\n";
        stream.write_all(head).await.unwrap();
        stream
            .write_all(b"X-Kept: 2\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nz\r\n0\r\n\r\n")
            .await
            .unwrap();
    });
    let relay = Relay::new(Config::default());
    let response = relay.request(&upstream.address, get("/"), &origin()).await.unwrap();
    let names: Vec<_> = response.headers().keys().map(|name| name.as_str().to_owned()).collect();
    assert_eq!(names, ["x-kept"]);
    assert_eq!(text(response).await, "z");
    assert_eq!(relay.stats().idle, 0);
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_after_their_lifetime() {
    let upstream = Raw::start(|mut stream, _| async move {
        while read_head(&mut stream).await.is_some() {
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        }
    });
    let relay = Relay::new(Config::default());
    relay.request(&upstream.address, get("/"), &origin()).await.unwrap();
    assert_eq!(relay.stats().idle, 1);
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(relay.stats().idle, 0);
}

#[tokio::test]
async fn an_upgrade_becomes_a_tunnel_and_early_bytes_arrive_in_order() {
    let upstream = Raw::start(|mut stream, _| async move {
        let head = read_head(&mut stream).await.unwrap().to_lowercase();
        assert!(
            head.contains("connection: upgrade\r\n") && head.contains("upgrade: websocket\r\n"),
            "{head}"
        );
        assert!(head.contains("sec-websocket-key: abc\r\n"), "{head}");
        stream.write_all(SWITCH).await.unwrap();
        stream.write_all(b"welcome ").await.unwrap();
        echo_until_end(stream, b"!bye").await;
    });
    let (relay, proxy) = proxy(&upstream.address).await;
    let mut client = TcpStream::connect(proxy).await.unwrap();
    client.write_all(UPGRADE).await.unwrap();
    client.write_all(b"early ").await.unwrap();
    let head = read_head(&mut client).await.unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 101") && head.contains("sec-websocket-accept: xyz\r\n"), "{head}");
    client.write_all(b"late").await.unwrap();
    client.shutdown().await.unwrap();
    let mut all = String::new();
    client.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "welcome early late!bye");
    until(|| relay.stats().tunnels == 0).await;
}

#[tokio::test]
async fn a_tunnel_carries_megabytes_against_a_slow_reader() {
    let upstream = Raw::start(|mut stream, _| async move {
        read_head(&mut stream).await.unwrap();
        stream.write_all(SWITCH).await.unwrap();
        echo_until_end(stream, b"").await;
    });
    let (_relay, proxy) = proxy(&upstream.address).await;
    let mut client = TcpStream::connect(proxy).await.unwrap();
    client.write_all(UPGRADE).await.unwrap();
    read_head(&mut client).await.unwrap();
    let sent: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (mut reader, mut writer) = client.into_split();
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    reader.read_to_end(&mut received).await.unwrap();
    writing.await.unwrap();
    assert!(received == expected);
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_answer_and_opens_nothing() {
    let upstream = Raw::start(|mut stream, _| async move {
        read_head(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.ok();
        assert!(rest.is_empty(), "bytes reached the upstream without its 101: {rest:?}");
    });
    let (relay, proxy) = proxy(&upstream.address).await;
    let mut client = TcpStream::connect(proxy).await.unwrap();
    client.write_all(UPGRADE).await.unwrap();
    client.write_all(b"GET /smuggled HTTP/1.1\r\n\r\n").await.unwrap();
    let head = read_head(&mut client).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    assert_eq!(relay.stats().tunnels, 0);
}

#[tokio::test]
async fn dropping_the_relay_ends_its_tunnels() {
    let upstream = Raw::start(|mut stream, _| async move {
        read_head(&mut stream).await.unwrap();
        stream.write_all(SWITCH).await.unwrap();
        echo_until_end(stream, b"").await;
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let relay = Relay::new(Config::default());
    let server = tokio::spawn(serve_proxy(stream, relay.clone(), upstream.address.clone()));
    client.write_all(UPGRADE).await.unwrap();
    read_head(&mut client).await.unwrap();
    server.await.unwrap();
    until(|| relay.stats().tunnels == 1).await;
    drop(relay);
    assert_eq!(client.read(&mut [0; 8]).await.unwrap_or(0), 0);
}

// Helpers.

const UPGRADE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Key: abc\r\n\r\n";
const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: xyz\r\n\r\n";

/// An upstream that speaks whatever its script says.
struct Raw {
    address: Address,
    connections: Arc<AtomicUsize>,
    ended: Arc<tokio::sync::Semaphore>,
    _directory: TempDir,
    task: tokio::task::JoinHandle<()>,
}

impl Raw {
    fn start<F, R>(script: F) -> Self
    where
        F: Fn(UnixStream, usize) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let directory = tempfile::tempdir().unwrap();
        let path: PathBuf = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let ended = Arc::new(tokio::sync::Semaphore::new(0));
        let (counted, ends) = (Arc::clone(&connections), Arc::clone(&ended));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let script = script(stream, counted.fetch_add(1, Ordering::Relaxed));
                let ends = Arc::clone(&ends);
                tokio::spawn(async move {
                    script.await;
                    ends.add_permits(1);
                });
            }
        });
        Self { address: Address::Unix(path), connections, ended, _directory: directory, task }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Waits until one more connection's script is done.
    async fn closed(&self) {
        self.ended.acquire().await.unwrap().forget();
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A well-behaved upstream.
fn serve<F, R>(handler: F) -> Raw
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    Raw::start(move |stream, _| {
        let handler = handler.clone();
        let service = service_fn(move |request| {
            let answer = handler(request);
            async move { Ok::<_, std::convert::Infallible>(answer.await) }
        });
        async move {
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await
                .ok();
        }
    })
}

/// A server that relays every request as an upgrade, as the edge does.
async fn proxy(to: &Address) -> (Relay, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let relay = Relay::new(Config::default());
    let (shared, to) = (relay.clone(), to.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_proxy(stream, shared.clone(), to.clone()));
        }
    });
    (relay, address)
}

async fn serve_proxy(stream: TcpStream, relay: Relay, to: Address) {
    let origin = Origin::new(stream.peer_addr().unwrap());
    let io = TokioIo::new(Rewind::new(Bytes::new(), Socket::from(stream)));
    let service = service_fn(move |request| {
        let (relay, to, origin) = (relay.clone(), to.clone(), origin.clone());
        async move { relay.upgrade(&to, request, &origin).await }
    });
    hyper::server::conn::http1::Builder::new().serve_connection(io, service).with_upgrades().await.ok();
}

async fn read_head<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

async fn echo_until_end(stream: UnixStream, farewell: &[u8]) {
    let (mut reader, mut writer) = stream.into_split();
    tokio::io::copy(&mut reader, &mut writer).await.ok();
    writer.write_all(farewell).await.ok();
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn get(path: &str) -> Request<Body> {
    Request::builder().method(Method::GET).uri(path).header("host", "a").body(Body::empty()).unwrap()
}

fn origin() -> Origin {
    Origin::new("192.0.2.7:5000".parse().unwrap())
}

/// A body in pieces, of unknown length.
fn pieces_of(pieces: Vec<&'static str>) -> impl http_body::Body<Data = Bytes, Error = std::io::Error> {
    paced(pieces, Duration::ZERO)
}

/// A body in pieces, with a pause before each.
fn paced(
    pieces: Vec<&'static str>,
    pause: Duration,
) -> impl http_body::Body<Data = Bytes, Error = std::io::Error> {
    struct Pieces(std::vec::IntoIter<&'static str>, Pin<Box<tokio::time::Sleep>>, Duration);
    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = std::io::Error;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, std::io::Error>>> {
            ready!(self.1.as_mut().poll(cx));
            let next = tokio::time::Instant::now() + self.2;
            self.1.as_mut().reset(next);
            let piece = self.0.next();
            Poll::Ready(piece.map(|piece| Ok(http_body::Frame::data(Bytes::from_static(piece.as_bytes())))))
        }
    }
    Pieces(pieces.into_iter(), Box::pin(tokio::time::sleep(pause)), pause)
}
