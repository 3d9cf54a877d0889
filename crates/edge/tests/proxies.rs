//! Proxies before the edge: what they say of their clients is believed from those who are trusted, and from nobody else.

#![expect(clippy::unwrap_used, reason = "a test that fails to set itself up may panic")]

mod world;

use sockeye_edge::Config;
use sockeye_edge::config::{Endpoint, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use world::{SOCKET, World, read_answer, read_head, until, upgrade};

const FORGED: &str =
    "X-Forwarded-For: 203.0.113.9, 192.0.2.7\r\nX-Forwarded-Proto: https\r\nForwarded: for=203.0.113.9\r\n";

#[tokio::test]
async fn headers_of_a_trusted_proxy_are_added_to_and_others_replaced() {
    for (trust, said) in [
        (
            vec!["127.0.0.0/8".parse().unwrap()],
            [
                ("x-forwarded-for", "203.0.113.9, 192.0.2.7, 127.0.0.1"),
                ("x-forwarded-proto", "https"),
                ("forwarded", "for=203.0.113.9, for=127.0.0.1;proto=http;host=\"a\""),
                ("x-sockeye-peer", "192.0.2.7:0"),
            ],
        ),
        (
            Vec::new(),
            [
                ("x-forwarded-for", "127.0.0.1"),
                ("x-forwarded-proto", "http"),
                ("forwarded", "for=127.0.0.1;proto=http;host=\"a\""),
                ("x-sockeye-peer", "127.0.0.1:"),
            ],
        ),
    ] {
        let world = World::start(Config { trust, ..Config::default() });
        let _worker = world.worker(0).await;
        let mut stream = world.connect().await;
        for (name, expected) in said {
            let request = format!("GET /header/{name} HTTP/1.1\r\nHost: a\r\n{FORGED}\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let (_, body) = read_answer(&mut stream).await;
            assert!(
                body == expected || (expected.ends_with(':') && body.starts_with(expected)),
                "{name}: {body}"
            );
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_handed_over_says_the_same() {
    for (trust, headers, peer, said) in [
        (
            true,
            FORGED,
            "192.0.2.7:0",
            "X-Forwarded-Proto: https; Forwarded: for=203.0.113.9; X-Forwarded-For: 203.0.113.9, 192.0.2.7, 127.0.0.1",
        ),
        (true, "", "127.0.0.1:", ""),
        (false, FORGED, "127.0.0.1:", ""),
    ] {
        let trust = if trust { vec!["127.0.0.1".parse().unwrap()] } else { Vec::new() };
        let world = World::start(Config { trust, ..Config::default() });
        let _worker = world.worker(0).await;
        let mut stream = world.connect().await;
        let request = upgrade(SOCKET).replace("Host: a\r\n", &format!("Host: a\r\nX-Tell: 1\r\n{headers}"));
        // What follows the head is the client's own, byte for byte.
        stream.write_all((request + "early").as_bytes()).await.unwrap();
        let head = read_head(&mut stream).await;
        assert!(head.contains(&format!("\r\npeer: {peer}")), "{head}");
        assert!(head.contains(&format!("\r\nsaid: {said}\r\n")), "{head}");
        let mut echo = [0; 5];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"early");
    }
}

#[tokio::test]
async fn a_proxy_header_names_the_client() {
    let world = behind("127.0.0.1");
    let _worker = world.worker(0).await;
    for header in [
        &b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n"[..],
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xc3\x50\x01\xbb",
    ] {
        let mut stream = world.connect().await;
        // In pieces, and together with what the client says.
        let (first, rest) = header.split_at(9);
        stream.write_all(first).await.unwrap();
        tokio::task::yield_now().await;
        let request = |name: &str| format!("GET /header/{name} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
        stream.write_all(&[rest, &request("x-forwarded-for")].concat()).await.unwrap();
        assert_eq!(read_answer(&mut stream).await.1, "192.0.2.7");
        for (name, expected) in [("x-forwarded-port", "443"), ("x-sockeye-peer", "192.0.2.7:50000")] {
            stream.write_all(&request(name)).await.unwrap();
            assert_eq!(read_answer(&mut stream).await.1, expected);
        }
        let mut stream = world.connect().await;
        stream
            .write_all(
                &[header, upgrade(SOCKET).replace("Host: a", "X-Tell: 1\r\nHost: a").as_bytes()].concat(),
            )
            .await
            .unwrap();
        let head = read_head(&mut stream).await;
        assert!(head.contains("\r\npeer: 192.0.2.7:50000\r\n"), "{head}");
    }
    // The proxy's own connection, as of a health check.
    let mut stream = world.connect().await;
    stream
        .write_all(b"PROXY UNKNOWN\r\nGET /header/x-forwarded-for HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_answer(&mut stream).await.1, "127.0.0.1");
}

#[tokio::test]
async fn without_a_right_proxy_header_nothing_is_said() {
    for (from, first) in [
        ("127.0.0.1", &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..]),
        ("127.0.0.1", b"PROXY TCP4 nobody 198.51.100.1 50000 443\r\n"),
        ("127.0.0.1", b"\x16\x03\x01\x02\x00\x01"),
        // From an address that is none of theirs it is refused, however right it is.
        ("192.0.2.0/24", b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ] {
        let world = behind(from);
        let mut stream = world.connect().await;
        stream.write_all(first).await.unwrap();
        let mut said = Vec::new();
        // Cut off or reset: nothing comes either way.
        let _ = stream.read_to_end(&mut said).await;
        assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
        until(|| world.control.stats().listeners[0].proxy_refused == 1).await;
    }
    // And one that expects none takes none.
    let world = World::start(Config::default());
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n\r\n").await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 400 "));
}

fn behind(from: &str) -> World {
    World::of(Config::workers(Listener {
        at: Endpoint::Tcp("127.0.0.1:0".parse().unwrap()),
        proxy_from: vec![from.parse().unwrap()],
        ..Listener::default()
    }))
}
