//! Sessions in a bucket of JetStream, and what they missed from the stream.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sockeye_cluster::adapter::{AdapterError, BoxFuture, Missed, Returned, Session, Sessions};
use sockeye_cluster::{Message, Pid, Room, wire};
use sockeye_proto::sid::Sid;

use crate::failure::{keeping, unreachable, with_causes};
use crate::reader::position;
use crate::stream::{Kept, Log};
use crate::subject::{Subjects, token};

/// How many events of a namespace are looked at for one client that comes back; one that has missed more begins anew.
pub const SCANNED_EVENTS_MAX: u64 = 100_000;

/// How many bytes of events one client that comes back may have missed; one that has missed more begins anew.
pub const MISSED_BYTES_MAX: usize = 16 << 20;

/// The sessions of a namespace.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) log: Log,
    pub(crate) subjects: Subjects,
}

/// A session as it lies in the bucket.
#[derive(Serialize, Deserialize)]
struct Entry {
    sid: Sid,
    rooms: Vec<Box<str>>,
    data: Box<RawValue>,
    /// Its place in the stream when it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Box<str>>,
    /// When it is forgotten, in milliseconds since 1970.
    until: u64,
}

impl Sessions for Bucket {
    fn save<'a>(&'a self, session: &'a Session, keep: Duration) -> BoxFuture<'a, Result<(), AdapterError>> {
        Box::pin(async move {
            let value = written(session, now() + milliseconds(keep))?;
            let bytes = value.len();
            let put = self.log.put(self.subject(&session.pid), HeaderMap::new(), value).await;
            put.map_err(|error| keeping(&error, bytes, self.log.bytes_max()))
        })
    }

    fn take<'a>(
        &'a self,
        pid: &'a Pid,
        offset: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<Returned>, AdapterError>> {
        Box::pin(async move {
            let Some((session, until)) = self.take_out(pid).await? else { return Ok(None) };
            let offset = offset.or(session.start.as_ref().map(|start| &*start.0));
            let Some(after) = offset.and_then(|offset| offset.parse().ok()) else { return Ok(None) };
            if until <= now() {
                return Ok(None);
            }
            let missed = self.missed(&session.rooms, after).await?;
            Ok(missed.map(|missed| Returned { session, missed }))
        })
    }

    fn forget<'a>(&'a self, pid: &'a Pid) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Err(error) = self.log.put(self.subject(pid), deleted(None), Bytes::new()).await {
                tracing::debug!(%error, "a session was not forgotten: it will be in time");
            }
        })
    }
}

impl Bucket {
    /// Takes a session from the bucket, if nobody else has meanwhile, with the time when it ends.
    async fn take_out(&self, pid: &Pid) -> Result<Option<(Session, u64)>, AdapterError> {
        let subject = self.subject(pid);
        // Only the leader knows what was written last.
        let entry = match self.log.bucket.get_last_raw_message_by_subject(&subject).await {
            Ok(entry) => entry,
            Err(error) => {
                return match error.kind() {
                    LastRawMessageErrorKind::NoMessageFound => Ok(None),
                    LastRawMessageErrorKind::JetStream(error)
                        if error.error_code() == ErrorCode::NO_MESSAGE_FOUND =>
                    {
                        Ok(None)
                    }
                    LastRawMessageErrorKind::JetStream(_)
                    | LastRawMessageErrorKind::InvalidSubject
                    | LastRawMessageErrorKind::Other => Err(unreachable(with_causes(&error))),
                };
            }
        };
        // What was deleted has left an empty value.
        if entry.payload.is_empty() {
            return Ok(None);
        }
        match self.log.put(subject, deleted(Some(entry.sequence)), Bytes::new()).await {
            Ok(()) => Ok(read(pid, &entry.payload)),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(None),
            Err(error) => Err(unreachable(with_causes(&error))),
        }
    }

    /// What was said to these rooms after a place; `None`: nobody can tell, or it is too much.
    async fn missed(&self, rooms: &[Room], after: u64) -> Result<Option<Vec<Missed>>, AdapterError> {
        let before = self.log.extent().await?;
        if !before.holds_all_after(after) {
            return Ok(None);
        }
        let (mut missed, mut bytes, mut scanned) = (Vec::new(), 0, 0);
        let mut readable = true;
        self.log
            .read(&self.subjects.all_kept(), after, before.last, |kept| {
                scanned += 1;
                match selected(kept, rooms) {
                    Ok(Some(event)) => {
                        bytes += event.packet.bytes();
                        missed.push(event);
                    }
                    Ok(None) => {}
                    Err(Unreadable) => readable = false,
                }
                scanned <= SCANNED_EVENTS_MAX && bytes <= MISSED_BYTES_MAX
            })
            .await?;
        if !readable {
            tracing::debug!("something in the stream is no message: no client has missed it");
        }
        let after_reading = if before.last == after { before } else { self.log.extent().await? };
        let whole = after_reading.holds_all_after(after);
        Ok((whole && scanned <= SCANNED_EVENTS_MAX && bytes <= MISSED_BYTES_MAX).then_some(missed))
    }

    fn subject(&self, pid: &Pid) -> String {
        format!("$KV.{}-sessions.{}.{}", self.subjects.prefix(), self.subjects.nsp(), token(pid))
    }
}

/// Marks a value as deleted, if it is still the one of this revision.
fn deleted(revision: Option<u64>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("KV-Operation", "DEL");
    if let Some(revision) = revision {
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, revision.to_string());
    }
    headers
}

/// Something in the stream that is no message.
struct Unreadable;

/// The event, if it is one that a member of these rooms may have missed.
fn selected(kept: Kept, rooms: &[Room]) -> Result<Option<Missed>, Unreadable> {
    let envelope = wire::decode(&kept.payload).map_err(|_| Unreadable)?;
    let Message::Broadcast { selector, flags, packet, request_id: None } = envelope.message else {
        return Ok(None);
    };
    if flags.volatile || !selector.selects(|room| rooms.contains(room)) {
        return Ok(None);
    }
    Ok(Some(Missed { offset: position(kept.sequence), selector, flags, packet }))
}

fn written(session: &Session, until: u64) -> Result<Bytes, AdapterError> {
    let data =
        std::str::from_utf8(&session.data).ok().and_then(|data| RawValue::from_string(data.to_owned()).ok());
    let entry = Entry {
        sid: session.sid,
        rooms: session.rooms.iter().map(|room| room.as_str().into()).collect(),
        data: data.ok_or_else(|| AdapterError::Refused("a session's data is no JSON".into()))?,
        start: session.start.as_ref().map(|start| (&*start.0).into()),
        until,
    };
    let value = serde_json::to_vec(&entry).map_err(|error| AdapterError::Refused(error.to_string()))?;
    Ok(value.into())
}

fn read(pid: &Pid, value: &[u8]) -> Option<(Session, u64)> {
    let entry: Entry = serde_json::from_slice(value).ok()?;
    let session = Session {
        pid: pid.clone(),
        sid: entry.sid,
        rooms: entry.rooms.iter().map(|room| Room::new(room)).collect(),
        data: Bytes::from(String::from(Box::<str>::from(entry.data)).into_bytes()),
        start: entry.start.map(|start| sockeye_cluster::adapter::Position(start.into())),
    };
    Some((session, entry.until))
}

fn now() -> u64 {
    milliseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
