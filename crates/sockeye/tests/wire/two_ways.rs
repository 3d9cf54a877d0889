//! Requests are answered here or by hyper, and nobody can tell which; what is framed in an unusual way is never misread.

use crate::harness::{Host, POLLING, WEBSOCKET, handshake_head, read_to_end, sid_of, within};
use sockeye::{Config, Cookie, Cors, CorsOptions, Origin, Server};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn an_answer_is_the_same_on_either_way() {
    let origin = Origin::List(vec!["https://app.example".to_owned()]);
    let cors = Cors::new(CorsOptions { origin, credentials: true, ..CorsOptions::default() }).unwrap();
    let plain = Host::with(Config::default(), |_| {}).await;
    let cookie = Some(Cookie::default());
    let rich = {
        let mut server = Server::new(Config { cookie, cors: Some(cors), ..Config::default() });
        server.headers(|headers: &mut http::HeaderMap, _: &_| {
            headers.insert("x-hook", "1".parse().unwrap());
            headers.insert("cache-control", "private".parse().unwrap());
        });
        Host::of(server).await
    };
    for host in [plain, rich] {
        for (method, query, lines, body) in [
            ("GET", POLLING, "", ""),
            ("GET", POLLING, "Origin: https://app.example\r\n", ""),
            ("GET", POLLING, "User-Agent: x (Trident/7)\r\n", ""),
            ("GET", "", "", ""),
            ("POST", POLLING, "", "4x"),
            ("PUT", POLLING, "", ""),
            ("DELETE", "EIO=4&transport=polling&sid=SID", "", ""),
            ("GET", "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA", "", ""),
            ("GET", "EIO=3&transport=polling&sid=SID", "", ""),
            ("POST", "EIO=4&transport=polling&sid=SID", "Origin: https://app.example\r\n", "40"),
            ("GET", "EIO=4&transport=polling&sid=SID", "Accept-Encoding: gzip\r\n", ""),
            ("POST", "EIO=4&transport=polling&sid=SID", "Content-Type: application/octet-stream\r\n", "40"),
            ("GET", WEBSOCKET, "", ""),
        ] {
            let length =
                if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
            let mut ways = Vec::new();
            for before in ["", HEALTH] {
                let sid = host.open_polling().await;
                if method == "GET" && query.contains("SID") {
                    host.push(&sid, "40").await;
                }
                let target = host.target(&query.replace("SID", &sid));
                let request = format!(
                    "{method} {target} HTTP/1.1\r\nHost: x\r\n{lines}{length}Connection: close\r\n\r\n{body}"
                );
                ways.push(normal(&talk(&host, &format!("{before}{request}")).await));
            }
            let (ours, hypers) = (&ways[0], &ways[1]);
            let hypers = hypers.split_once("ok").map_or("", |(_, rest)| rest);
            assert_eq!(ours, hypers, "{method} {query} {lines}");
        }
    }
}

#[tokio::test]
async fn requests_that_come_together_are_answered_in_turn() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    let target = host.poll_target(&sid);
    let post = |body: &str, close: &str| {
        format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n{close}\r\n{body}", body.len())
    };
    let get = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    let all = [post("4one", ""), get.clone(), post("4two", ""), get, post("4three", "Connection: close\r\n")]
        .concat();
    let expected = ["ok", "4one", "ok", "4two", "ok"];
    assert_eq!(bodies(&talk(&host, &all).await), expected);
    // In pieces of any size, too.
    let sid = host.open_polling().await;
    let all = all.replace(target.rsplit('=').next().unwrap(), &sid);
    let mut stream = host.connect().await;
    for piece in all.as_bytes().chunks(7) {
        stream.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(bodies(&String::from_utf8(within(read_to_end(&mut stream)).await).unwrap()), expected);
}

