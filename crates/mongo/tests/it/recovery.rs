//! Clients that come back to a node which has not heard what they missed.

use std::sync::Arc;
use std::time::Duration;

use sockeye_cluster::adapter::{Adapter, AdapterError, Channel, Inbox, Letter, Opening, Position, Session};
use sockeye_cluster::node::To;
use sockeye_cluster::{Flags, Message, Nsp, Packet, Pid, Room, Selector};
use sockeye_mongo::{Config, Mongo};
use sockeye_proto::sid::{Sid, Tag};

use crate::server::Server;

#[tokio::test]
async fn a_node_that_was_not_there_gives_what_was_missed_in_the_order_of_the_stream() {
    for query in ["recovery=true", "recovery=true&created_at=false", "recovery=true&mode=tailable"] {
        let Some(server) = Server::start().await else { return };
        check(&server, query).await;
    }
}

async fn check(server: &Server, query: &'static str) {
    let (a, b) = (open(server, "a", query).await, open(server, "b", query).await);
    let mut offsets = Vec::new();
    // Two that publish in turn, within a second: their ids say nothing of the order.
    for n in 0..20 {
        let from = if n % 2 == 0 { &a } else { &b };
        offsets.push(publish(from, &format!("{n}")).await);
    }
    let keep = Duration::from_secs(60);
    for (at, pid) in ["p0", "p1", "p2"].into_iter().enumerate() {
        a.sessions().unwrap().save(&session(pid, &offsets[at]), keep).await.unwrap();
    }
    drop((a, b));
    let late = open(server, "c", query).await;
    let sessions = late.sessions().unwrap();
    for (pid, at) in [("p0", 7), ("p1", 12)] {
        let returned = sessions.take(&pid.into(), Some(&offsets[at].0)).await.unwrap().expect("a promise");
        let missed: Vec<_> = returned.missed.iter().map(|missed| missed.offset.clone()).collect();
        assert_eq!(missed, offsets[at + 1..]);
    }
    // No offset: from where the session began. Of an offset that nobody has published nothing is promised.
    let returned = sessions.take(&"p2".into(), None).await.unwrap().expect("a promise");
    assert_eq!(returned.missed.len(), 17);
    sessions.save(&session("p3", &offsets[0]), keep).await.unwrap();
    let unknown = sessions.take(&"p3".into(), Some("ffffffffffffffffffffffff")).await.unwrap();
    assert_eq!(unknown.map(|returned| returned.missed.len()), None);
}

pub(crate) async fn open(server: &Server, uid: &str, query: &str) -> Arc<dyn Channel> {
    open_with(server, uid, query, Arc::new(drop)).await
}

pub(crate) async fn open_with(server: &Server, uid: &str, query: &str, inbox: Inbox) -> Arc<dyn Channel> {
    let config = Config::from_url(&server.url(query)).await.unwrap();
    let opening = Opening { nsp: Nsp::new("/"), uid: uid.into(), inbox };
    Mongo::new(config).open(opening).await.unwrap()
}

pub(crate) async fn try_open(server: &Server, query: &str) -> Result<Arc<dyn Channel>, AdapterError> {
    let config = Config::from_url(&server.url(query)).await.unwrap();
    let opening = Opening { nsp: Nsp::new("/"), uid: "a".into(), inbox: Arc::new(drop) };
    Mongo::new(config).open(opening).await
}

pub(crate) async fn publish(channel: &Arc<dyn Channel>, text: &str) -> Position {
    let packet = Packet::text(serde_json::json!(["said", text, {"$date": "no extended JSON"}]).to_string());
    let (selector, flags) = (Selector::all(), Flags::default());
    let message = Message::Broadcast { selector, flags, packet, request_id: None };
    let published = channel.publish(vec![Letter { to: To::All, message }]).await.remove(0);
    published.unwrap().offset.unwrap()
}

pub(crate) fn session(pid: &str, start: &Position) -> Session {
    let sid = Sid::new(Tag::from_bits(1), 2);
    let data = r#"{"$oid":"no extended JSON"}"#.into();
    let (pid, rooms) = (Pid::new(pid), vec![Room::new(sid.as_str())]);
    Session { pid, sid, rooms, data, start: Some(start.clone()) }
}
