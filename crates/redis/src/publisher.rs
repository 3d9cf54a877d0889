//! A channel for programs that are no servers: it publishes, subscribes to nothing, and so counts as nobody.

use std::sync::Arc;

use redis::cmd;
use sockeye_cluster::Nsp;
use sockeye_cluster::adapter::{AdapterError, BoxFuture, Channel, ChannelStats, Letter, Opening, Published};
use sockeye_cluster::counters::Counters;
use sockeye_cluster::node::EMITTER;

use crate::link::Link;

/// What can publish in a format.
pub(crate) trait Post: Send + Sync + 'static {
    /// Publishes a batch; as many results as letters.
    fn post(&self, batch: Vec<Letter>) -> BoxFuture<'_, Vec<Result<Published, AdapterError>>>;

    /// Where it is counted.
    fn counters(&self) -> &Counters;
}

/// Publishes, and counts what became of it.
pub(crate) fn publish(
    post: &impl Post,
    batch: Vec<Letter>,
) -> BoxFuture<'_, Vec<Result<Published, AdapterError>>> {
    Box::pin(async move {
        let results = post.post(batch).await;
        post.counters().sent(&results);
        results
    })
}

/// How a program that is no server opens a namespace.
pub(crate) fn opening(nsp: Nsp) -> Opening {
    Opening { nsp, uid: EMITTER.into(), inbox: Arc::new(|_| {}) }
}

/// Makes a channel that only publishes, when Redis answers.
pub(crate) async fn open(post: impl Post, link: &Link) -> Result<Arc<dyn Channel>, AdapterError> {
    link.send(&cmd("PING")).await?;
    Ok(Arc::new(Publisher(post)))
}

struct Publisher<P>(P);

impl<P: Post> Channel for Publisher<P> {
    fn publish(&self, batch: Vec<Letter>) -> BoxFuture<'_, Vec<Result<Published, AdapterError>>> {
        publish(&self.0, batch)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn stats(&self) -> ChannelStats {
        self.0.counters().stats()
    }
}