#[tokio::test]
async fn nothing_is_smuggled() {
    let host = Host::echo(Config::default()).await;
    for (lines, body) in [
        ("Content-Length: 4\r\nContent-Length: 40\r\n", "4evil"),
        ("Content-Length: 4, 40\r\n", "4evil"),
        ("Content-Length: +4\r\n", "4evil"),
        ("Content-Length : 4\r\n", "4evil"),
        ("Content-Length: 99999999999999999999\r\n", "4evil"),
        ("Transfer-Encoding: xchunked\r\n", "4evil"),
        (" folded: x\r\n", ""),
    ] {
        let sid = host.open_polling().await;
        let target = host.poll_target(&sid);
        let next = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", host.target(POLLING));
        let request = format!("POST {target} HTTP/1.1\r\nHost: x\r\n{lines}\r\n{body}{next}");
        let said = talk(&host, &request).await;
        assert!(said.starts_with("HTTP/1.1 400 "), "{lines}: {said}");
        assert_eq!(said.matches("HTTP/1.1").count(), 1, "{lines}: {said}");
    }
    // RFC 9112 §6.3: with both, the length lies; the body is read as chunked, and nothing that follows is believed.
    let sid = host.open_polling().await;
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let request = format!("POST {} HTTP/1.1\r\nHost: x\r\n{both}{HEALTH}", host.poll_target(&sid));
    assert_eq!(bodies(&talk(&host, &request).await), ["ok"]);
    // What is read by both parsers is read alike: a chunked body, a GET with a body, a body that is announced.
    let sid = host.open_polling().await;
    let target = host.poll_target(&sid);
    for (request, expected) in [
        (
            format!(
                "POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n4more\r\n0\r\n\r\n"
            ),
            "ok",
        ),
        (format!("GET {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nGET"), "4more"),
        (
            format!(
                "POST {target} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n4hi"
            ),
            "ok",
        ),
        (format!("GET http://x{target} HTTP/1.1\r\nHost: x\r\n\r\n"), "4hi"),
    ] {
        let said =
            talk(&host, &format!("{request}GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
                .await;
        let answers: Vec<_> = bodies(&said).into_iter().filter(|body| !body.is_empty()).collect();
        assert_eq!(answers, [expected, "ok"], "{request}");
    }
}

#[tokio::test]
async fn a_connection_is_kept_while_requests_come() {
    let config = Config { head_timeout: Duration::from_millis(150), ..Config::default() };
    let host = Host::echo(config).await;
    let mut stream = host.connect().await;
    let open = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", host.target(POLLING));
    let mut sid = String::new();
    for _ in 0..4 {
        stream.write_all(open.as_bytes()).await.unwrap();
        let mut bytes = vec![0; 4096];
        let length = within(stream.read(&mut bytes)).await.unwrap();
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        sid = sid_of(text.split_once("\r\n\r\n").unwrap().1);
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    // A poll hangs for longer than a head may take, on the same connection.
    let poll = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", host.poll_target(&sid));
    stream.write_all(poll.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    host.push(&sid, "4late").await;
    let said = String::from_utf8(within(read_to_end(&mut stream)).await).unwrap();
    // And left alone, the connection ends without a word.
    assert!(said.starts_with("HTTP/1.1 200 ") && said.ends_with("\r\n\r\n4late"), "{said}");
}

#[tokio::test]
async fn a_client_that_leaves_its_poll_loses_its_session() {
    let host = Host::echo(Config::default()).await;
    for ahead in ["", "GET /heal", "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let sid = host.open_polling().await;
        let mut stream = host.connect().await;
        let poll = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n{ahead}", host.poll_target(&sid));
        stream.write_all(poll.as_bytes()).await.unwrap();
        host.settle().await;
        drop(stream);
        host.settle().await;
        assert_eq!(host.poll(&sid).await.status, 400, "{ahead}");
    }
}

#[tokio::test]
async fn a_preflight_says_its_length() {
    let host = Host::of(Server::new(Config { cors: Some(Cors::any()), ..Config::default() })).await;
    let said = talk(
        &host,
        &format!("OPTIONS {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", host.target(POLLING)),
    )
    .await;
    assert_eq!(
        normal(&said),
        "HTTP/1.1 204 No Content\r\naccess-control-allow-origin: *\r\n\
         access-control-allow-methods: GET,HEAD,PUT,PATCH,POST,DELETE\r\nvary: Access-Control-Request-Headers\r\n\
         connection: close\r\ncontent-length: 0\r\n\r\n"
    );
}

#[tokio::test]
async fn a_websocket_is_refused_the_same_on_either_way() {
    let host = Host::echo(Config::default()).await;
    let head = handshake_head(&host.target(WEBSOCKET));
    for (from, to, status, message) in [
        ("transport=websocket", "transport=x", 400, "Transport unknown"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "x", 400, "Missing or invalid Sec-WebSocket-Key header"),
        ("Version: 13", "Version: 7", 400, "Missing or invalid Sec-WebSocket-Version header"),
        ("GET ", "POST ", 400, "Bad handshake method"),
    ] {
        for before in ["", HEALTH] {
            let said = talk(&host, &format!("{before}{}", head.replace(from, to))).await;
            let said = if before.is_empty() { &*said } else { said.split_once("ok").unwrap().1 };
            assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
            assert!(
                said.to_ascii_lowercase().contains("\r\nconnection: close\r\ncontent-type: text/html\r\n"),
                "{said}"
            );
            assert!(said.ends_with(&format!("\r\n\r\n{message}")), "{said}");
        }
    }
}

/// Says all of it, and hears what is answered until the end.
async fn talk(host: &Host, text: &str) -> String {
    let mut stream = host.connect().await;
    stream.write_all(text.as_bytes()).await.unwrap();
    // Whoever keeps the connection is told that nothing more comes once the answers are here.
    let mut said = Vec::new();
    while let Ok(Ok(1..)) = tokio::time::timeout(Duration::from_millis(300), stream.read_buf(&mut said)).await
    {
    }
    String::from_utf8(said).unwrap()
}

/// An answer without what differs from one to the next.
fn normal(said: &str) -> String {
    let lines = said.split_inclusive("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("date: "));
    let mut text: String = lines.collect();
    for (begin, end) in [("\"sid\":\"", "\""), ("io=", ";")] {
        while let Some(at) = text.find(begin).filter(|at| !text[at + begin.len()..].starts_with('*')) {
            let length = text[at + begin.len()..].find(end).unwrap();
            text.replace_range(at + begin.len()..at + begin.len() + length, "*");
        }
    }
    text
}

/// The bodies of answers that follow each other.
fn bodies(said: &str) -> Vec<&str> {
    let mut rest = said;
    let mut bodies = Vec::new();
    while let Some((head, after)) = rest.split_once("\r\n\r\n") {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        let length = lines
            .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map(|(_, length)| length.parse::<usize>().unwrap());
        let (body, next) = after.split_at(length.sum());
        bodies.push(body);
        rest = next;
    }
    bodies
}
