//! The adapter: one connection for all namespaces of a server, made when the first is opened.

use std::sync::Arc;

use sockeye_cluster::adapter::{Adapter, AdapterError, BoxFuture, Channel, Opening, Presence, Traits};
use tokio::sync::OnceCell;

use crate::channel::Seat;
use crate::config::Config;
use crate::link::Link;
use crate::stream::Log;
use crate::subject::{NSP_BYTES_MAX, Subjects};

/// NATS as a backplane.
#[derive(Debug)]
pub struct Nats {
    config: Config,
    link: OnceCell<Link>,
    log: OnceCell<Log>,
}

impl Nats {
    /// Makes the adapter; it connects when the first namespace is opened.
    pub fn new(config: Config) -> Self {
        Self { config, link: OnceCell::new(), log: OnceCell::new() }
    }

    async fn seat(&self, opening: Opening) -> Result<Seat, AdapterError> {
        let subjects = Subjects::new(&self.config.prefix, &opening.nsp).ok_or_else(|| {
            AdapterError::Refused(format!(
                "the namespace {:.40}… has a name of more than {NSP_BYTES_MAX} bytes: NATS takes no such subject",
                opening.nsp.as_str()
            ))
        })?;
        let link = Box::pin(self.link.get_or_try_init(|| Link::connect(&self.config))).await?;
        let log = match &self.config.recovery {
            Some(recovery) => {
                let opening = || Log::open(&link.client, &self.config.prefix, recovery);
                Some(Box::pin(self.log.get_or_try_init(opening)).await?.clone())
            }
            None => None,
        };
        Box::pin(Seat::open(link.clone(), log, subjects, opening, self.config.publish_timeout)).await
    }
}

impl Adapter for Nats {
    fn traits(&self) -> Traits {
        Traits {
            presence: Presence::Heartbeats {
                interval: self.config.heartbeat_interval,
                timeout: self.config.heartbeat_timeout,
            },
            offsets: self.config.recovery.is_some(),
            selects_rooms: true,
        }
    }

    fn place(&self) -> String {
        self.config.place()
    }

    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Channel>, AdapterError>> {
        Box::pin(async move { Ok(Arc::new(self.seat(opening).await?) as Arc<dyn Channel>) })
    }
}
