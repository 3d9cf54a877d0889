//! The sessions of a namespace in MongoDB, and the events that they may have missed.
//!
//! A session is a document of type 13, as the official adapter writes it, with three fields more: where it began, when it ends, and a place in the change stream
//! from which on everything is read that it may have missed, if this node does not remember it. (In a capped collection each event is such a place.)
//!
//! Whoever deletes a session has it. In a capped collection nothing is deleted: who writes the first tombstone after it has it.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document, RawDocumentBuf, doc};
use sockeye_cluster::adapter::{AdapterError, BoxFuture, Missed, Position, Returned, Session, Sessions};
use sockeye_cluster::{Pid, Room};
use tokio::time::timeout;

use crate::config::Mode;
use crate::document::{self, SESSION};
use crate::failure;
use crate::house::{House, ask};
use crate::log::Entry;
use crate::members::{Member, position};
use crate::source::Place;
use crate::values;

/// The sessions of one namespace.
#[derive(Debug)]
pub(crate) struct MongoSessions {
    house: Arc<House>,
    member: Arc<Member>,
    /// Only one reads the stream again at a time: what it finds serves the others, too.
    reading: tokio::sync::Mutex<()>,
}

/// A session as it was found.
struct Found {
    session: Session,
    start: Option<ObjectId>,
    token: Option<Document>,
}

impl MongoSessions {
    pub(crate) fn new(house: Arc<House>, member: Arc<Member>) -> Self {
        Self { house, member, reading: tokio::sync::Mutex::new(()) }
    }

    async fn write_down(&self, session: &Session, keep: Duration) -> Result<(), AdapterError> {
        let refused = |error: serde_json::Error| AdapterError::Refused(error.to_string());
        let data = values::from_json(&session.data, &[]).map_err(refused)?;
        let start = session.start.as_ref().and_then(id).or(self.member.began());
        let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let ends = DateTime::now().timestamp_millis().saturating_add(keep);
        let rooms: Vec<_> = session.rooms.iter().map(|room| room.to_string()).collect();
        let mut kept =
            doc! {"sid": session.sid.as_str(), "pid": session.pid.as_str(), "rooms": rooms, "data": data};
        kept.extend(doc! {"expiresAt": ends, "start": start.map(ObjectId::to_hex), "token": self.house.members.stood_at()});
        if !self.house.config.created_at {
            return self.insert(ObjectId::new(), kept).await;
        }
        let key = self.key(&session.pid);
        let (uid, nsp) = (self.member.uid.as_str(), self.member.nsp.as_str());
        let document = doc! {"_id": key, "type": SESSION, "data": kept, "uid": uid, "nsp": nsp, "createdAt": DateTime::now()};
        let collection = self.house.stream.collection();
        let written = collection.replace_one(doc! {"_id": key}, document).upsert(true);
        ask(&self.house.config, written).await.map(|_| ())
    }

    /// Inserts a session into a capped collection, or its tombstone.
    async fn insert(&self, id: ObjectId, kept: Document) -> Result<(), AdapterError> {
        let (uid, nsp) = (self.member.uid.as_str(), self.member.nsp.as_str());
        let document = doc! {"_id": id, "type": SESSION, "data": kept, "uid": uid, "nsp": nsp};
        ask(&self.house.config, self.house.stream.collection().insert_one(document)).await.map(|_| ())
    }

    async fn give_back(&self, pid: &Pid, offset: Option<&str>) -> Result<Option<Returned>, AdapterError> {
        let Some(found) = self.claim(pid).await? else { return Ok(None) };
        let offset = match offset.map(ObjectId::parse_str) {
            Some(Ok(offset)) => Some(offset),
            Some(Err(_)) => return Ok(None),
            None => None,
        };
        let end = self.hear_all().await?;
        for wanted in offset.iter().chain(found.start.as_ref()) {
            self.remember(wanted, found.token.as_ref(), end).await?;
        }
        let log = self.member.log.lock();
        let after = match (offset, found.start) {
            // A client keeps the offset of a former session until it meets an event.
            (Some(offset), Some(start)) if log.knows(&offset) || offset.bytes() < start.bytes() => {
                if log.order(&offset, &start).is_lt() { start } else { offset }
            }
            (Some(offset), _) => offset,
            (None, Some(start)) => start,
            (None, None) => return Ok(None),
        };
        let missed = log.after(&after, &found.session.rooms);
        drop(log);
        let missed = missed.map(|missed| missed.into_iter().filter_map(told).collect());
        Ok(missed.map(|missed| Returned { session: found.session, missed }))
    }

