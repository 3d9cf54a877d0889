//! Abuse, bounded: whatever strangers do, memory stays flat, nobody panics, healthy clients are served, and it is counted.
//!
//! One round is short. `SOCKEYE_ABUSE_ROUNDS` asks for more, as `./test --long` does. How long healthy clients wait meanwhile is measured by
//! `bench/run --abuse`.

use crate::harness::{Client, Host, POLLING, WEBSOCKET, handshake_head, read_head, within};
use sockeye::{Config, Event, EventsExcess, Limit, Namespace, Server};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

/// How much more memory the program may hold after the last round than after the first.
const GROWTH_MAX_KB: usize = 24 << 10;

const BOGUS_SIDS: u64 = 10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abuse_is_bounded_and_counted_and_harms_no_healthy_client() {
    let rounds =
        std::env::var("SOCKEYE_ABUSE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1);
    let (host, main) = victim().await;
    let (stop, stopped) = oneshot::channel();
    let healthy = tokio::spawn(serve_well(Client::enter(&host).await, stopped));
    abuse(&host, &main).await;
    let before = resident_kb();
    for _ in 0..rounds {
        abuse(&host, &main).await;
    }
    let after = resident_kb();
    stop.send(()).unwrap();
    let p99 = healthy.await.unwrap();
    let stats = host.handle.stats();
    println!("p99 {p99:?}, resident {before} kB, then {after} kB; {stats:?}");
    assert!(after < before + GROWTH_MAX_KB, "{before} kB became {after} kB");
    let times = rounds + 1;
    assert_eq!(stats.refusals[1].2, BOGUS_SIDS * times);
    for (limit, least) in [
        (Limit::HeadTimeout, 50 * times),
        (Limit::HeadBytesMax, 10 * times),
        (Limit::MaxPayload, 20 * times),
        (Limit::EventsPerSecond, 5 * times),
        (Limit::MailboxBytesMax, 5 * times),
    ] {
        assert!(stats.limit(limit) >= least, "{limit}: {} of {least}", stats.limit(limit));
    }
}

async fn victim() -> (Host, Namespace) {
    let mut server = Server::new(Config {
        head_timeout: Duration::from_millis(500),
        max_payload: 10_000,
        mailbox_bytes_max: 100_000,
        events_per_second: NonZeroU32::new(1_000),
        events_excess: EventsExcess::Close,
        ..Config::default()
    });
    let main = server
        .namespace("/")
        .on("mark", async |event: Event| event.ack(()))
        .on("slow", async |event: Event| {
            event.socket().join(["slow"]);
            event.ack(())
        })
        .handle();
    (Host::of(server).await, main)
}

/// A client that asks and is answered, until it is told to stop; the 99th percentile of how long it took.
async fn serve_well(mut client: Client, mut stopped: oneshot::Receiver<()>) -> Duration {
    let mut took = Vec::new();
    while stopped.try_recv().is_err() {
        let begin = Instant::now();
        client.say(r#"421["mark"]"#).await;
        client.hears(&["431[]"]).await;
        took.push(begin.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    took.sort();
    took[took.len() * 99 / 100]
}

async fn abuse(host: &Host, main: &Namespace) {
    tokio::join!(bogus_sids(host), broken_frames(host), half_requests(host), oversize(host), floods(host));
    slow_readers(host, main).await;
}

async fn bogus_sids(host: &Host) {
    let mut stream = host.connect().await;
    for number in 0..BOGUS_SIDS {
        let target = host.target(&format!("{POLLING}&sid={number:020}"));
        let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        assert!(within(read_head(&mut stream)).await.unwrap().starts_with("HTTP/1.1 400"));
        let mut body = [0; r#"{"code":1,"message":"Session ID unknown"}"#.len()];
        within(stream.read_exact(&mut body)).await.unwrap();
    }
}

async fn broken_frames(host: &Host) {
    for seed in 0..50_u8 {
        let mut stream = host.connect().await;
        stream.write_all(handshake_head(&host.target(WEBSOCKET)).as_bytes()).await.unwrap();
        read_head(&mut stream).await.unwrap();
        let noise: Vec<u8> = (0..=255_u8).map(|byte| byte.wrapping_mul(31).wrapping_add(seed)).collect();
        // The server may have hung up before the end.
        drop(stream.write_all(&noise).await);
    }
}

async fn half_requests(host: &Host) {
    let mut streams = Vec::new();
    for _ in 0..50 {
        let mut stream = host.connect().await;
        stream.write_all(b"GET /socket.io/?EIO=4 HTTP/1.1\r\nHo").await.unwrap();
        streams.push(stream);
    }
    for stream in &mut streams {
        assert!(within(read_head(stream)).await.unwrap().starts_with("HTTP/1.1 408"));
    }
}

async fn oversize(host: &Host) {
    for _ in 0..10 {
        let sid = host.open_polling().await;
        assert_eq!(host.push(&sid, vec![b'x'; 10_001]).await.status, 413);
        let mut client = Client::enter(host).await;
        client.say(&"x".repeat(10_001)).await;
        let mut stream = host.connect().await;
        drop(stream.write_all(format!("GET /{} ", "y".repeat(60_000)).as_bytes()).await);
        drop(within(read_head(&mut stream)).await);
    }
}

async fn floods(host: &Host) {
    for _ in 0..5 {
        let mut client = Client::enter(host).await;
        let event = b"\x81\x8a\0\0\0\x0042[\"noise\"]";
        let event = [&event[..1], &[0x80 | 11], &event[2..]].concat();
        // The server hangs up in the middle.
        drop(client.ws.stream().write_all(&event.repeat(3_000)).await);
    }
}

async fn slow_readers(host: &Host, main: &Namespace) {
    let mut slow = Vec::new();
    for _ in 0..5 {
        let mut client = Client::enter(host).await;
        client.say(r#"421["slow"]"#).await;
        client.hears(&["431[]"]).await;
        slow.push(client);
    }
    let met = host.handle.stats().limit(Limit::MailboxBytesMax);
    let text = "x".repeat(50_000);
    let closed = async {
        while host.handle.stats().limit(Limit::MailboxBytesMax) < met + 5 {
            main.to("slow").emit("x", &text).unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within(closed).await;
}

fn resident_kb() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
