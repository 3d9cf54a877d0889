//! Limits on who may come, and how fast: each with its answer and its counter.

use crate::harness::{
    Answer, Client, Frame, Host, Log, WEBSOCKET, Ws, handshake_head, heard, read_to_end, until, within,
};
use sockeye::{Config, Event, EventsExcess, Limit};
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
