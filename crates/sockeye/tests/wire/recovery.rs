//! Clients whose connection breaks, and who come back.

use crate::harness::{Client, Frame, Host, Log, heard, until};
use serde_json::{Value, json};
use sockeye::{Config, DisconnectReason, Event, Recovery, RecoveryStats, Refusal, Socket};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

#[tokio::test]
async fn what_was_missed_comes_once_and_in_order() {
    let (host, mut log) = host(Recovery::default()).await;
    let mut client = Client::enter(&host).await;
    let socket = entered(&mut log, false).await;
    let (id, pid) = (client.id.clone(), client.pid.clone());
    socket.join(["room"]);
    socket.set_data("mine").unwrap();
    let main = socket.namespace();
    main.to("room").emit("n", 1).unwrap();
    let offset = numbered(&client.text().await, r#"42["n",1,"#);

    drop(client);
    assert_eq!(left(&mut log).await, DisconnectReason::TransportClose);
    main.to("room").emit("n", 2).unwrap();
    main.to("other").emit("n", "not mine").unwrap();
    socket.emit("n", 3).unwrap();
    main.volatile().emit("n", "gone").unwrap();
    main.emit("n", ()).unwrap();

    let (mut client, texts) = back(&host, &pid, Some(&offset)).await;
    assert_eq!(texts.len(), 4, "{texts:?}");
    numbered(&texts[0], r#"42["n",2,"#);
    numbered(&texts[1], r#"42["n",3,"#);
    let last = numbered(&texts[2], r#"42["n","#);
    assert_eq!(texts[3], format!(r#"40{{"sid":"{id}","pid":"{pid}"}}"#));
    let socket = entered(&mut log, true).await;
    assert_eq!(socket.id().as_str(), id);
    assert_eq!(socket.data::<String>().unwrap().as_deref(), Some("mine"));
    main.to("room").emit("n", 4).unwrap();
    socket.emit_volatile("tick", ()).unwrap();
    let four = numbered(&client.text().await, r#"42["n",4,"#);
    assert_eq!(client.text().await, format!(r#"42["tick","{four}"]"#));
    assert!(last < four);

    // And again, from a later offset.
    drop(client);
    left(&mut log).await;
    main.emit("n", 5).unwrap();
    let (_client, texts) = back(&host, &pid, Some(&four)).await;
    assert_eq!(texts.len(), 2);
    numbered(&texts[0], r#"42["n",5,"#);
}

#[tokio::test]
async fn a_client_that_has_met_no_event_goes_on_too() {
    let (host, mut log) = host(Recovery::default()).await;
    let client = Client::enter(&host).await;
    let socket = entered(&mut log, false).await;
    let pid = client.pid.clone();
    drop(client);
    left(&mut log).await;
    socket.emit("n", 1).unwrap();
    let (_client, texts) = back(&host, &pid, None).await;
    numbered(&texts[0], r#"42["n",1,"#);
    entered(&mut log, true).await;
}

#[tokio::test]
async fn who_cannot_go_on_begins_anew() {
    let (host, mut log) = host(Recovery::default()).await;
    let mut client = Client::enter(&host).await;
    let socket = entered(&mut log, false).await;
    let pid = client.pid.clone();
    // While it is here.
    let (_other, texts) = back(&host, &pid, None).await;
    assert_ne!(sid(&texts[0]), client.id);
    entered(&mut log, false).await;
    // A pid that nobody has.
    let (_other, texts) = back(&host, "nobody", None).await;
    assert_ne!(sid(&texts[0]), client.id);
    entered(&mut log, false).await;
    // After it was put out.
    socket.disconnect();
    assert_eq!(client.text().await, "41");
    assert_eq!(left(&mut log).await, DisconnectReason::ServerNamespaceDisconnect);
    let (_other, texts) = back(&host, &pid, None).await;
    assert_eq!(texts.len(), 1);
    assert_ne!(sid(&texts[0]), client.id);
    entered(&mut log, false).await;
}

#[tokio::test]
async fn a_client_that_is_away_too_long_begins_anew() {
    let recovery = Recovery { max_disconnection_duration: Duration::ZERO, ..Recovery::default() };
    let (host, mut log) = host(recovery).await;
    let client = Client::enter(&host).await;
    entered(&mut log, false).await;
    let pid = client.pid.clone();
    drop(client);
    left(&mut log).await;
    back(&host, &pid, None).await;
    entered(&mut log, false).await;
}

#[tokio::test]
async fn guards_are_asked_again_only_where_that_is_wanted() {
    for (skip_middlewares, expected) in [(true, "40{"), (false, "44{")] {
        let (host, mut log) = host(Recovery { skip_middlewares, ..Recovery::default() }).await;
        let client = Client::enter(&host).await;
        entered(&mut log, false).await;
        let pid = client.pid.clone();
        drop(client);
        left(&mut log).await;
        let auth = json!({"pid": pid, "deny": true});
        let (mut ws, _) = Box::pin(crate::harness::Ws::session(&host)).await;
        ws.send(&format!("40{auth}")).await;
        let answer = ws.text().await;
        assert!(answer.starts_with(expected), "{answer}");
        // Who was refused has lost its session.
        if !skip_middlewares {
            back(&host, &pid, None).await;
            entered(&mut log, false).await;
        }
    }
}

#[tokio::test]
async fn without_recovery_nothing_is_added() {
    let host = Host::with(Config::default(), |main| {
        main.on("echo", |event: Event| async move { event.socket().emit("echo", event.args()) });
    })
    .await;
    let (mut client, texts) = back(&host, "x", None).await;
    assert!(!texts[0].contains("pid"));
    client.say(r#"42["echo","a"]"#).await;
    assert_eq!(client.next().await, Frame::Text(r#"42["echo","a"]"#.to_owned()));
}

#[tokio::test]
async fn what_a_guard_says_is_no_offset() {
    let recovery = Recovery { skip_middlewares: false, ..Recovery::default() };
    let (host, mut log) = host(recovery).await;
    let connect = |auth: Value| format!("40{auth}");
    let (mut ws, _) = Box::pin(crate::harness::Ws::session(&host)).await;
    ws.send(&connect(json!({"greet": true}))).await;
    // It ends in no string, and nothing else is added.
    assert_eq!(ws.text().await, r#"42["hello","you",null]"#);
    assert_eq!(ws.text().await, r#"42["number",1]"#);
    let answer: Value = serde_json::from_str(ws.text().await.strip_prefix("40").unwrap()).unwrap();
    let pid = answer["pid"].as_str().unwrap();
    let socket = entered(&mut log, false).await;
    socket.emit("n", 1).unwrap();
    let offset = numbered(&ws.text().await, r#"42["n",1,"#);
    drop(ws);
    left(&mut log).await;
    socket.emit("n", 2).unwrap();
    let (mut ws, _) = Box::pin(crate::harness::Ws::session(&host)).await;
    ws.send(&connect(json!({"pid": pid, "offset": offset, "greet": true}))).await;
    assert_eq!(ws.text().await, r#"42["hello","you",null]"#);
    assert_eq!(ws.text().await, r#"42["number",1]"#);
    numbered(&ws.text().await, r#"42["n",2,"#);
    entered(&mut log, true).await;
}

#[tokio::test]
async fn a_credential_ends_though_its_guard_is_skipped() {
    let (host, mut log) = host(Recovery::default()).await;
    let mut pids = Vec::new();
    for left_to_live in [1000, 150] {
        let client = Client::enter(&host).await;
        entered(&mut log, false).await.expire_in(Duration::from_millis(left_to_live));
        // Said to the same connection, and later.
        host.settle().await;
        pids.push(client.pid.clone());
        drop(client);
        left(&mut log).await;
    }
    let (mut client, _) = back(&host, &pids[0], None).await;
    entered(&mut log, true).await;
    assert_eq!(client.text().await, "41");
    assert_eq!(left(&mut log).await, DisconnectReason::ServerNamespaceDisconnect);
    back(&host, &pids[1], None).await;
    entered(&mut log, false).await;
}

#[tokio::test]
async fn each_limit_is_counted_by_what_became_of_the_client() {
    let with = |change: fn(&mut Recovery)| {
        let mut recovery = Recovery::default();
        change(&mut recovery);
        recovery
    };
    for (recovery, recovers, count) in [
        (with(|_| {}), true, (|stats| stats.restored) as fn(RecoveryStats) -> u64),
        (with(|recovery| recovery.packets_max = 2), false, |stats| stats.incomplete.min(stats.cut)),
        (with(|recovery| recovery.packet_bytes_max = 300), false, |stats| stats.incomplete.min(stats.cut)),
        (with(|recovery| recovery.sessions_max = 0), false, |stats| stats.evicted.min(stats.unknown)),
        (with(|recovery| recovery.data_bytes_max = 5), false, |stats| stats.evicted.min(stats.unknown)),
        (with(|recovery| recovery.missed_bytes_max = 20), false, |stats| stats.incomplete),
    ] {
        let (host, mut log) = host(recovery).await;
        let client = Client::enter(&host).await;
        let socket = entered(&mut log, false).await;
        socket.set_data("longer").unwrap();
        let pid = client.pid.clone();
        drop(client);
        left(&mut log).await;
        for number in 0..3 {
            socket.namespace().emit("n", number).unwrap();
        }
        let (_client, texts) = back(&host, &pid, None).await;
        entered(&mut log, recovers).await;
        assert_eq!(texts.len(), if recovers { 4 } else { 1 }, "{recovery:?}");
        let stats = host.handle.stats().recovery.unwrap();
        assert_eq!(count(stats), 1, "{recovery:?} {stats:?}");
    }
}

#[tokio::test]
async fn what_is_too_old_is_forgotten_though_nobody_comes() {
    let short = Duration::from_millis(50);
    let recovery = Recovery { max_disconnection_duration: short, ..Recovery::default() };
    let config = Config {
        connection_state_recovery: Some(recovery),
        ping_interval: short,
        ping_timeout: short,
        ..Config::default()
    };
    let (sockets, mut entered) = Log::new();
    let host = Host::with(config, |main| {
        main.on_connect(move |socket: Socket| {
            sockets.add(socket);
            std::future::ready(())
        });
    })
    .await;
    let client = Client::enter(&host).await;
    let main = heard(&mut entered).await.namespace();
    drop(client);
    until(|| host.handle.stats().recovery.unwrap().away == 1).await;
    main.emit("n", "x").unwrap();
    let stats = host.handle.stats().recovery.unwrap();
    assert!(stats.packets == 1 && stats.packet_bytes > 0, "{stats:?}");
    let text = host.handle.metrics_text();
    assert!(text.contains("\nsockeye_recovery_sessions_away 1\n"), "{text}");
    until(|| {
        let stats = host.handle.stats().recovery.unwrap();
        (stats.away, stats.packets, stats.packet_bytes, stats.expired) == (0, 0, 0, 1)
    })
    .await;
}

enum Entry {
    Entered(Socket),
    Left(DisconnectReason),
}

async fn host(recovery: Recovery) -> (Host, Receiver<Entry>) {
    let (log, entries) = Log::new();
    let config = Config { connection_state_recovery: Some(recovery), ..Config::default() };
    let host = Host::with(config, |main| {
        let leaving = log.clone();
        main.guard(|socket: Socket| async move {
            let auth: Value = socket.handshake().auth()?;
            if auth.get("greet").is_some() {
                socket.emit("hello", "you").map_err(|error| error.to_string())?;
                socket.emit("number", 1).map_err(|error| error.to_string())?;
            }
            if auth.get("deny").is_some() { Err(Refusal::new("no")) } else { Ok(()) }
        })
        .on_connect(move |socket: Socket| {
            log.add(Entry::Entered(socket));
            std::future::ready(())
        })
        .on_disconnect(move |_: Socket, reason| {
            leaving.add(Entry::Left(reason));
            std::future::ready(())
        });
    })
    .await;
    (host, entries)
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Entered(socket) => socket.fmt(f),
            Self::Left(reason) => reason.fmt(f),
        }
    }
}

async fn entered(log: &mut Receiver<Entry>, recovered: bool) -> Socket {
    match heard(log).await {
        Entry::Entered(socket) => {
            assert_eq!(socket.recovered(), recovered);
            socket
        }
        Entry::Left(reason) => panic!("left: {reason}"),
    }
}

async fn left(log: &mut Receiver<Entry>) -> DisconnectReason {
    match heard(log).await {
        Entry::Left(reason) => reason,
        Entry::Entered(socket) => panic!("entered: {socket:?}"),
    }
}

/// Comes back and returns what is heard up to the answer to CONNECT.
async fn back(host: &Host, pid: &str, offset: Option<&str>) -> (Client, Vec<String>) {
    let auth = match offset {
        Some(offset) => json!({"pid": pid, "offset": offset}),
        None => json!({"pid": pid}),
    };
    let (mut ws, _) = Box::pin(crate::harness::Ws::session(host)).await;
    ws.send(&format!("40{auth}")).await;
    let mut texts = Vec::new();
    while !texts.last().is_some_and(|text: &String| text.starts_with("40")) {
        texts.push(ws.text().await);
    }
    (Client::on(ws), texts)
}

fn sid(connect: &str) -> String {
    let answer: Value = serde_json::from_str(connect.strip_prefix("40").unwrap()).unwrap();
    answer["sid"].as_str().unwrap().to_owned()
}

/// The offset that ends an event.
fn numbered(text: &str, start: &str) -> String {
    let rest = text.strip_prefix(start).unwrap_or_else(|| panic!("expected {start}…, got {text}"));
    rest.strip_prefix('"').and_then(|rest| rest.strip_suffix("\"]")).unwrap().to_owned()
}
