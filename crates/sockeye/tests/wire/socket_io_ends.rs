//! How sockets end: the official words on the server, and what the client sees.

use crate::engine_io_v4::assert_unknown;
use crate::harness::{Client, Frame, Host, Log, Ws, answer, heard, quick, within};
use sockeye::{Config, Event, Handle, Server, Socket};
use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::Receiver;

/// What a client does to end its socket.
type End = fn(&mut Ws) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>>;

#[tokio::test]
async fn the_reason_of_a_disconnect_is_the_official_word() {
    let rows: [(&str, End, &str); 14] = [
        ("close packet", |ws| Box::pin(ws.send("1")), "transport close"),
        ("close frame", |ws| Box::pin(ws.close(Some(1001))), "transport close"),
        ("end of stream", |ws| Box::pin(async { ws.stream().shutdown().await.unwrap() }), "transport close"),
        ("reset", |ws| Box::pin(async { ws.stream().set_zero_linger().unwrap() }), "transport error"),
        (
            "broken frame",
            |ws| Box::pin(async { ws.stream().write_all(b"\xff\xff").await.unwrap() }),
            "transport error",
        ),
        ("ping of the client", |ws| Box::pin(ws.send("2")), "transport error"),
        ("silence", |_| Box::pin(async {}), "ping timeout"),
        ("no engine packet", |ws| Box::pin(ws.send("abc")), "parse error"),
        ("no packet", |ws| Box::pin(ws.send("4abc")), "forced close"),
        ("a binary too many", |ws| Box::pin(ws.send_binary(b"x")), "forced close"),
        ("second CONNECT", |ws| Box::pin(ws.send("40")), "forced close"),
        ("event for another namespace", |ws| Box::pin(ws.send(r#"42/custom,["x"]"#)), "forced close"),
        ("DISCONNECT", |ws| Box::pin(ws.send("41")), "client namespace disconnect"),
        ("asked to be disconnected", |ws| Box::pin(ws.send(r#"42["out"]"#)), "server namespace disconnect"),
    ];
    let (host, mut reasons) = host(quick()).await;
    for (what, end, reason) in rows {
        let mut client = Client::enter(&host).await;
        end(&mut client.ws).await;
        // A client that lingers for no time resets its connection when it goes.
        let _client = (what != "reset").then_some(client);
        assert_eq!(heard(&mut reasons).await, format!("/ {reason}"), "{what}");
    }
}

#[tokio::test]
async fn polling_ends_by_the_same_words() {
    let (host, mut reasons) = host(Config::default()).await;
    for (body, poll_waits, reason, told, then) in [
        ("1", true, "transport close", "6", "unknown"),
        ("1", false, "transport close", "", "unknown"),
        ("abc", true, "parse error", "1", "unknown"),
        ("2", true, "transport error", "1", "unknown"),
        ("4abc", true, "forced close", "1", "unknown"),
        ("4abc", false, "forced close", "", "1"),
        ("40", true, "forced close", "1", "unknown"),
        ("40", false, "forced server close", "", "1"),
        ("41", true, "client namespace disconnect", "", ""),
        (r#"42["out"]"#, true, "server namespace disconnect", r#"42["last words"]"#, "41"),
        (r#"42["out"]"#, false, "server namespace disconnect", "", LAST_WORDS),
        (r#"42["close"]"#, false, "server namespace disconnect", "", LAST_WORDS),
    ] {
        let sid = host.open_polling().await;
        host.push(&sid, "40").await;
        host.poll(&sid).await;
        let poll = if poll_waits { Some(host.begin_poll(&sid).await) } else { None };
        assert_eq!(host.push(&sid, body).await.body, "ok");
        if reason != "forced close" || poll_waits {
            assert_eq!(heard(&mut reasons).await, format!("/ {reason}"), "{body} {poll_waits}");
        }
        if let Some(poll) = poll.filter(|_| !told.is_empty()) {
            assert_eq!(answer(poll).await.body, told, "{body}");
        }
        match then {
            "" => {}
            "unknown" => assert_unknown(&host.poll(&sid).await),
            then => assert_eq!(host.poll(&sid).await.body, then, "{body}"),
        }
        if reason == "forced close" && !poll_waits {
            assert_eq!(heard(&mut reasons).await, "/ forced close");
        }
    }
}

#[tokio::test]
async fn a_poll_that_is_given_up_is_a_transport_error() {
    let (host, mut reasons) = host(Config::default()).await;
    let sid = host.open_polling().await;
    host.push(&sid, "40").await;
    host.poll(&sid).await;
    drop(host.begin_poll(&sid).await);
    assert_eq!(heard(&mut reasons).await, "/ transport error");
}

#[tokio::test]
async fn a_server_that_disconnects_says_what_it_said_before_first() {
    let (host, mut reasons) = host(Config::default()).await;
    let mut client = Client::enter(&host).await;
    client.say(r#"42["out"]"#).await;
    client.hears(&[r#"42["last words"]"#, "41"]).await;
    assert_eq!(heard(&mut reasons).await, "/ server namespace disconnect");
    // The connection lives: the client may come back.
    client.join("40").await;
}

#[tokio::test]
async fn a_server_that_closes_the_connection_takes_the_client_out_of_every_namespace() {
    let (host, mut reasons) = host(Config::default()).await;
    let mut client = Client::enter(&host).await;
    client.join("40/custom").await;
    client.say(r#"42["close"]"#).await;
    client.hears(&[r#"42["last words"]"#, "41", "41/custom,"]).await;
    assert_eq!(client.next().await, Frame::Close(None));
    for nsp in ["/", "/custom"] {
        assert_eq!(heard(&mut reasons).await, format!("{nsp} server namespace disconnect"));
    }
}

#[tokio::test]
async fn the_end_of_a_connection_ends_its_sockets_in_every_namespace() {
    let (host, mut reasons) = host(Config::default()).await;
    let mut client = Client::enter(&host).await;
    client.join("40/custom").await;
    client.say("41").await;
    assert_eq!(heard(&mut reasons).await, "/ client namespace disconnect");
    client.join("40").await;
    drop(client);
    let mut ends = [heard(&mut reasons).await, heard(&mut reasons).await];
    ends.sort();
    assert_eq!(ends, ["/ transport close", "/custom transport close"]);
}

#[tokio::test]
async fn what_a_client_sent_before_it_left_is_still_handled() {
    let (log, mut entries) = Log::new();
    let host = Host::with(Config::default(), |main| {
        let ends = log.clone();
        main.on("slow", move |event: Event| {
            let log = log.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                log.add(event.args().json().to_vec());
            }
        });
        main.on_disconnect(move |socket: Socket, _| {
            assert!(!socket.is_connected() && socket.rooms().is_empty());
            ends.add(b"end".to_vec());
            async {}
        });
    })
    .await;
    let mut client = Client::enter(&host).await;
    for number in 0..3 {
        client.say(&format!(r#"42["slow",{number}]"#)).await;
    }
    client.ws.send("1").await;
    drop(client);
    for expected in ["0", "1", "2", "end"] {
        assert_eq!(heard(&mut entries).await, expected.as_bytes());
    }
}

#[tokio::test]
async fn a_server_that_shuts_down_says_so_to_its_sockets_and_no_more_to_clients() {
    let (host, mut reasons) = host(Config::default()).await;
    let mut client = Client::enter(&host).await;
    let sid = host.open_polling().await;
    host.push(&sid, "40").await;
    host.poll(&sid).await;
    let poll = host.begin_poll(&sid).await;
    host.handle.close();
    assert!(matches!(client.next().await, Frame::Close(_)), "no DISCONNECT comes first");
    assert_eq!(client.next().await, Frame::End);
    drop(client);
    assert_eq!(answer(poll).await.body, "1");
    for _ in 0..2 {
        assert_eq!(heard(&mut reasons).await, "/ server shutting down");
    }
    within(host.serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_handler_may_close_the_server() {
    static HANDLE: OnceLock<Handle> = OnceLock::new();
    let mut server = Server::new(Config::default());
    server.namespace("/").on("close", async |_: Event| HANDLE.get().unwrap().close());
    HANDLE.set(server.handle()).unwrap();
    let host = Host::of(server).await;
    let mut client = Client::enter(&host).await;
    client.say(r#"42["close"]"#).await;
    client.ws.ended().await;
    drop(client);
    within(host.serving).await.unwrap().unwrap();
}

/// What a poll brings that comes after all is said.
const LAST_WORDS: &str = "42[\"last words\"]\x1e41";

/// A server that lists namespace and reason of every end; `out` and `close` ask to be disconnected.
async fn host(config: Config) -> (Host, Receiver<String>) {
    let (log, reasons) = Log::new();
    let mut server = Server::new(config);
    for name in ["/", "/custom"] {
        let log = log.clone();
        server
            .namespace(name)
            .on("out", async |event: Event| {
                event.socket().emit("last words", ())?;
                event.socket().disconnect();
                anyhow::Ok(())
            })
            .on("close", async |event: Event| {
                event.socket().emit("last words", ())?;
                event.socket().disconnect_and_close();
                anyhow::Ok(())
            })
            .on_disconnect(move |socket: Socket, reason| {
                log.add(format!("{} {reason}", socket.namespace().name()));
                async {}
            });
    }
    (Host::of(server).await, reasons)
}
