//! One namespace of one server on PostgreSQL.

use std::sync::Arc;

use sockeye_cluster::Envelope;
use sockeye_cluster::adapter::{
    AdapterError, BoxFuture, Channel, ChannelStats, Letter, Position, Published, Sessions,
};

use crate::house::House;
use crate::members::Member;
use crate::post::Destination;
use crate::schema;
use crate::sessions::PostgresSessions;
use crate::wire::{self, Parcel};

/// An open namespace.
#[derive(Debug)]
pub(crate) struct PostgresChannel {
    house: Arc<House>,
    member: Arc<Member>,
    lock: (i32, i32),
    sessions: Option<PostgresSessions>,
}

impl PostgresChannel {
    pub(crate) async fn open(house: Arc<House>, member: Arc<Member>) -> Result<Self, AdapterError> {
        let recovery = house.config.recovery.as_ref();
        let table = recovery.map_or("", |recovery| recovery.events.as_str());
        let lock = (schema::lock_key(table), schema::lock_key(&member.nsp));
        house.members.insert(&member);
        // From here on a drop strikes it off.
        let mut channel = Self { house, member, lock, sessions: None };
        channel.house.ear.listen(&channel.member.topic).await?;
        if channel.house.config.recovery.is_some() {
            let began = channel.mark().await?;
            channel.member.begin(began);
            let (desk, nsp) = (Arc::clone(&channel.house.desk), channel.member.nsp.clone());
            channel.sessions = Some(PostgresSessions::new(desk, nsp, began));
        }
        Ok(channel)
    }

    /// Where the namespace stands. It is asked when the channel listens already: what comes later is heard.
    async fn mark(&self) -> Result<i64, AdapterError> {
        let (nsp, lock) = (self.member.nsp.as_str(), self.lock);
        self.house
            .desk
            .ask(async |live| {
                let recovery = live.recovery.as_ref().expect("it is asked only where recovery is on");
                Ok(live.client.query_one(&recovery.mark, &[&nsp, &lock.0, &lock.1]).await?.get(0))
            })
            .await
    }

    /// What of a batch can be written, and why the rest cannot.
    fn parcels(&self, batch: Vec<Letter>) -> Vec<Result<Parcel, AdapterError>> {
        let config = &self.house.config;
        let write = |letter: Letter| {
            let (uid, nsp) = (self.member.uid.clone(), self.member.nsp.clone());
            let envelope = Envelope { uid, nsp, message: letter.message };
            let parcel = wire::write(&envelope, config.payload_threshold, config.recovery.is_some());
            let parcel = parcel.map_err(|error| AdapterError::Refused(error.to_string()))?;
            if self.member.is_closed() {
                return Err(AdapterError::Refused("the channel is closed".into()));
            }
            if parcel.head.contains('\0') {
                return Err(AdapterError::Refused("expected JSON text in the packet: it holds NUL".into()));
            }
            Ok(parcel)
        };
        batch.into_iter().map(write).collect()
    }
}

impl Channel for PostgresChannel {
    fn publish(&self, batch: Vec<Letter>) -> BoxFuture<'_, Vec<Result<Published, AdapterError>>> {
        Box::pin(async move {
            let parcels = self.parcels(batch);
            let refused: Vec<_> = parcels.iter().map(|parcel| parcel.as_ref().err().cloned()).collect();
            let to = Destination { topic: &self.member.topic, nsp: &self.member.nsp, lock: self.lock };
            let parcels = parcels.into_iter().filter_map(Result::ok).collect();
            let mut posted = self.house.post.post(to, parcels).await.into_iter();
            let mut result = |refused: Option<AdapterError>| match refused {
                Some(error) => Err(error),
                None => posted
                    .next()
                    .expect("each parcel has a result")
                    .map(|id| Published { offset: id.map(wire::position) }),
            };
            let results: Vec<_> = refused.into_iter().map(&mut result).collect();
            self.member.counters.sent(&results);
            results
        })
    }

    fn began(&self) -> Option<Position> {
        self.member.began().map(wire::position)
    }

    fn sessions(&self) -> Option<&dyn Sessions> {
        self.sessions.as_ref().map(|sessions| sessions as &dyn Sessions)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.house.ear.unlisten(&self.member))
    }

    fn stats(&self) -> ChannelStats {
        self.member.counters.stats()
    }
}

impl Drop for PostgresChannel {
    fn drop(&mut self) {
        if self.member.is_closed() {
            return;
        }
        self.house.members.remove(&self.member);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (ear, member) = (Arc::clone(&self.house.ear), Arc::clone(&self.member));
            // It ends by itself within `publish_timeout`.
            runtime.spawn(async move { ear.unlisten(&member).await });
        }
    }
}
