//! The cases of the official Engine.IO v4 suite, and the polling transport around them.

use crate::harness::{
    Answer, Frame, Host, POLLING, WEBSOCKET, Ws, answer, handshake_head, quick, read_head, within,
};
use serde_json::{Value, json};
use sockeye::Config;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

#[tokio::test]
async fn a_session_opens_with_exactly_the_official_keys_on_either_transport() {
    let host = Host::echo(quick()).await;
    let polled = host.get(&host.target(POLLING)).await;
    assert_eq!(polled.status, 200);
    assert_eq!(polled.header("content-type").as_deref(), Some("text/plain; charset=UTF-8"));
    assert_eq!(polled.header("cache-control").as_deref(), Some("no-store"));
    let (_, framed) = Ws::session(&host).await;
    for (open, upgrades) in [(polled.body, json!(["websocket"])), (framed, json!([]))] {
        let mut value: Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
        let sid = value["sid"].take();
        assert_eq!(sid.as_str().unwrap().len(), 20);
        let expected = json!({
            "sid": null, "upgrades": upgrades, "pingInterval": 300, "pingTimeout": 200, "maxPayload": 1_000_000
        });
        assert_eq!(value, expected);
        let order = ["sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"];
        assert!(order.map(|key| open.find(&format!("{key}\":"))).is_sorted(), "{open}");
    }
}

#[tokio::test]
async fn without_upgrades_none_is_offered() {
    let host = Host::echo(Config { allow_upgrades: false, ..Config::default() }).await;
    let open = host.get(&host.target(POLLING)).await.body;
    assert!(open.contains(r#""upgrades":[],"#), "{open}");
}

#[tokio::test]
async fn payloads_are_echoed_packet_by_packet() {
    let host = Host::echo(Config::default()).await;
    for payload in [
        "4hello",
        "4test1\x1e4test2\x1e4test3",
        "4hello\x1ebAQIDBA==",
        "4",
        "4€ and 🦀",
        "b",
        "4a\x1e4\x1ebAA==\x1e4b",
    ] {
        let sid = host.open_polling().await;
        let pushed = host.push(&sid, payload).await;
        assert_eq!((pushed.status, &*pushed.body), (200, "ok"), "{payload}");
        assert_eq!(pushed.header("content-type").as_deref(), Some("text/html"));
        let polled = host.poll(&sid).await;
        assert_eq!((polled.status, &*polled.body), (200, payload));
        assert_eq!(polled.header("content-type").as_deref(), Some("text/plain; charset=UTF-8"));
    }
}

#[tokio::test]
async fn a_waiting_poll_is_answered_by_the_first_message() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    let poll = host.begin_poll(&sid).await;
    host.push(&sid, "4one").await;
    assert_eq!(answer(poll).await.body, "4one");
    host.push(&sid, "4two").await;
    assert_eq!(host.poll(&sid).await.body, "4two");
}

#[tokio::test]
async fn requests_of_one_connection_are_answered_in_turn() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    let target = host.poll_target(&sid);
    let mut stream = host.connect().await;
    for _ in 0..3 {
        let post = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n4hello");
        let get = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all((post + &get).as_bytes()).await.unwrap();
        for expected in ["ok", "4hello"] {
            assert!(within(read_head(&mut stream)).await.unwrap().starts_with("HTTP/1.1 200"));
            let mut body = vec![0; expected.len()];
            within(stream.read_exact(&mut body)).await.unwrap();
            assert_eq!(body, expected.as_bytes());
        }
    }
}

#[tokio::test]
async fn an_undecodable_post_is_taken_and_ends_the_session() {
    let host = Host::echo(Config::default()).await;
    for payload in ["abc", "7", "", "4ok\x1eabc", "bA", "4a\x1e", "\x1e"] {
        let sid = host.open_polling().await;
        let pushed = host.push(&sid, payload).await;
        assert_eq!((pushed.status, &*pushed.body), (200, "ok"), "{payload:?}");
        assert_unknown(&host.poll(&sid).await);
    }
}

#[tokio::test]
async fn a_second_poll_ends_the_session_and_the_first_is_told() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    let first = host.begin_poll(&sid).await;
    let second = host.poll(&sid).await;
    assert_eq!((second.status, &*second.body), (400, ""));
    let first = answer(first).await;
    assert_eq!((first.status, &*first.body), (200, "1"));
    assert_unknown(&host.poll(&sid).await);
}

