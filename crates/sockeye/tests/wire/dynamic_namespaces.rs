//! Namespaces that clients bring to life by entering them.

use crate::harness::{Client, Host, Log, heard, until};
use sockeye::{Config, Event, Handshake, Namespace, Refusal, Server, Socket};
use std::time::Duration;

#[tokio::test]
async fn a_name_like_the_pattern_is_a_namespace() {
    let mut server = Server::new(Config::default());
    let parent = server
        .dynamic_namespace("/room-*")
        .guard(async |socket: Socket| match socket.namespace().name() {
            "/room-0" => Err(Refusal::new("full")),
            _ => Ok(()),
        })
        .on("say", async |event: Event| event.namespace().emit("said", event.args()))
        .handle();
    server.namespace("/room-settled").on("say", async |event: Event| event.ack("of its own"));
    let host = Host::of(server).await;
    let mut one = Client::enter_with(&host, "40/room-1,").await;
    let mut two = Client::enter_with(&host, "40/room-2,").await;
    let mut also_one = Client::enter_with(&host, "40/room-1,").await;
    one.say(r#"42/room-1,["say",1]"#).await;
    one.hears(&[r#"42/room-1,["said",1]"#]).await;
    also_one.hears(&[r#"42/room-1,["said",1]"#]).await;
    // What the parent says is said in each child.
    assert_eq!(parent.local_len(), 3);
    parent.emit("all", 2).unwrap();
    for (client, name) in [(&mut one, "1"), (&mut two, "2"), (&mut also_one, "1")] {
        client.hears(&[&format!(r#"42/room-{name},["all",2]"#)]).await;
    }
    for (name, answer) in [
        ("/room-0", r#"44/room-0,{"message":"full"}"#),
        ("/none", r#"44/none,{"message":"Invalid namespace"}"#),
        ("/_0", r#"44/_0,{"message":"Invalid namespace"}"#),
    ] {
        two.say(&format!("40{name},")).await;
        two.hears(&[answer]).await;
    }
    two.join("40/room-settled,").await;
    two.say(r#"42/room-settled,1["say"]"#).await;
    two.hears(&[r#"43/room-settled,1["of its own"]"#]).await;
    parent.everybody().disconnect_sockets(false);
    one.hears(&["41/room-1,"]).await;
}

#[tokio::test]
async fn functions_and_patterns_are_asked_in_their_order() {
    let mut server = Server::new(Config::default());
    let (log, mut asked) = Log::new();
    let second = log.clone();
    server
        .dynamic_namespace_if(move |name: String, handshake: Handshake| {
            log.add(format!("1 {name}"));
            async move {
                tokio::task::yield_now().await;
                handshake.auth::<serde_json::Value>().is_ok_and(|auth| auth["token"] == "x")
            }
        })
        .on("who", async |event: Event| event.ack("first"));
    server.dynamic_namespace("/a*").on("who", async |event: Event| event.ack("second"));
    server
        .dynamic_namespace_if(move |name: String, _| {
            second.add(format!("3 {name}"));
            assert!(name != "/panic", "on purpose");
            async move { name == "/c" }
        })
        .on("who", async |event: Event| event.ack("third"));
    let host = Host::of(server).await;
    let mut client = Client::enter(&host).await;
    for (connect, name, who) in [
        (r#"40/a1,{"token":"x"}"#, "/a1", "first"),
        (r#"40/a2,{"token":"y"}"#, "/a2", "second"),
        ("40/c,", "/c", "third"),
    ] {
        client.join(connect).await;
        client.say(&format!(r#"42{name},1["who"]"#)).await;
        client.hears(&[&format!(r#"43{name},1["{who}"]"#)]).await;
    }
    for name in ["/d", "/panic"] {
        client.say(&format!("40{name},")).await;
        client.hears(&[&format!(r#"44{name},{{"message":"Invalid namespace"}}"#)]).await;
    }
    let order = ["1 /a1", "1 /a2", "1 /c", "3 /c", "1 /d", "3 /d", "1 /panic", "3 /panic"];
    for entry in order {
        assert_eq!(heard(&mut asked).await, entry);
    }
    // One that lives is entered without a question.
    client.say("41/a1,").await;
    client.join("40/a1,").await;
    client.say("40/e,").await;
    client.hears(&[r#"44/e,{"message":"Invalid namespace"}"#]).await;
    assert_eq!(heard(&mut asked).await, "1 /e");
}

#[tokio::test]
async fn whoever_goes_while_a_function_is_asked_is_not_let_in() {
    let mut server = Server::new(Config { connect_timeout: Duration::from_secs(60), ..Config::default() });
    let (log, mut asked) = Log::new();
    let (entered, mut enters) = Log::new();
    server
        .dynamic_namespace_if(move |name: String, _| {
            log.add(name);
            async { std::future::pending::<bool>().await }
        })
        .on_connect(move |_: Socket| {
            entered.add(());
            async {}
        });
    let stats = server.handle();
    let host = Host::of(server).await;
    let mut client = Client::enter(&host).await;
    client.say("40/slow,").await;
    assert_eq!(heard(&mut asked).await, "/slow");
    client.say("41/slow,").await;
    client.say("40/slow,").await;
    assert_eq!(heard(&mut asked).await, "/slow");
    drop(client);
    until(|| stats.stats().sessions == 0).await;
    assert!(enters.try_recv().is_err());
}

#[tokio::test]
async fn an_empty_child_ends_where_that_is_wanted() {
    for cleanup in [true, false] {
        let config =
            Config { cleanup_empty_child_namespaces: cleanup, child_namespaces_max: 2, ..Config::default() };
        let mut server = Server::new(config);
        let (log, mut begun) = Log::new();
        server.on_new_namespace(move |namespace: &Namespace| log.add(namespace.name().to_owned()));
        server.namespace("/settled");
        server.dynamic_namespace("/x*").guard(async |socket: Socket| {
            if socket.namespace().name() == "/x-refused" { Err(Refusal::new("no")) } else { Ok(()) }
        });
        let host = Host::of(server).await;
        assert_eq!(heard(&mut begun).await, "/settled");
        let mut one = Client::enter_with(&host, "40/x1,").await;
        let mut two = Client::enter_with(&host, "40/x1,").await;
        assert_eq!(heard(&mut begun).await, "/x1");
        one.say("40/x-refused,").await;
        one.hears(&[r#"44/x-refused,{"message":"no"}"#]).await;
        assert_eq!(heard(&mut begun).await, "/x-refused");
        let names =
            || -> Vec<String> { host.handle.stats().sockets.into_iter().map(|(name, _)| name).collect() };
        let expected: &[&str] =
            if cleanup { &["/", "/settled", "/x1"] } else { &["/", "/settled", "/x-refused", "/x1"] };
        assert_eq!(names(), expected);
        one.say("40/x2,").await;
        if cleanup {
            assert!(one.text().await.starts_with("40/x2,{"));
            assert_eq!(heard(&mut begun).await, "/x2");
        } else {
            one.hears(&[r#"44/x2,{"message":"Invalid namespace"}"#]).await;
        }
        for client in [&mut one, &mut two] {
            client.say("41/x1,").await;
        }
        one.ws.close(None).await;
        two.ws.close(None).await;
        let left: &[&str] = if cleanup { &["/", "/settled"] } else { expected };
        until(|| names() == left).await;
    }
}
