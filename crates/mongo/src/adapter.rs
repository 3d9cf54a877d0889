//! A server's part on MongoDB: the driver's connections, a stream, and one channel a namespace.

use std::sync::Arc;

use sockeye_cluster::adapter::{Adapter, AdapterError, BoxFuture, Channel, Opening, Presence, Traits};
use tokio::sync::OnceCell;

use crate::channel::MongoChannel;
use crate::config::Config;
use crate::house::House;
use crate::members::Member;

/// A server's part on MongoDB. It connects when its first channel is opened. When it and its channels are dropped it listens no more.
#[derive(Debug)]
pub struct Mongo {
    config: Arc<Config>,
    house: OnceCell<Arc<House>>,
}

impl Mongo {
    /// Makes an adapter. Nothing is connected.
    pub fn new(config: Config) -> Self {
        Self { config: Arc::new(config), house: OnceCell::new() }
    }
}

impl Adapter for Mongo {
    fn traits(&self) -> Traits {
        Traits {
            presence: Presence::Heartbeats {
                interval: self.config.heartbeat_interval,
                timeout: self.config.heartbeat_timeout,
            },
            offsets: self.config.recovery,
            selects_rooms: false,
        }
    }

    fn place(&self) -> String {
        self.config.place()
    }

    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Channel>, AdapterError>> {
        Box::pin(async move {
            let house = self.house.get_or_try_init(|| House::open(Arc::clone(&self.config))).await?;
            let member = Arc::new(Member::new(opening, self.config.recovery));
            let channel = MongoChannel::open(Arc::clone(house), member).await?;
            Ok(Arc::new(channel) as Arc<dyn Channel>)
        })
    }
}
