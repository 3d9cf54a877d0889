//! A capped collection: what rolls over, who has a session, and what official servers wrote into it.

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{Document, RawDocumentBuf, doc};
use sockeye_cluster::adapter::Arrival;
use tokio::sync::mpsc;

use crate::recovery::{open, open_with, publish, session, try_open};
use crate::server::Server;

const TAILABLE: &str = "mode=tailable&recovery=true";
const OFFICIAL: &str = "created_at=false&recovery=true";

#[tokio::test]
async fn what_rolled_over_while_a_node_was_cut_off_is_told_and_the_rest_is_heard() {
    let Some(server) = Server::start_alone().await else { return };
    let small = "mode=tailable&capped_bytes=1048576";
    let (heard, mut arrivals) = mpsc::channel(10_000);
    let ear =
        open_with(&server, "ear", small, Arc::new(move |arrival| heard.try_send(arrival).unwrap())).await;
    let mouth = open(&server, "mouth", TAILABLE).await;
    publish(&mouth, "before").await;
    until(&mut arrivals, "before").await;
    // Not through the proxy: what is cut is the ear alone.
    let collection = mongodb::Client::with_uri_str(server.behind()).await.unwrap().database("sockeye");
    let collection = collection.collection::<Document>("socket_io_events");
    server.cut();
    let ballast = "x".repeat(300_000);
    for _ in 0..5 {
        collection.insert_one(doc! {"type": 15, "uid": "", "nsp": "", "data": &ballast}).await.unwrap();
    }
    loop {
        match next(&mut arrivals).await {
            Arrival::Resumed { whole } => {
                assert!(!whole, "expected the gap to be told");
                break;
            }
            Arrival::Message { .. } | Arrival::Malformed => {}
        }
    }
    assert_eq!(ear.stats().gaps, 1);
    publish(&mouth, "after").await;
    until(&mut arrivals, "after").await;
}

#[tokio::test]
async fn of_many_that_want_a_session_one_has_it() {
    for query in [TAILABLE, OFFICIAL] {
        let Some(server) = Server::start().await else { return };
        let mut nodes = Vec::new();
        for n in 0..4 {
            nodes.push(open(&server, &format!("{n}"), query).await);
        }
        let offset = publish(&nodes[0], "0").await;
        let keep = Duration::from_secs(60);
        for round in 0..5 {
            // The session of a client that came back before has the same pid.
            nodes[round % 4].sessions().unwrap().save(&session("p", &offset), keep).await.unwrap();
            let mut takers = tokio::task::JoinSet::new();
            for node in &nodes {
                let (node, offset) = (Arc::clone(node), offset.0.clone());
                takers.spawn(async move {
                    node.sessions().unwrap().take(&"p".into(), Some(&offset)).await.unwrap().is_some()
                });
            }
            let taken = takers.join_all().await.into_iter().filter(|taken| *taken).count();
            assert_eq!(taken, 1, "round {round}, {query}");
        }
        nodes[1].sessions().unwrap().save(&session("p", &offset), keep).await.unwrap();
        nodes[2].sessions().unwrap().forget(&"p".into()).await;
        assert!(nodes[3].sessions().unwrap().take(&"p".into(), Some(&offset.0)).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_session_of_a_node_js_server_goes_on_at_a_node_that_was_not_there() {
    let Some(server) = Server::start_alone().await else { return };
    let a = open(&server, "a", TAILABLE).await;
    let mut offsets = Vec::new();
    for n in 0..10 {
        offsets.push(publish(&a, &format!("{n}")).await);
    }
    let collection = mongodb::Client::with_uri_str(server.url("")).await.unwrap().database("sockeye");
    let collection = collection.collection::<Document>("socket_io_events");
    // As `MongoAdapter.persistSession` writes it.
    let sid = "AAAAAAAAAAAAAAAAAAAA";
    let kept = doc! {"sid": sid, "pid": "p", "rooms": [sid, "r"], "data": {"n": 1}};
    collection.insert_one(doc! {"type": 13, "data": kept, "uid": "node", "nsp": "/"}).await.unwrap();
    drop(a);
    let late = open(&server, "b", TAILABLE).await;
    let taken = late.sessions().unwrap().take(&"p".into(), Some(&offsets[3].0)).await.unwrap();
    let taken = taken.expect("a session");
    assert_eq!((taken.session.sid.as_str(), taken.session.rooms.len()), (sid, 2));
    let missed: Vec<_> = taken.missed.iter().map(|missed| missed.offset.clone()).collect();
    assert_eq!(missed, offsets[4..]);
    // `MongoAdapter.findSession`: the last by its id. It is a tombstone, so no Node.js server takes the session again.
    let filter = doc! {"type": 13, "data.pid": "p"};
    let last = collection.find_one(filter.clone()).sort(doc! {"_id": -1}).await.unwrap().unwrap();
    assert!(last.get_document("data").unwrap().get_bool("tombstone").unwrap());
    // And what is saved here is what it looks for.
    let keep = Duration::from_secs(60);
    late.sessions().unwrap().save(&session("p", &offsets[0]), keep).await.unwrap();
    let raw = collection.clone_with_type::<RawDocumentBuf>();
    let last = raw.find_one(filter).sort(doc! {"_id": -1}).await.unwrap().unwrap();
    assert!(last.get_document("data").unwrap().get_str("sid").is_ok());
}

#[tokio::test]
async fn a_collection_that_is_not_capped_is_refused_with_the_reason() {
    let Some(server) = Server::start_alone().await else { return };
    let database = mongodb::Client::with_uri_str(server.url("")).await.unwrap().database("sockeye");
    database.create_collection("socket_io_events").await.unwrap();
    let error = try_open(&server, TAILABLE).await.err().unwrap().to_string();
    assert!(error.contains("tailable cursor requested on non capped collection"), "{error}");
}

async fn next(arrivals: &mut mpsc::Receiver<Arrival>) -> Arrival {
    let wait = tokio::time::timeout(Duration::from_secs(60), arrivals.recv());
    wait.await.expect("expected an arrival, nothing came for 60 s").unwrap()
}

/// Until an event with this text has come.
async fn until(arrivals: &mut mpsc::Receiver<Arrival>, text: &str) {
    loop {
        if let Arrival::Message { envelope, .. } = next(arrivals).await
            && format!("{envelope:?}").contains(text)
        {
            return;
        }
    }
}