#[tokio::test]
async fn a_second_post_ends_the_session() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    let mut stream = host.connect().await;
    let target = host.poll_target(&sid);
    let half = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n4he");
    stream.write_all(half.as_bytes()).await.unwrap();
    host.settle().await;
    let second = host.push(&sid, "4hello").await;
    assert_eq!((second.status, &*second.body), (400, ""));
    assert_unknown(&host.poll(&sid).await);
}

#[tokio::test]
async fn a_binary_post_ends_the_session() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    let poll = host.begin_poll(&sid).await;
    let lines = "Content-Type: application/octet-stream\r\n";
    let pushed = host.request("POST", &host.poll_target(&sid), lines, "4hello").await;
    assert_eq!((pushed.status, &*pushed.body), (400, ""));
    assert_eq!(answer(poll).await.body, "1");
    assert_unknown(&host.poll(&sid).await);
}

#[tokio::test]
async fn a_poll_that_is_given_up_ends_the_session() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    drop(host.begin_poll(&sid).await);
    host.settle().await;
    assert_unknown(&host.poll(&sid).await);
}

#[tokio::test]
async fn a_post_that_is_given_up_ends_the_session() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    let poll = host.begin_poll(&sid).await;
    let mut stream = host.connect().await;
    let target = host.poll_target(&sid);
    let half = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n4he");
    stream.write_all(half.as_bytes()).await.unwrap();
    host.settle().await;
    drop(stream);
    assert_eq!(answer(poll).await.body, "1");
    assert_unknown(&host.poll(&sid).await);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_the_session_lives() {
    let host = Host::echo(Config { max_payload: 1000, ..Config::default() }).await;
    let sid = host.open_polling().await;
    let body = |length: usize| "4".repeat(length);
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n3e9\r\n{}\r\n0\r\n\r\n", body(1001));
    for length in [1001, 5000, 3_000_000] {
        let refused = host.push(&sid, body(length)).await;
        assert_eq!((refused.status, &*refused.body), (413, ""), "{length}");
    }
    let mut stream = host.connect().await;
    let head =
        format!("POST {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{chunked}", host.poll_target(&sid));
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(answer(stream).await.status, 413);
    assert_eq!(host.push(&sid, body(1000)).await.status, 200);
    assert_eq!(host.poll(&sid).await.body, body(1000));
}

#[tokio::test]
async fn other_methods_on_a_session_are_a_server_error() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"] {
        let refused = host.request(method, &host.poll_target(&sid), "", "").await;
        assert_eq!((refused.status, &*refused.body), (500, ""), "{method}");
    }
    host.push(&sid, "4alive").await;
    assert_eq!(host.poll(&sid).await.body, "4alive");
}

#[tokio::test]
async fn polling_is_pinged_and_lives_while_it_answers() {
    let host = Host::echo(quick()).await;
    let sid = host.open_polling().await;
    for _ in 0..3 {
        let polled = host.poll(&sid).await;
        assert_eq!((polled.status, &*polled.body), (200, "2"));
        assert_eq!(host.push(&sid, "3").await.status, 200);
    }
}

#[tokio::test]
async fn silent_polling_ends_when_the_ping_times_out() {
    let host = Host::echo(quick()).await;
    let sid = host.open_polling().await;
    // Ping and timeout take 500 ms; the rest is for a server that was not woken in time.
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_unknown(&host.poll(&sid).await);
    // The same with a poll that takes the ping, and one after it that waits.
    let sid = host.open_polling().await;
    assert_eq!(host.poll(&sid).await.body, "2");
    let polled = host.poll(&sid).await;
    assert_eq!((polled.status, &*polled.body), (200, "1"));
}

#[tokio::test]
async fn a_ping_joins_the_messages_that_wait() {
    let config = Config { ping_interval: Duration::from_millis(50), ..Config::default() };
    let host = Host::echo(config).await;
    let sid = host.open_polling().await;
    host.push(&sid, "4a").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let first = host.poll(&sid).await.body;
    let both = if first.contains('\x1e') { first } else { first + "\x1e" + &host.poll(&sid).await.body };
    assert!(["2\x1e4a", "4a\x1e2"].contains(&&*both), "{both:?}");
}

