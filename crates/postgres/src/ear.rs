//! The connection that listens: it hands on what is notified, in order, and comes back when it was lost.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sockeye_cluster::adapter::{AdapterError, Arrival};
use sockeye_cluster::wire::Malformed;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_postgres::Notification;

use crate::config::Config;
use crate::connect::Link;
use crate::desk::Desk;
use crate::failure;
use crate::members::{Member, Members};
use crate::topic;
use crate::wire::{self, Body, Heard};

/// How many notifications wait to be handed on; where there are more, the server keeps them.
const WAITING_MAX: usize = 1024;

/// After how much silence the connection is asked whether it lives. A node hears its own heartbeats, each 5 s.
const SILENCE: Duration = Duration::from_secs(10);

/// How many events are read at a time to catch up.
const CATCH_UP: i64 = 500;

/// The listening connection.
#[derive(Debug)]
pub(crate) struct Ear {
    config: Arc<Config>,
    members: Arc<Members>,
    desk: Arc<Desk>,
    live: watch::Sender<Option<Arc<Link>>>,
    /// Held from the look into the list of channels until the server knows.
    order: Mutex<()>,
}

/// What comes in on one connection.
type Coming = mpsc::Receiver<Notification>;

impl Ear {
    /// Connects for the first time; [`Ear::run`] goes on from there.
    pub(crate) async fn open(
        config: Arc<Config>,
        members: Arc<Members>,
        desk: Arc<Desk>,
    ) -> Result<(Arc<Self>, Coming), AdapterError> {
        let ear = Self { config, members, desk, live: watch::Sender::new(None), order: Mutex::new(()) };
        let coming = ear.connect().await?;
        Ok((Arc::new(ear), coming))
    }

    /// Hands on, connection after connection. It ends when it is dropped.
    pub(crate) async fn run(self: Arc<Self>, mut coming: Coming) {
        loop {
            self.hear(coming).await;
            self.live.send_replace(None);
            for member in self.members.all() {
                member.counters.lost();
            }
            tracing::warn!("the connection that listens to PostgreSQL is lost");
            coming = self.reconnect().await;
            for member in self.members.all() {
                if self.config.recovery.is_some() {
                    self.catch_up(&member).await;
                }
                member.arrive(Arrival::Resumed { whole: false });
            }
            tracing::info!(
                "PostgreSQL is listened to again; what was notified meanwhile and not written down is lost"
            );
        }
    }

    /// Listens to a topic. It is listed by then, so that a connection that comes later listens too.
    pub(crate) async fn listen(&self, topic: &str) -> Result<(), AdapterError> {
        let late = failure::late(&self.config);
        let until = Instant::now() + self.config.publish_timeout;
        let _order = timeout_at(until, self.order.lock()).await.map_err(|_| late.clone())?;
        let mut live = self.live.subscribe();
        let statement = format!("LISTEN {}", topic::quoted(topic));
        loop {
            let link = timeout_at(until, live.wait_for(Option::is_some)).await;
            let link = link.ok().and_then(|link| link.ok()?.clone()).ok_or_else(|| late.clone())?;
            let listening = timeout_at(until, link.batch_execute(&statement)).await;
            match listening.map_err(|_| late.clone())? {
                Ok(()) => return Ok(()),
                Err(_) if link.is_closed() => {
                    drop(link);
                    // The next connection has listened to it before it shows.
                    timeout_at(until, live.wait_for(Option::is_none)).await.ok();
                }
                Err(error) => return Err(failure::sorted(&self.config, &error)),
            }
        }
    }

    /// Strikes a channel off, and listens to its topic no more if nobody else does. Where that fails, what comes is thrown away.
    pub(crate) async fn unlisten(&self, member: &Arc<Member>) {
        let _order = self.order.lock().await;
        if !self.members.remove(member) {
            return;
        }
        let Some(link) = self.live.borrow().clone() else { return };
        let statement = format!("UNLISTEN {}", topic::quoted(&member.topic));
        timeout(self.config.publish_timeout, link.batch_execute(&statement)).await.ok();
    }

    /// Hands on what comes, until the connection ends or does not answer.
    async fn hear(&self, mut coming: Coming) {
        let mut probe_at = Instant::now() + SILENCE;
        loop {
            let probe = async {
                sleep_until(probe_at).await;
                let link = self.live.borrow().clone();
                let Some(link) = link else { return false };
                let answer = timeout(self.config.publish_timeout, link.simple_query("")).await;
                matches!(answer, Ok(Ok(_)))
            };
            tokio::select! {
                heard = coming.recv() => match heard {
                    Some(notification) => self.hand_on(notification).await,
                    None => return,
                },
                lives = probe => if !lives {
                    return;
                },
            }
            probe_at = Instant::now() + SILENCE;
        }
    }

