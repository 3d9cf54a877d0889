//! One namespace of one server on MongoDB.

use std::sync::Arc;

use mongodb::bson::Document;
use mongodb::bson::oid::ObjectId;
use mongodb::error::ErrorKind;
use sockeye_cluster::Envelope;
use sockeye_cluster::adapter::{
    AdapterError, BoxFuture, Channel, ChannelStats, Letter, Position, Published, Sessions,
};
use tokio::time::timeout;

use crate::document;
use crate::failure;
use crate::house::{House, ask};
use crate::log::Entry;
use crate::members::{Member, position};
use crate::sessions::MongoSessions;

/// An open namespace.
#[derive(Debug)]
pub(crate) struct MongoChannel {
    house: Arc<House>,
    member: Arc<Member>,
    sessions: Option<MongoSessions>,
}

/// A letter as it is inserted, and whether it has an offset.
struct Written {
    document: Document,
    offset: Option<ObjectId>,
}

impl MongoChannel {
    pub(crate) async fn open(house: Arc<House>, member: Arc<Member>) -> Result<Self, AdapterError> {
        house.members.insert(&member);
        let sessions = member.recovery.then(|| MongoSessions::new(Arc::clone(&house), Arc::clone(&member)));
        // From here on a drop strikes it off.
        let channel = Self { house, member, sessions };
        if channel.member.recovery {
            let config = &channel.house.config;
            let mark = document::mark(&channel.member.uid, &channel.member.nsp, config.created_at);
            channel.member.expect(mark.get_object_id("_id").expect("it was drawn with the mark"));
            ask(config, channel.house.stream.collection().insert_one(mark)).await?;
            let begun = timeout(config.timeout, channel.member.begun()).await;
            begun.map_err(|_| failure::late(config))?;
        }
        Ok(channel)
    }

    fn write(&self, letter: Letter) -> Result<Written, AdapterError> {
        let (uid, nsp) = (self.member.uid.clone(), self.member.nsp.clone());
        let envelope = Envelope { uid, nsp, message: letter.message };
        if self.member.is_closed() {
            return Err(AdapterError::Refused("the channel is closed".into()));
        }
        let document = document::write(&envelope, self.house.config.created_at)
            .map_err(|error| AdapterError::Refused(format!("expected JSON that BSON can hold: {error}")))?;
        let id = document.get_object_id("_id").ok().filter(|_| self.member.recovery);
        let offset = id.filter(|id| Entry::of(*id, &envelope).is_some());
        Ok(Written { document, offset })
    }

    /// How many of these were inserted, and why no more.
    async fn insert(&self, documents: Vec<Document>) -> (usize, Option<AdapterError>) {
        let (config, all) = (&self.house.config, documents.len());
        if all == 0 {
            return (0, None);
        }
        let collection = self.house.stream.collection();
        match timeout(config.timeout, collection.insert_many(documents).into_future()).await {
            Ok(Ok(_)) => (all, None),
            Ok(Err(error)) => {
                // In order: what stands after the first that was refused was not tried.
                let first = if let ErrorKind::InsertMany(many) = &*error.kind {
                    let errors = many.write_errors.as_ref();
                    errors.and_then(|errors| errors.first()).map_or(0, |error| error.index)
                } else {
                    0
                };
                (first, Some(failure::sorted(config, &error)))
            }
            Err(_) => (0, Some(failure::late(config))),
        }
    }
}

impl Channel for MongoChannel {
    fn publish(&self, batch: Vec<Letter>) -> BoxFuture<'_, Vec<Result<Published, AdapterError>>> {
        Box::pin(async move {
            let mut documents = Vec::with_capacity(batch.len());
            let mut written = Vec::with_capacity(batch.len());
            for letter in batch {
                written.push(self.write(letter).map(|letter| {
                    documents.push(letter.document);
                    letter.offset
                }));
            }
            let (mut left, error) = self.insert(documents).await;
            let mut outcome = |offset: Option<ObjectId>| {
                if left == 0
                    && let Some(error) = &error
                {
                    return Err(error.clone());
                }
                left = left.saturating_sub(1);
                Ok(Published { offset: offset.as_ref().map(position) })
            };
            let results: Vec<_> = written.into_iter().map(|letter| letter.and_then(&mut outcome)).collect();
            self.member.counters.sent(&results);
            results
        })
    }

    fn began(&self) -> Option<Position> {
        self.member.began().as_ref().map(position)
    }

    fn sessions(&self) -> Option<&dyn Sessions> {
        self.sessions.as_ref().map(|sessions| sessions as &dyn Sessions)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.house.members.remove(&self.member);
        Box::pin(std::future::ready(()))
    }

    fn stats(&self) -> ChannelStats {
        self.member.counters.stats()
    }
}

impl Drop for MongoChannel {
    fn drop(&mut self) {
        self.house.members.remove(&self.member);
    }
}