#[tokio::test]
async fn a_client_that_pings_breaks_the_protocol() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    assert_eq!(host.push(&sid, "2").await.body, "ok");
    assert_unknown(&host.poll(&sid).await);
    let (mut ws, _) = Ws::session(&host).await;
    ws.send("2").await;
    ws.ended().await;
}

#[tokio::test]
async fn a_client_that_closes_frees_its_poll() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    let poll = host.begin_poll(&sid).await;
    assert_eq!(host.push(&sid, "1").await.body, "ok");
    let polled = answer(poll).await;
    assert_eq!((polled.status, &*polled.body), (200, "6"));
    assert_unknown(&host.poll(&sid).await);
}

#[tokio::test]
async fn websockets_are_pinged_and_end_when_they_are_silent() {
    let host = Host::echo(quick()).await;
    let (mut ws, _) = Ws::session(&host).await;
    for _ in 0..3 {
        assert_eq!(ws.text().await, "2");
        ws.send("3").await;
    }
    let answered = Instant::now();
    ws.ended().await;
    assert!(answered.elapsed() >= Duration::from_millis(490), "{:?}", answered.elapsed());
}

#[tokio::test]
async fn any_packet_postpones_the_end_once_a_ping() {
    let config = Config {
        ping_interval: Duration::from_millis(50),
        ping_timeout: Duration::from_millis(400),
        ..Config::default()
    };
    let host = Host::echo(config).await;
    let (mut ws, _) = Ws::session(&host).await;
    assert_eq!(ws.text().await, "2");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let pinged = Instant::now();
    ws.send("4still here").await;
    assert_eq!(ws.text().await, "4still here");
    ws.ended().await;
    assert!(pinged.elapsed() >= Duration::from_millis(395), "{:?}", pinged.elapsed());
}

#[tokio::test]
async fn websockets_are_echoed_close_and_fail() {
    let host = Host::echo(Config::default()).await;
    let (mut ws, _) = Ws::session(&host).await;
    ws.send("4hello").await;
    assert_eq!(ws.text().await, "4hello");
    ws.send_binary(&[1, 2, 3, 4]).await;
    assert_eq!(ws.next().await, Frame::Binary(vec![1, 2, 3, 4]));
    // Base64 is a packet on a WebSocket, too.
    ws.send("bAQIDBA==").await;
    assert_eq!(ws.next().await, Frame::Binary(vec![1, 2, 3, 4]));
    for last in ["abc", "1", "7", ""] {
        let (mut ws, _) = Ws::session(&host).await;
        ws.send(last).await;
        ws.ended().await;
    }
}

#[tokio::test]
async fn only_paths_below_the_path_are_engine_io() {
    let host = Host::with(Config::default(), |_| {}).await;
    for (target, status) in [
        (format!("/socket.io/?{POLLING}"), 200),
        (format!("/socket.io/anything?{POLLING}"), 200),
        (format!("/socket.io?{POLLING}"), 404),
        (format!("/socket.io-admin/?{POLLING}"), 404),
        (format!("/engine.io/?{POLLING}"), 404),
        (format!("/Socket.io/?{POLLING}"), 404),
        ("/".to_owned(), 404),
    ] {
        assert_eq!(host.get(&target).await.status, status, "{target}");
    }
    for target in [format!("/socket.io?{WEBSOCKET}"), format!("/socket.io-admin/?{WEBSOCKET}")] {
        let mut stream = host.connect().await;
        stream.write_all(handshake_head(&target).as_bytes()).await.unwrap();
        let head = within(read_head(&mut stream)).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 404"), "{target}: {head}");
    }
}

#[tokio::test]
async fn the_path_is_given_with_and_without_slashes() {
    for path in ["/my/path/", "my/path", "/my/path", "my/path/"] {
        let config = Config { path: path.to_owned(), ..Config::default() };
        let host = Host::with(config, |_| {}).await;
        assert_eq!(host.get(&format!("/my/path/?{POLLING}")).await.status, 200, "{path}");
        assert_eq!(host.get(&format!("/socket.io/?{POLLING}")).await.status, 404, "{path}");
    }
}

/// The session is gone.
pub(crate) fn assert_unknown(answer: &Answer) {
    let expected = (400, r#"{"code":1,"message":"Session ID unknown"}"#);
    assert_eq!((answer.status, &*answer.body), expected);
}
