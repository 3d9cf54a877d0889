//! What is no message, and connections that break.

use std::time::Duration;

use sockeye_cluster::Selector;
use sockeye_cluster::adapter::{Arrival, Letter};
use sockeye_cluster::node::To;

use super::messages::three;
use crate::backend::Backend;
use crate::samples::{event, event_to, text_of};
use crate::server::{Server, fresh_nsp, patient};

/// Counted, and what comes after it is heard.
pub(crate) async fn malformed(backend: &dyn Backend) {
    let nsp = fresh_nsp();
    let (a, [b, _c]) = three(backend, &nsp).await;
    if !patient("something to be scribbled", backend.scribble(&nsp)).await {
        println!("    skipped: nothing can be scribbled");
        return;
    }
    a.publish(vec![event("after it")]).await;
    // What is scribbled by hand may come by another way, and so after what was published later.
    let (mut is_told, mut is_heard) = (false, false);
    while !(is_told && is_heard) {
        match b.arrival().await {
            Arrival::Malformed => is_told = true,
            Arrival::Message { envelope, .. }
                if text_of(&envelope.message).as_deref() == Some("after it") =>
            {
                is_heard = true;
            }
            other @ (Arrival::Message { .. } | Arrival::Resumed { .. }) => {
                panic!("expected what is no message to be skipped, got {other:?}")
            }
        }
    }
    assert!(b.channel.stats().malformed > 0, "expected what is no message to be counted");
}

/// Told, counted, and as before.
pub(crate) async fn interrupted(backend: &dyn Backend) {
    let (a, [b, c]) = three(backend, &fresh_nsp()).await;
    patient("a room to be listened to", b.channel.listen("kitchen".into())).await.expect("it listens");
    a.publish(vec![event("before")]).await;
    for server in [&b, &c] {
        let (envelope, _) = server.message().await;
        assert_eq!(text_of(&envelope.message).as_deref(), Some("before"));
    }
    if !patient("an interruption", backend.interrupt()).await {
        println!("    skipped: nothing can be interrupted");
        return;
    }
    let wholes = [resumed(&b).await, resumed(&c).await];
    said(&a, &b, "after").await;
    let room = Letter { to: To::All, message: event_to(Selector::to("kitchen"), "in the kitchen") };
    let published = patient("a result", a.channel.publish(vec![room])).await;
    assert!(published.iter().all(Result::is_ok), "{published:?}");
    heard(&b, "in the kitchen").await;
    for (server, whole) in [&b, &c].into_iter().zip(wholes) {
        let stats = server.channel.stats();
        assert!(stats.disconnects > 0, "expected lost connections to be counted: {stats:?}");
        assert!(whole || stats.gaps > 0, "expected what is lost to be counted: {stats:?}");
    }
}

/// Until the backplane takes it.
async fn said(from: &Server, to: &Server, text: &str) {
    patient("the backplane to take events again", async {
        loop {
            let letter = Letter { to: To::All, message: event(text) };
            if from.channel.publish(vec![letter]).await.iter().all(Result::is_ok) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    heard(to, text).await;
}

async fn heard(server: &Server, text: &str) {
    while text_of(&server.message().await.0.message).as_deref() != Some(text) {}
}

async fn resumed(server: &Server) -> bool {
    loop {
        if let Arrival::Resumed { whole } = server.arrival().await {
            return whole;
        }
    }
}
