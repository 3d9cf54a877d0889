//! How the proxy hears of its workers.

use std::path::PathBuf;
use std::sync::Arc;

use sockeye_link::{Connection, Handover};
use sockeye_proto::Tag;
use sockeye_relay::Address;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::door::Door;
use crate::shared::Shared;
use crate::stats::Stats;

/// Tells a running [`Proxy`](crate::Proxy) which workers there are. Cheap to clone; no call waits.
#[derive(Clone)]
pub struct Control {
    pub(crate) shared: Arc<Shared>,
    pub(crate) returns: mpsc::Sender<Connection>,
}

impl Control {
    /// A worker is ready: it takes connections by `handover` and requests at the Unix socket `http`.
    pub fn add(&self, tag: Tag, instance: u32, http: PathBuf, handover: Handover) {
        let upstream = self.shared.relay.to(&Address::Unix(http));
        self.shared.workers.add(Door::new(tag, instance, handover, upstream));
        info!(%tag, instance, "worker added");
    }

    /// A worker told its counts.
    pub fn load(&self, tag: Tag, sessions: u32, arrived: u64) {
        self.shared.workers.load(tag, sessions, arrived);
    }

    /// A worker takes no more sessions. Requests of those it has still reach it.
    pub fn drain(&self, tag: Tag) {
        self.shared.workers.drain(tag);
        info!(%tag, "worker drains");
    }

    /// A worker is gone: its sids get the official 400 from here on.
    pub fn remove(&self, tag: Tag) {
        if let Some(door) = self.shared.workers.remove(tag) {
            self.shared.relay.forget(door.upstream.address());
            info!(%tag, instance = door.instance, "worker removed");
        }
    }

    /// A connection that was handed over came back unserved: it is assigned anew.
    pub fn returned(&self, connection: Connection) {
        self.shared.counters.returned.add();
        if let Err(lost) = self.returns.try_send(connection) {
            let (mpsc::error::TrySendError::Full(lost) | mpsc::error::TrySendError::Closed(lost)) = lost;
            warn!(peer = %lost.peer, "returned connection closed: too many wait, or the edge has ended");
        }
    }

    /// A view of the edge at this moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }
}
