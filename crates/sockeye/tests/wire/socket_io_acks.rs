//! Handlers and acks: both ways, in time and too late, and handlers that fail.

use crate::harness::{Client, Frame, Host, Log, heard};
use bytes::Bytes;
use serde_json::{Value, json};
use sockeye::{AckError, Config, Event, Socket};
use std::time::Duration;

#[tokio::test]
async fn a_server_asks_and_the_client_answers() {
    let (log, mut answers) = Log::new();
    let host = Host::with(Config::default(), |main| {
        main.on_connect(move |socket: Socket| {
            let log = log.clone();
            async move {
                log.add(socket.emit_with_ack::<Value>("q", (1, "a")).await.unwrap().to_string());
                log.add(format!("{:?}", socket.emit_with_ack::<(u32, String)>("q", ()).await.unwrap()));
                log.add(format!("{:?}", socket.emit_with_ack::<()>("q", json!({"k": null})).await.is_ok()));
                log.add(format!("{:?}", socket.emit_with_ack::<(Bytes, u8)>("q", ()).await.unwrap()));
                log.add(socket.emit_with_ack::<u8>("q", ()).await.unwrap_err().to_string());
            }
        });
    })
    .await;
    let mut client = Client::enter(&host).await;
    for (question, answer, bytes, entry) in [
        (r#"420["q",1,"a"]"#, r#"430[{"x":1}]"#, None, r#"{"x":1}"#),
        (r#"421["q"]"#, r#"431[7,"b"]"#, None, r#"(7, "b")"#),
        (r#"422["q",{"k":null}]"#, "432[]", None, "true"),
        (r#"423["q"]"#, r#"461-3[{"_placeholder":true,"num":0},5]"#, Some(b"xyz"), r#"(b"xyz", 5)"#),
        (
            r#"424["q"]"#,
            r#"434["no number"]"#,
            None,
            "unexpected answer: invalid type: string \"no number\", expected u8 at line 1 column 11",
        ),
    ] {
        client.hears(&[question]).await;
        client.say(answer).await;
        if let Some(bytes) = bytes {
            client.ws.send_binary(bytes).await;
        }
        assert_eq!(heard(&mut answers).await, entry);
    }
}

#[tokio::test]
async fn no_answer_in_time_is_a_timeout_and_a_late_one_is_ignored() {
    let (log, mut answers) = Log::new();
    let config = Config { ack_timeout: Duration::from_millis(30), ..Config::default() };
    let host = Host::with(config, |main| {
        main.on_connect(move |socket: Socket| {
            let log = log.clone();
            async move {
                log.add(socket.emit_with_ack::<Value>("q", ()).await);
                log.add(socket.emit_with_ack_within::<Value>(Duration::from_secs(9), "q", ()).await);
            }
        });
    })
    .await;
    let mut client = Client::enter(&host).await;
    client.hears(&[r#"420["q"]"#, r#"421["q"]"#]).await;
    let error = heard(&mut answers).await.unwrap_err();
    assert_eq!(error.to_string(), "operation has timed out");
    for answer in ["430[1]", "4399[2]", "431[3]", "431[4]"] {
        client.say(answer).await;
    }
    assert_eq!(heard(&mut answers).await.unwrap(), json!(3));
}

#[tokio::test]
async fn who_leaves_answers_nothing_more() {
    for leave in ["41", "1"] {
        let (log, mut answers) = Log::new();
        let host = Host::with(Config::default(), |main| {
            main.on_connect(move |socket: Socket| {
                let log = log.clone();
                async move {
                    log.add(socket.emit_with_ack::<Value>("q", ()).await);
                    log.add(socket.emit_with_ack::<Value>("q", ()).await);
                }
            });
        })
        .await;
        let mut client = Client::enter(&host).await;
        client.hears(&[r#"420["q"]"#]).await;
        if leave == "41" {
            client.say("41").await;
        } else {
            client.ws.send("1").await;
        }
        for _ in 0..2 {
            let answer = heard(&mut answers).await;
            assert!(matches!(answer, Err(AckError::Disconnected)), "{leave}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn an_ack_is_sent_once_and_only_where_one_was_asked_for() {
    let (log, mut events) = Log::new();
    let host = Host::with(Config::default(), |main| {
        main.on("ask", async |event: Event| {
            event.ack(1)?;
            event.ack(2)?;
            event.socket().emit("asked", event.wants_ack())
        });
        main.on("spawn", move |event: Event| {
            log.add(event);
            async {}
        });
        main.on("mark", async |event: Event| event.ack(()));
    })
    .await;
    let mut client = Client::enter(&host).await;
    client.say(r#"425["ask"]"#).await;
    client.hears(&["435[1]", r#"42["asked",true]"#]).await;
    client.say(r#"42["ask"]"#).await;
    client.hears(&[r#"42["asked",false]"#]).await;
    // The biggest id that a JavaScript client can count to, answered from elsewhere after the handler is done.
    client.say(r#"429007199254740991["spawn",1]"#).await;
    let event = heard(&mut events).await;
    client.hears_nothing().await;
    event.ack(event.args()).unwrap();
    client.hears(&["439007199254740991[1]"]).await;
}

#[tokio::test]
async fn a_socket_that_left_its_namespace_is_spoken_to_in_vain() {
    let (log, mut events) = Log::new();
    let host = Host::with(Config::default(), |main| {
        main.on("keep", move |event: Event| {
            log.add(event);
            async {}
        });
        main.on("mark", async |event: Event| event.ack(()));
    })
    .await;
    let mut client = Client::enter(&host).await;
    client.say(r#"421["keep"]"#).await;
    let event = heard(&mut events).await;
    let socket = event.socket();
    client.say("41").await;
    // The connection lives, and another socket of the same namespace with it: it must not hear what the first one is told.
    client.join("40").await;
    assert!(!socket.is_connected());
    socket.emit("x", 1).unwrap();
    socket.emit_volatile("x", 1).unwrap();
    event.ack("late").unwrap();
    socket.join(["room"]);
    socket.namespace().to("room").emit("x", 2).unwrap();
    socket.namespace().to(socket.id()).emit("x", 3).unwrap();
    assert!(socket.rooms().is_empty());
    client.hears_nothing().await;
    drop(client);
    crate::harness::until(|| socket.namespace().local_len() == 0).await;
    socket.emit("x", 4).unwrap();
}

#[tokio::test]
async fn an_event_without_a_handler_is_ignored_or_falls_back() {
    let mut server = sockeye::Server::new(Config::default());
    server.namespace("/").on("mark", async |event: Event| event.ack(()));
    server.namespace("/fall").on("mark", async |event: Event| event.ack("own")).on_any_other(
        async |event: Event| {
            let name = event.name().to_owned();
            event.ack((name, event.args().json().len()))
        },
    );
    let host = Host::of(server).await;
    let mut client = Client::enter(&host).await;
    for unknown in [r#"42["what",1]"#, r#"421["what"]"#, "42[7]", r#"42[""]"#] {
        client.say(unknown).await;
        client.hears_nothing().await;
    }
    client.join("40/fall").await;
    for (said, heard) in [
        (r#"42/fall,1["what",12]"#, r#"43/fall,1["what",2]"#),
        (r#"42/fall,2["mark"]"#, r#"43/fall,2["own"]"#),
        (r#"42/fall,3[7]"#, r#"43/fall,3["7",0]"#),
    ] {
        client.say(said).await;
        client.hears(&[heard]).await;
    }
}

#[tokio::test]
async fn a_handler_that_fails_or_panics_harms_nobody() {
    let (log, mut reasons) = Log::new();
    let host = Host::with(Config::default(), |main| {
        main.on("fail", async |_: Event| Err::<(), _>("as it happens"));
        main.on("panic", async |_: Event| -> () { panic!("in the future") });
        main.on("panic later", async |_: Event| {
            tokio::task::yield_now().await;
            panic!("after a while");
            #[expect(unreachable_code, reason = "the type of the future")]
            ()
        });
        main.on("panic early", |event: Event| {
            let number: u32 = event.data().expect("a number");
            async move { assert_eq!(number, 0) }
        });
        main.on("mark", async |event: Event| event.ack(()));
        main.on_disconnect(move |_, reason| {
            log.add(reason.to_string());
            async {}
        });
    })
    .await;
    let mut client = Client::enter(&host).await;
    for name in ["fail", "panic", "panic later", "panic early"] {
        client.say(&format!(r#"42["{name}"]"#)).await;
        client.hears_nothing().await;
    }
    client.say("41").await;
    assert_eq!(heard(&mut reasons).await, "client namespace disconnect");
}

#[tokio::test]
async fn hooks_that_panic_early_harm_nobody() {
    let (log, mut entries) = Log::new();
    let host = Host::with(Config::default(), |main| {
        main.guard(|socket: Socket| {
            let auth: Value = socket.handshake().auth().unwrap();
            assert!(auth["in"] == true, "not in");
            async { Ok(()) }
        });
        main.on_connect(|socket: Socket| {
            assert!(!socket.is_connected(), "a hook that fails");
            async {}
        });
        main.on_disconnect(move |socket: Socket, _| {
            log.add(());
            assert!(socket.is_connected(), "a hook that fails");
            async {}
        });
        main.on("mark", async |event: Event| event.ack(()));
    })
    .await;
    let (mut ws, _) = crate::harness::Ws::session(&host).await;
    ws.send("40").await;
    assert_eq!(ws.text().await, r#"44{"message":"internal error"}"#);
    let mut client = Client::on(ws);
    client.join(r#"40{"in":true}"#).await;
    client.hears_nothing().await;
    client.say("41").await;
    heard(&mut entries).await;
    client.join(r#"40{"in":true}"#).await;
    client.hears_nothing().await;
}

#[tokio::test]
async fn what_cannot_be_sent_is_the_callers_to_hear() {
    let (log, mut sockets) = Log::new();
    let host = Host::with(Config::default(), |main| {
        main.on_connect(move |socket: Socket| {
            log.add(socket);
            async {}
        });
        main.on("mark", async |event: Event| event.ack(()));
    })
    .await;
    let mut client = Client::enter(&host).await;
    let socket = heard(&mut sockets).await;
    let eleven = vec![Bytes::from_static(b"x"); 11];
    for (error, expected) in [
        (socket.emit("connect", ()), "\"connect\" is a reserved event name"),
        (socket.emit("disconnecting", ()), "\"disconnecting\" is a reserved event name"),
        (socket.emit("x", &eleven), "expected at most 10 binary attachments in one packet, got 11"),
        (
            socket.namespace().emit("x", &eleven),
            "expected at most 10 binary attachments in one packet, got 11",
        ),
    ] {
        assert_eq!(error.unwrap_err().to_string(), expected);
    }
    client.hears_nothing().await;
    socket.emit("x", &eleven[..10]).unwrap();
    assert!(client.text().await.starts_with("4510-[\"x\",["));
    for _ in 0..10 {
        assert_eq!(client.next().await, Frame::Binary(b"x".to_vec()));
    }
}
