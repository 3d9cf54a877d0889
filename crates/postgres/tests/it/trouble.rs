//! What goes wrong with a PostgreSQL, and what of it anybody notices.

use std::time::Duration;

use sockeye_cluster::Flags;
use sockeye_cluster::adapter::{AdapterError, Arrival};
use sockeye_postgres::Config;

use crate::peer::{Peer, event, raw, volatile};
use crate::server::Server;

#[tokio::test]
async fn with_recovery_no_event_is_lost_when_connections_break() {
    let Some(server) = Server::start().await else { return };
    let speaker = Peer::at(&server.url("recovery=true"), "/", "a").await;
    let mut hearer = Peer::at(&server.url("recovery=true&application_name=hearer"), "/", "b").await;
    let client = server.client().await;
    let mut said = Vec::new();
    for round in 0..20 {
        let texts: Vec<_> = (0..20).map(|n| format!("{round}.{n}")).collect();
        let (before, after) = texts.split_at(10);
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hearer'";
        for part in [before, after] {
            let results = speaker.publish(part.iter().map(|text| event(text)).collect()).await;
            for (text, result) in part.iter().zip(results) {
                said.push((text.clone(), Some(result.unwrap().offset.unwrap().0.to_string())));
            }
            if part == before {
                client.execute(cut, &[]).await.unwrap();
            }
        }
        // The next cut finds it connected again.
        while !matches!(next_or_event(&mut hearer, &mut said).await, Arrival::Resumed { .. }) {}
    }
    while !said.is_empty() {
        next_or_event(&mut hearer, &mut said).await;
    }
    assert!(hearer.channel.stats().disconnects >= 20);
}

#[tokio::test]
async fn without_a_server_nothing_hangs() {
    let Some(server) = Server::start().await else { return };
    let mut config = Config::from_url(&server.url("")).unwrap();
    config.publish_timeout = Duration::from_millis(500);
    let peer = Peer::open(config, "/", "a").await.unwrap();
    drop(server);
    let results = peer.publish(vec![event("lost"), event("lost, too")]).await;
    assert_eq!(results.len(), 2);
    for result in results {
        assert!(matches!(result, Err(AdapterError::Unreachable(_))), "{result:?}");
    }
    assert_eq!(peer.channel.stats().unpublished, 2);
    peer.channel.close().await;
}

#[tokio::test]
async fn what_cannot_be_opened_says_why_and_never_the_password() {
    let Some(server) = Server::start().await else { return };
    let url = server.url("").replace("app@", "app:s3cr3t@");
    let long = format!("/{}", "x".repeat(60));
    for (url, nsp, words, refused) in [
        (url.replace("/postgres?", "/nodb?"), "/", "database \"nodb\" does not exist", true),
        (url.replace("app:", "nobody:"), "/", "role \"nobody\" does not exist", true),
        (
            "postgres://app:s3cr3t@127.0.0.1:1/db".to_owned(),
            "/",
            "PostgreSQL at 127.0.0.1 port 1, database db",
            false,
        ),
        (url, &*long, "has 71 bytes, PostgreSQL takes 63", true),
    ] {
        let error = Peer::open(Config::from_url(&url).unwrap(), nsp, "a").await.err().unwrap();
        assert_eq!(matches!(error, AdapterError::Refused(_)), refused, "{error}");
        let error = error.to_string();
        assert!(error.contains(words) && !error.contains("s3cr3t"), "{error}");
    }
}

#[tokio::test]
async fn messages_that_are_alike_come_as_often_as_they_were_sent() {
    let Some(server) = Server::start().await else { return };
    for query in ["", "recovery=true"] {
        let speaker = Peer::at(&server.url(query), "/alike", "a").await;
        let mut hearer = Peer::at(&server.url(query), "/alike", "b").await;
        let batch = [event("tick"), volatile("tick"), volatile("tick"), event("tick"), volatile("end")];
        assert!(speaker.publish(batch.to_vec()).await.iter().all(Result::is_ok));
        for text in ["tick", "tick", "tick", "tick", "end"] {
            assert_eq!(hearer.event().await.0, text);
        }
    }
}

#[tokio::test]
async fn a_namespace_may_be_called_anything() {
    let Some(server) = Server::start().await else { return };
    for query in ["", "recovery=true"] {
        for nsp in ["/a\"b", "/a'b\"; DROP TABLE socket_io_attachments; --", "/\\\u{e9}\u{1f980} $1", "/%s{}"]
        {
            let speaker = Peer::at(&server.url(query), nsp, "a").await;
            let mut hearer = Peer::at(&server.url(query), nsp, "b").await;
            assert!(speaker.publish(vec![event("hello")]).await[0].is_ok());
            assert_eq!(hearer.event().await.0, "hello", "{nsp}");
        }
    }
}

#[tokio::test]
async fn a_bad_letter_does_not_spoil_its_batch() {
    let Some(server) = Server::start().await else { return };
    let speaker = Peer::at(&server.url(""), "/", "a").await;
    let mut hearer = Peer::at(&server.url(""), "/", "b").await;
    let bad = |data: &'static [u8]| raw(data, Flags::default());
    let batch = vec![event("one"), bad(b"[\"\xff\"]"), bad(b"[\"\0\"]"), event("two")];
    let results = speaker.publish(batch).await;
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, true]);
    assert_eq!([hearer.event().await.0, hearer.event().await.0], ["one", "two"]);
}

/// The next arrival; an event has to be the next of those that were said.
async fn next_or_event(hearer: &mut Peer, said: &mut Vec<(String, Option<String>)>) -> Arrival {
    let arrival = hearer.arrival().await;
    if let Arrival::Message { envelope, offset } = &arrival
        && let sockeye_cluster::Message::Broadcast { packet, .. } = &envelope.message
    {
        let [text]: [String; 1] = serde_json::from_slice(&packet.data).unwrap();
        let heard = (text, offset.as_ref().map(|offset| offset.0.to_string()));
        assert!(!said.is_empty(), "expected nothing twice, got {heard:?}");
        assert_eq!(heard, said.remove(0), "expected each event once, in order");
    }
    arrival
}
