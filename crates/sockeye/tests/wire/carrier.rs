//! What reaches a client past the task of its connection: whole, in order, also where the client reads late.

use crate::harness::{Client, Host, within};
use sockeye::{Config, Event, Namespace, Server};
use std::num::NonZeroUsize;
use tokio::task::JoinSet;

#[tokio::test]
async fn a_client_that_reads_late_gets_everything_in_order() {
    let (host, main) = server(Config { mailbox_bytes_max: 64 << 20, ..Config::default() }).await;
    let mut late = Client::enter(&host).await;
    let mut quick = Client::enter(&host).await;
    // Far more than the kernel takes for a client that does not read.
    let text = "x".repeat(50_000);
    for number in 0..400 {
        main.emit("x", (number, &text)).unwrap();
        assert!(quick.text().await.starts_with(&format!(r#"42["x",{number},"#)));
    }
    for number in 0..400 {
        assert!(late.text().await.starts_with(&format!(r#"42["x",{number},"#)), "{number}");
    }
    late.hears_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_at_once_lose_and_reorder_nothing() {
    const CLIENTS: usize = 8;
    const SPEAKERS: usize = 4;
    const MESSAGES: usize = 300;
    let (host, main) = server(Config { threads: NonZeroUsize::new(4).unwrap(), ..Config::default() }).await;
    let mut listening = JoinSet::new();
    for _ in 0..CLIENTS {
        let mut client = Client::enter(&host).await;
        listening.spawn(async move {
            // Its own questions are answered by its own task, in between.
            let (mut next, mut asked, mut answered) = ([0; SPEAKERS], 0, 0);
            while next.iter().sum::<usize>() < SPEAKERS * MESSAGES || answered < asked {
                if asked < MESSAGES && asked == answered {
                    client.say(&format!(r#"42{asked}["mark"]"#)).await;
                    asked += 1;
                }
                let text = client.text().await;
                if text == format!("43{answered}[]") {
                    answered += 1;
                    continue;
                }
                let said = text.strip_prefix(r#"42["x","#).and_then(|said| said.strip_suffix(']')).unwrap();
                let (speaker, number) = said.split_once(',').unwrap();
                let speaker: usize = speaker.parse().unwrap();
                assert_eq!(number.parse(), Ok(next[speaker]), "of speaker {speaker}");
                next[speaker] += 1;
            }
        });
    }
    for speaker in 0..SPEAKERS {
        let main = main.clone();
        tokio::spawn(async move {
            for number in 0..MESSAGES {
                main.emit("x", (speaker, number)).unwrap();
                tokio::task::yield_now().await;
            }
        });
    }
    within(async { while listening.join_next().await.transpose().unwrap().is_some() {} }).await;
}

async fn server(config: Config) -> (Host, Namespace) {
    let mut server = Server::new(config);
    server.namespace("/").on("mark", async |event: Event| event.ack(()));
    let main = server.namespace("/").handle();
    (Host::of(server).await, main)
}
