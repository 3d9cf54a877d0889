//! permessage-deflate on both ways in: handshakes, messages in and out, one frame for all.

use crate::harness::{Host, Log, WEBSOCKET, handshake_head, heard, read_head, within};
use axum::Router;
use bytes::Bytes;
use sockeye::deflate::{DeflateConfig, Limit, Window};
use sockeye::{Config, Server, Socket};
use sockeye_proto::ws::deflate::{Agreement, Deflater};
use sockeye_proto::ws::encoder::{header, masked_frame};
use sockeye_proto::ws::{Decoder, Message, Opcode};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const OFFER: &str = "permessage-deflate; client_max_window_bits";

#[tokio::test]
async fn a_handshake_is_answered_as_the_settings_say_on_every_way_in() {
    let official = Some(DeflateConfig::OFFICIAL);
    let default = Some(DeflateConfig::default());
    for (config, offer, answer) in [
        (None, OFFER, None),
        (default, "", None),
        (default, "x-webkit-deflate-frame", None),
        (default, OFFER, Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover")),
        (official, OFFER, Some("permessage-deflate")),
        (
            official,
            "permessage-deflate; server_no_context_takeover",
            Some("permessage-deflate; server_no_context_takeover"),
        ),
    ] {
        for host in [direct(config).await, mounted(config).await] {
            let (_, head) = open(&host, offer).await;
            let line = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("sec-websocket-extensions").then_some(value)
            });
            assert_eq!(line, answer, "{offer}");
        }
    }
}

#[tokio::test]
async fn messages_are_compressed_both_ways_from_the_threshold_on() {
    let to = |bits| Limit::To(Window::new(bits).unwrap());
    for config in [
        DeflateConfig::default(),
        DeflateConfig { server_max_window_bits: to(9), ..DeflateConfig::default() },
        DeflateConfig::OFFICIAL,
        // Nothing is left to keep: both sides are told to keep nothing.
        DeflateConfig { context_bytes_max: 0, ..DeflateConfig::OFFICIAL },
    ] {
        let host = direct(Some(config)).await;
        let mut client = Client::enter(&host, &config).await;
        for (size, deflated) in [
            (0, false),
            (1022, false),
            (1023, true),
            (70_000, true),
            ((256 << 10) - 1, true),
            (256 << 10, false),
            (900_000, false),
            (100, false),
            (5000, true),
        ] {
            let message = format!("4{}", text(size));
            client.send(Opcode::Text, message.as_bytes(), true).await;
            let (bytes, compressed) = client.next().await;
            assert!(bytes == message.as_bytes(), "{size}");
            assert_eq!(compressed, deflated, "{size} {config:?}");
            // A client need not compress.
            client.send(Opcode::Binary, &message.as_bytes()[1..], false).await;
            let (bytes, compressed) = client.next().await;
            assert!(bytes == message.as_bytes()[1..], "{size}");
            assert_eq!(compressed, (1024..=256 << 10).contains(&size), "{size}");
        }
    }
}

