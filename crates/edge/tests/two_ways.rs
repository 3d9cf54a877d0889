//! Requests are carried swiftly or by hyper, and no server can tell which: what is framed to be misread is read alike, or refused.

#![expect(clippy::unwrap_used, reason = "a test that fails to set itself up may panic")]

mod raw;
mod world;

use std::time::Duration;

use sockeye_edge::Config;
use sockeye_edge::config::{Check, Group, Members, Site};
use sockeye_edge::parse_servers;
use sockeye_proto::http::{BodyLength, Head, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use raw::Raw;
use world::World;

/// A usual request, after which the swift way goes on, and an unusual one, after which all is hyper's.
const BEFORE: [&str; 2] = [
    "GET /before HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /before HTTP/1.1\r\nHost: a\r\nForwarded: for=192.0.2.1\r\n\r\n",
];
const LAST: &str = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Requests, and what a server may see of them.
const REQUESTS: &[(&str, Expected)] = &[
    (
        "GET /a?b HTTP/1.1\r\nHost: a\r\nX-Sockeye-Peer: 6\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n",
        Seen("/a?b", ""),
    ),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", Seen("/a", "hello")),
    ("GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", Seen("/a", "hello")),
    (
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        Seen("/a", "hello"),
    ),
    (
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n",
        Seen("/a", "hello"),
    ),
    (
        "POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        Seen("/a", "hello"),
    ),
    // RFC 9112 §6.3: with both, the length lies, and is not sent on.
    (
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        Seen("/a", "hello"),
    ),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 40\r\n\r\nhello", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 40\r\n\r\nhello", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nhello", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", Refused),
    ("POST /a HTTP/1.1\r\nHost: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused),
    ("GET /a HTTP/1.1\r\nHost: a\r\nX: y\r\n Content-Length: 5\r\n\r\n", Refused),
    ("GET /a HTTP/1.1\r\nHost: a\r\nX: y\rContent-Length: 5\r\n\r\n", Refused),
    ("GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Refused),
    ("GET /a HTTP/1.1\r\n\r\n", Refused),
    ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Refused),
    ("GET /a HTTP/2.0\r\nHost: a\r\n\r\n", Refused),
    ("\x16\x03\x01", Refused),
    // A line feed alone ends a line, RFC 9112 §2.2; what goes on ends them as it has to be.
    ("GET /a HTTP/1.1\nHost: a\nX: y\n\n", Seen("/a", "")),
    ("\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n", Seen("/a", "")),
    ("GET http://a/a HTTP/1.1\r\nHost: b\r\n\r\n", Seen("/a", "")),
    ("GET /a HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", Seen("/a", "")),
    ("GET /a HTTP/1.1\r\nHost: a\r\nConnection: close, x-secret\r\nX-Secret: 1\r\n\r\n", Seen("/a", "")),
    (
        "POST /a HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\nhello",
        Seen("/a", "hello"),
    ),
    ("GET /a HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", Seen("/a", "")),
];

#[tokio::test]
async fn a_server_sees_the_same_requests_on_either_way() {
    for (request, expected) in REQUESTS {
        let mut ways = Vec::new();
        for before in BEFORE {
            let server = Raw::answering(OK).await;
            let world = before_edge(&server);
            let said = talk(&world, &format!("{before}{request}{LAST}")).await;
            let seen: Vec<Got> =
                read(&server.seen()).into_iter().filter(|got| got.target != "/before").collect();
            match *expected {
                Seen(target, body) => {
                    let first = seen.first().unwrap_or_else(|| panic!("{request:?}: nothing seen: {said}"));
                    assert_eq!((first.target.as_str(), first.body.as_str()), (target, body), "{request:?}");
                    assert!(
                        seen.len() <= 2 && seen[1..].iter().all(|got| got.target == "/last"),
                        "{request:?}: {seen:?}"
                    );
                }
                Refused => {
                    assert!(seen.is_empty(), "{request:?}: {seen:?}");
                    assert!(
                        !said.contains("\r\nok") || said.matches("HTTP/1.1 200").count() == 1,
                        "{request:?}: {said}"
                    );
                    let last = said.rsplit("HTTP/1.1 ").next().unwrap();
                    assert!(last.starts_with("400 "), "{request:?}: {said}");
                }
            }
            ways.push(seen);
        }
        assert_eq!(ways[0], ways[1], "{request:?}");
    }
}

#[tokio::test]
async fn a_client_hears_the_same_answer_on_either_way() {
    for (answer, expected) in [
        (OK, Some("200 ok")),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Some("200 ok")),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\n\r\n", Some("200 ok")),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n02 \r\nok\r\n00\r\n\r\n", Some("200 ok")),
        (
            "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            Some("200 ok"),
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", Some("204 ")),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", Some("304 ")),
        // What comes behind an answer is nobody's, and not the next request's either.
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
            Some("200 ok"),
        ),
        ("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", Some("204 ")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 4\r\n\r\nokok", None),
        ("HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", None),
        ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok", None),
        ("HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 2\r\n\r\nok", None),
        ("HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 2\r\n\r\nok", None),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", None),
        ("nonsense\r\n\r\n", None),
    ] {
        for before in ["", "Forwarded: for=192.0.2.1\r\n"] {
            let server = Raw::answering(answer).await;
            let world = before_edge(&server);
            for _ in 0..2 {
                let request = format!("GET /a HTTP/1.1\r\nHost: a\r\n{before}Connection: close\r\n\r\n");
                let said = talk(&world, &request).await;
                let (head, body) = said.split_once("\r\n\r\n").unwrap_or((&said, ""));
                let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
                let body = if chunked { unchunked(body).0 } else { body.to_owned() };
                let short = format!("{} {body}", head.get(9..12).unwrap_or_default());
                match expected {
                    Some(expected) => assert_eq!(short, expected, "{answer:?} {before}"),
                    None => assert!(short.starts_with("502"), "{answer:?} {before}: {said}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn chunks_that_two_readers_might_read_differently_end_the_answer() {
    for body in [
        "2\nok\n0\n\n",
        "2\r\nok0\r\n\r\n",
        "0x2\r\nok\r\n0\r\n\r\n",
        "2;x\nok\r\n0\r\n\r\n",
        "\r\nok\r\n0\r\n\r\n",
        "ffffffffffffffff2\r\nok\r\n0\r\n\r\n",
    ] {
        for before in ["", "Forwarded: for=192.0.2.1\r\n"] {
            let server =
                Raw::answering(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}")).await;
            let world = before_edge(&server);
            let request = format!("GET /a HTTP/1.1\r\nHost: a\r\n{before}Connection: close\r\n\r\n");
            let said = talk(&world, &request).await;
            // Whatever part of it came, it has no end that a client could believe.
            assert!(!said.ends_with("0\r\n\r\n") && !said.ends_with("\n\n"), "{body:?} {before}: {said:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_before_the_request_is_whole_ends_the_connection() {
    // The server has answered by the head alone; what follows of the body is not the next request.
    let server = Raw::answering(OK).await;
    let world = before_edge(&server);
    for before in ["", "Forwarded: for=192.0.2.1\r\n"] {
        let mut client = world.connect().await;
        let head = format!("POST /a HTTP/1.1\r\nHost: a\r\n{before}Content-Length: 60\r\n\r\n");
        client.write_all((head + "GET /smuggled HTTP/1.1\r\nHost: a\r\n").as_bytes()).await.unwrap();
        // Nothing of it is taken for a request of its own, however long the rest takes to come.
        let answered = timeout(Duration::from_millis(300), world::read_head(&mut client)).await;
        assert!(answered.is_err() || answered.unwrap().starts_with("HTTP/1.1 200"), "{before}");
    }
    assert!(read(&server.seen()).iter().all(|got| got.target != "/smuggled"), "{}", server.seen());
}

/// What is expected of a request: what its server sees, or that it sees nothing.
#[derive(Clone, Copy)]
enum Expected {
    Seen(&'static str, &'static str),
    Refused,
}
use Expected::{Refused, Seen};

/// A request as its server understands it.
#[derive(Debug, PartialEq, Eq)]
struct Got {
    method: String,
    target: String,
    fields: Vec<String>,
    body: String,
}

/// All requests of what a server saw, read to the letter.
fn read(seen: &str) -> Vec<Got> {
    let mut all = Vec::new();
    let mut rest = seen;
    while let Ok(Status::Complete((head, length))) = Head::parse(rest.as_bytes()) {
        let after = &rest[length..];
        let (body, taken) = match head.body_length() {
            BodyLength::None => (String::new(), 0),
            BodyLength::Known(length) => {
                let length = usize::try_from(length).unwrap().min(after.len());
                (after[..length].to_owned(), length)
            }
            BodyLength::Unknown => unchunked(after),
        };
        // How a body is framed is each hop's own.
        let mut fields: Vec<String> = head
            .headers()
            .map(|(name, value)| format!("{}: {}", name.to_ascii_lowercase(), String::from_utf8_lossy(value)))
            .filter(|field| !field.starts_with("content-length") && !field.starts_with("transfer-encoding"))
            // The client's port differs from one connection to the next.
            .filter(|field| {
                !field.starts_with("x-sockeye-peer: 127.0.0.1:") && !field.starts_with("x-forwarded-port")
            })
            .collect();
        fields.sort();
        all.push(Got { method: head.method().to_owned(), target: head.target().to_owned(), fields, body });
        rest = &after[taken..];
    }
    all
}

/// The data of a chunked body, and how long all of it is.
fn unchunked(text: &str) -> (String, usize) {
    let (mut body, mut at) = (String::new(), 0);
    loop {
        let Some((line, _)) = text[at..].split_once("\r\n") else { return (body, text.len()) };
        let size = usize::from_str_radix(line.split(';').next().unwrap().trim(), 16).unwrap();
        at += line.len() + 2;
        body.push_str(&text[at..at + size]);
        at += size + 2;
        if size == 0 {
            return (body, at);
        }
    }
}

/// Says all of it, and hears what is answered until the end.
async fn talk(world: &World, text: &str) -> String {
    let mut stream = world.connect().await;
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    // Cut off or reset: what came before counts.
    let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut said)).await.expect(text);
    String::from_utf8_lossy(&said).into_owned()
}

fn before_edge(server: &Raw) -> World {
    let mut group = Group::new("app", Members::Static(parse_servers(&server.at).unwrap()));
    group.health.check = Check::Off;
    World::start(Config { sites: vec![Site::everything("app")], groups: vec![group], ..Config::default() })
}
