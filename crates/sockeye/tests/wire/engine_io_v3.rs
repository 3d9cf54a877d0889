//! The cases of the official Engine.IO v3 suite: lengths before packets, base64 and bytes, the client pings.

use crate::harness::{Answer, Frame, Host, Ws, answer, quick, within};
use serde_json::{Value, json};
use sockeye::Config;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

const POLLING: &str = "EIO=3&transport=polling";
const WEBSOCKET: &str = "EIO=3&transport=websocket";

#[tokio::test]
async fn a_session_opens_with_the_official_keys_on_either_transport() {
    let host = host().await;
    let polled = host.get(&host.target(POLLING)).await;
    assert_eq!(polled.status, 200);
    let (length, open) = polled.body.split_once(':').unwrap();
    assert_eq!(length, open.len().to_string());
    let (_, framed) = session(&host).await;
    for (open, upgrades) in [(open, json!(["websocket"])), (&framed, json!([]))] {
        let mut value: Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
        assert_eq!(value["sid"].take().as_str().unwrap().len(), 20);
        let expected = json!({
            "sid": null, "upgrades": upgrades, "pingInterval": 300, "pingTimeout": 200, "maxPayload": 1_000_000
        });
        assert_eq!(value, expected);
    }
}

#[tokio::test]
async fn any_version_but_the_fourth_is_the_third() {
    let host = host().await;
    for version in ["", "EIO=abc&", "EIO=3&", "EIO=2&"] {
        let polled = host.get(&host.target(&format!("{version}transport=polling"))).await;
        assert!(polled.body.contains(":0{"), "{version}: {}", polled.body);
        let mut ws = Ws::open(&host, &format!("{version}transport=websocket")).await;
        assert!(ws.text().await.starts_with("0{"), "{version}");
        ws.send("2").await;
        assert_eq!(ws.text().await, "3", "{version}");
    }
    assert!(host.get(&host.target("EIO=4&transport=polling")).await.body.starts_with("0{"));
}

