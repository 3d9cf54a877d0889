//! A server of the suite: an open channel, and what came to it.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use sockeye_cluster::adapter::{Arrival, Channel, Letter, Opening, Position, Published, Traits};
use sockeye_cluster::node::To;
use sockeye_cluster::{Envelope, Message, Nsp, Uid};
use tokio::sync::Notify;

use crate::backend::{Backend, PATIENCE};

/// An open channel, and what came to it.
pub(crate) struct Server {
    pub(crate) uid: Uid,
    pub(crate) traits: Traits,
    pub(crate) channel: Arc<dyn Channel>,
    heard: Arc<Heard>,
}

#[derive(Default)]
struct Heard {
    arrivals: Mutex<VecDeque<Arrival>>,
    bell: Notify,
}

/// A namespace that nobody else has.
pub(crate) fn fresh_nsp() -> Nsp {
    Nsp::new(&format!("/suite-{:016x}", rand::random::<u64>()))
}

/// What has to come, if it does come.
pub(crate) async fn patient<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("expected {what}, nothing came for {PATIENCE:?}"),
    }
}

impl Server {
    pub(crate) async fn open(backend: &dyn Backend, nsp: &Nsp) -> Self {
        let adapter = patient("an adapter", backend.adapter()).await;
        let heard = Arc::<Heard>::default();
        let uid = Uid::from(format!("{:016x}", rand::random::<u64>()));
        let inbox = {
            let heard = Arc::clone(&heard);
            Arc::new(move |arrival| {
                heard.arrivals.lock().push_back(arrival);
                heard.bell.notify_one();
            })
        };
        let opening = Opening { nsp: nsp.clone(), uid: uid.clone(), inbox };
        let channel = patient("an open channel", adapter.open(opening)).await;
        let channel = channel.unwrap_or_else(|error| panic!("expected {nsp} to open: {error}"));
        Self { uid, traits: adapter.traits(), channel, heard }
    }

    /// Publishes, and panics where that fails.
    pub(crate) async fn publish(&self, messages: Vec<Message>) -> Vec<Published> {
        let batch: Vec<_> = messages.into_iter().map(|message| Letter { to: To::All, message }).collect();
        let count = batch.len();
        let results = patient("a result of publish", self.channel.publish(batch)).await;
        assert_eq!(results.len(), count, "expected one result a letter");
        let published = results.into_iter().map(|result| match result {
            Ok(published) => published,
            Err(error) => panic!("expected it to be published: {error}"),
        });
        published.collect()
    }

    /// The next arrival.
    pub(crate) async fn arrival(&self) -> Arrival {
        patient("an arrival", async {
            loop {
                if let Some(arrival) = self.heard.arrivals.lock().pop_front() {
                    return arrival;
                }
                self.heard.bell.notified().await;
            }
        })
        .await
    }

    /// The next message of anybody, its own sender included.
    pub(crate) async fn any_message(&self) -> (Envelope, Option<Position>) {
        loop {
            if let Arrival::Message { envelope, offset } = self.arrival().await {
                return (envelope, offset);
            }
        }
    }

    /// The next message of another server.
    pub(crate) async fn message(&self) -> (Envelope, Option<Position>) {
        loop {
            let (envelope, offset) = self.any_message().await;
            if envelope.uid != self.uid {
                return (envelope, offset);
            }
        }
    }

    /// What has come and was not looked at.
    pub(crate) fn rest(&self) -> Vec<Arrival> {
        self.heard.arrivals.lock().drain(..).collect()
    }
}
