//! What is inserted into the collection, in order: by a change stream, or by a cursor at the end of a capped collection.
//!
//! Neither goes on by itself where its connection was lost; that is the business of who reads.

use std::time::Duration;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::error::Error;
use mongodb::options::CursorType;
use mongodb::{Collection, Cursor, Database};
use tokio::time::timeout;

use crate::document;

/// How long the server may wait for something to tell.
const AWAIT: Duration = Duration::from_secs(1);

/// After how long a silence the source counts as lost. A node hears its own heartbeats, each 5 s.
const SILENCE: Duration = Duration::from_secs(15);

/// What is inserted, in order.
pub(crate) struct Source {
    cursor: Cursor<Document>,
    /// Of a cursor: what comes up to this one is passed over.
    behind: Option<ObjectId>,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Changes,
    Documents,
}

/// Where an insertion stands.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// In a change stream.
    Token(Document),
    /// In a capped collection.
    Document(ObjectId),
}

/// An insertion: where it stands, and what was inserted.
pub(crate) struct Insertion {
    pub(crate) place: Place,
    pub(crate) document: Document,
}

impl Source {
    /// A stream of what is inserted from now on, or after a place.
    pub(crate) async fn changes(
        database: &Database,
        collection: &str,
        after: Option<Document>,
    ) -> Result<Self, Error> {
        let mut stage = doc! {};
        if let Some(after) = after {
            stage.insert("resumeAfter", after);
        }
        let pipeline = vec![doc! {"$changeStream": stage}, doc! {"$match": {"operationType": "insert"}}];
        let command = doc! {"aggregate": collection, "pipeline": pipeline, "cursor": {}};
        let cursor =
            database.run_cursor_command(command).cursor_type(CursorType::TailableAwait).max_time(AWAIT);
        Ok(Self { cursor: cursor.await?, behind: None, kind: Kind::Changes })
    }

    /// A cursor at what is inserted from now on, or after a document. `None`: that document is not there any more.
    pub(crate) async fn documents(
        collection: &Collection<Document>,
        after: Option<ObjectId>,
    ) -> Result<Option<Self>, Error> {
        let behind = match after {
            Some(after) => after,
            // A cursor on an empty collection is dead; and the end is found by what stands there.
            None => {
                let beginning = document::beginning();
                let id = beginning.get_object_id("_id").expect("it was drawn with the document");
                collection.insert_one(beginning).await?;
                id
            }
        };
        let cursor =
            collection.find(doc! {}).cursor_type(CursorType::TailableAwait).max_await_time(AWAIT).await?;
        // Looked for after the cursor stands at the first: it comes to this one, or the server says that it lost its place.
        let raw = collection.clone_with_type::<RawDocumentBuf>();
        let there = raw.find_one(doc! {"_id": behind}).projection(doc! {"_id": 1}).await?;
        Ok(there.map(|_| Self { cursor, behind: Some(behind), kind: Kind::Documents }))
    }

    /// The next insertion; `None`: the server has ended it.
    pub(crate) async fn next(&mut self) -> Result<Option<Insertion>, String> {
        loop {
            match timeout(SILENCE, self.cursor.advance()).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return Ok(None),
                Ok(Err(error)) => return Err(error.kind.to_string()),
                Err(_) => return Err(format!("nothing came for {SILENCE:?}")),
            }
            // Not by serde: it would take a user's `{"$date":…}` for extended JSON, and fail.
            let document = Document::try_from(self.cursor.current()).map_err(|error| error.to_string())?;
            match self.kind {
                Kind::Changes => {
                    if let Some(insertion) = inserted(document) {
                        return Ok(Some(insertion));
                    }
                }
                Kind::Documents => {
                    let Ok(id) = document.get_object_id("_id") else { continue };
                    if self.behind.is_none() {
                        return Ok(Some(Insertion { place: Place::Document(id), document }));
                    }
                    self.behind.take_if(|behind| *behind == id);
                }
            }
        }
    }
}

fn inserted(mut event: Document) -> Option<Insertion> {
    let (Some(Bson::Document(token)), Some(Bson::Document(document))) =
        (event.remove("_id"), event.remove("fullDocument"))
    else {
        return None;
    };
    Some(Insertion { place: Place::Token(token), document })
}
