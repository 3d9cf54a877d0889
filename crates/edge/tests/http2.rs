//! HTTP/2 towards clients, HTTP/1.1 towards servers; WebSockets over it become upgrades.

#![expect(clippy::unwrap_used, reason = "a test that fails to set itself up may panic")]

mod world;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sockeye_edge::Config;
use sockeye_edge::config::{Endpoint, Http, Listener, Serves, Tls};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use world::{POLL, SOCKET, World, read_head, sid};

#[tokio::test]
async fn polling_goes_over_http2_each_stream_its_own_way() {
    let directory = tempfile::tempdir().unwrap();
    let tls = Tls { certificates: vec![world::certificate(directory.path(), "a", &["a"])] };
    let world = World::of(speaking(true, false, Some(tls)));
    let workers = [world.worker(0).await, world.worker(1).await];
    let stream = world::connect_tls(world.address, "a", &[b"h2", b"http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut client = Box::pin(speak(stream)).await;
    for round in 0..5 {
        for worker in &workers {
            let target = format!("{POLL}&sid={}&round={round}", sid(worker.tag));
            let (status, body) = ask(&mut client, "a", &target).await;
            assert_eq!((status, body), (StatusCode::OK, format!("{} GET {target}", worker.tag)));
        }
    }
    for (name, expected) in
        [("host", "a"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "a"), ("cookie", "a=1; b=2")]
    {
        let request =
            Request::get(format!("https://a/header/{name}")).header("cookie", "a=1").header("cookie", "b=2");
        let response = client.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, expected, "{name}");
    }
    assert_eq!(world.control.stats().accepted, 1);
}

#[tokio::test]
async fn who_knows_beforehand_speaks_it_without_tls_and_it_is_off_by_default() {
    let world = World::of(speaking(true, false, None));
    let worker = world.worker(0).await;
    let mut client = speak(world.connect().await).await;
    assert_eq!(ask(&mut client, "a", "/x").await.1, format!("{} GET /x", worker.tag));
    // WebSockets over it are another switch.
    assert!(client.send_request(websocket("/socket.io/")).await.is_err(), "the settings do not allow it");

    let world = World::of(speaking(false, false, None));
    let mut stream = world.connect().await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn a_websocket_over_http2_is_an_upgrade_to_servers() {
    let world = World::of(speaking(true, true, None));
    let worker = world.worker(0).await;
    let mut client = speak(world.connect().await).await;
    // The settings that allow it have come once something was answered.
    ask(&mut client, "a", "/x").await;
    for target in [SOCKET.to_owned(), format!("{SOCKET}&sid={}", sid(worker.tag))] {
        let response = client.send_request(websocket(&target)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert!(!response.headers().contains_key("sec-websocket-accept"));
        let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
        stream.write_all(b"hello").await.unwrap();
        let mut echo = [0; 11];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo[..], format!("{}hello", worker.tag).as_bytes());
    }
    let nobody = format!("{SOCKET}&sid=nobodyxxxxxxxxxxxxxx");
    assert_eq!(client.send_request(websocket(&nobody)).await.unwrap().status(), StatusCode::BAD_REQUEST);
    let listener = world.control.stats().listeners[0].clone();
    assert_eq!((listener.upgrades_asked, listener.upgrades_taken, listener.upgraded_sessions), (3, 2, 1));
}

fn speaking(http2: bool, websocket_over_http2: bool, tls: Option<Tls>) -> Config {
    Config::workers(Listener {
        at: Endpoint::Tcp("127.0.0.1:0".parse().unwrap()),
        serves: Serves::Http(Http { http2, websocket_over_http2, redirect: None }),
        tls,
        ..Listener::default()
    })
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> SendRequest<Empty<Bytes>> {
    let (client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn ask(client: &mut SendRequest<Empty<Bytes>>, host: &str, target: &str) -> (StatusCode, String) {
    let request = Request::get(format!("http://{host}{target}")).body(Empty::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn websocket(target: &str) -> Request<Empty<Bytes>> {
    Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://a{target}"))
        .header("sec-websocket-version", "13")
        .extension(Protocol::from_static("websocket"))
        .body(Empty::new())
        .unwrap()
}
