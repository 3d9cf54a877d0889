//! The connection for everything that can be asked at any time: attachments, sessions, and what is old.

use std::sync::Arc;

use sockeye_cluster::adapter::AdapterError;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_postgres::{Error, Statement};

use crate::config::{Config, Recovery};
use crate::connect::Link;
use crate::failure;
use crate::schema;

/// The connection. Made when something is asked, and made again after it broke.
#[derive(Debug)]
pub(crate) struct Desk {
    config: Arc<Config>,
    live: Mutex<Option<Arc<Live>>>,
}

/// The connection while it lives, and what is asked on it.
pub(crate) struct Live {
    pub(crate) client: Link,
    /// The payload of an attachment.
    pub(crate) attachment: Statement,
    /// Deletes attachments of this many seconds.
    pub(crate) sweep: Statement,
    pub(crate) recovery: Option<RecoveryStatements>,
}

/// What is asked where recovery is on.
pub(crate) struct RecoveryStatements {
    /// Where a namespace stands; makes a mark in an empty one.
    pub(crate) mark: Statement,
    pub(crate) save: Statement,
    pub(crate) take: Statement,
    pub(crate) missed: Statement,
    pub(crate) forget: Statement,
    /// Events after one.
    pub(crate) after: Statement,
    /// Deletes events of this many seconds, but leaves the last of them in each namespace: after it nothing is missing.
    pub(crate) trim: Statement,
    /// Deletes sessions that are over.
    pub(crate) expire: Statement,
}

impl Desk {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self { config, live: Mutex::new(None) }
    }

    /// Asks something that may be asked twice, within [`Config::publish_timeout`] each. A connection that has broken unnoticed is found out by the first try.
    pub(crate) async fn ask<T, F>(&self, question: impl Fn(Arc<Live>) -> F) -> Result<T, AdapterError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        match self.ask_once(&question).await {
            Err(AdapterError::Unreachable(_)) => self.ask_once(&question).await,
            answer => answer,
        }
    }

    /// Asks something that must not be asked twice.
    pub(crate) async fn ask_once<T, F>(
        &self,
        question: impl FnOnce(Arc<Live>) -> F,
    ) -> Result<T, AdapterError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let asked = async {
            let live = self.live().await?;
            let answer = question(Arc::clone(&live)).await;
            if answer.is_err() && live.client.is_closed() {
                self.forget(&live).await;
            }
            answer.map_err(|error| failure::sorted(&self.config, &error))
        };
        match timeout(self.config.publish_timeout, asked).await {
            Ok(answer) => answer,
            Err(_) => {
                self.live.lock().await.take();
                Err(failure::late(&self.config))
            }
        }
    }

    async fn forget(&self, broken: &Arc<Live>) {
        let mut live = self.live.lock().await;
        if live.as_ref().is_some_and(|live| Arc::ptr_eq(live, broken)) {
            *live = None;
        }
    }

    async fn live(&self) -> Result<Arc<Live>, AdapterError> {
        let mut live = self.live.lock().await;
        if let Some(open) = live.as_ref().filter(|open| !open.client.is_closed()) {
            return Ok(Arc::clone(open));
        }
        let client = Link::open(&self.config, None).await?;
        let opened = Live::prepare(client, &self.config).await;
        let opened = Arc::new(opened.map_err(|error| failure::sorted(&self.config, &error))?);
        *live = Some(Arc::clone(&opened));
        Ok(opened)
    }
}

impl Live {
    async fn prepare(client: Link, config: &Config) -> Result<Self, Error> {
        schema::prepare(&client, config).await?;
        let table = &config.attachments;
        let attachment = client.prepare(&format!("SELECT payload FROM {table} WHERE id = $1")).await?;
        let sweep = format!("DELETE FROM {table} WHERE created_at < now() - make_interval(secs => $1)");
        let sweep = client.prepare(&sweep).await?;
        let recovery = match &config.recovery {
            Some(recovery) => Some(RecoveryStatements::prepare(&client, recovery).await?),
            None => None,
        };
        Ok(Self { client, attachment, sweep, recovery })
    }
}

impl RecoveryStatements {
    async fn prepare(client: &Link, recovery: &Recovery) -> Result<Self, Error> {
        let (events, sessions) = (&recovery.events, &recovery.sessions);
        Ok(Self {
            mark: client
                .prepare(&format!(
                    "WITH line AS MATERIALIZED (SELECT pg_advisory_xact_lock($2, $3)), \
                     last AS (SELECT max(id) AS id FROM {events} WHERE nsp = $1), \
                     mark AS (INSERT INTO {events} (nsp, rooms) SELECT $1, '{{}}' FROM line, last WHERE last.id IS NULL RETURNING id) \
                     SELECT coalesce((SELECT id FROM mark), (SELECT id FROM last))"
                ))
                .await?,
            save: client
                .prepare(&format!(
                    "INSERT INTO {sessions} (nsp, pid, expires_at, start, sid, rooms, data) \
                     VALUES ($1, $2, now() + make_interval(secs => $3), $4, $5, $6, $7) \
                     ON CONFLICT (nsp, pid) DO UPDATE SET expires_at = excluded.expires_at, start = excluded.start, \
                     sid = excluded.sid, rooms = excluded.rooms, data = excluded.data"
                ))
                .await?,
            take: client
                .prepare(&format!(
                    "DELETE FROM {sessions} WHERE nsp = $1 AND pid = $2 \
                     RETURNING sid, rooms, data, start, expires_at > now()"
                ))
                .await?,
            missed: client
                .prepare(&format!(
                    "SELECT id, payload FROM {events} WHERE nsp = $1 AND id >= $2 \
                     AND (id = $2 OR payload IS NOT NULL AND (rooms = '{{}}' OR rooms && $3)) ORDER BY id LIMIT $4"
                ))
                .await?,
            after: client
                .prepare(&format!(
                    "SELECT id, payload FROM {events} WHERE nsp = $1 AND id > $2 ORDER BY id LIMIT $3"
                ))
                .await?,
            forget: client.prepare(&format!("DELETE FROM {sessions} WHERE nsp = $1 AND pid = $2")).await?,
            trim: client
                .prepare(&format!(
                    "DELETE FROM {events} e USING (SELECT nsp, max(id) AS id FROM {events} \
                     WHERE created_at < now() - make_interval(secs => $1) GROUP BY nsp) old \
                     WHERE e.nsp = old.nsp AND e.id < old.id"
                ))
                .await?,
            expire: client.prepare(&format!("DELETE FROM {sessions} WHERE expires_at < now()")).await?,
        })
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("client", &self.client).finish_non_exhaustive()
    }
}
