//! From polling to a WebSocket: the official cases, and the ways in which it does not come to that.

use crate::engine_io_v4::assert_unknown;
use crate::harness::{Frame, Host, POLLING, WEBSOCKET, Ws, answer, read_to_end, sid_of, within};
use sockeye::{Config, Server};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::protocol::frame::coding::Data;

#[tokio::test]
async fn a_session_moves_to_a_websocket() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    let mut ws = Ws::probe(&host, &sid).await;
    let polled = host.poll(&sid).await;
    assert_eq!((polled.status, &*polled.body), (200, "6"));
    ws.send("5").await;
    ws.send("4hello").await;
    assert_eq!(ws.text().await, "4hello");
}

#[tokio::test]
async fn a_poll_that_waits_is_freed_at_once_by_the_probe() {
    let host = Host::echo(Config::default()).await;
    let mut quickest = Duration::MAX;
    for _ in 0..5 {
        let sid = host.open_polling().await;
        let poll = host.begin_poll(&sid).await;
        let begun = Instant::now();
        let _ws = Ws::probe(&host, &sid).await;
        assert_eq!(answer(poll).await.body, "6");
        quickest = quickest.min(begun.elapsed());
    }
    // The official server looks every 100 ms.
    assert!(quickest < Duration::from_millis(90), "{quickest:?}");
}

#[tokio::test]
async fn polls_during_a_probe_are_freed_again_and_again() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    let _ws = Ws::probe(&host, &sid).await;
    for _ in 0..3 {
        assert_eq!(host.poll(&sid).await.body, "6");
    }
}

#[tokio::test]
async fn messages_during_a_probe_go_on_by_polling() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    let mut ws = Ws::probe(&host, &sid).await;
    assert_eq!(host.poll(&sid).await.body, "6");
    host.push(&sid, "4a").await;
    assert_eq!(host.poll(&sid).await.body, "4a");
    host.push(&sid, "4b\x1e4c").await;
    ws.send("5").await;
    for expected in ["4b", "4c"] {
        assert_eq!(ws.text().await, expected);
    }
}

#[tokio::test]
async fn a_poll_that_waits_at_the_upgrade_is_freed() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    let mut ws = Ws::probe(&host, &sid).await;
    assert_eq!(host.poll(&sid).await.body, "6");
    let poll = host.begin_poll(&sid).await;
    ws.send("5").await;
    assert_eq!(answer(poll).await.body, "6");
    ws.send("4hello").await;
    assert_eq!(ws.text().await, "4hello");
}

#[tokio::test]
async fn probe_upgrade_and_messages_may_come_at_once() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    host.push(&sid, "4before").await;
    let mut ws = Ws::open(&host, &format!("{WEBSOCKET}&sid={sid}")).await;
    let frames: Vec<u8> = ["2probe", "5", "4a", "4b"].iter().flat_map(|text| masked(text)).collect();
    ws.stream().write_all(&frames).await.unwrap();
    let mut heard = Vec::new();
    for _ in 0..4 {
        heard.push(ws.text().await);
    }
    assert_eq!(heard, ["3probe", "4before", "4a", "4b"]);
}

#[tokio::test]
async fn a_second_websocket_is_closed_before_and_after_the_upgrade() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    let query = format!("{WEBSOCKET}&sid={sid}");
    let mut ws = Ws::probe(&host, &sid).await;
    Ws::open(&host, &query).await.ended().await;
    ws.send("5").await;
    ws.send("4one").await;
    assert_eq!(ws.text().await, "4one");
    Ws::open(&host, &query).await.ended().await;
    ws.send("4two").await;
    assert_eq!(ws.text().await, "4two");
}

#[tokio::test]
async fn a_websocket_of_a_session_that_began_on_one_is_closed() {
    let host = Host::echo(Config::default()).await;
    let (mut ws, open) = Ws::session(&host).await;
    Ws::open(&host, &format!("{WEBSOCKET}&sid={}", sid_of(&open))).await.ended().await;
    ws.send("4alive").await;
    assert_eq!(ws.text().await, "4alive");
}

#[tokio::test]
async fn a_probe_that_says_anything_else_is_closed_and_polling_goes_on() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    for first in ["2", "2prob", "4hello", "3probe", "1", "abc", ""] {
        let mut ws = Ws::open(&host, &format!("{WEBSOCKET}&sid={sid}")).await;
        ws.send(first).await;
        ws.ended().await;
        host.push(&sid, "4on").await;
        assert_eq!(host.poll(&sid).await.body, "4on", "{first}");
    }
    let mut ws = Ws::open(&host, &format!("{WEBSOCKET}&sid={sid}")).await;
    ws.send_part(Data::Text, b"\xff", true).await;
    ws.ended().await;
    // And the next one may still succeed.
    let mut ws = Ws::probe(&host, &sid).await;
    ws.send("5").await;
    ws.send("4moved").await;
    assert_eq!(ws.text().await, "4moved");
}

#[tokio::test]
async fn a_probe_that_goes_away_is_let_go() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    for say_goodbye in [true, false] {
        let mut ws = Ws::probe(&host, &sid).await;
        if say_goodbye {
            ws.close(Some(1000)).await;
        } else {
            ws.stream().shutdown().await.unwrap();
        }
        // The server ends its side, too: it has not kept the socket, and does not look at it for ever.
        within(read_to_end(ws.stream())).await;
        drop(ws);
        host.push(&sid, "4on").await;
        assert_eq!(host.poll(&sid).await.body, "4on");
    }
    let mut ws = Ws::probe(&host, &sid).await;
    ws.send("5").await;
    ws.send("4moved").await;
    assert_eq!(ws.text().await, "4moved");
}

#[tokio::test]
async fn a_probe_that_takes_too_long_is_closed_and_polling_goes_on() {
    let config = Config { upgrade_timeout: Duration::from_millis(250), ..Config::default() };
    let host = Host::echo(config).await;
    let sid = host.open_polling().await;
    Ws::probe(&host, &sid).await.ended().await;
    Ws::open(&host, &format!("{WEBSOCKET}&sid={sid}")).await.ended().await;
    host.push(&sid, "4on").await;
    assert_eq!(host.poll(&sid).await.body, "4on");
}

#[tokio::test]
async fn a_session_that_ends_takes_its_probe_along() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    let mut ws = Ws::probe(&host, &sid).await;
    host.push(&sid, "1").await;
    ws.ended().await;
    assert_unknown(&host.poll(&sid).await);
}

#[tokio::test]
async fn a_server_that_closes_says_so_to_the_next_poll() {
    let server = Server::engine(Config::default(), |client, _| client.close());
    let host = Host::of(server).await;
    let sid = host.open_polling().await;
    host.push(&sid, "4bye").await;
    assert_eq!(host.poll(&sid).await.body, "1");
    assert_unknown(&host.poll(&sid).await);
    let poll = {
        // With a poll that waits the word is out at once.
        let sid = host.open_polling().await;
        let poll = host.begin_poll(&sid).await;
        host.push(&sid, "4bye").await;
        poll
    };
    assert_eq!(answer(poll).await.body, "1");
    let (mut ws, _) = Ws::session(&host).await;
    ws.send("4bye").await;
    assert_ne!(ws.ended().await, Frame::End, "a close frame comes first");
    assert_eq!(host.get(&host.target(POLLING)).await.status, 200);
}

/// A text frame as a client sends it: masked, here by zeros.
fn masked(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}
