//! Requests that Engine.IO refuses, in the official bytes; and clients that never get as far as a request.

use crate::engine_io_v4::assert_unknown;
use crate::harness::{Answer, Host, POLLING, WEBSOCKET, Ws, answer, handshake_head, read_to_end, within};
use sockeye::Config;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

const UNKNOWN_TRANSPORT: &str = r#"{"code":0,"message":"Transport unknown"}"#;
const UNKNOWN_SID: &str = r#"{"code":1,"message":"Session ID unknown"}"#;
const BAD_METHOD: &str = r#"{"code":2,"message":"Bad handshake method"}"#;
const BAD_REQUEST: &str = r#"{"code":3,"message":"Bad request"}"#;
const UNSUPPORTED: &str = r#"{"code":5,"message":"Unsupported protocol version"}"#;

#[tokio::test]
async fn plain_requests_are_refused_with_a_code() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    let rows = [
        ("GET", "EIO=4".to_owned(), UNKNOWN_TRANSPORT),
        ("GET", String::new(), UNKNOWN_TRANSPORT),
        ("GET", "EIO=4&transport=abc".to_owned(), UNKNOWN_TRANSPORT),
        ("GET", "EIO=4&transport=webtransport".to_owned(), UNKNOWN_TRANSPORT),
        ("GET", "EIO=4&transport=".to_owned(), UNKNOWN_TRANSPORT),
        ("GET", format!("EIO=4&transport=abc&sid={sid}"), UNKNOWN_TRANSPORT),
        ("GET", format!("{POLLING}&sid=AAAAAAAAAAAAAAAAAAAA"), UNKNOWN_SID),
        ("GET", format!("{POLLING}&sid=short"), UNKNOWN_SID),
        ("GET", format!("{POLLING}&sid=__proto__"), UNKNOWN_SID),
        ("POST", format!("{POLLING}&sid=AAAAAAAAAAAAAAAAAAAA"), UNKNOWN_SID),
        ("PUT", format!("{POLLING}&sid=AAAAAAAAAAAAAAAAAAAA"), UNKNOWN_SID),
        ("POST", POLLING.to_owned(), BAD_METHOD),
        ("PUT", POLLING.to_owned(), BAD_METHOD),
        ("OPTIONS", POLLING.to_owned(), BAD_METHOD),
        ("GET", WEBSOCKET.to_owned(), BAD_REQUEST),
        ("GET", format!("{WEBSOCKET}&sid={sid}"), BAD_REQUEST),
        ("GET", format!("EIO=3&transport=polling&sid={sid}"), BAD_REQUEST),
        ("GET", format!("transport=polling&sid={sid}"), BAD_REQUEST),
        ("GET", "transport=polling".to_owned(), UNSUPPORTED),
        ("GET", "EIO=3&transport=polling".to_owned(), UNSUPPORTED),
        ("GET", "EIO=abc&transport=polling".to_owned(), UNSUPPORTED),
    ];
    for (method, query, body) in rows {
        let refused = host.request(method, &host.target(&query), "", "").await;
        assert_eq!((refused.status, &*refused.body), (400, body), "{method} {query}");
        assert_eq!(refused.header("content-type").as_deref(), Some("application/json"));
    }
    host.push(&sid, "4alive").await;
    assert_eq!(host.poll(&sid).await.body, "4alive");
}