    /// Takes a session out of the collection; one that a Node.js server wrote, too.
    async fn claim(&self, pid: &Pid) -> Result<Option<Found>, AdapterError> {
        let config = &self.house.config;
        if !config.created_at {
            return self.claim_capped(pid).await;
        }
        // Not documents by serde: it would take a user's `{"$date":…}` for extended JSON, and fail.
        let collection = self.house.stream.collection().clone_with_type::<RawDocumentBuf>();
        let nsp = self.member.nsp.as_str();
        let ours = ask(config, collection.find_one_and_delete(doc! {"_id": self.key(pid)})).await?;
        let document = match ours {
            Some(ours) => Some(ours),
            None => {
                let foreign = doc! {"type": SESSION, "nsp": nsp, "data.pid": pid.as_str()};
                ask(config, collection.find_one_and_delete(foreign)).await?
            }
        };
        let document = document.and_then(|document| Document::try_from(&*document).ok());
        Ok(document.and_then(|document| read(pid, document)))
    }

    /// The same where nothing can be deleted: by a tombstone, which the official adapter writes, too.
    async fn claim_capped(&self, pid: &Pid) -> Result<Option<Found>, AdapterError> {
        let tombstone = ObjectId::new();
        self.insert(tombstone, doc! {"pid": pid.as_str(), "tombstone": true}).await?;
        let collection = self.house.stream.collection().clone_with_type::<RawDocumentBuf>();
        let filter = doc! {"type": SESSION, "nsp": self.member.nsp.as_str(), "data.pid": pid.as_str()};
        let last = async {
            // The order of insertion.
            let mut cursor = collection.find(filter).sort(doc! {"$natural": 1}).await?;
            let mut last = None;
            while cursor.advance().await? {
                let Ok(document) = Document::try_from(cursor.current()) else { continue };
                if document.get_object_id("_id").ok() == Some(tombstone) {
                    break;
                }
                last = Some(document);
            }
            Ok(last)
        };
        // A tombstone has no sid, and is no session.
        Ok(ask(&self.house.config, last).await?.and_then(|document| read(pid, document)))
    }

    /// Waits until this node has heard all that was published before.
    async fn hear_all(&self) -> Result<ObjectId, AdapterError> {
        let config = &self.house.config;
        let mark = document::mark(&self.member.uid, &self.member.nsp, config.created_at);
        let id = mark.get_object_id("_id").expect("it was drawn with the mark");
        self.member.want(id);
        let heard = async {
            ask(config, self.house.stream.collection().insert_one(mark)).await?;
            self.member.has_passed(id).await;
            Ok(id)
        };
        let heard = timeout(config.timeout, heard).await.unwrap_or_else(|_| Err(failure::late(config)));
        self.member.want_no_more(&id);
        heard
    }

    /// Sees that an event is remembered, if it can be found by reading the stream again.
    async fn remember(
        &self,
        wanted: &ObjectId,
        token: Option<&Document>,
        end: ObjectId,
    ) -> Result<(), AdapterError> {
        if self.member.log.lock().knows(wanted) {
            return Ok(());
        }
        let _one = self.reading.lock().await;
        if self.member.log.lock().knows(wanted) {
            return Ok(());
        }
        let config = &self.house.config;
        let again = async {
            match config.mode {
                Mode::ChangeStream => {
                    let Some(token) = token else { return Ok(()) };
                    self.catch_up(&Place::Token(token.clone()), Vec::new(), end).await
                }
                Mode::Tailable => {
                    let Some(first) = self.look_up(wanted).await? else { return Ok(()) };
                    self.catch_up(&Place::Document(*wanted), vec![first], end).await
                }
            }
        };
        timeout(config.timeout, again).await.unwrap_or_else(|_| Err(failure::late(config)))
    }

    /// What this namespace has under an id in the collection.
    async fn look_up(&self, id: &ObjectId) -> Result<Option<Entry>, AdapterError> {
        let collection = self.house.stream.collection().clone_with_type::<RawDocumentBuf>();
        let filter = doc! {"_id": id, "nsp": self.member.nsp.as_str()};
        let found = ask(&self.house.config, collection.find_one(filter)).await?;
        let document = found.and_then(|document| Document::try_from(&*document).ok());
        Ok(document.map(|document| {
            let envelope = document::read(document).ok().flatten();
            let event = envelope.and_then(|envelope| Entry::of(*id, &envelope));
            event.unwrap_or(Entry { id: *id, event: None })
        }))
    }

