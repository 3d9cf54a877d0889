//! Servers that come and go.

use std::time::Duration;

use sockeye_cluster::adapter::{Arrival, Presence};

use super::messages::three;
use crate::backend::Backend;
use crate::samples::{event, text_of};
use crate::server::{Server, fresh_nsp, patient};

/// As they open and close.
pub(crate) async fn counted(backend: &dyn Backend) {
    let nsp = fresh_nsp();
    let a = Server::open(backend, &nsp).await;
    if a.traits.presence != Presence::Counted {
        return;
    }
    becomes(&a, 1).await;
    let b = Server::open(backend, &nsp).await;
    let elsewhere = Server::open(backend, &fresh_nsp()).await;
    becomes(&a, 2).await;
    becomes(&b, 2).await;
    becomes(&elsewhere, 1).await;
    b.channel.close().await;
    becomes(&a, 1).await;
}

async fn becomes(server: &Server, count: u64) {
    patient(&format!("{count} servers to be counted"), async {
        // A backplane may take a moment to notice who left.
        while server.channel.servers().await != Ok(count) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// For who closes, and for who stays.
pub(crate) async fn closed(backend: &dyn Backend) {
    let (a, [b, c]) = three(backend, &fresh_nsp()).await;
    a.publish(vec![event("the last word")]).await;
    patient("a close", a.channel.close()).await;
    let (envelope, _) = b.message().await;
    assert_eq!(text_of(&envelope.message).as_deref(), Some("the last word"));
    a.rest();
    b.publish(vec![event("behind its back")]).await;
    loop {
        let (envelope, _) = c.message().await;
        if text_of(&envelope.message).as_deref() == Some("behind its back") {
            break;
        }
    }
    let heard = a.rest();
    let messages = heard.iter().filter(|arrival| matches!(arrival, Arrival::Message { .. }));
    assert_eq!(messages.count(), 0, "expected nothing after the close, got {heard:?}");
    // Twice is once.
    patient("a second close", a.channel.close()).await;
}