#[tokio::test]
async fn websocket_handshakes_are_refused_in_plain_bytes() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    let rows = [
        ("EIO=4".to_owned(), "Transport unknown"),
        ("EIO=4&transport=abc".to_owned(), "Transport unknown"),
        (format!("EIO=4&sid={sid}"), "Transport unknown"),
        (format!("{WEBSOCKET}&sid=AAAAAAAAAAAAAAAAAAAA"), "Session ID unknown"),
        (format!("{WEBSOCKET}&sid=x"), "Session ID unknown"),
        (format!("EIO=3&transport=websocket&sid={sid}"), "Bad request"),
    ];
    for (query, message) in rows {
        let mut stream = host.connect().await;
        stream.write_all(handshake_head(&host.target(&query)).as_bytes()).await.unwrap();
        let bytes = within(read_to_end(&mut stream)).await;
        let length = message.len();
        let expected = format!(
            "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-type: text/html\r\nContent-Length: {length}\r\n\r\n{message}"
        );
        assert_eq!(String::from_utf8(bytes).unwrap(), expected, "{query}");
    }
    host.push(&sid, "4alive").await;
    assert_eq!(host.poll(&sid).await.body, "4alive");
}

#[tokio::test]
async fn a_handshake_that_is_no_websockets_is_refused() {
    let host = Host::echo(Config::default()).await;
    let head = handshake_head(&host.target(WEBSOCKET));
    for (from, to) in [
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        ("dGhlIHNhbXBsZSBub25jZQ==", "short"),
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 12"),
        ("Sec-WebSocket-Version: 13\r\n", ""),
    ] {
        let mut stream = host.connect().await;
        stream
            .write_all(head.replace(from, to).replace("\r\n\r\n", "\r\nX: y\r\n\r\n").as_bytes())
            .await
            .unwrap();
        stream.shutdown().await.unwrap();
        let answer = answer(stream).await;
        assert_eq!(answer.status, 400, "{from} → {to}: {answer:?}");
    }
}

#[tokio::test]
async fn a_session_that_left_polling_refuses_it() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    let mut ws = Ws::probe(&host, &sid).await;
    ws.send("5").await;
    ws.send("4over").await;
    assert_eq!(ws.text().await, "4over");
    for refused in [host.poll(&sid).await, host.push(&sid, "4x").await] {
        assert_eq!((refused.status, &*refused.body), (400, BAD_REQUEST));
    }
    ws.send("4still").await;
    assert_eq!(ws.text().await, "4still");
    ws.send("1").await;
    ws.ended().await;
    assert_unknown(&host.poll(&sid).await);
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_off() {
    let config = Config { head_timeout: Duration::from_millis(100), ..Config::default() };
    let host = Host::echo(config).await;
    for begin in ["", "GET /engine.io/", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        let mut stream = host.connect().await;
        stream.write_all(begin.as_bytes()).await.unwrap();
        let answer = answer(stream).await;
        assert_eq!((answer.status, &*answer.body), (408, ""), "{begin:?}");
    }
    // A byte now and then does not help.
    let mut stream = host.connect().await;
    let drip = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if stream.write_all(b"x").await.is_err() {
                return;
            }
        }
    };
    within(drip).await;
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let host = Host::echo(Config { head_bytes_max: 2000, ..Config::default() }).await;
    for length in [100_000, 3_000_000] {
        let mut stream = host.connect().await;
        let head = format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(length));
        // The server may be done before it has read all of it.
        drop(stream.write_all(head.as_bytes()).await);
        let bytes = within(read_to_end(&mut stream)).await;
        assert_eq!(Answer::parse(&bytes).status, 431);
    }
}

#[tokio::test]
async fn a_second_request_is_held_to_the_same_limits() {
    let config = Config { head_timeout: Duration::from_millis(100), ..Config::default() };
    let host = Host::echo(config).await;
    let mut stream = host.connect().await;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /heal").await.unwrap();
    let bytes = within(read_to_end(&mut stream)).await;
    assert!(bytes.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn what_is_no_http_is_answered_or_dropped_and_harms_nobody() {
    let host = Host::echo(Config::default()).await;
    for bytes in
        [&b"\x16\x03\x01\x02\x00\x01\r\n\r\n"[..], b"\r\n\r\n\r\n\r\n", b"GET\r\n\r\n", b"\0\0\0\0\r\n\r\n"]
    {
        let mut stream = host.connect().await;
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        within(read_to_end(&mut stream)).await;
    }
    host.open_polling().await;
}
