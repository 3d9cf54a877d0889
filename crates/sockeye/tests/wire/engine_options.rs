//! What a program decides of the engine: who may come, by which transport and path, and what answers bear.

use crate::harness::{
    Answer, Frame, Host, POLLING, WEBSOCKET, Ws, handshake_head, read_to_end, sid_of, within,
};
use http::HeaderValue;
use sockeye::{Config, Cookie, Handshake, Limit, SameSite, Server, Transport};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// The bytes with which a WebSocket is refused.
fn refusal(message: &str) -> String {
    let length = message.len();
    format!(
        "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-type: text/html\r\nContent-Length: {length}\r\n\r\n{message}"
    )
}

#[tokio::test]
async fn whoever_is_not_allowed_hears_why() {
    let mut server = Server::new(Config::default());
    server.allow_request(async |request: Handshake| match request.header("x-no") {
        Some(message) => {
            tokio::task::yield_now().await;
            Err(message.into())
        }
        None => Ok(()),
    });
    let host = Host::of(server).await;
    for (line, message) in [("X-No: nope\r\n", "nope"), ("X-No: \r\n", "Forbidden")] {
        let answer = host.request("GET", &host.target(POLLING), line, "").await;
        let body = format!(r#"{{"code":4,"message":"{message}"}}"#);
        assert_eq!((answer.status, answer.body), (403, body));
        assert_eq!(answer_of_upgrade(&host, WEBSOCKET, line).await, refusal(message));
    }
    // Who has a session is not asked again.
    let sid = host.open_polling().await;
    let answer = host.request("POST", &host.poll_target(&sid), "X-No: nope\r\n", "40").await;
    assert_eq!(answer.status, 200);
    Ws::session(&host).await;
}

#[tokio::test]
async fn a_program_that_does_not_say_yes_says_no() {
    let allow_request_timeout = Duration::from_millis(50);
    let mut server = Server::new(Config { allow_request_timeout, ..Config::default() });
    server.allow_request(|request: Handshake| {
        let word = request.header("x-word").unwrap_or_default();
        assert!(word != "panic", "on purpose");
        async move {
            match &*word {
                "late" => std::future::pending().await,
                "panic later" => panic!("on purpose"),
                _ => Ok(()),
            }
        }
    });
    let host = Host::of(server).await;
    for word in ["panic", "panic later", "late"] {
        let line = format!("X-Word: {word}\r\n");
        let answer = host.request("GET", &host.target(POLLING), &line, "").await;
        assert_eq!((answer.status, &*answer.body), (403, r#"{"code":4,"message":"Forbidden"}"#), "{word}");
        assert_eq!(answer_of_upgrade(&host, WEBSOCKET, &line).await, refusal("Forbidden"), "{word}");
    }
    assert_eq!(host.handle.stats().limit(Limit::AllowRequestTimeout), 2);
    host.open_polling().await;
}

#[tokio::test]
async fn whether_a_client_may_come_is_asked_before_its_version_is_looked_at() {
    let mut server = Server::new(Config::default());
    server.allow_request(async |request: Handshake| match request.header("x-no") {
        Some(_) => Err("no".into()),
        None => Ok(()),
    });
    let host = Host::of(server).await;
    let (polling, websocket) = ("EIO=3&transport=polling", "EIO=3&transport=websocket");
    for (line, status) in [("X-No: 1\r\n", 403), ("", 400)] {
        assert_eq!(host.request("GET", &host.target(polling), line, "").await.status, status, "{line}");
    }
    assert_eq!(answer_of_upgrade(&host, websocket, "X-No: 1\r\n").await, refusal("no"));
    let switched = answer_of_upgrade(&host, websocket, "").await;
    assert!(switched.starts_with("HTTP/1.1 101 "), "{switched}");
    assert!(switched.ends_with(&refusal("Unsupported protocol version")), "{switched}");
}

#[tokio::test]
async fn answers_bear_the_headers_of_the_program() {
    let mut server = Server::new(Config::default());
    server
        .initial_headers(|headers, _| drop(headers.insert("x-initial", HeaderValue::from_static("1"))))
        .headers(|headers, request: &Handshake| {
            let host = request.header("host").unwrap_or_default();
            headers.insert("x-each", HeaderValue::from_str(&host).unwrap());
        });
    let host = Host::of(server).await;
    let open = host.get(&host.target(POLLING)).await;
    let said = |answer: &Answer| (answer.header("x-initial"), answer.header("x-each"));
    let (one, each) = (Some("1".to_owned()), Some("localhost".to_owned()));
    assert_eq!(said(&open), (one, each.clone()));
    let push = host.push(&sid_of(&open.body), "40").await;
    assert_eq!(said(&push), (None, each));
    let refused = host.get(&host.target("EIO=4&transport=no")).await;
    assert_eq!(said(&refused), (None, None));
    let switched = answer_of_upgrade(&host, WEBSOCKET, "X: y\r\n").await;
    assert!(
        switched.starts_with("HTTP/1.1 101 ")
            && switched.contains("\r\nX-Initial: 1\r\nX-Each: localhost\r\n\r\n")
    );
}

#[tokio::test]
async fn a_cookie_is_set_by_the_answer_that_opens_a_polling_session() {
    let long = Cookie {
        name: "sid".to_owned(),
        max_age: Some(60),
        domain: Some("example.org".to_owned()),
        path: None,
        http_only: false,
        secure: true,
        same_site: Some(SameSite::None),
    };
    for (cookie, before, after) in [
        (Cookie::default(), "io=", "; Path=/; HttpOnly; SameSite=Lax"),
        (long, "sid=", "; Max-Age=60; Domain=example.org; Secure; SameSite=None"),
    ] {
        let host = Host::of(Server::new(Config { cookie: Some(cookie), ..Config::default() })).await;
        let open = host.get(&host.target(POLLING)).await;
        let sid = sid_of(&open.body);
        assert_eq!(open.header("set-cookie"), Some(format!("{before}{sid}{after}")));
        assert_eq!(host.push(&sid, "40").await.header("set-cookie"), None);
        assert!(!answer_of_upgrade(&host, WEBSOCKET, "").await.to_lowercase().contains("set-cookie"));
    }
}

#[tokio::test]
async fn a_transport_that_is_not_served_is_unknown() {
    let transports = vec![Transport::WebSocket];
    let host = Host::of(Server::new(Config { transports, ..Config::default() })).await;
    let answer = host.get(&host.target(POLLING)).await;
    assert_eq!((answer.status, &*answer.body), (400, r#"{"code":0,"message":"Transport unknown"}"#));
    Ws::session(&host).await;
    let transports = vec![Transport::Polling];
    let host = Host::of(Server::new(Config { transports, ..Config::default() })).await;
    assert!(host.get(&host.target(POLLING)).await.body.contains(r#""upgrades":[]"#));
    assert_eq!(answer_of_upgrade(&host, WEBSOCKET, "").await, refusal("Transport unknown"));
}

#[tokio::test]
async fn a_path_is_everything_that_begins_like_it() {
    let rows: [(bool, &[(&str, u16)]); 2] = [
        (true, &[("/socket.io/", 200), ("/socket.io/any/thing", 200), ("/socket.io", 404)]),
        (false, &[("/socket.io/", 200), ("/socket.io", 200), ("/socket.iox", 200), ("/socket", 404)]),
    ];
    for (add_trailing_slash, paths) in rows {
        let host = Host::of(Server::new(Config { add_trailing_slash, ..Config::default() })).await;
        for (path, status) in paths {
            assert_eq!(host.get(&format!("{path}?{POLLING}")).await.status, *status, "{path}");
        }
    }
}

#[tokio::test]
async fn old_browsers_are_kept_from_looking_for_scripts() {
    let host = Host::echo(Config::default()).await;
    let agent = "User-Agent: Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0)\r\n";
    let open = host.request("GET", &host.target(POLLING), agent, "").await;
    let sid = sid_of(&open.body);
    let push = host.request("POST", &host.poll_target(&sid), agent, "4x").await;
    let poll = host.request("GET", &host.poll_target(&sid), agent, "").await;
    for answer in [open, push, poll] {
        assert_eq!(answer.header("x-xss-protection").as_deref(), Some("0"), "{answer:?}");
    }
    host.push(&sid, "4x").await;
    assert_eq!(host.poll(&sid).await.header("x-xss-protection"), None);
}

#[tokio::test]
async fn another_version_is_refused_when_the_websocket_stands() {
    let host = Host::echo(Config::default()).await;
    let answer = answer_of_upgrade(&host, "EIO=3&transport=websocket", "").await;
    let (switched, refused) = answer.split_once("\r\n\r\n").unwrap();
    assert!(switched.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{switched}");
    assert_eq!(refused, refusal("Unsupported protocol version"));
    // To a client of WebSockets this is a broken stream.
    let mut ws = Ws::open(&host, "EIO=3&transport=websocket").await;
    assert_eq!(ws.next().await, Frame::End);
}

/// What comes back for a WebSocket's handshake, until the server is done, or has opened a session.
async fn answer_of_upgrade(host: &Host, query: &str, lines: &str) -> String {
    let head = handshake_head(&host.target(query));
    let head = head.replacen("\r\n", &format!("\r\n{lines}"), 1);
    let mut stream = host.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    // Behind the handshake, the end: a session that was opened is over then.
    stream.shutdown().await.unwrap();
    String::from_utf8_lossy(&within(read_to_end(&mut stream)).await).into_owned()
}
