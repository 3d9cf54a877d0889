//! How the proxy hears of its workers, and of other configurations.

use std::path::PathBuf;
use std::sync::Arc;

use sockeye_link::{Connection, Handover};
use sockeye_proto::Tag;
use sockeye_relay::Address;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::config::{Config, ConfigError, Endpoint, Listener};
use crate::door::Door;
use crate::shared::Shared;
use crate::stats::Stats;

/// Tells a running [`Proxy`](crate::Proxy) what to do and which workers there are. Cheap to clone; no call waits.
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

    /// Replaces the configuration without closing one connection. Addresses that stay are kept open and the others opened first; those that are not named
    /// stop accepting. Connections keep the terms they came under, their next requests find the new sites and groups. Certificates are read anew. What was
    /// opened by [`Control::listen`] stays. The limits towards upstreams and [`Limits::returned_max`](crate::Limits) are those of the start.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] says in one line what is wrong; all is as it was.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn apply(&self, config: Config) -> Result<(), ConfigError> {
        self.shared.apply(config)?;
        info!("configuration applied");
        Ok(())
    }

    /// Opens one more address beside the configuration, and says where it is.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the name or the address is taken, or nothing can be opened there.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn listen(&self, listener: Listener) -> Result<Endpoint, ConfigError> {
        let name = listener.name.clone();
        let at = self.shared.open_beside(listener)?;
        info!(name, %at, "listener opened");
        Ok(at)
    }

    /// Stops accepting at one listener, whoever opened it; its connections go on.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NotOpen`] when there is none of that name.
    pub fn unlisten(&self, name: &str) -> Result<(), ConfigError> {
        self.shared.places.close(name)?;
        info!(name, "listener closed");
        Ok(())
    }

    /// A view of the edge at this moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }
}
