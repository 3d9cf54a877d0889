//! WebSocket framing as clients may use and misuse it.

use crate::harness::{Frame, Host, WEBSOCKET, Ws, handshake_head, read_head, read_to_end, within};
use sockeye::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::protocol::frame::coding::Data;

#[tokio::test]
async fn messages_may_come_in_parts_with_pings_between() {
    let host = Host::echo(Config::default()).await;
    let (mut ws, _) = Ws::session(&host).await;
    ws.send_part(Data::Text, b"4he", false).await;
    ws.ping(b"x").await;
    ws.send_part(Data::Continue, b"l", false).await;
    ws.send_part(Data::Continue, b"", false).await;
    ws.send_part(Data::Continue, b"lo", true).await;
    assert_eq!(ws.next().await, Frame::Pong(b"x".to_vec()));
    assert_eq!(ws.text().await, "4hello");
    ws.send_part(Data::Binary, &[1, 2], false).await;
    ws.send_part(Data::Continue, &[3], true).await;
    assert_eq!(ws.next().await, Frame::Binary(vec![1, 2, 3]));
}

#[tokio::test]
async fn a_character_may_be_cut_by_a_fragment() {
    let host = Host::echo(Config::default()).await;
    let (mut ws, _) = Ws::session(&host).await;
    let text = "4€🦀".as_bytes();
    for cut in 1..text.len() {
        ws.send_part(Data::Text, &text[..cut], false).await;
        ws.send_part(Data::Continue, &text[cut..], true).await;
        assert_eq!(ws.text().await, "4€🦀", "cut at {cut}");
    }
}

#[tokio::test]
async fn a_frame_may_come_byte_by_byte() {
    let host = Host::echo(Config::default()).await;
    let (mut ws, _) = Ws::session(&host).await;
    for byte in [0x81, 0x83, 1, 2, 3, 4, b'4' ^ 1, b'h' ^ 2, b'i' ^ 3] {
        ws.stream().write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(ws.text().await, "4hi");
}

#[tokio::test]
async fn sizes_of_every_header_pass_whole() {
    let host = Host::echo(Config::default()).await;
    let (mut ws, _) = Ws::session(&host).await;
    for length in [0, 124, 125, 126, 65_534, 65_535, 65_536, 999_999] {
        let text = format!("4{}", "x".repeat(length));
        ws.send(&text).await;
        assert_eq!(ws.text().await, text);
        let bytes = vec![7; length];
        ws.send_binary(&bytes).await;
        assert_eq!(ws.next().await, Frame::Binary(bytes));
    }
}

#[tokio::test]
async fn what_breaks_the_rules_closes_with_its_code() {
    let host = Host::echo(Config { max_payload: 1000, ..Config::default() }).await;
    let long = [&[0x81, 0xfe, 0x03, 0xe9, 0, 0, 0, 0][..], &[b'4'; 1001]].concat();
    let parts =
        [&[0x01, 0xfe, 0x03, 0xe8, 0, 0, 0, 0][..], &[b'4'; 1000], &[0x80, 0x81, 0, 0, 0, 0, b'4']].concat();
    let rows: [(&str, &[u8], u16); 11] = [
        ("too long", &long, 1009),
        ("too long in parts", &parts, 1009),
        (
            "announced too long",
            &[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
            1009,
        ),
        ("not UTF-8", &[0x81, 0x82, 0, 0, 0, 0, b'4', 0xff], 1007),
        ("half a character", &[0x81, 0x83, 0, 0, 0, 0, b'4', 0xe2, 0x82], 1007),
        ("not masked", &[0x81, 0x01, b'4'], 1002),
        ("reserved bit", &[0xc1, 0x81, 0, 0, 0, 0, b'4'], 1002),
        ("unknown opcode", &[0x83, 0x81, 0, 0, 0, 0, b'4'], 1002),
        ("continuation of nothing", &[0x80, 0x81, 0, 0, 0, 0, b'4'], 1002),
        ("ping in parts", &[0x09, 0x80, 0, 0, 0, 0], 1002),
        ("close with half a code", &[0x88, 0x81, 0, 0, 0, 0, 3], 1002),
    ];
    for (what, bytes, code) in rows {
        let (mut ws, _) = Ws::session(&host).await;
        ws.stream().write_all(bytes).await.unwrap();
        assert_eq!(ws.ended().await, Frame::Close(Some(code)), "{what}");
    }
}

#[tokio::test]
async fn a_close_frame_is_answered_by_its_own_code() {
    let host = Host::echo(Config::default()).await;
    for code in [None, Some(1000), Some(1001), Some(4242)] {
        let (mut ws, _) = Ws::session(&host).await;
        ws.close(code).await;
        assert_eq!(ws.next().await, Frame::Close(code));
        assert_eq!(ws.next().await, Frame::End);
    }
}

#[tokio::test]
async fn a_reply_to_what_came_with_a_close_frame_is_not_lost() {
    let host = Host::echo(Config::default()).await;
    let (mut ws, _) = Ws::session(&host).await;
    let (message, close) =
        ([0x81, 0x83, 0, 0, 0, 0, b'4', b'h', b'i'], [0x88, 0x84, 0, 0, 0, 0, 0x03, 0xe8, b'b', b'y']);
    ws.stream().write_all(&[&message[..], &close].concat()).await.unwrap();
    let bytes = within(read_to_end(ws.stream())).await;
    assert_eq!(bytes, b"\x81\x034hi\x88\x04\x03\xe8by");
}

#[tokio::test]
async fn what_follows_the_handshake_in_one_segment_is_not_lost() {
    let host = Host::echo(Config::default()).await;
    let mut stream = host.connect().await;
    let frame = [0x81, 0x83, 0, 0, 0, 0, b'4', b'h', b'i'];
    let bytes = [handshake_head(&host.target(WEBSOCKET)).as_bytes(), &frame].concat();
    stream.write_all(&bytes).await.unwrap();
    let head = within(read_head(&mut stream)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    assert!(head.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    let mut open = [0; 2];
    within(stream.read_exact(&mut open)).await.unwrap();
    let mut rest = vec![0; usize::from(open[1]) + 5];
    within(stream.read_exact(&mut rest)).await.unwrap();
    assert!(rest.ends_with(b"\x81\x034hi"), "{rest:?}");
}
