//! A server's part on PostgreSQL: the connections, and one channel a namespace.

use std::sync::Arc;

use sockeye_cluster::adapter::{Adapter, AdapterError, BoxFuture, Channel, Opening, Presence, Traits};
use tokio::sync::OnceCell;

use crate::channel::PostgresChannel;
use crate::config::Config;
use crate::house::House;
use crate::members::Member;
use crate::topic;

/// A server's part on PostgreSQL. It connects when its first channel is opened, and has three connections then: one listens, one publishes, one
/// fetches. When it and its channels are dropped they are cut.
#[derive(Debug)]
pub struct Postgres {
    config: Arc<Config>,
    house: OnceCell<Arc<House>>,
}

impl Postgres {
    /// Makes an adapter. Nothing is connected.
    pub fn new(config: Config) -> Self {
        Self { config: Arc::new(config), house: OnceCell::new() }
    }
}

impl Adapter for Postgres {
    fn traits(&self) -> Traits {
        Traits {
            presence: Presence::Heartbeats {
                interval: self.config.heartbeat_interval,
                timeout: self.config.heartbeat_timeout,
            },
            offsets: self.config.recovery.is_some(),
            selects_rooms: false,
        }
    }

    fn place(&self) -> String {
        self.config.place()
    }

    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Channel>, AdapterError>> {
        Box::pin(async move {
            let topic = topic::name(&self.config.channel_prefix, &opening.nsp)?;
            let house = self.house.get_or_try_init(|| House::open(Arc::clone(&self.config))).await?;
            let member = Arc::new(Member::new(topic, opening, self.config.recovery.is_some()));
            let channel = PostgresChannel::open(Arc::clone(house), member).await?;
            Ok(Arc::new(channel) as Arc<dyn Channel>)
        })
    }
}
