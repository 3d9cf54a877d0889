//! The cases of the official Socket.IO v5 suite, and what else a client may say.

use crate::engine_io_v4::assert_unknown;
use crate::harness::{Client, Frame, Host, Log, POLLING, Ws, answer, heard, quick};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sockeye::{Config, Event, Refusal, Server, Socket};
use std::time::Duration;

#[tokio::test]
async fn a_client_enters_a_namespace_with_and_without_auth() {
    let host = suite(Config::default()).await;
    for (connect, answer, auth) in [
        ("40", "40{", r#"42["auth",{}]"#),
        (r#"40{"token":"123"}"#, "40{", r#"42["auth",{"token":"123"}]"#),
        ("40/,", "40{", r#"42["auth",{}]"#),
        ("40/custom,", "40/custom,{", r#"42/custom,["auth",{}]"#),
        ("40/custom", "40/custom,{", r#"42/custom,["auth",{}]"#),
        (r#"40/custom,{"token":"abc"}"#, "40/custom,{", r#"42/custom,["auth",{"token":"abc"}]"#),
        ("401", "40{", r#"42["auth",{}]"#),
    ] {
        let (mut ws, open) = Ws::session(&host).await;
        ws.send(connect).await;
        let connected = ws.text().await;
        let payload = connected.strip_prefix(&answer[..answer.len() - 1]).unwrap();
        let payload: Value = serde_json::from_str(payload).unwrap();
        let sid = payload["sid"].as_str().unwrap();
        assert_eq!((payload.as_object().unwrap().len(), sid.len()), (1, 20), "{connected}");
        assert!(!open.contains(sid), "the session's id is a secret");
        assert_eq!(ws.text().await, auth, "{connect}");
    }
}

#[tokio::test]
async fn an_unknown_namespace_is_refused_and_the_connection_lives() {
    let host = suite(Config::default()).await;
    let (mut ws, _) = Ws::session(&host).await;
    for (connect, refusal) in [
        ("40/random", r#"44/random,{"message":"Invalid namespace"}"#),
        ("40/random,", r#"44/random,{"message":"Invalid namespace"}"#),
        (r#"40/random,{"token":1}"#, r#"44/random,{"message":"Invalid namespace"}"#),
        ("40/custom?a=b,", r#"44/custom?a=b,{"message":"Invalid namespace"}"#),
        ("40/Custom,", r#"44/Custom,{"message":"Invalid namespace"}"#),
    ] {
        ws.send(connect).await;
        assert_eq!(ws.text().await, refusal, "{connect}");
    }
    ws.send("40").await;
    assert!(ws.text().await.starts_with(r#"40{"sid":""#));
}

#[tokio::test]
async fn what_is_no_packet_or_not_allowed_closes_the_connection() {
    let host = suite(Config::default()).await;
    // Before a namespace was entered, and after.
    let rows: [(&[&str], &[&str]); 2] = [
        (
            &[],
            &[
                "4abc",
                "4",
                "47",
                r#"42["x"]"#,
                "41",
                r#"43["x"]"#,
                r#"44{"message":"x"}"#,
                "40[]",
                r#"40"x""#,
                "40null",
                "40custom",
            ],
        ),
        (
            &["40"],
            &[
                "4abc",
                "42{}",
                r#"42abc["message-with-ack",1]"#,
                "42[]",
                "42[null]",
                "42[{}]",
                r#"42["connect"]"#,
                r#"42["disconnecting"]"#,
                r#"42["message""#,
                r#"42["message"]]"#,
                "40",
                r#"44{"message":"x"}"#,
                r#"41{"a":1}"#,
                "43{}",
                r#"431"x""#,
                r#"42/custom,["message"]"#,
                "41/custom",
                r#"4511-["message"]"#,
                r#"450-["message"]"#,
                r#"45-["message"]"#,
                r#"451["message"]"#,
            ],
        ),
    ];
    for (first, wrong) in rows {
        for wrong in wrong {
            let (mut ws, _) = Ws::session(&host).await;
            for connect in first {
                ws.send(connect).await;
                ws.text().await;
                ws.text().await;
            }
            ws.send(wrong).await;
            assert_eq!(ws.next().await, Frame::Close(None), "{first:?} {wrong}");
        }
    }
}

#[tokio::test]
async fn attachments_follow_their_packet_or_the_connection_closes() {
    let host = suite(Config::default()).await;
    let one = r#"451-["message",{"_placeholder":true,"num":0}]"#;
    for (text, then) in [
        (r#"42["message"]"#, Some(Frame::Binary(vec![1]))),
        (one, Some(Frame::Text(r#"42["message"]"#.to_owned()))),
        (r#"451-["message",{"_placeholder":true,"num":1}]"#, Some(Frame::Binary(vec![1]))),
        (r#"451-["message",{"_placeholder":true,"num":-1}]"#, Some(Frame::Binary(vec![1]))),
        (r#"451-["message",{"_placeholder":true,"num":"0"}]"#, Some(Frame::Binary(vec![1]))),
        (r#"451-["message",{"_placeholder":true,"num":0.5}]"#, Some(Frame::Binary(vec![1]))),
    ] {
        let mut client = enter(&host).await;
        client.say(text).await;
        match then {
            Some(Frame::Text(text)) => client.say(&text).await,
            Some(Frame::Binary(bytes)) => client.ws.send_binary(&bytes).await,
            Some(Frame::Pong(_) | Frame::Close(_) | Frame::End) | None => {}
        }
        assert_eq!(client.ws.ended().await, Frame::Close(None), "{text}");
    }
    // Ten are allowed; a ping of the engine may come between.
    let mut client = enter(&host).await;
    let placeholders: Vec<_> = (0..10).map(|num| json!({"_placeholder": true, "num": num})).collect();
    let args = serde_json::to_string(&placeholders).unwrap();
    client.say(&format!(r#"4510-["message",{}]"#, &args[1..args.len() - 1])).await;
    for byte in 0..10 {
        client.ws.ping(b"").await;
        assert_eq!(client.next().await, Frame::Pong(Vec::new()));
        client.ws.send_binary(&[byte]).await;
    }
    assert!(client.text().await.starts_with(r#"4510-["message-back",{"#));
    for byte in 0..10 {
        assert_eq!(client.next().await, Frame::Binary(vec![byte]));
    }
}

#[tokio::test]
async fn messages_and_acks_come_back_whole() {
    let host = suite(Config::default()).await;
    let mut client = enter(&host).await;
    for (said, heard) in [
        (r#"42["message",1,"2",{"3":[true]}]"#, r#"42["message-back",1,"2",{"3":[true]}]"#),
        (r#"42["message"]"#, r#"42["message-back"]"#),
        (r#"42["message",null,"é\n€🦀",-1.5e3]"#, r#"42["message-back",null,"é\n€🦀",-1.5e3]"#),
        (r#"42456["message-with-ack",1,"2",{"3":[false]}]"#, r#"43456[1,"2",{"3":[false]}]"#),
        (r#"420["message-with-ack"]"#, "430[]"),
        (r#"42007["message-with-ack"]"#, "437[]"),
        (r#"42/,["message",1]"#, r#"42["message-back",1]"#),
        (r#"42["message",1] "#, r#"42["message-back",1]"#),
    ] {
        client.say(said).await;
        client.hears(&[heard]).await;
    }
    let args = r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    for (said, heard) in
        [(r#"452-["message","#, r#"452-["message-back","#), (r#"452-789["message-with-ack","#, "462-789[")]
    {
        client.say(&format!("{said}{args}")).await;
        client.ws.send_binary(&[1, 2, 3]).await;
        client.ws.send_binary(&[4, 5, 6]).await;
        client.hears(&[&format!("{heard}{args}")]).await;
        assert_eq!(client.next().await, Frame::Binary(vec![1, 2, 3]));
        assert_eq!(client.next().await, Frame::Binary(vec![4, 5, 6]));
    }
}

#[tokio::test]
async fn polling_carries_the_same_packets() {
    let host = suite(Config::default()).await;
    let sid = host.open_polling().await;
    host.push(&sid, r#"40{"token":"x"}"#).await;
    let entered = host.poll(&sid).await.body;
    let (connect, auth) = entered.split_once('\x1e').unwrap();
    assert!(connect.starts_with(r#"40{"sid":""#) && auth == r#"42["auth",{"token":"x"}]"#, "{entered}");
    host.push(&sid, "451-7[\"message-with-ack\",{\"_placeholder\":true,\"num\":0}]\x1ebAQID").await;
    assert_eq!(host.poll(&sid).await.body, "461-7[{\"_placeholder\":true,\"num\":0}]\x1ebAQID");
    // A misbehaving client is told with its poll.
    let poll = host.begin_poll(&sid).await;
    assert_eq!(host.push(&sid, "40").await.body, "ok");
    assert_eq!(answer(poll).await.body, "1");
    assert_unknown(&host.poll(&sid).await);
}

#[tokio::test]
async fn leaving_the_last_namespace_keeps_the_connection() {
    let host = suite(quick()).await;
    let mut client = enter(&host).await;
    client.say("41").await;
    assert_eq!(client.ws.text().await, "2");
    client.say("3").await;
    client.join("40").await;
    client.hears(&[r#"42["auth",{}]"#]).await;
}

#[tokio::test]
async fn leaving_one_namespace_leaves_the_others() {
    let host = suite(Config::default()).await;
    let mut client = enter(&host).await;
    let custom = client.join("40/custom").await;
    assert_ne!(custom, client.id);
    client.hears(&[r#"42/custom,["auth",{}]"#]).await;
    client.say("41/custom").await;
    client.say(r#"42["message","to main"]"#).await;
    client.hears(&[r#"42["message-back","to main"]"#]).await;
    client.say(r#"42/custom,["message"]"#).await;
    assert_eq!(client.next().await, Frame::Close(None));
}

#[tokio::test]
async fn who_enters_no_namespace_in_time_is_closed() {
    let host = suite(quick()).await;
    let (mut ws, _) = Ws::session(&host).await;
    ws.send("40/random").await;
    ws.ended().await;
    // Once in, a client may leave and stay.
    let config = Config { connect_timeout: Duration::from_millis(300), ..Config::default() };
    let host = suite(config).await;
    let mut client = enter(&host).await;
    client.say("41").await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    client.join("40").await;
}

#[tokio::test]
async fn a_guard_refuses_with_its_words_and_data() {
    let mut server = Server::new(Config::default());
    server.namespace("/").guard(async |socket: Socket| {
        #[derive(Deserialize)]
        struct Auth {
            #[serde(default)]
            word: String,
        }
        // It may take its time.
        tokio::task::yield_now().await;
        let auth: Auth = socket.handshake().auth()?;
        socket.set_data(&auth.word)?;
        match &*auth.word {
            "open" => Ok(()),
            "data" => Err(Refusal::new("nope").with_data(json!({"code": 42}))?),
            "panic" => panic!("a guard that fails"),
            _ => Err("no \"way\"".into()),
        }
    });
    server.namespace("/").guard(async |socket: Socket| {
        assert_eq!(
            socket.data::<String>()?.as_deref(),
            Some("open"),
            "the second runs after the first said yes"
        );
        Ok(())
    });
    server.namespace("/").on("who", async |event: Event| event.ack(event.socket().data::<String>().unwrap()));
    let host = Host::of(server).await;
    let (mut ws, _) = Ws::session(&host).await;
    for (connect, refusal) in [
        ("40", r#"44{"message":"no \"way\""}"#),
        (r#"40{"word":"data"}"#, r#"44{"message":"nope","data":{"code":42}}"#),
        (r#"40{"word":"panic"}"#, r#"44{"message":"internal error"}"#),
        (
            r#"40{"word":1}"#,
            r#"44{"message":"invalid type: integer `1`, expected a string at line 1 column 9"}"#,
        ),
    ] {
        ws.send(connect).await;
        assert_eq!(ws.text().await, refusal, "{connect}");
    }
    ws.send(r#"40{"word":"open"}"#).await;
    assert!(ws.text().await.starts_with("40{"));
    ws.send(r#"421["who"]"#).await;
    assert_eq!(ws.text().await, r#"431["open"]"#);
}

#[tokio::test]
async fn while_a_guard_thinks_nothing_else_is_allowed() {
    for early in [r#"42["early"]"#, "40"] {
        let host = Host::with(Config::default(), |main| {
            main.guard(async |_: Socket| std::future::pending().await);
        })
        .await;
        let (mut ws, _) = Ws::session(&host).await;
        ws.send("40").await;
        ws.send(early).await;
        assert_eq!(ws.next().await, Frame::Close(None), "{early}");
    }
}

#[tokio::test]
async fn a_client_may_give_up_before_a_guard_has_spoken() {
    let (log, mut entries) = Log::new();
    let host = Host::with(Config::default(), |main| {
        main.guard(move |socket: Socket| {
            log.add(socket.clone());
            async move {
                let slow: Value = socket.handshake().auth()?;
                if slow["slow"] == true { std::future::pending().await } else { Ok(()) }
            }
        });
    })
    .await;
    let (mut ws, _) = Ws::session(&host).await;
    ws.send(r#"40{"slow":true}"#).await;
    let first = heard(&mut entries).await;
    ws.send("41").await;
    ws.send("40").await;
    let entered = ws.text().await;
    assert!(entered.contains(heard(&mut entries).await.id().as_str()), "{entered}");
    assert!(!first.is_connected() && first.rooms().is_empty());
}

#[tokio::test]
async fn a_handshake_tells_the_request_and_the_socket_its_transport() {
    let (log, mut entries) = Log::new();
    let host = Host::with(Config::default(), |main| {
        main.on_connect(move |socket: Socket| {
            log.add(socket);
            async {}
        });
    })
    .await;
    let lines = "X-Key: v\r\n";
    let open = host.request("GET", &format!("/socket.io/?{POLLING}&token=a%20b"), lines, "").await;
    let sid = crate::harness::sid_of(&open.body);
    host.push(&sid, r#"40{"k":1}"#).await;
    let socket = heard(&mut entries).await;
    let handshake = socket.handshake();
    assert_eq!(handshake.query("token").as_deref(), Some("a b"));
    assert_eq!(handshake.header("x-key").as_deref(), Some("v"));
    assert_eq!(handshake.auth::<Value>().unwrap(), json!({"k": 1}));
    assert!(handshake.address().ip().is_loopback());
    assert_eq!(socket.transport().to_string(), "polling");
    host.poll(&sid).await;
    let mut ws = Ws::probe(&host, &sid).await;
    ws.send("5").await;
    crate::harness::until(|| socket.transport().to_string() == "websocket").await;
    assert!(socket.is_connected());
}

#[tokio::test]
async fn typed_payloads_go_both_ways_with_bytes_deep_inside() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct File {
        name: String,
        parts: Vec<Part>,
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Part {
        body: Bytes,
        note: Option<String>,
    }
    let host = Host::with(Config::default(), |main| {
        main.on("file", async |event: Event| {
            let (file, count): (File, u32) = event.data()?;
            event.socket().emit("file", (&file, count + 1)).map_err(anyhow::Error::from)
        });
        main.on("none", async |event: Event| event.socket().emit("none", ()));
        main.on("one", async |event: Event| event.socket().emit("one", vec![1, 2]));
        main.on("wrong", async |event: Event| event.data::<File>().map(drop));
    })
    .await;
    let mut client = Client::enter(&host).await;
    let part = |num, note| format!(r#"{{"body":{{"_placeholder":true,"num":{num}}},"note":{note}}}"#);
    let args = format!(r#"{{"name":"n","parts":[{},{}]}}"#, part(0, "null"), part(1, "\"x\""));
    client.say(&format!(r#"452-["file",{args},1]"#)).await;
    client.ws.send_binary(b"ab").await;
    client.ws.send_binary(b"").await;
    client.hears(&[&format!(r#"452-["file",{args},2]"#)]).await;
    assert_eq!(client.next().await, Frame::Binary(b"ab".to_vec()));
    assert_eq!(client.next().await, Frame::Binary(Vec::new()));
    // An argument of the wrong type is the handler's failure, not the socket's.
    for (said, heard) in [("none", r#"42["none"]"#), ("one", r#"42["one",[1,2]]"#)] {
        client.say(r#"42["wrong",1]"#).await;
        client.say(&format!(r#"42["{said}"]"#)).await;
        client.hears(&[heard]).await;
    }
}

/// The server of the official suite.
pub(crate) async fn suite(config: Config) -> Host {
    let mut server = Server::new(config);
    for name in ["/", "/custom"] {
        server
            .namespace(name)
            .on_connect(async |socket: Socket| {
                let auth: Value = socket.handshake().auth()?;
                socket.emit("auth", auth).map_err(anyhow::Error::from)
            })
            .on("message", async |event: Event| event.socket().emit("message-back", event.args()))
            .on("message-with-ack", async |event: Event| event.ack(event.args()));
    }
    Host::of(server).await
}

/// Enters `/` and takes the `auth` event.
async fn enter(host: &Host) -> Client {
    let mut client = Client::enter(host).await;
    client.hears(&[r#"42["auth",{}]"#]).await;
    client
}
