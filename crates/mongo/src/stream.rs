//! The task that listens: it hands on what is inserted, in order, and goes on from its place when the connection was lost.
//!
//! The driver's own change streams go on by themselves and tell nobody; here the gap is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mongodb::bson::Document;
use mongodb::error::Error;
use mongodb::{Collection, Database};
use sockeye_cluster::adapter::Arrival;
use tokio::time::sleep;

use crate::config::{Config, Mode};
use crate::document;
use crate::failure;
use crate::members::Members;
use crate::source::{Place, Source};

/// What listens, and for whom.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) config: Arc<Config>,
    pub(crate) members: Arc<Members>,
    pub(crate) database: Database,
}

impl Stream {
    /// The collection.
    pub(crate) fn collection(&self) -> Collection<Document> {
        self.database.collection(&self.config.collection)
    }

    /// Makes the capped collection, unless there is one.
    pub(crate) async fn make_capped(&self) -> Result<(), Error> {
        let Config { collection, capped_bytes, .. } = &*self.config;
        match self.database.create_collection(collection).capped(true).size(*capped_bytes).await {
            Err(error) if failure::may_be_there(&error) => {
                tracing::debug!(%error, "the collection is left as it is");
                Ok(())
            }
            made => made,
        }
    }

    /// Opens what is inserted from now on, or after a place. `None`: the server does not remember that place.
    pub(crate) async fn open(&self, after: Option<&Place>) -> Result<Option<Source>, Error> {
        let config = &self.config;
        match (config.mode, after) {
            (Mode::ChangeStream, Some(Place::Document(_))) | (Mode::Tailable, Some(Place::Token(_))) => {
                Ok(None)
            }
            (Mode::Tailable, None) => {
                // It may have been dropped; an insertion would make one that is not capped.
                self.make_capped().await?;
                Source::documents(&self.collection(), None).await
            }
            (Mode::Tailable, Some(Place::Document(id))) => {
                Source::documents(&self.collection(), Some(*id)).await
            }
            (Mode::ChangeStream, None) => {
                Source::changes(&self.database, &config.collection, None).await.map(Some)
            }
            (Mode::ChangeStream, Some(Place::Token(token))) => {
                match Source::changes(&self.database, &config.collection, Some(token.clone())).await {
                    Err(error) if failure::lost_its_place(&error) => Ok(None),
                    opened => opened.map(Some),
                }
            }
        }
    }

    /// Hands on, connection after connection. It ends when it is dropped.
    pub(crate) async fn run(self: Arc<Self>, mut source: Source) {
        let mut place = None;
        loop {
            let error = self.hear(source, &mut place).await;
            for member in self.members.all() {
                member.counters.lost();
            }
            tracing::warn!(%error, "MongoDB is not heard any more");
            let whole;
            (source, whole) = self.open_again(&mut place).await;
            if !whole {
                self.begin_again();
            }
            for member in self.members.all() {
                member.arrive(Arrival::Resumed { whole });
            }
            tracing::info!(whole, "MongoDB is heard again");
        }
    }

    async fn hear(&self, mut source: Source, place: &mut Option<Place>) -> String {
        loop {
            match source.next().await {
                Ok(Some(insertion)) => {
                    if let Place::Token(token) = &insertion.place {
                        self.members.stands_at(token.clone(), Instant::now());
                    }
                    *place = Some(insertion.place);
                    self.hand_on(insertion.document);
                }
                Ok(None) => return "the server has ended it".into(),
                Err(error) => return error,
            }
        }
    }

    fn hand_on(&self, document: Document) {
        let (Ok(nsp), Ok(id)) = (document.get_str("nsp"), document.get_object_id("_id")) else { return };
        let Some(member) = self.members.find(nsp) else { return };
        match document::read(document) {
            Ok(Some(envelope)) => member.hear(id, envelope),
            Ok(None) => member.pass(id),
            Err(error) => {
                tracing::warn!(nsp = %member.nsp, %error, "a document is no message");
                member.arrive(Arrival::Malformed);
            }
        }
    }

    /// Opens it where it was lost, or, where the server does not remember that place, at its end.
    async fn open_again(&self, place: &mut Option<Place>) -> (Source, bool) {
        loop {
            match self.open(place.as_ref()).await {
                Ok(Some(source)) => return (source, place.is_some()),
                Ok(None) if place.take().is_some() => continue,
                Ok(None) => tracing::debug!("the capped collection forgets faster than it can be read"),
                Err(error) => tracing::debug!(%error, "MongoDB cannot be heard yet"),
            }
            // The official adapter's second, drawn out, so that not all nodes come at once.
            sleep(Duration::from_millis(rand::random_range(500..1500))).await;
        }
    }

    /// Lets every log begin anew: something is missing in it.
    fn begin_again(&self) {
        self.members.lost_its_place();
        for member in self.members.all().into_iter().filter(|member| member.recovery) {
            member.log.lock().clear();
            let mark = document::mark(&member.uid, &member.nsp, self.config.created_at);
            if let Ok(id) = mark.get_object_id("_id") {
                member.expect(id);
            }
            let collection = self.collection();
            // It ends with the insertion; the driver limits that.
            tokio::spawn(async move {
                if let Err(error) = collection.insert_one(mark).await {
                    tracing::warn!(%error, "clients that come back begin anew: a mark was not written");
                }
            });
        }
    }
}
