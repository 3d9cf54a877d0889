//! Limits on who may come, and how fast: each with its answer and its counter.

use crate::harness::{
    Answer, Client, Frame, Host, Log, WEBSOCKET, Ws, handshake_head, heard, read_to_end, until, within,
};
use sockeye::{AckError, Config, Event, EventsExcess, Limit, Server, Socket};
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn a_handshake_too_many_is_refused_on_either_transport() {
    let some = NonZeroU32::new;
    let config = Config::default;
    for (config, limit, status) in [
        (Config { sessions_max: some(2), ..config() }, Limit::SessionsMax, 503),
        (Config { sessions_per_address_max: some(2), ..config() }, Limit::SessionsPerAddressMax, 429),
        (Config { handshakes_per_second: some(2), ..config() }, Limit::HandshakesPerSecond, 429),
        (
            Config { handshakes_per_second_per_address: some(2), ..config() },
            Limit::HandshakesPerSecondPerAddress,
            429,
        ),
    ] {
        let host = Host::with(config, |_| {}).await;
        host.open_polling().await;
        let (ws, _) = Ws::session(&host).await;
        let refused = host.get(&host.target("EIO=4&transport=polling")).await;
        assert_eq!(
            (refused.status, refused.header("retry-after").as_deref()),
            (status, Some("1")),
            "{limit}"
        );
        let mut stream = host.connect().await;
        stream.write_all(handshake_head(&host.target(WEBSOCKET)).as_bytes()).await.unwrap();
        let refused = Answer::parse(&within(read_to_end(&mut stream)).await);
        assert_eq!(
            (refused.status, refused.header("retry-after").as_deref()),
            (status, Some("1")),
            "{limit}"
        );
        assert_eq!(host.handle.stats().limit(limit), 2, "{limit}");
        // Who leaves makes room; who waits, too.
        drop(ws);
        within(until(|| host.handle.stats().sessions == 1)).await;
        within(async {
            while host.get(&host.target("EIO=4&transport=polling")).await.status != 200 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn what_takes_too_long_is_counted() {
    let config = Config {
        upgrade_timeout: Duration::from_millis(50),
        ping_interval: Duration::from_millis(200),
        ping_timeout: Duration::from_millis(50),
        ack_timeout: Duration::from_millis(10),
        ..Config::default()
    };
    let host = Host::with(config, |main| {
        main.on_connect(async |socket: Socket| {
            let error = socket.emit_with_ack::<u8>("q", ()).await.unwrap_err();
            assert!(matches!(error, AckError::TimedOut));
            for _ in 0..1024 {
                let socket = socket.clone();
                tokio::spawn(async move {
                    drop(socket.timeout(Duration::from_secs(9)).emit_with_ack::<u8>("q", ()).await)
                });
            }
            tokio::task::yield_now().await;
            while !matches!(socket.emit_with_ack::<u8>("q", ()).await, Err(AckError::TooManyPending)) {}
        });
    })
    .await;
    let counted = |limit| host.handle.stats().limit(limit);
    let sid = host.open_polling().await;
    let _probe = Ws::probe(&host, &sid).await;
    until(|| counted(Limit::UpgradeTimeout) == 1).await;
    // Nobody polls, so no pong comes.
    until(|| counted(Limit::PingTimeout) == 1).await;
    let mut client = Client::enter(&host).await;
    assert!(client.text().await.starts_with("420"));
    until(|| counted(Limit::AckTimeout) == 1 && counted(Limit::AcksPendingMax) == 1).await;
}

#[tokio::test]
async fn a_packet_with_too_many_attachments_closes_its_client() {
    let host = Host::with(Config { attachments_max: 2, ..Config::default() }, |_| {}).await;
    let mut client = Client::enter(&host).await;
    client.say(r#"453-["e"]"#).await;
    assert!(matches!(client.next().await, Frame::Close(_) | Frame::End));
    assert_eq!(host.handle.stats().limit(Limit::AttachmentsMax), 1);
}

#[tokio::test]
async fn namespaces_are_bounded_for_each_client_and_for_all() {
    let (log, mut asked) = Log::new();
    let mut server = Server::new(Config {
        namespaces_per_client_max: const { NonZeroUsize::new(3).unwrap() },
        child_namespaces_max: 2,
        searches_max: 1,
        ..Config::default()
    });
    server.dynamic_namespace("/known-*");
    server.dynamic_namespace_if(move |name: String, _| {
        log.add(name);
        std::future::pending::<bool>()
    });
    let host = Host::of(server).await;
    let counted = |limit| host.handle.stats().limit(limit);
    let mut client = Client::enter(&host).await;
    client.join("40/known-1").await;
    client.join("40/known-2").await;
    let refusal = |nsp: &str, message: &str| format!("44{nsp},{{\"message\":\"{message}\"}}");
    client.say("40/known-1x").await;
    client.hears(&[&refusal("/known-1x", "too many namespaces")]).await;
    assert_eq!(counted(Limit::NamespacesPerClientMax), 1);
    // A place becomes free, but not for a third child.
    client.say("41/known-2,").await;
    client.say("40/known-3").await;
    client.hears(&[&refusal("/known-3", "Invalid namespace")]).await;
    assert_eq!(counted(Limit::ChildNamespacesMax), 1);
    // One name is being asked for, which counts as well.
    client.say("40/slow").await;
    assert_eq!(heard(&mut asked).await, "/slow");
    client.say("40/x").await;
    client.hears(&[&refusal("/x", "too many namespaces")]).await;
    let mut other = Client::enter(&host).await;
    other.say("40/slower").await;
    other.hears(&[&refusal("/slower", "too many namespaces")]).await;
    assert_eq!(counted(Limit::SearchesMax), 1);
    assert_eq!(counted(Limit::NamespacesPerClientMax), 2);
    // Whoever goes gives up what it asked for.
    client.ws.close(None).await;
    until(|| host.handle.stats().sessions == 1).await;
    other.say("40/slower").await;
    assert_eq!(heard(&mut asked).await, "/slower");
}

#[tokio::test]
async fn a_connection_too_many_is_closed_at_once() {
    let config = Config { connections_max: NonZeroUsize::new(2), ..Config::default() };
    let host = Host::with(config, |_| {}).await;
    let first = host.connect().await;
    let _second = host.connect().await;
    let mut third = host.connect().await;
    assert_eq!(within(read_to_end(&mut third)).await, b"");
    assert_eq!(host.handle.stats().limit(Limit::ConnectionsMax), 1);
    drop(first);
    host.settle().await;
    host.open_polling().await;
}

#[tokio::test]
async fn events_that_come_too_fast_wait_and_none_is_lost() {
    let (log, mut entries) = Log::new();
    let config = Config { events_per_second: NonZeroU32::new(20), ..Config::default() };
    let host = Host::with(config, move |main| {
        main.on("n", move |event: Event| {
            log.add(event.data::<u32>().unwrap());
            async {}
        });
    })
    .await;
    let mut client = Client::enter(&host).await;
    let begin = Instant::now();
    for number in 0..30 {
        client.say(&format!(r#"42["n",{number}]"#)).await;
    }
    for number in 0..30 {
        assert_eq!(heard(&mut entries).await, number);
    }
    // 20 at once, the others one in 50 ms.
    assert!(begin.elapsed() > Duration::from_millis(400), "{:?}", begin.elapsed());
    assert!(host.handle.stats().limit(Limit::EventsPerSecond) > 0);
}

#[tokio::test]
async fn events_that_come_too_fast_close_the_connection_where_that_is_wanted() {
    let config = Config {
        events_per_second: NonZeroU32::new(20),
        events_excess: EventsExcess::Close,
        ..Config::default()
    };
    let host = Host::with(config, |main| {
        main.on("n", async |_: Event| {});
    })
    .await;
    let mut client = Client::enter(&host).await;
    for _ in 0..30 {
        client.say(r#"42["n"]"#).await;
    }
    assert!(matches!(client.next().await, Frame::Close(_)));
    assert_eq!(host.handle.stats().limit(Limit::EventsPerSecond), 1);
}
