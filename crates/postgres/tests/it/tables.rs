//! What stands in the tables, and for how long.

use std::time::Duration;

use sockeye_cluster::adapter::{Position, Session};
use sockeye_cluster::{Pid, Room};
use sockeye_postgres::{Config, Recovery};
use sockeye_proto::sid::{Sid, Tag};

use crate::peer::{Peer, event};
use crate::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_sees_an_event_before_one_of_a_smaller_id() {
    const WRITERS: usize = 4;
    const BATCHES: usize = 20;
    let Some(server) = Server::start().await else { return };
    let url = server.url("recovery=true");
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..WRITERS {
        let peer = Peer::at(&url, "/", &format!("writer{n}")).await;
        writers.spawn(async move {
            for _ in 0..BATCHES {
                let results = peer.publish((0..50).map(|n| event(&n.to_string())).collect()).await;
                assert!(results.iter().all(Result::is_ok));
            }
        });
    }
    while let Some(written) = writers.join_next().await {
        written.unwrap();
    }
    // While a transaction has ids nobody else gets any, until it is over: those of one stand together.
    let runs = "SELECT count(*) FROM (SELECT xmin::text, lag(xmin::text) OVER (ORDER BY id) AS before \
                FROM socket_io_events WHERE payload IS NOT NULL) ids WHERE xmin IS DISTINCT FROM before";
    let runs: i64 = server.client().await.query_one(runs, &[]).await.unwrap().get(0);
    assert_eq!(runs, i64::try_from(WRITERS * BATCHES).unwrap());
}

#[tokio::test]
async fn what_is_old_is_deleted_and_never_missed_unknowingly() {
    let Some(server) = Server::start().await else { return };
    let mut config = Config::from_url(&server.url("")).unwrap();
    config.cleanup_interval = Duration::from_millis(50);
    config.recovery = Some(Recovery { events_kept: Duration::ZERO, ..Recovery::default() });
    let speaker = Peer::open(config.clone(), "/", "a").await.unwrap();
    let long = "x".repeat(9000);
    let results = speaker.publish(vec![event("one"), event("two"), event(&long)]).await;
    let offsets: Vec<_> = results.into_iter().map(|result| result.unwrap().offset.unwrap()).collect();
    let sessions = speaker.channel.sessions().unwrap();
    let client = server.client().await;
    let gone = async {
        loop {
            let sql = "SELECT (SELECT count(*) FROM socket_io_events), (SELECT count(*) FROM socket_io_attachments)";
            let row = client.query_one(sql, &[]).await.unwrap();
            // The last event stays: after it nothing is missing.
            if (row.get::<_, i64>(0), row.get::<_, i64>(1)) == (1, 0) {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("expected what is old to be deleted");
    for (offset, known) in offsets.iter().zip([false, false, true]) {
        sessions.save(&session("s", &offsets[0]), Duration::from_secs(60)).await.unwrap();
        let taken = sessions.take(&"s".into(), Some(&offset.0)).await.unwrap();
        assert_eq!(taken.is_some(), known, "{offset:?}");
    }
    sessions.save(&session("late", &offsets[2]), Duration::from_millis(1)).await.unwrap();
    let expired = async {
        while client.query_one("SELECT count(*) FROM socket_io_sessions", &[]).await.unwrap().get::<_, i64>(0)
            > 0
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), expired).await.expect("expected sessions to end");
}

#[tokio::test]
async fn names_that_a_table_cannot_hold_are_no_trouble() {
    let Some(server) = Server::start().await else { return };
    let speaker = Peer::at(&server.url("recovery=true"), "/", "a").await;
    let sessions = speaker.channel.sessions().unwrap();
    let first = speaker.publish(vec![event("met")]).await.remove(0).unwrap().offset.unwrap();
    let mut message = event("missed");
    if let sockeye_cluster::Message::Broadcast { selector, .. } = &mut message {
        selector.rooms = vec!["a\0b".into()];
    }
    assert!(speaker.publish(vec![message]).await[0].is_ok());
    for (room, count) in [("a\0b", 1), ("a\u{fffd}b", 0)] {
        let session = Session { rooms: vec![Room::new(room)], ..session("s", &first) };
        sessions.save(&session, Duration::from_secs(60)).await.unwrap();
        let taken = sessions.take(&"s".into(), Some(&first.0)).await.unwrap().unwrap();
        assert_eq!((taken.session, taken.missed.len()), (session, count));
    }
    assert!(sessions.save(&session("a\0b", &first), Duration::from_secs(60)).await.is_err());
    assert_eq!(sessions.take(&"a\0b".into(), None).await, Ok(None));
    sessions.forget(&"a\0b".into()).await;
}

#[tokio::test]
async fn a_role_that_may_not_make_tables_uses_those_that_are_there() {
    let Some(server) = Server::start().await else { return };
    let first = Peer::at(&server.url("recovery=true"), "/", "a").await;
    let client = server.client().await;
    let role = "CREATE ROLE guest LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO guest; \
                GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO guest";
    client.batch_execute(role).await.unwrap();
    let guest = server.url("recovery=true").replace("app@", "guest@");
    let mut hearer = Peer::at(&guest, "/", "b").await;
    assert!(first.publish(vec![event("hello")]).await[0].is_ok());
    assert_eq!(hearer.event().await.0, "hello");
    assert!(hearer.publish(vec![event("back")]).await[0].is_ok());
    client.batch_execute("DROP TABLE socket_io_sessions").await.unwrap();
    let refused = Peer::open(Config::from_url(&guest).unwrap(), "/", "c").await.err().unwrap().to_string();
    assert!(refused.contains("permission denied for schema public"), "{refused}");
}

fn session(pid: &str, start: &Position) -> Session {
    let sid = Sid::new(Tag::from_bits(1), 2);
    let (pid, rooms) = (Pid::new(pid), vec![Room::new(sid.as_str())]);
    Session { pid, sid, rooms, data: "{}".into(), start: Some(start.clone()) }
}
