//! The change stream: it hands on what is inserted, in order, and goes on from its place when the connection was lost.
//!
//! The driver's own change streams go on by themselves and tell nobody; here the gap is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mongodb::bson::{Bson, Document, doc};
use mongodb::error::Error;
use mongodb::options::CursorType;
use mongodb::{Collection, Cursor, Database};
use sockeye_cluster::adapter::Arrival;
use tokio::time::{sleep, timeout};

use crate::config::Config;
use crate::document;
use crate::failure;
use crate::members::Members;

/// How long the server may wait for something to tell.
const AWAIT: Duration = Duration::from_secs(1);

/// After how long a silence the stream counts as lost. A node hears its own heartbeats, each 5 s.
const SILENCE: Duration = Duration::from_secs(15);

/// What listens, and for whom.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) config: Arc<Config>,
    pub(crate) members: Arc<Members>,
    pub(crate) database: Database,
}

/// An insertion: where it stands in the stream, and what was inserted.
pub(crate) struct Insertion {
    pub(crate) token: Document,
    pub(crate) document: Document,
}

impl Stream {
    /// The collection.
    pub(crate) fn collection(&self) -> Collection<Document> {
        self.database.collection(&self.config.collection)
    }

    /// Opens a stream of what is inserted, of all that is inserted from now on or after a place.
    pub(crate) async fn open(&self, after: Option<Document>) -> Result<Cursor<Document>, Error> {
        let mut stage = doc! {};
        if let Some(after) = after {
            stage.insert("resumeAfter", after);
        }
        let pipeline = vec![doc! {"$changeStream": stage}, doc! {"$match": {"operationType": "insert"}}];
        let command = doc! {"aggregate": &self.config.collection, "pipeline": pipeline, "cursor": {}};
        self.database.run_cursor_command(command).cursor_type(CursorType::TailableAwait).max_time(AWAIT).await
    }

    /// Hands on, connection after connection. It ends when it is dropped.
    pub(crate) async fn run(self: Arc<Self>, mut cursor: Cursor<Document>) {
        let mut token = None;
        loop {
            let error = self.hear(cursor, &mut token).await;
            for member in self.members.all() {
                member.disconnected();
            }
            tracing::warn!(%error, "the change stream is lost");
            let whole;
            (cursor, whole) = self.open_again(&mut token).await;
            if !whole {
                self.begin_again();
            }
            for member in self.members.all() {
                member.arrive(Arrival::Resumed { whole });
            }
            tracing::info!(whole, "the change stream goes on");
        }
    }

    async fn hear(&self, mut cursor: Cursor<Document>, token: &mut Option<Document>) -> String {
        loop {
            match next(&mut cursor).await {
                Ok(Some(insertion)) => {
                    self.members.stands_at(insertion.token.clone(), Instant::now());
                    *token = Some(insertion.token);
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

    /// Opens the stream where it was lost, or, where the server does not remember that place, at its end.
    async fn open_again(&self, token: &mut Option<Document>) -> (Cursor<Document>, bool) {
        loop {
            match self.open(token.clone()).await {
                Ok(cursor) => return (cursor, token.is_some()),
                Err(error) if failure::lost_its_place(&error) => {
                    *token = None;
                    continue;
                }
                Err(error) => tracing::debug!(%error, "the change stream is not open yet"),
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

/// The next insertion; `None`: the stream has ended.
pub(crate) async fn next(cursor: &mut Cursor<Document>) -> Result<Option<Insertion>, String> {
    loop {
        match timeout(SILENCE, cursor.advance()).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Ok(None),
            Ok(Err(error)) => return Err(error.kind.to_string()),
            Err(_) => return Err(format!("nothing came for {SILENCE:?}")),
        }
        // Not by serde: it would take a user's `{"$date":…}` for extended JSON, and fail.
        let event = Document::try_from(cursor.current());
        let mut event = event.map_err(|error| error.to_string())?;
        if let (Some(Bson::Document(token)), Some(Bson::Document(document))) =
            (event.remove("_id"), event.remove("fullDocument"))
        {
            return Ok(Some(Insertion { token, document }));
        }
    }
}
