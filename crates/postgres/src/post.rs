//! Publishes batches: one connection, one batch after the other, each in as few transactions as may be.

use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use sockeye_cluster::adapter::AdapterError;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::{Error, Statement};

use crate::config::Config;
use crate::connect::Link;
use crate::failure;
use crate::wire::{OFFSET, Parcel, TAIL};

/// What became of a parcel: its offset, if it has one.
pub(crate) type Posted = Result<Option<i64>, AdapterError>;

/// The connection that publishes. Made when there is something to publish, and made again after it broke.
#[derive(Debug)]
pub(crate) struct Post {
    config: Arc<Config>,
    live: Mutex<Option<Live>>,
}

/// Where parcels go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Destination<'a> {
    /// The channel.
    pub(crate) topic: &'a str,
    /// The namespace, for events that are written down.
    pub(crate) nsp: &'a str,
    /// What is locked while an event of the namespace gets its id.
    pub(crate) lock: (i32, i32),
}

struct Live {
    client: Link,
    notify: Statement,
    attach: Statement,
    /// In order of ids: the lock, an event, an event with an attachment.
    events: Option<(Statement, Statement, Statement)>,
}

impl Post {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self { config, live: Mutex::new(None) }
    }

    /// Publishes in order; as many results as parcels. What takes longer than [`Config::publish_timeout`] counts as not published.
    pub(crate) async fn post(&self, to: Destination<'_>, parcels: Vec<Parcel>) -> Vec<Posted> {
        let until = Instant::now() + self.config.publish_timeout;
        let mut results = Vec::with_capacity(parcels.len());
        let mut rounds = rounds(parcels).into_iter();
        let late = failure::late(&self.config);
        if let Ok(mut live) = timeout_at(until, self.live.lock()).await {
            for round in rounds.by_ref() {
                let length = round.len();
                match timeout_at(until, self.round(&mut live, to, &round)).await {
                    Ok(Ok(posted)) => results.extend(posted.into_iter().map(Ok)),
                    Ok(Err(error)) => results.extend(vec![Err(error); length]),
                    Err(_) => {
                        // What is under way on it is not known.
                        *live = None;
                        results.extend(vec![Err(late.clone()); length]);
                    }
                }
            }
        }
        for round in rounds {
            results.extend(vec![Err(late.clone()); round.len()]);
        }
        results
    }

    async fn round(
        &self,
        live: &mut Option<Live>,
        to: Destination<'_>,
        round: &[Parcel],
    ) -> Result<Vec<Option<i64>>, AdapterError> {
        if live.as_ref().is_some_and(|live| live.client.is_closed()) {
            *live = None;
        }
        if live.is_none() {
            *live = Some(Live::open(&self.config).await?);
        }
        let open = live.as_ref().expect("it was opened above");
        let posted = open.send(to, round).await;
        if posted.is_err() && open.client.is_closed() {
            *live = None;
        }
        posted.map_err(|error| failure::sorted(&self.config, &error))
    }
}

impl Live {
    async fn open(config: &Config) -> Result<Self, AdapterError> {
        let client = Link::open(config, None).await?;
        Self::prepare(client, config).await.map_err(|error| failure::sorted(config, &error))
    }

    async fn prepare(client: Link, config: &Config) -> Result<Self, Error> {
        let attachments = &config.attachments;
        let kept = format!("kept AS (INSERT INTO {attachments} (payload) VALUES ($3) RETURNING id)");
        let attach = format!("WITH {kept} SELECT pg_notify($1, $2::text || id || '{TAIL}') FROM kept");
        let notify = client.prepare("SELECT pg_notify($1, $2)").await?;
        let attach = client.prepare(&attach).await?;
        let mut events = None;
        if let Some(recovery) = &config.recovery {
            let said = |n: u8| {
                let table = &recovery.events;
                let (nsp, rooms, payload) = (n, n + 1, n + 2);
                format!(
                    "said AS (INSERT INTO {table} (nsp, rooms, payload) VALUES (${nsp}, ${rooms}, ${payload}) RETURNING id)"
                )
            };
            let event =
                format!("WITH {} SELECT id, pg_notify($1, $2::text || id || '{TAIL}') FROM said", said(3));
            let attached = format!(
                "WITH {kept}, {} SELECT said.id, pg_notify($1, $2::text || kept.id || '{OFFSET}' || said.id || '{TAIL}') FROM kept, said",
                said(4)
            );
            let lock = client.prepare("SELECT pg_advisory_xact_lock($1, $2)").await?;
            events = Some((lock, client.prepare(&event).await?, client.prepare(&attached).await?));
        }
        Ok(Self { client, notify, attach, events })
    }