    async fn hand_on(&self, notification: Notification) {
        let Some(member) = self.members.find(notification.channel()) else { return };
        member.ready().await;
        let heard = match wire::read(notification.payload()) {
            // An event of our own comes at its place among the others.
            Ok(heard) if heard.offset.is_none() && heard.uid == member.uid.as_str() => return,
            Ok(heard) if heard.offset.is_some_and(|offset| offset <= member.last()) => return,
            Ok(heard) => heard,
            Err(error) => return skip(&member, &error),
        };
        let offset = heard.offset;
        let bytes = match self.open_letter(heard).await {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(topic = member.topic, error, "an attachment was not read");
                if offset.is_some() {
                    self.catch_up(&member).await;
                }
                return member.arrive(Arrival::Resumed { whole: false });
            }
        };
        if let Some(offset) = offset {
            member.has_heard(offset);
        }
        match wire::envelope(&bytes, &member.nsp) {
            Ok(envelope) => {
                member.arrive(Arrival::Message { envelope, offset: offset.map(wire::position) });
            }
            Err(error) => skip(&member, &error),
        }
    }

    async fn open_letter(&self, heard: Heard) -> Result<Bytes, String> {
        match heard.body {
            Body::Text(bytes) => Ok(bytes),
            Body::Attached(id) => match self.attachment(id).await {
                Ok(Some(bytes)) => Ok(bytes),
                Ok(None) => Err(format!("attachment {id} is gone")),
                Err(error) => Err(error.to_string()),
            },
        }
    }

    /// Hands on the events that were written down while nobody listened, as far as they are still there.
    async fn catch_up(&self, member: &Member) {
        member.ready().await;
        loop {
            let (nsp, last) = (member.nsp.as_str(), member.last());
            let rows = self
                .desk
                .ask(async |live| {
                    let recovery = live.recovery.as_ref().expect("it is asked only where recovery is on");
                    let rows = live.client.query(&recovery.after, &[&nsp, &last, &CATCH_UP]).await?;
                    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect::<Vec<_>>())
                })
                .await;
            let rows: Vec<(i64, Option<Vec<u8>>)> = match rows {
                Ok(rows) => rows,
                Err(error @ AdapterError::Unreachable(_)) => {
                    tracing::debug!(topic = member.topic, %error, "events that were written down are not read yet");
                    pause().await;
                    continue;
                }
                Err(error @ AdapterError::Refused(_)) => {
                    tracing::warn!(topic = member.topic, %error, "events that were written down are not read");
                    return;
                }
            };
            if rows.is_empty() {
                return;
            }
            for (id, payload) in rows {
                member.has_heard(id);
                match payload.map(wire::stored) {
                    Some(Ok(envelope)) => {
                        member.arrive(Arrival::Message { envelope, offset: Some(wire::position(id)) });
                    }
                    Some(Err(error)) => skip(member, &error),
                    // A mark at which a namespace begins.
                    None => {}
                }
            }
        }
    }

    async fn attachment(&self, id: i64) -> Result<Option<Bytes>, AdapterError> {
        self.desk
            .ask(async |live| {
                let row = live.client.query_opt(&live.attachment, &[&id]).await?;
                Ok(row.and_then(|row| row.get::<_, Option<Vec<u8>>>(0)).map(Bytes::from))
            })
            .await
    }

    async fn reconnect(&self) -> Coming {
        loop {
            match self.connect().await {
                Ok(coming) => return coming,
                Err(error) => tracing::debug!(%error, "PostgreSQL is not listened to yet"),
            }
            pause().await;
        }
    }

    /// Connects, and listens to every channel that is listed.
    async fn connect(&self) -> Result<Coming, AdapterError> {
        let _order = self.order.lock().await;
        let (heard, coming) = mpsc::channel(WAITING_MAX);
        let link = Link::open(&self.config, Some(heard)).await?;
        let topics = self.members.all();
        let statements: Vec<_> =
            topics.iter().map(|member| format!("LISTEN {};", topic::quoted(&member.topic))).collect();
        // One text is one transaction: nothing is heard before all is listened to, so nothing can stand in the way of the answer.
        let listening = timeout(self.config.publish_timeout, link.batch_execute(&statements.concat())).await;
        listening
            .map_err(|_| failure::late(&self.config))?
            .map_err(|error| failure::sorted(&self.config, &error))?;
        self.live.send_replace(Some(Arc::new(link)));
        Ok(coming)
    }
}

/// The official adapter's pause: nodes that lost the same server do not come back at the same time.
async fn pause() {
    sleep(Duration::from_millis(rand::random_range(1000..3000))).await;
}

fn skip(member: &Member, error: &Malformed) {
    tracing::warn!(topic = member.topic, %error, "a notification is no message");
    member.arrive(Arrival::Malformed);
}
