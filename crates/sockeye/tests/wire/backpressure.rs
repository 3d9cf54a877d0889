//! Fast clients with slow handlers, and slow clients with fast servers.

use crate::harness::{Client, Frame, Host, Log, Ws, answer, heard, until, within};
use serde_json::Value;
use sockeye::{Config, Event, Namespace, Server, Socket};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Receiver;

#[tokio::test]
async fn events_are_handled_one_at_a_time_and_in_order() {
    let (log, mut entries) = Log::new();
    let host = Host::with(Config::default(), |main| {
        main.on("work", move |event: Event| {
            let log = log.clone();
            async move {
                let number: u64 = event.data().unwrap();
                log.add(format!("begin {number}"));
                // The first takes longest.
                tokio::time::sleep(Duration::from_millis(10 - 3 * number)).await;
                log.add(format!("end {number}"));
            }
        });
    })
    .await;
    let mut client = Client::enter(&host).await;
    for number in 0..3 {
        client.say(&format!(r#"42["work",{number}]"#)).await;
    }
    for number in 0..3 {
        assert_eq!(heard(&mut entries).await, format!("begin {number}"));
        assert_eq!(heard(&mut entries).await, format!("end {number}"));
    }
}

#[tokio::test]
async fn sockets_do_not_wait_for_each_other() {
    let gate = Gate::new();
    let (host, mut entries) = gate.host(Config::default()).await;
    let mut stuck = Client::enter(&host).await;
    stuck.say(r#"42["work",0]"#).await;
    // Nor does the same client in another namespace.
    stuck.join("40/other").await;
    stuck.say(r#"42/other,1["mark"]"#).await;
    stuck.hears(&["43/other,1[]"]).await;
    let mut other = Client::enter(&host).await;
    other.hears_nothing().await;
    gate.open(1);
    assert_eq!(heard(&mut entries).await, 0);
}

#[tokio::test]
async fn a_client_that_is_too_fast_is_read_no_further_and_loses_nothing() {
    const EVENTS: usize = 750;
    let config = Config {
        events_waiting_max: NonZeroUsize::new(8).unwrap(),
        ping_interval: Duration::from_millis(100),
        ping_timeout: Duration::from_millis(400),
        ..Config::default()
    };
    let gate = Gate::new();
    let (host, mut entries) = gate.host(config).await;
    let mut client = Client::enter(&host).await;
    // Many kilobytes each, so that what is not read fills the kernel's buffers.
    let filling = "x".repeat(16_000);
    let flood = async {
        for number in 0..EVENTS {
            client.say(&format!(r#"42["work",{number},"{filling}"]"#)).await;
            client.answer_pings().await;
        }
        client
    };
    tokio::pin!(flood);
    tokio::select! {
        _ = &mut flood => panic!("the server reads on although nothing is handled"),
        // Longer than a ping and its answer may take.
        () = tokio::time::sleep(Duration::from_millis(700)) => {}
    }
    assert_eq!(entries.try_recv().ok(), None);
    gate.open(EVENTS);
    let handled = async {
        for number in 0..EVENTS {
            assert_eq!(heard(&mut entries).await, number);
        }
    };
    let (mut client, ()) = tokio::join!(flood, handled);
    client.hears_nothing().await;
}

#[tokio::test]
async fn a_client_that_polls_waits_for_its_answer_and_loses_nothing() {
    const EVENTS: usize = 2_000;
    let config = Config { events_waiting_max: NonZeroUsize::new(8).unwrap(), ..Config::default() };
    let gate = Gate::new();
    let (host, mut entries) = gate.host(config).await;
    let sid = host.open_polling().await;
    host.push(&sid, "40").await;
    host.poll(&sid).await;
    // Stock clients send all that waits in one POST.
    let events: Vec<_> = (0..EVENTS).map(|number| format!(r#"42["work",{number}]"#)).collect();
    let post = host.begin("POST", &host.poll_target(&sid), "", events.join("\x1e")).await;
    host.settle().await;
    let mut peeked = [0];
    let early = tokio::time::timeout(Duration::from_millis(30), post.peek(&mut peeked)).await;
    assert!(early.is_err(), "the answer waits for the handlers");
    gate.open(EVENTS);
    assert_eq!(answer(post).await.body, "ok");
    for number in 0..EVENTS {
        assert_eq!(heard(&mut entries).await, number);
    }
    host.push(&sid, r#"421["mark"]"#).await;
    assert_eq!(host.poll(&sid).await.body, "431[]");
}

#[tokio::test]
async fn a_client_that_gives_up_a_post_in_the_middle_ends_its_session() {
    let config = Config { events_waiting_max: NonZeroUsize::new(2).unwrap(), ..Config::default() };
    let (host, mut entries) = Gate::new().host(config).await;
    let sid = host.open_polling().await;
    host.push(&sid, "40").await;
    host.poll(&sid).await;
    let events: Vec<_> = (0..9).map(|number| format!(r#"42["work",{number}]"#)).collect();
    let post = host.begin("POST", &host.poll_target(&sid), "", events.join("\x1e")).await;
    host.settle().await;
    let poll = host.begin_poll(&sid).await;
    drop(post);
    assert_eq!(answer(poll).await.body, "1");
    assert_eq!(entries.try_recv().ok(), None);
}

#[tokio::test]
async fn a_pong_behind_a_flood_is_heard_in_the_same_post() {
    let config = Config {
        events_waiting_max: NonZeroUsize::new(2).unwrap(),
        ping_interval: Duration::from_millis(50),
        ping_timeout: Duration::from_millis(300),
        ..Config::default()
    };
    let gate = Gate::new();
    let (host, mut entries) = gate.host(config).await;
    let sid = host.open_polling().await;
    host.push(&sid, "40").await;
    host.poll(&sid).await;
    assert_eq!(host.poll(&sid).await.body, "2");
    let events: Vec<_> = (0..20).map(|number| format!(r#"42["work",{number}]"#)).collect();
    let post = host.begin("POST", &host.poll_target(&sid), "", events.join("\x1e") + "\x1e3").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    gate.open(20);
    assert_eq!(answer(post).await.body, "ok");
    for number in 0..20 {
        assert_eq!(heard(&mut entries).await, number);
    }
    assert_eq!(host.poll(&sid).await.body, "2");
}

#[tokio::test]
async fn a_handler_that_awaits_its_own_client_is_not_held_up_by_its_flood() {
    for polling in [false, true] {
        let (log, mut answers) = Log::new();
        let config = Config { events_waiting_max: NonZeroUsize::new(10).unwrap(), ..Config::default() };
        let host = Host::with(config, |main| {
            main.on("ask", move |event: Event| {
                let log = log.clone();
                async move { log.add(event.socket().emit_with_ack::<Value>("q", ()).await.unwrap()) }
            });
            main.on("noise", async |_: Event| {});
        })
        .await;
        // Thirty events stand before the answer, more than may wait.
        let noise = [r#"42["noise"]"#; 30].join("\x1e");
        if polling {
            let sid = host.open_polling().await;
            host.push(&sid, "40").await;
            host.poll(&sid).await;
            let answered = host.push(&sid, format!("42[\"ask\"]\x1e{noise}\x1e430[7]")).await;
            assert_eq!(answered.body, "ok");
        } else {
            let mut client = Client::enter(&host).await;
            client.say(r#"42["ask"]"#).await;
            for event in noise.split('\x1e') {
                client.say(event).await;
            }
            client.hears(&[r#"420["q"]"#]).await;
            client.say("430[7]").await;
            assert_eq!(heard(&mut answers).await, 7);
            continue;
        }
        assert_eq!(heard(&mut answers).await, 7);
    }
}

#[tokio::test]
async fn a_handler_waits_for_its_own_flooding_client_through_many_pings() {
    const PINGS: usize = 20;
    const EVENTS_A_PING: usize = 10;
    let (log, mut answers) = Log::new();
    let noise = Arc::new(AtomicUsize::new(0));
    let config = Config { ping_interval: Duration::from_millis(50), ..Config::default() };
    let counted = Arc::clone(&noise);
    let host = Host::with(config, |main| {
        main.on("ask", move |event: Event| {
            let log = log.clone();
            async move { log.add(event.socket().emit_with_ack::<Value>("q", ()).await.unwrap()) }
        });
        main.on("noise", move |_: Event| {
            counted.fetch_add(1, Ordering::SeqCst);
            async {}
        });
        main.on("mark", async |event: Event| event.ack(()));
    })
    .await;
    let mut client = Client::enter(&host).await;
    client.say(r#"42["ask"]"#).await;
    client.hears(&[r#"420["q"]"#]).await;
    // The next ping comes only when the pong to the last was read, behind the flood.
    for _ in 0..PINGS {
        for _ in 0..EVENTS_A_PING {
            client.say(r#"42["noise"]"#).await;
        }
        assert_eq!(client.ws.text().await, "2");
        client.say("3").await;
    }
    assert_eq!(noise.load(Ordering::SeqCst), 0, "events wait behind the one that waits");
    client.say("430[7]").await;
    assert_eq!(heard(&mut answers).await, 7);
    client.hears_nothing().await;
    assert_eq!(noise.load(Ordering::SeqCst), PINGS * EVENTS_A_PING);
}

#[tokio::test]
async fn a_flood_while_an_ack_is_awaited_has_an_end() {
    let (log, mut reasons) = Log::new();
    let config = Config { events_waiting_max: NonZeroUsize::new(10).unwrap(), ..Config::default() };
    let host = Host::with(config, |main| {
        main.on("ask", async |event: Event| drop(event.socket().emit_with_ack::<Value>("q", ()).await));
        main.on("noise", async |_: Event| {});
        main.on_disconnect(move |_, reason| {
            log.add(reason.to_string());
            async {}
        });
    })
    .await;
    let mut client = Client::enter(&host).await;
    client.say(r#"42["ask"]"#).await;
    client.hears(&[r#"420["q"]"#]).await;
    for _ in 0..41 {
        client.say(r#"42["noise"]"#).await;
    }
    assert!(matches!(client.next().await, Frame::Close(_)));
    assert!(heard(&mut reasons).await.starts_with("forced"));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_alone() {
    const LIMIT: u32 = 300_000;
    let (log, mut reasons) = Log::new();
    let (sockets, mut entered) = Log::new();
    let config = Config { mailbox_bytes_max: LIMIT, ..Config::default() };
    let host = Host::with(config, |main| {
        main.on_connect(move |socket: Socket| {
            sockets.add(socket);
            async {}
        });
        main.on_disconnect(move |socket: Socket, reason| {
            log.add((socket.id().to_string(), reason.to_string()));
            async {}
        });
        main.on("mark", async |event: Event| event.ack(()));
    })
    .await;
    let slow = Client::enter(&host).await;
    let main = heard(&mut entered).await.namespace();
    let mut quick = Client::enter(&host).await;
    // One reads everything, one nothing, and a third by polling comes seldom.
    let sid = host.open_polling().await;
    host.push(&sid, "40").await;
    host.poll(&sid).await;
    let text = "x".repeat(50_000);
    let mut said = 0;
    while main.local_len() > 1 {
        main.emit("x", (said, &text)).unwrap();
        assert!(quick.text().await.starts_with(&format!(r#"42["x",{said},"#)));
        said += 1;
        assert!(said < 2_000, "the slow clients live on");
    }
    let mut gone = [heard(&mut reasons).await, heard(&mut reasons).await];
    gone.sort_by_key(|(id, _)| *id != slow.id);
    assert_eq!(gone[0], (slow.id.clone(), "transport close".to_owned()));
    assert_eq!(gone[1].1, "transport close");
    quick.hears_nothing().await;
    assert_eq!(host.poll(&sid).await.status, 400);
}

#[tokio::test]
async fn volatile_events_never_close_a_client() {
    let config = Config { mailbox_bytes_max: 100_000, ..Config::default() };
    let mut server = Server::new(config);
    let main: Namespace = server.namespace("/").handle();
    let host = Host::of(server).await;
    let mut slow = Client::enter(&host).await;
    let text = "x".repeat(50_000);
    for number in 0..1_000 {
        main.volatile().emit("x", (number, &text)).unwrap();
        tokio::task::yield_now().await;
    }
    main.emit("last", ()).unwrap();
    let mut heard = 0;
    while slow.text().await != r#"42["last"]"# {
        heard += 1;
    }
    assert!((1..1_000).contains(&heard), "{heard} of 1000 were heard");
}

#[tokio::test]
async fn a_connection_that_is_cut_in_the_middle_frees_its_server() {
    let host = Host::with(Config::default(), |main| {
        main.on("work", async |_: Event| std::future::pending::<()>().await);
    })
    .await;
    let tasks = tokio::runtime::Handle::current().metrics();
    // With the first client comes what serves them all.
    let _first = Client::enter(&host).await;
    let before = tasks.num_alive_tasks();
    for _ in 0..10 {
        let (mut ws, _) = Ws::session(&host).await;
        ws.send("40").await;
        ws.text().await;
        // Half a frame, and the end.
        ws.stream().write_all(&[0x81, 0xfe, 0x01]).await.unwrap();
    }
    within(until(|| tasks.num_alive_tasks() <= before)).await;
}

/// A handler that works when it is let.
struct Gate(Arc<Semaphore>);

impl Gate {
    fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    fn open(&self, times: usize) {
        self.0.add_permits(times);
    }

    /// A server whose `work` waits at the gate and then lists its number.
    async fn host(&self, config: Config) -> (Host, Receiver<usize>) {
        let (log, entries) = Log::new();
        let at_once = Arc::new(AtomicUsize::new(0));
        let mut server = Server::new(config);
        let gate = Arc::clone(&self.0);
        server.namespace("/").on("work", move |event: Event| {
            let (log, gate, at_once) = (log.clone(), Arc::clone(&gate), Arc::clone(&at_once));
            async move {
                assert_eq!(at_once.fetch_add(1, Ordering::SeqCst), 0, "one event at a time");
                gate.acquire().await.unwrap().forget();
                at_once.fetch_sub(1, Ordering::SeqCst);
                log.add(event.data().unwrap());
            }
        });
        for name in ["/", "/other"] {
            server.namespace(name).on("mark", async |event: Event| event.ack(()));
        }
        (Host::of(server).await, entries)
    }
}