    /// Reads again, after a place up to what this node remembers; at the most up to a mark.
    async fn catch_up(
        &self,
        place: &Place,
        mut earlier: Vec<Entry>,
        end: ObjectId,
    ) -> Result<(), AdapterError> {
        let Some(front) = self.member.log.lock().front() else { return Ok(()) };
        let opened = self.house.stream.open(Some(place)).await;
        let opened = opened.map_err(|error| failure::sorted(&self.house.config, &error))?;
        let Some(mut source) = opened else { return Ok(()) };
        loop {
            let next = source.next().await.map_err(AdapterError::Unreachable)?;
            let Some(insertion) = next else { return Ok(()) };
            let document = insertion.document;
            let (Ok(nsp), Ok(id)) = (document.get_str("nsp"), document.get_object_id("_id")) else {
                continue;
            };
            if id == front {
                break;
            }
            if id == end || self.member.log.lock().knows(&id) {
                // The place is later than what this node remembers.
                return Ok(());
            }
            if nsp == self.member.nsp.as_str()
                && let Ok(Some(envelope)) = document::read(document)
            {
                earlier.extend(Entry::of(id, &envelope));
            }
        }
        let mut log = self.member.log.lock();
        if log.front() == Some(front) {
            log.prepend(earlier);
        }
        Ok(())
    }

    /// Sees that nobody takes a session any more.
    async fn lay_to_rest(&self, pid: &Pid) -> Result<(), AdapterError> {
        if self.house.config.created_at {
            return self.claim(pid).await.map(|_| ());
        }
        self.insert(ObjectId::new(), doc! {"pid": pid.as_str(), "tombstone": true}).await
    }

    /// The id of a session's document: one a session, so that nobody can take two of it.
    fn key(&self, pid: &Pid) -> ObjectId {
        // FNV-1a, with 128 bits; the last twelve bytes.
        let text = self.member.nsp.bytes().chain([0]).chain(pid.bytes());
        let hash = text.fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
            (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
        });
        let mut bytes = [0; 12];
        bytes.copy_from_slice(&hash.to_be_bytes()[4..]);
        ObjectId::from_bytes(bytes)
    }
}

impl Sessions for MongoSessions {
    fn save<'a>(&'a self, session: &'a Session, keep: Duration) -> BoxFuture<'a, Result<(), AdapterError>> {
        Box::pin(self.write_down(session, keep))
    }

    fn take<'a>(
        &'a self,
        pid: &'a Pid,
        offset: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<Returned>, AdapterError>> {
        Box::pin(self.give_back(pid, offset))
    }

    fn forget<'a>(&'a self, pid: &'a Pid) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Err(error) = self.lay_to_rest(pid).await {
                tracing::warn!(%error, "a session that is over is still in MongoDB");
            }
        })
    }

    fn order(&self, one: &Position, other: &Position) -> Ordering {
        match (id(one), id(other)) {
            (Some(one), Some(other)) => self.member.log.lock().order(&one, &other),
            (one, other) => one.is_some().cmp(&other.is_some()),
        }
    }
}

fn id(position: &Position) -> Option<ObjectId> {
    ObjectId::parse_str(&*position.0).ok()
}

fn read(pid: &Pid, mut document: Document) -> Option<Found> {
    let Some(Bson::Document(mut kept)) = document.remove("data") else { return None };
    // The key is a hash.
    if kept.get_str("pid").ok()? != pid.as_str() {
        return None;
    }
    let ends = kept.get("expiresAt").and_then(milliseconds);
    if ends.is_some_and(|ends| ends <= DateTime::now().timestamp_millis()) {
        return None;
    }
    let rooms: Option<Vec<Room>> =
        kept.get_array("rooms").ok()?.iter().map(|room| room.as_str().map(Room::new)).collect();
    let data = match kept.remove("data") {
        Some(data) => text(data)?,
        None => Bytes::from_static(b"{}"),
    };
    let start = kept.get_str("start").ok().and_then(|start| ObjectId::parse_str(start).ok());
    let token = kept.get_document("token").ok().cloned();
    let sid = kept.get_str("sid").ok()?.parse().ok()?;
    let session = Session { pid: pid.clone(), sid, rooms: rooms?, data, start: start.as_ref().map(position) };
    Some(Found { session, start, token })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the kinds of BSON are many, and not ours")]
fn milliseconds(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int64(number) => Some(*number),
        Bson::Int32(number) => Some(i64::from(*number)),
        _ => None,
    }
}

/// A value as JSON. (Data of a Node.js server may hold what JSON cannot.)
fn text(value: Bson) -> Option<Bytes> {
    let (text, parts) = values::to_json(&doc! {"v": value}).ok()?;
    let inner = text.get(b"{\"v\":".len()..text.len() - 1)?.to_vec();
    parts.is_empty().then(|| Bytes::from(inner))
}

fn told(entry: Entry) -> Option<Missed> {
    let event = entry.event?;
    Some(Missed {
        offset: position(&entry.id),
        selector: event.selector.clone(),
        flags: event.flags.clone(),
        packet: event.packet.clone(),
    })
}