#[tokio::test]
async fn a_compressed_message_is_limited_by_what_it_becomes() {
    let host = direct(Some(DeflateConfig::default())).await;
    let mut client = Client::enter(&host, &DeflateConfig::default()).await;
    client.send(Opcode::Text, &[b'4'; 1_000_001], true).await;
    let mut bytes = Vec::new();
    within(client.stream.read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(bytes, [0x88, 2, 0x03, 0xF1]);
}

#[tokio::test]
async fn a_compressed_message_is_an_error_where_nothing_was_agreed_upon() {
    let host = direct(None).await;
    let mut client = Client::enter(&host, &DeflateConfig::default()).await;
    client.send(Opcode::Text, b"4hello", true).await;
    let mut bytes = Vec::new();
    within(client.stream.read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(bytes, [0x88, 2, 0x03, 0xEA]);
}

#[tokio::test]
async fn a_broadcast_reaches_each_client_as_it_reads_it() {
    let window = |bits| format!("{OFFER}; server_max_window_bits={bits}");
    let mut server =
        Server::new(Config { per_message_deflate: Some(DeflateConfig::default()), ..Config::default() });
    let main = server.namespace("/").handle();
    let host = Host::of(server).await;
    let mut clients = Vec::new();
    for offer in [OFFER.to_owned(), OFFER.to_owned(), window(10), window(8), String::new()] {
        let mut client = Client::over(&host, &offer, &DeflateConfig::default()).await;
        client.send(Opcode::Text, b"40", false).await;
        assert!(client.next().await.0.starts_with(b"40{"));
        clients.push((client, !offer.is_empty()));
    }
    for compress in [true, false] {
        let payload = (text(3000), Bytes::from(text(4000)), Bytes::from_static(b"short"));
        main.local().compress(compress).emit("news", payload).unwrap();
        for (client, agreed) in &mut clients {
            let (packet, compressed) = client.next().await;
            assert!(packet.starts_with(br#"452-["news","#) && packet.len() > 3000);
            assert_eq!(compressed, *agreed && compress);
            assert_eq!(client.next().await, (text(4000).into_bytes(), *agreed && compress));
            assert_eq!(client.next().await, (b"short".to_vec(), false));
        }
    }
}

#[tokio::test]
async fn an_event_for_one_socket_and_one_that_wants_an_ack_go_as_they_are_told_to() {
    let (sockets, mut entered) = Log::new();
    let mut server =
        Server::new(Config { per_message_deflate: Some(DeflateConfig::default()), ..Config::default() });
    let main = server.namespace("/").on_connect(move |socket: Socket| {
        sockets.add(socket);
        async {}
    });
    let main = main.handle();
    let host = Host::of(server).await;
    let mut client = Client::over(&host, OFFER, &DeflateConfig::default()).await;
    client.send(Opcode::Text, b"40", false).await;
    assert!(client.next().await.0.starts_with(b"40{"));
    let socket = heard(&mut entered).await;
    let payload = text(3000);
    for compress in [true, false] {
        socket.compress(compress).emit("e", &payload).unwrap();
        assert_eq!(client.next().await.1, compress);
        let asked = socket.compress(compress).timeout(Duration::ZERO);
        asked.emit_with_ack::<u64>("e", &payload).await.unwrap_err();
        assert_eq!(client.next().await.1, compress);
        let asked = main.local().compress(compress).timeout(Duration::ZERO);
        drop(asked.emit_with_ack::<u64>("e", &payload).await);
        assert_eq!(client.next().await.1, compress);
    }
}

#[tokio::test]
async fn a_probe_agrees_as_well() {
    let host = direct(Some(DeflateConfig::default())).await;
    let sid = host.open_polling().await;
    let query = format!("{WEBSOCKET}&sid={sid}");
    let mut client = Client::at(&host, &query, OFFER, &DeflateConfig::default()).await;
    client.send(Opcode::Text, b"2probe", true).await;
    assert_eq!(client.next().await.0, b"3probe");
    client.send(Opcode::Text, b"5", true).await;
    let message = format!("4{}", text(2000));
    client.send(Opcode::Text, message.as_bytes(), true).await;
    assert_eq!(client.next().await, (message.into_bytes(), true));
}

/// A client that compresses, over the pure half.
struct Client {
    stream: TcpStream,
    decoder: Decoder,
    deflater: Deflater,
    alone: bool,
}

impl Client {
    async fn enter(host: &Host, config: &DeflateConfig) -> Self {
        Self::over(host, OFFER, config).await
    }

    async fn over(host: &Host, offer: &str, config: &DeflateConfig) -> Self {
        let mut client = Self::at(host, WEBSOCKET, offer, config).await;
        assert!(client.next().await.0.starts_with(b"0{"));
        client
    }

    async fn at(host: &Host, query: &str, offer: &str, config: &DeflateConfig) -> Self {
        let (stream, head) = begin(host, query, offer).await;
        let kept = config.context_bytes_max > 0;
        let agreement = Agreement {
            server_no_context_takeover: !kept || config.server_no_context_takeover == Some(true),
            client_no_context_takeover: !kept || config.client_no_context_takeover,
            server_max_window_bits: Window::MAX,
            client_max_window_bits: Window::MAX,
        };
        let decoder = Decoder::client(10 << 20);
        let agreed = head.to_ascii_lowercase().contains("permessage-deflate");
        let decoder = if agreed { decoder.with_deflate(&agreement) } else { decoder };
        let alone = agreement.client_no_context_takeover;
        Self { stream, decoder, deflater: Deflater::new(Window::MAX), alone }
    }

    async fn send(&mut self, opcode: Opcode, payload: &[u8], compress: bool) {
        let mut deflated = Vec::new();
        let frame = if compress {
            if self.alone {
                self.deflater = Deflater::new(Window::MAX);
            }
            self.deflater.deflate(payload, &mut deflated);
            let mut frame = masked_frame(opcode, &deflated, [1, 2, 3, 4]);
            frame[0] |= 0x40;
            frame
        } else {
            masked_frame(opcode, payload, [1, 2, 3, 4])
        };
        within(self.stream.write_all(&frame)).await.unwrap();
    }

    /// The next message, and whether it was compressed.
    async fn next(&mut self) -> (Vec<u8>, bool) {
        within(async {
            let mut frame = vec![self.stream.read_u8().await.unwrap()];
            let compressed = frame[0] & 0x40 != 0;
            frame.push(self.stream.read_u8().await.unwrap());
            let more = match frame[1] {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            let mut length = vec![0; more];
            self.stream.read_exact(&mut length).await.unwrap();
            let size = match more {
                0 => usize::from(frame[1]),
                _ => length.iter().fold(0, |size, byte| size << 8 | usize::from(*byte)),
            };
            frame.extend_from_slice(&length);
            assert_eq!(frame.len(), header(Opcode::Text, size).1, "the shortest header");
            let mut payload = vec![0; size];
            self.stream.read_exact(&mut payload).await.unwrap();
            frame.extend_from_slice(&payload);
            let mut input = &mut frame[..];
            let message = match self.decoder.decode(&mut input).unwrap() {
                Some(Message::Text(text)) => text.as_bytes().to_vec(),
                Some(Message::Binary(bytes)) => bytes.to_vec(),
                other => panic!("unexpected: {other:?}"),
            };
            (message, compressed)
        })
        .await
    }
}

async fn direct(per_message_deflate: Option<DeflateConfig>) -> Host {
    Host::echo(Config { per_message_deflate, ..Config::default() }).await
}

/// Behind hyper, as a service of axum.
async fn mounted(per_message_deflate: Option<DeflateConfig>) -> Host {
    let config = Config { per_message_deflate, path: "/engine.io/".to_owned(), ..Config::default() };
    let server = Server::engine(config, |client, message| client.send(message));
    let handle = server.handle();
    let app = Router::new().fallback_service(server.into_service());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    Host::at(address, handle, serving).on("/engine.io/")
}

async fn open(host: &Host, offer: &str) -> (TcpStream, String) {
    begin(host, WEBSOCKET, offer).await
}

async fn begin(host: &Host, query: &str, offer: &str) -> (TcpStream, String) {
    let mut stream = host.connect().await;
    let line =
        if offer.is_empty() { String::new() } else { format!("Sec-WebSocket-Extensions: {offer}\r\n") };
    let head = handshake_head(&host.target(query)).replace("\r\n\r\n", &format!("\r\n{line}\r\n"));
    stream.write_all(head.as_bytes()).await.unwrap();
    let head = within(read_head(&mut stream)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    (stream, head)
}

fn text(length: usize) -> String {
    (0..length).map(|at| char::from(b'a' + (at * at / 7 % 26) as u8)).collect()
}