#[tokio::test]
async fn what_opens_no_session_is_refused() {
    let host = host().await;
    for (method, query) in [("GET", "EIO=3"), ("GET", "EIO=3&transport=abc"), ("POST", POLLING)] {
        assert_eq!(host.request(method, &host.target(query), "", "").await.status, 400, "{method} {query}");
    }
    for query in ["EIO=3", "EIO=3&transport=abc"] {
        let lines = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        assert_eq!(host.request("GET", &host.target(query), lines, "").await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn payloads_are_echoed_with_the_lengths_of_utf_16() {
    let host = host().await;
    for payload in
        ["6:4hello", "6:4test16:4test26:4test3", "6:4hello10:b4AQIDBA==", "1:4", "2:4€", "3:4🦀", "3:4\x1ea"]
    {
        let sid = open(&host, true).await;
        let pushed = push(&host, &sid, payload).await;
        assert_eq!((pushed.status, &*pushed.body), (200, "ok"), "{payload}");
        let polled = poll(&host, &sid).await;
        assert_eq!((polled.status, &*polled.body), (200, payload));
    }
}

#[tokio::test]
async fn bytes_travel_as_bytes_to_clients_that_did_not_ask_for_base64() {
    let host = host().await;
    let sid = open(&host, false).await;
    assert_eq!(push(&host, &sid, "6:4hello10:b4AQIDBA==").await.body, "ok");
    let mut stream = host.begin("GET", &target(&host, &sid), "", "").await;
    let mut bytes = Vec::new();
    within(stream.read_to_end(&mut bytes)).await.unwrap();
    let body = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(bytes[body..], *b"\x00\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04");
    // Without bytes in it a payload is text.
    push(&host, &sid, "6:4hello").await;
    assert_eq!(poll(&host, &sid).await.body, "6:4hello");
}

#[tokio::test]
async fn a_payload_of_bytes_is_taken_too() {
    let host = host().await;
    let sid = open(&host, true).await;
    let lines = "Content-Type: application/octet-stream\r\n";
    let payload = b"\x00\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04";
    let pushed = host.request("POST", &target(&host, &sid), lines, payload).await;
    assert_eq!((pushed.status, &*pushed.body), (200, "ok"));
    assert_eq!(poll(&host, &sid).await.body, "6:4hello10:b4AQIDBA==");
}

#[tokio::test]
async fn what_is_no_payload_ends_the_session() {
    let host = host().await;
    for payload in ["abc", "", "6:4hell", "x:4", "1:9", "-1:4", "6:4hello6"] {
        let sid = open(&host, true).await;
        assert_eq!(push(&host, &sid, payload).await.status, 200, "{payload:?}");
        assert_eq!(poll(&host, &sid).await.status, 400, "{payload:?}");
    }
}

#[tokio::test]
async fn a_second_poll_ends_the_session_and_the_first_is_told() {
    let host = host().await;
    let sid = open(&host, true).await;
    let first = begin_poll(&host, &sid).await;
    assert_eq!(poll(&host, &sid).await.status, 400);
    let first = answer(first).await;
    assert_eq!((first.status, &*first.body), (200, "1:1"));
    assert_eq!(poll(&host, &sid).await.status, 400);
}

#[tokio::test]
async fn websockets_are_echoed_close_and_fail() {
    let host = host().await;
    let (mut ws, _) = session(&host).await;
    ws.send("4hello").await;
    assert_eq!(ws.text().await, "4hello");
    ws.send_binary(&[4, 1, 2, 3, 4]).await;
    assert_eq!(ws.next().await, Frame::Binary(vec![4, 1, 2, 3, 4]));
    for last in ["abc", "1", "9", "3"] {
        let (mut ws, _) = session(&host).await;
        ws.send(last).await;
        ws.ended().await;
    }
}

#[tokio::test]
async fn it_is_the_client_that_pings() {
    let host = host().await;
    let sid = open(&host, true).await;
    let (mut ws, _) = session(&host).await;
    for _ in 0..3 {
        assert_eq!(push(&host, &sid, "1:2").await.status, 200);
        assert_eq!(poll(&host, &sid).await.body, "1:3");
        ws.send("2").await;
        assert_eq!(ws.text().await, "3");
    }
}

#[tokio::test]
async fn silence_ends_a_session_after_interval_and_timeout() {
    let host = host().await;
    let opened = Instant::now();
    let (mut ws, _) = session(&host).await;
    let sid = open(&host, true).await;
    let last = begin_poll(&host, &sid).await;
    ws.ended().await;
    assert!(opened.elapsed() >= Duration::from_millis(490), "{:?}", opened.elapsed());
    assert_eq!(answer(last).await.body, "1:1");
    assert_eq!(push(&host, &sid, "1:2").await.status, 400);
}

#[tokio::test]
async fn a_client_that_closes_frees_its_poll() {
    let host = host().await;
    let sid = open(&host, true).await;
    let waiting = begin_poll(&host, &sid).await;
    assert_eq!(push(&host, &sid, "1:1").await.body, "ok");
    let freed = answer(waiting).await;
    assert_eq!((freed.status, &*freed.body), (200, "1:6"));
    assert_eq!(poll(&host, &sid).await.status, 400);
}

#[tokio::test]
async fn a_session_moves_to_a_websocket_and_refuses_what_comes_after() {
    let host = host().await;
    let sid = open(&host, true).await;
    let mut ws = probe(&host, &sid).await;
    let freed = poll(&host, &sid).await;
    assert_eq!((freed.status, &*freed.body), (200, "1:6"));
    ws.send("5").await;
    ws.send("4hello").await;
    assert_eq!(ws.text().await, "4hello");
    assert_eq!(poll(&host, &sid).await.status, 400);
    Ws::open(&host, &format!("{WEBSOCKET}&sid={sid}")).await.ended().await;
    ws.send("4still here").await;
    assert_eq!(ws.text().await, "4still here");
}

async fn host() -> Host {
    Host::echo(Config { allow_eio3: true, ..quick() }).await
}

/// Opens a session on a WebSocket and returns its `open` packet, too.
async fn session(host: &Host) -> (Ws, String) {
    let mut ws = Ws::open(host, WEBSOCKET).await;
    let open = ws.text().await;
    (ws, open)
}

async fn probe(host: &Host, sid: &str) -> Ws {
    let mut ws = Ws::open(host, &format!("{WEBSOCKET}&sid={sid}")).await;
    ws.send("2probe").await;
    assert_eq!(ws.text().await, "3probe");
    ws
}

/// Opens a session by polling, for a client that takes bytes as base64 or as they are.
async fn open(host: &Host, base64: bool) -> String {
    let b64 = if base64 { "&b64=1" } else { "" };
    let answer = host.get(&host.target(&format!("{POLLING}{b64}"))).await;
    let (_, open) = answer.body.split_once(":0").unwrap();
    let open: Value = serde_json::from_str(open).unwrap();
    open["sid"].as_str().unwrap().to_owned()
}

fn target(host: &Host, sid: &str) -> String {
    host.target(&format!("{POLLING}&sid={sid}"))
}

async fn poll(host: &Host, sid: &str) -> Answer {
    host.get(&target(host, sid)).await
}

async fn begin_poll(host: &Host, sid: &str) -> TcpStream {
    let stream = host.begin("GET", &target(host, sid), "", "").await;
    host.settle().await;
    stream
}

async fn push(host: &Host, sid: &str, payload: &str) -> Answer {
    host.request("POST", &target(host, sid), "Content-Type: text/plain;charset=UTF-8\r\n", payload).await
}
