//! Where events stand.

use sockeye_cluster::adapter::{Letter, Position};
use sockeye_cluster::node::To;
use sockeye_cluster::{Flags, Message, Selector};

use super::messages::three;
use crate::backend::Backend;
use crate::samples::{event, packet, text_of};
use crate::server::{Server, fresh_nsp};

/// Two servers speak at once; both hear the same, in the order of the offsets, and with the offset that `publish` has told.
pub(crate) async fn one_order(backend: &dyn Backend) {
    const EACH: usize = 60;
    let (a, [b, c]) = three(backend, &fresh_nsp()).await;
    let speak = async |server: &Server, name: &str| {
        let mut told = Vec::new();
        for n in 0..EACH / 3 {
            let texts = (0..3).map(|k| format!("{name}{}", 3 * n + k));
            let batch: Vec<_> =
                texts.clone().map(|text| Letter { to: To::All, message: event(&text) }).collect();
            for (text, result) in texts.zip(server.channel.publish(batch).await) {
                let published = result.unwrap_or_else(|error| panic!("expected it to be published: {error}"));
                let offset = published.offset.expect("expected the offset of an event");
                told.push((text, offset));
            }
        }
        told
    };
    let (by_a, by_b) = tokio::join!(speak(&a, "a"), speak(&b, "b"));
    let heard_by_c = sequence(&c, 2 * EACH).await;
    for server in [&a, &b] {
        let heard = sequence(server, 2 * EACH).await;
        assert_eq!(heard, heard_by_c, "expected one order for all, own events included");
    }
    assert!(
        by_a.iter().chain(&by_b).all(|told| heard_by_c.contains(told)),
        "expected the offset that was told"
    );
    if let Some(sessions) = c.channel.sessions() {
        for pair in heard_by_c.windows(2) {
            let order = sessions.order(&pair[0].1, &pair[1].1);
            assert!(order.is_lt(), "expected {:?} before {:?}", pair[0], pair[1]);
        }
    }
}

/// And knows where it began. What cannot be missed has no offset.
pub(crate) async fn later(backend: &dyn Backend) {
    let nsp = fresh_nsp();
    let (a, [b, _c]) = three(backend, &nsp).await;
    let early = a.publish(vec![event("early")]).await.remove(0).offset.expect("expected an offset");
    assert_eq!(sequence(&b, 1).await, [("early".to_owned(), early.clone())]);
    let late = Server::open(backend, &nsp).await;
    let volatile = Flags { volatile: true, ..Flags::default() };
    let quick = Message::Broadcast {
        selector: Selector::all(),
        flags: volatile,
        packet: packet("quick"),
        request_id: None,
    };
    let published = a.publish(vec![event("late"), quick]).await;
    assert_eq!(published[1].offset, None, "expected no offset for what is volatile");
    let heard = sequence(&late, 1).await;
    assert_eq!(heard[0].0, "late", "expected only what is later");
    let began = late.channel.began().expect("expected the place where it began");
    if let Some(sessions) = late.channel.sessions() {
        assert!(sessions.order(&early, &began).is_le(), "expected {early:?} up to {began:?}");
        assert!(sessions.order(&began, &heard[0].1).is_lt(), "expected {began:?} before {:?}", heard[0].1);
    }
}

/// The next events with offsets.
async fn sequence(server: &Server, count: usize) -> Vec<(String, Position)> {
    let mut heard = Vec::new();
    while heard.len() < count {
        let (envelope, offset) = server.any_message().await;
        if let (Some(text), Some(offset)) = (text_of(&envelope.message), offset) {
            heard.push((text, offset));
        }
    }
    heard
}
