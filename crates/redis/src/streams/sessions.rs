//! Sessions: one key each, as official servers write and read them, and the stream for what was missed.

use std::time::Duration;

use redis::{Value, cmd};
use serde::Deserialize;
use serde_json::value::RawValue;
use sockeye_cluster::adapter::{AdapterError, BoxFuture, Missed, Position, Returned, Session, Sessions};
use sockeye_cluster::{Message, Nsp, Pid, Room, wire};
use sockeye_proto::sid::Sid;
use tracing::debug;

use super::entry::{Entry, EntryId, Extent, entries_in_range, has_offset};
use super::names::Names;
use crate::link::Link;

/// How many entries are asked for at a time.
const PAGE: usize = 500;

/// How many entries are looked through for one session; where there are more, it is not recovered. Official servers stop after 100 questions.
pub const REPLAY_ENTRIES_MAX: usize = 100_000;

/// The sessions of a namespace.
pub(crate) struct Kept {
    pub(crate) nsp: Nsp,
    pub(crate) names: Names,
    pub(crate) key_prefix: String,
    pub(crate) link: std::sync::Arc<Link>,
}

impl Sessions for Kept {
    fn save<'a>(&'a self, session: &'a Session, keep: Duration) -> BoxFuture<'a, Result<(), AdapterError>> {
        Box::pin(async move {
            let keep = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX).max(1);
            let mut set = cmd("SET");
            set.arg(self.key(&session.pid)).arg(write(session)?).arg("PX").arg(keep);
            self.link.send(&set).await.map(drop)
        })
    }

    fn take<'a>(
        &'a self,
        pid: &'a Pid,
        offset: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<Returned>, AdapterError>> {
        Box::pin(async move {
            let taken = self.link.send(cmd("GETDEL").arg(self.key(pid))).await?;
            let Value::BulkString(text) = taken else { return Ok(None) };
            let Some(session) = read(&text, pid) else { return Ok(None) };
            let place = offset.or_else(|| session.start.as_ref().map(|start| &*start.0));
            // A session without any offset cannot be promised anything.
            let Some(place) = place.and_then(|place| place.parse::<EntryId>().ok()) else { return Ok(None) };
            let missed = self.missed(&session, place).await?;
            Ok(missed.map(|missed| Returned { session, missed }))
        })
    }

    fn forget<'a>(&'a self, pid: &'a Pid) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            // It ends by itself in time.
            let _ = self.link.send(cmd("DEL").arg(self.key(pid))).await;
        })
    }
}

impl Kept {
    fn key(&self, pid: &Pid) -> String {
        format!("{}{pid}", self.key_prefix)
    }

    /// What was published after the place to the rooms of a session; `None` where something may be gone.
    async fn missed(&self, session: &Session, place: EntryId) -> Result<Option<Vec<Missed>>, AdapterError> {
        let mut all = Vec::new();
        let mut known = false;
        for name in self.names.iter() {
            let Some(entries) = self.entries_after(name, place).await? else { return Ok(None) };
            // Asked afterwards: what is gone by then may have been gone before it was read.
            let extent = self.extent(name).await?;
            known |= extent.knows(place);
            if !extent.is_whole_after(place) {
                return Ok(None);
            }
            all.extend(entries.into_iter().filter_map(|entry| self.missed_by(session, &entry)));
        }
        if self.names.also_read.is_some() {
            all.sort_by_key(|(id, _)| *id);
        }
        Ok(known.then(|| all.into_iter().map(|(_, missed)| missed).collect()))
    }

    async fn entries_after(&self, name: &str, place: EntryId) -> Result<Option<Vec<Entry>>, AdapterError> {
        let mut entries: Vec<Entry> = Vec::new();
        let (mut from, mut seen) = (place.next(), 0);
        loop {
            let mut xrange = cmd("XRANGE");
            xrange.arg(name).arg(from.to_string()).arg("+").arg("COUNT").arg(PAGE);
            let page = entries_in_range(self.link.send(&xrange).await?);
            let Some(last) = page.last() else { return Ok(Some(entries)) };
            (from, seen) = (last.id.next(), seen + page.len());
            let is_last = page.len() < PAGE;
            entries.extend(page.into_iter().filter(|entry| entry.is_broadcast() && entry.nsp == *self.nsp));
            if is_last {
                return Ok(Some(entries));
            }
            if seen >= REPLAY_ENTRIES_MAX {
                return Ok(None);
            }
        }
    }

    async fn extent(&self, name: &str) -> Result<Extent, AdapterError> {
        match self.link.send(cmd("XINFO").arg("STREAM").arg(name)).await {
            Ok(value) => Ok(Extent::of(value)),
            Err(AdapterError::Refused(why)) if why.contains("no such key") => Ok(Extent::empty()),
            Err(error) => Err(error),
        }
    }

    fn missed_by(&self, session: &Session, entry: &Entry) -> Option<(EntryId, Missed)> {
        let envelope = match entry.envelope() {
            Ok(envelope) => envelope,
            Err(error) => {
                debug!(id = %entry.id, %error, "skipped what is no message");
                return None;
            }
        };
        if !has_offset(&envelope.message) {
            return None;
        }
        let Message::Broadcast { selector, flags, packet, .. } = envelope.message else { return None };
        let selected = selector.selects(|room| session.rooms.contains(room));
        let missed = Missed { offset: entry.id.position(), selector, flags, packet };
        selected.then_some((entry.id, missed))
    }
}

#[derive(Deserialize)]
struct WireSession<'a> {
    sid: String,
    pid: Option<Pid>,
    rooms: Vec<Room>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    /// Ours alone; official servers pass over it.
    start: Option<String>,
}

/// A session as official servers write it, and where it began.
fn write(session: &Session) -> Result<String, AdapterError> {
    let refused = |error: &dyn std::fmt::Display| AdapterError::Refused(error.to_string());
    let word = |text: &str| serde_json::to_string(text).map_err(|error| refused(&error));
    let rooms = session.rooms.iter().map(|room| word(room)).collect::<Result<Vec<_>, _>>()?.join(",");
    let mut json = format!(
        r#"{{"sid":{},"pid":{},"rooms":[{rooms}],"data":"#,
        word(session.sid.as_str())?,
        word(&session.pid)?
    )
    .into_bytes();
    json.extend_from_slice(&session.data);
    if let Some(start) = &session.start {
        json.extend_from_slice(format!(r#","start":{}"#, word(&start.0)?).as_bytes());
    }
    json.push(b'}');
    wire::stream::pack(&json).map_err(|error| refused(&error))
}

/// Reads what any server wrote. A session whose id is none of ours in form cannot go on here.
fn read(text: &[u8], pid: &Pid) -> Option<Session> {
    let (json, _) = wire::stream::unpack(std::str::from_utf8(text).ok()?).ok()?;
    let session: WireSession<'_> = serde_json::from_slice(&json).ok()?;
    let data = session
        .data
        .map_or_else(|| bytes::Bytes::from_static(b"{}"), |data| json.slice_ref(data.get().as_bytes()));
    Some(Session {
        pid: session.pid.unwrap_or_else(|| pid.clone()),
        sid: session.sid.parse::<Sid>().ok()?,
        rooms: session.rooms,
        data,
        start: session.start.map(|start| Position(start.into())),
    })
}
