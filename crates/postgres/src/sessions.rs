//! The sessions of a namespace in PostgreSQL, and the events that they may have missed.
//!
//! An event's offset is its id. Ids are given under a lock that lasts until the transaction is over (`post.rs`), so that nobody ever sees an
//! id before a smaller one. Events are deleted oldest first, and the last of the old ones stays (`desk.rs`), so: where the event with
//! the offset is there, everything after it is there.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use sockeye_cluster::adapter::{AdapterError, BoxFuture, Missed, Returned, Session, Sessions};
use sockeye_cluster::{Message, Nsp, Pid, Room};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::desk::{Desk, Live, RecoveryStatements};
use crate::wire;

/// How many events a client may have missed; who has missed more begins anew.
pub const MISSED_EVENTS_MAX: usize = 10_000;

/// How many bytes of events a client may have missed; who has missed more begins anew. 16 MiB.
pub const MISSED_BYTES_MAX: usize = 16 << 20;

/// The sessions of one namespace.
#[derive(Debug)]
pub(crate) struct PostgresSessions {
    desk: Arc<Desk>,
    nsp: Nsp,
    /// Where the channel began: so did a session that knows of no event.
    began: i64,
}

impl PostgresSessions {
    pub(crate) const fn new(desk: Arc<Desk>, nsp: Nsp, began: i64) -> Self {
        Self { desk, nsp, began }
    }

    async fn write_down(&self, session: &Session, keep: Duration) -> Result<(), AdapterError> {
        if session.pid.contains('\0') {
            return Err(AdapterError::Refused("expected a session's id without NUL".into()));
        }
        let start =
            session.start.as_ref().and_then(|start| wire::offset(&start.0).ok()).unwrap_or(self.began);
        let rooms: Vec<_> = session.rooms.iter().map(Room::as_str).collect();
        let rooms =
            serde_json::to_string(&rooms).map_err(|error| AdapterError::Refused(error.to_string()))?;
        self.desk
            .ask(async |live| {
                let (nsp, pid, sid) = (self.nsp.as_str(), session.pid.as_str(), session.sid.as_str());
                let data: &[u8] = &session.data;
                let values: [&(dyn ToSql + Sync); 7] =
                    [&nsp, &pid, &keep.as_secs_f64(), &start, &sid, &rooms, &data];
                live.client.execute(&of(&live).save, &values).await.map(|_| ())
            })
            .await
    }

    async fn give_back(&self, pid: &Pid, offset: Option<&str>) -> Result<Option<Returned>, AdapterError> {
        if pid.contains('\0') {
            return Ok(None);
        }
        let row = self
            .desk
            .ask_once(async |live| {
                live.client.query_opt(&of(&live).take, &[&self.nsp.as_str(), &pid.as_str()]).await
            })
            .await?;
        let Some((session, start)) = row.and_then(|row| session(pid, &row)) else { return Ok(None) };
        // A client keeps the offset of a former session until it meets an event.
        let after = match offset.map(wire::offset) {
            Some(Ok(offset)) => offset.max(start),
            Some(Err(_)) => return Ok(None),
            None => start,
        };
        let missed = self.missed(&session, after).await?;
        Ok(missed.map(|missed| Returned { session, missed }))
    }

    /// What was said after an event to a session's rooms. `None`: that is not known any more, or it is too much.
    async fn missed(&self, session: &Session, after: i64) -> Result<Option<Vec<Missed>>, AdapterError> {
        let rooms: Vec<_> = session.rooms.iter().map(wire::room_text).collect();
        let (limit, nsp) = (i64::try_from(MISSED_EVENTS_MAX).unwrap_or(i64::MAX) + 2, self.nsp.as_str());
        let rows = self
            .desk
            .ask(async |live| {
                let values: [&(dyn ToSql + Sync); 4] = [&nsp, &after, &rooms, &limit];
                let mut rows = std::pin::pin!(live.client.query_raw(&of(&live).missed, values).await?);
                let (mut read, mut bytes) = (Vec::new(), 0);
                while let Some(row) = rows.try_next().await? {
                    let (id, payload): (i64, Option<Vec<u8>>) = (row.get(0), row.get(1));
                    bytes += payload.as_ref().map_or(0, Vec::len);
                    if bytes > MISSED_BYTES_MAX {
                        return Ok(None);
                    }
                    read.push((id, payload));
                }
                Ok(Some(read))
            })
            .await?;
        let Some(rows) = rows else { return Ok(None) };
        if rows.first().is_none_or(|(id, _)| *id != after) || rows.len() > MISSED_EVENTS_MAX + 1 {
            return Ok(None);
        }
        let mut missed = Vec::with_capacity(rows.len() - 1);
        for (id, payload) in rows.into_iter().skip(1) {
            match payload.map(wire::stored) {
                Some(Ok(envelope)) => missed.extend(event(session, id, envelope.message)),
                Some(Err(error)) => {
                    tracing::warn!(id, %error, "an event in PostgreSQL's table cannot be read");
                    return Ok(None);
                }
                None => {}
            }
        }
        Ok(Some(missed))
    }
}

impl Sessions for PostgresSessions {
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
            if pid.contains('\0') {
                return;
            }
            let forgotten = self
                .desk
                .ask(async |live| {
                    live.client.execute(&of(&live).forget, &[&self.nsp.as_str(), &pid.as_str()]).await
                })
                .await;
            if let Err(error) = forgotten {
                tracing::warn!(%error, "a session that is over is still in PostgreSQL's table");
            }
        })
    }
}

fn of(live: &Live) -> &RecoveryStatements {
    live.recovery.as_ref().expect("sessions are opened only where recovery is on")
}

fn session(pid: &Pid, row: &Row) -> Option<(Session, i64)> {
    let alive: bool = row.get(4);
    let (sid, rooms): (&str, &str) = (row.get(0), row.get(1));
    let rooms: Vec<Room> = serde_json::from_str(rooms).ok()?;
    let (data, start): (Vec<u8>, i64) = (row.get(2), row.get(3));
    let session = Session {
        pid: pid.clone(),
        sid: sid.parse().ok()?,
        rooms,
        data: data.into(),
        start: Some(wire::position(start)),
    };
    alive.then_some((session, start))
}

fn event(session: &Session, id: i64, message: Message) -> Option<Missed> {
    let Message::Broadcast { selector, flags, packet, request_id: None } = message else { return None };
    let meant = selector.selects(|room| session.rooms.contains(room));
    meant.then(|| Missed { offset: wire::position(id), selector, flags, packet })
}