    /// Publishes a round: all of it or nothing. All statements are on their way before the first answer is waited for.
    async fn send(&self, to: Destination<'_>, round: &[Parcel]) -> Result<Vec<Option<i64>>, Error> {
        let durable = round.iter().any(|parcel| parcel.event.is_some());
        let whole = durable || round.len() > 1;
        let mut sent: Vec<Sent<'_>> = Vec::with_capacity(round.len() + 3);
        if whole {
            sent.push(Box::pin(async { self.client.batch_execute("BEGIN").await.map(|()| None) }));
        }
        if let (true, Some((lock, ..))) = (durable, &self.events) {
            sent.push(Box::pin(async move {
                self.client.query_one(lock, &[&to.lock.0, &to.lock.1]).await.map(|_| None)
            }));
        }
        let before = sent.len();
        sent.extend(round.iter().map(|parcel| self.one(to, parcel)));
        if whole {
            // Where something failed it does not: it takes back what was done.
            sent.push(Box::pin(async { self.client.batch_execute("COMMIT").await.map(|()| None) }));
        }
        let results = in_order(sent).await;
        let results: Vec<_> = results.into_iter().collect::<Result<_, _>>()?;
        Ok(results[before..before + round.len()].to_vec())
    }

    fn one<'a>(&'a self, to: Destination<'a>, parcel: &'a Parcel) -> Sent<'a> {
        let (topic, head) = (to.topic, &parcel.head);
        Box::pin(async move {
            match (&parcel.event, &parcel.attachment, &self.events) {
                (Some(event), None, Some((_, statement, _))) => {
                    let row = self
                        .client
                        .query_one(statement, &[&topic, head, &to.nsp, &event.rooms, &event.payload])
                        .await?;
                    Ok(Some(row.get(0)))
                }
                (Some(event), Some(kept), Some((_, _, statement))) => {
                    let row = self
                        .client
                        .query_one(statement, &[&topic, head, kept, &to.nsp, &event.rooms, &event.payload])
                        .await?;
                    Ok(Some(row.get(0)))
                }
                (_, Some(kept), _) => {
                    self.client.query_one(&self.attach, &[&topic, head, kept]).await.map(|_| None)
                }
                (_, None, _) => self.client.query_one(&self.notify, &[&topic, head]).await.map(|_| None),
            }
        })
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("client", &self.client).finish_non_exhaustive()
    }
}

type Sent<'a> = Pin<Box<dyn Future<Output = Result<Option<i64>, Error>> + Send + 'a>>;

/// Starts all, in order, and waits for all. A statement is sent when its future is first polled.
async fn in_order(sent: Vec<Sent<'_>>) -> Vec<Result<Option<i64>, Error>> {
    let mut waiting: Vec<_> = sent.into_iter().map(futures_util::future::maybe_done).collect();
    poll_fn(|cx| {
        let mut over = true;
        for future in &mut waiting {
            over &= Pin::new(future).poll(cx).is_ready();
        }
        if over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    waiting.iter_mut().map(|done| Pin::new(done).take_output().expect("all are over")).collect()
}

/// Cuts a batch where a text comes a second time: of two notifications that are alike, a transaction sends one.
fn rounds(parcels: Vec<Parcel>) -> Vec<Vec<Parcel>> {
    let mut rounds: Vec<Vec<Parcel>> = Vec::new();
    let mut texts: HashSet<String> = HashSet::new();
    for parcel in parcels {
        // Those that end in an id of the server's are never alike.
        let plain = parcel.attachment.is_none() && parcel.event.is_none();
        if rounds.is_empty() || (plain && texts.contains(&parcel.head)) {
            rounds.push(Vec::new());
            texts.clear();
        }
        if plain {
            texts.insert(parcel.head.clone());
        }
        rounds.last_mut().expect("there is one").push(parcel);
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Event;

    #[test]
    fn two_notifications_that_are_alike_are_never_in_one_transaction() {
        for (texts, lengths) in [
            (vec![], vec![]),
            (vec!["a", "b", "c"], vec![3]),
            (vec!["a", "a", "a"], vec![1, 1, 1]),
            (vec!["a", "b", "a", "b"], vec![2, 2]),
            (vec!["e", "e", "a", "e", "a"], vec![4, 1]),
        ] {
            let parcels = texts.iter().map(|text| parcel(text)).collect();
            let rounds: Vec<_> = rounds(parcels).iter().map(Vec::len).collect();
            assert_eq!(rounds, lengths, "{texts:?}");
        }
    }

    fn parcel(text: &str) -> Parcel {
        let event = (text == "e").then(|| Event { rooms: vec![], payload: vec![] });
        Parcel { head: text.to_owned(), attachment: None, event }
    }
}
