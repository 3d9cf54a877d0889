//! What browsers of other origins are told, and the client that is served to them.

use crate::harness::{Answer, Host, POLLING, WEBSOCKET, handshake_head, read_head, within};
use sockeye::{Config, Cors, CorsOptions, Files, Origin, Server};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

const PAGE: &str = "https://app.example";
const ORIGIN: &str = "Origin: https://app.example\r\n";

#[tokio::test]
async fn every_answer_of_engine_io_bears_the_headers() {
    let host = host(listed()).await;
    let sid = {
        let open = host.request("GET", &host.target(POLLING), ORIGIN, "").await;
        crate::harness::sid_of(&open.body)
    };
    let session = format!("{POLLING}&sid={sid}");
    for (method, query, body, status) in [
        ("GET", POLLING, "", 200),
        ("POST", &session, "40", 200),
        ("GET", &session, "", 200),
        ("GET", "EIO=4", "", 400),
        ("GET", "EIO=4&transport=polling&sid=x", "", 400),
        ("POST", POLLING, "", 400),
        ("PUT", &session, "", 500),
    ] {
        let answer = host.request(method, &host.target(query), ORIGIN, body).await;
        assert_eq!(answer.status, status, "{method} {query}");
        assert_eq!(allowed(&answer).as_deref(), Some(PAGE), "{method} {query}");
        assert_eq!(answer.header("access-control-allow-credentials").as_deref(), Some("true"));
        assert_eq!(answer.header("vary").as_deref(), Some("Origin"));
    }
    // Another page is told nothing, and no page at all neither.
    for lines in ["Origin: https://evil.example\r\n", ""] {
        let answer = host.request("GET", &host.target(POLLING), lines, "").await;
        assert_eq!((answer.status, allowed(&answer)), (200, None), "{lines}");
    }
}

#[tokio::test]
async fn websocket_handshakes_bear_the_headers() {
    let host = host(listed()).await;
    let mut stream = host.connect().await;
    let head = handshake_head(&host.target(WEBSOCKET)).replace("\r\n\r\n", &format!("\r\n{ORIGIN}\r\n"));
    stream.write_all(head.as_bytes()).await.unwrap();
    let head = within(read_head(&mut stream)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.contains("Access-Control-Allow-Origin: https://app.example\r\n"), "{head}");
}

#[tokio::test]
async fn a_preflight_is_answered_for_any_query() {
    let host = host(listed()).await;
    let lines = format!(
        "{ORIGIN}Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type,x-key\r\n"
    );
    for query in [POLLING, "EIO=4&transport=polling&sid=gone", ""] {
        let answer = host.request("OPTIONS", &host.target(query), &lines, "").await;
        assert_eq!((answer.status, &*answer.body), (204, ""), "{query}");
        for (name, value) in [
            ("access-control-allow-origin", PAGE),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "GET,HEAD,PUT,PATCH,POST,DELETE"),
            ("access-control-allow-headers", "content-type,x-key"),
            ("access-control-max-age", "600"),
            ("vary", "Origin, Access-Control-Request-Headers"),
        ] {
            assert_eq!(answer.header(name).as_deref(), Some(value), "{name}");
        }
    }
}

#[tokio::test]
async fn any_origin_is_a_star_and_none_is_silence() {
    let star = host(Some(Cors::any())).await;
    for lines in [ORIGIN, ""] {
        let answer = star.request("GET", &star.target(POLLING), lines, "").await;
        assert_eq!(allowed(&answer).as_deref(), Some("*"));
    }
    let silent = host(None).await;
    let answer = silent.request("GET", &silent.target(POLLING), ORIGIN, "").await;
    assert_eq!((answer.status, allowed(&answer)), (200, None));
    let answer = silent.request("OPTIONS", &silent.target(POLLING), ORIGIN, "").await;
    assert_eq!((answer.status, allowed(&answer)), (400, None));
}

#[tokio::test]
async fn a_client_is_served_below_the_path() {
    let host = host(None).await;
    let script = host.get("/socket.io/socket.io.js").await;
    assert_eq!(script.status, 200);
    assert_eq!(script.header("content-type").as_deref(), Some("application/javascript; charset=utf-8"));
    assert_eq!(script.header("cache-control").as_deref(), Some("public, max-age=0"));
    assert!(script.body.contains("io"));
    let etag = script.header("etag").unwrap();
    for known in [etag.clone(), format!("W/{etag}"), "*".to_owned()] {
        let lines = format!("If-None-Match: {known}\r\n");
        let answer = host.request("GET", "/socket.io/socket.io.js", &lines, "").await;
        assert_eq!((answer.status, &*answer.body), (304, ""), "{known}");
    }
    let head = host.request("HEAD", "/socket.io/socket.io.js", "", "").await;
    assert_eq!((head.status, &*head.body), (200, ""));
    assert_eq!(head.header("content-length"), script.header("content-length"));
    for (target, status) in [
        ("/socket.io/socket.io.js?t=1", 200),
        ("/socket.io/socket.io.min.js", 200),
        ("/socket.io/package.json", 400),
        ("/socket.io/../Cargo.toml", 400),
        ("/socket.io.js", 404),
    ] {
        assert_eq!(host.get(target).await.status, status, "{target}");
    }
}

#[tokio::test]
async fn the_official_client_is_served_from_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("dist")).unwrap();
    std::fs::write(dir.path().join("package.json"), r#"{"version":"4.8.4"}"#).unwrap();
    std::fs::write(dir.path().join("dist/socket.io.js"), "official").unwrap();
    std::fs::write(dir.path().join("dist/socket.io.js.map"), "{}").unwrap();
    std::fs::write(dir.path().join("dist/secret.js"), "secret").unwrap();
    let config = Config { client_dir: Some(dir.path().join("dist")), ..Config::default() };
    let host = Host::with(config, |_| {}).await;
    let script = host.get("/socket.io/socket.io.js").await;
    assert_eq!((&*script.body, script.header("etag").as_deref()), ("official", Some("\"4.8.4\"")));
    let map = host.get("/socket.io/socket.io.js.map").await;
    assert_eq!(map.header("content-type").as_deref(), Some("application/json; charset=utf-8"));
    assert_eq!(host.get("/socket.io/secret.js").await.status, 400);
    let config = Config { serve_client: false, ..Config::default() };
    let bare = Host::with(config, |_| {}).await;
    assert_eq!(bare.get("/socket.io/socket.io.js").await.status, 400);
}

#[tokio::test]
async fn files_are_served_beside_socket_io() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("index.html"), "<p>hello</p>").unwrap();
    let mut server = Server::new(Config::default());
    server.files(Files::new(dir.path()));
    let host = Host::of(server).await;
    let page = host.get("/").await;
    assert_eq!((page.status, &*page.body), (200, "<p>hello</p>"));
    assert_eq!(host.get("/none.html").await.status, 404);
    assert_eq!(host.get("/health").await.body, "ok");
    host.open_polling().await;
}

fn allowed(answer: &Answer) -> Option<String> {
    answer.header("access-control-allow-origin")
}

fn listed() -> Option<Cors> {
    let options = CorsOptions {
        origin: Origin::List(vec![PAGE.to_owned(), "https://other.example".to_owned()]),
        credentials: true,
        max_age: Some(Duration::from_secs(600)),
        ..CorsOptions::default()
    };
    Some(Cors::new(options).unwrap())
}

async fn host(cors: Option<Cors>) -> Host {
    Host::with(Config { cors, ..Config::default() }, |_| {}).await
}
