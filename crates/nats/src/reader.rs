//! The task that hears what comes in on a channel's subjects, in order, and what of the stream it has missed.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Message, Subscriber};
use bytes::Bytes;
use sockeye_cluster::adapter::{AdapterError, Arrival, Opening, Position};
use sockeye_cluster::counters::Counters;
use sockeye_cluster::{Envelope, wire};
use tokio::sync::{mpsc, watch};

use crate::batch::{Heard, in_order};
use crate::link::{Identity, Link, Turns};
use crate::sources::Sources;
use crate::stream::Log;
use crate::subject::Subjects;

/// Who sent a message, and the sender's count of its messages: `a34a292dd6b7d25a 17`.
pub(crate) const FROM: &str = "Sockeye-From";

/// Where a message stands in the stream; written by the server.
const SEQUENCE: &str = "Nats-Sequence";

/// How long one answer is waited for after a lost connection, before one asks again.
const RESUME_WAIT: Duration = Duration::from_secs(5);

/// How often the stream is asked for what was missed, [`RESUME_PAUSE`] apart, before it counts as lost: a server that has just
/// started may take a while to find its stream.
const RESUME_TRIES: usize = 40;

/// The pause between two tries.
const RESUME_PAUSE: Duration = Duration::from_millis(250);

/// What the reader is told.
pub(crate) enum Command {
    /// Listen to this, too.
    Add(String, Subscriber),
    /// Listen to this no more.
    Remove(String),
}

/// What the task owns.
pub(crate) struct Reader {
    pub(crate) link: Link,
    /// The connection that the subjects were listened to on.
    pub(crate) identity: Identity,
    pub(crate) turns: watch::Receiver<Turns>,
    pub(crate) opening: Opening,
    pub(crate) own: String,
    pub(crate) subjects: Subjects,
    pub(crate) sources: Sources,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) log: Option<Log>,
    /// The last event of the stream that came, or before which none comes.
    pub(crate) last: u64,
    pub(crate) counters: Arc<Counters>,
}

impl Reader {
    /// Hears until its channel has gone.
    pub(crate) async fn run(mut self) {
        let mut losses = self.turns.borrow_and_update().losses;
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(Command::Add(subject, subscriber)) => self.sources.add(subject, subscriber),
                    Some(Command::Remove(subject)) => self.sources.remove(&subject),
                    None => return,
                },
                turned = self.turns.changed() => {
                    if turned.is_err() {
                        return;
                    }
                    let lost = self.turns.borrow_and_update().losses;
                    if lost != losses {
                        losses = lost;
                        self.tell_resumed(false);
                    }
                    self.resume().await;
                }
                batch = tokio::task::unconstrained(self.sources.batch()) => {
                    // What came on another connection than before may have a gap before it.
                    if self.log.is_some() && self.link.identity() != self.identity {
                        self.resume().await;
                    }
                    self.take(batch);
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    fn take(&mut self, batch: Vec<Message>) {
        let heard = batch.into_iter().filter_map(|message| self.read(message)).collect();
        for heard in in_order(heard) {
            self.tell(heard);
        }
    }

    /// Understands a message; `None`: it is one's own, and does not concern the stream.
    fn read(&self, message: Message) -> Option<Heard> {
        let headers = message.headers.as_ref();
        let (from, count) = from(headers);
        let sequence = headers.and_then(|headers| headers.get(SEQUENCE)?.as_str().parse().ok());
        if sequence.is_none() && from == Some(&self.own) {
            return None;
        }
        Some(Heard { envelope: self.envelope(&message.payload), sequence, count })
    }

    fn envelope(&self, payload: &Bytes) -> Option<Envelope> {
        match wire::decode(payload) {
            Ok(envelope) if envelope.nsp == self.opening.nsp => Some(envelope),
            Ok(envelope) => {
                tracing::debug!(nsp = %envelope.nsp, "a message of another namespace was skipped");
                None
            }
            Err(error) => {
                tracing::debug!(%error, "something that is no message was skipped");
                None
            }
        }
    }

    fn tell(&mut self, heard: Heard) {
        if let Some(sequence) = heard.sequence.filter(|_| self.log.is_some()) {
            if sequence <= self.last {
                return;
            }
            self.last = sequence;
        }
        let Some(envelope) = heard.envelope else {
            self.counters.malformed();
            return (self.opening.inbox)(Arrival::Malformed);
        };
        self.counters.received();
        let offset = heard.sequence.filter(|_| self.log.is_some() && is_event(&envelope)).map(position);
        (self.opening.inbox)(Arrival::Message { envelope, offset });
    }

    /// If the connection is another than before: waits until messages come again, and reads what the stream has of those that did not.
    async fn resume(&mut self) {
        while self.link.round_trip(RESUME_WAIT).await.is_err() {
            if self.commands.is_closed() {
                return;
            }
        }
        let identity = self.link.identity();
        if identity == self.identity {
            return;
        }
        self.identity = identity;
        self.counters.lost();
        let whole = self.catch_up().await;
        self.tell_resumed(whole);
    }

    fn tell_resumed(&self, whole: bool) {
        let arrival = Arrival::Resumed { whole };
        self.counters.arrived(&arrival);
        (self.opening.inbox)(arrival);
    }

    /// Reads what the stream has of what was missed; `false`: something is lost.
    async fn catch_up(&mut self) -> bool {
        let Some(log) = self.log.clone() else { return false };
        for _ in 0..RESUME_TRIES {
            match self.read_on(&log).await {
                Ok(whole) => return whole,
                Err(error) => tracing::debug!(%error, "what was missed cannot be read yet"),
            }
            tokio::time::sleep(RESUME_PAUSE).await;
        }
        tracing::warn!("what was missed cannot be read: it is lost");
        false
    }

    async fn read_on(&mut self, log: &Log) -> Result<bool, AdapterError> {
        let from = self.last;
        let before = log.extent().await?;
        if before.last < from {
            // It is another stream than before.
            self.last = before.last;
            return Ok(false);
        }
        let all = self.subjects.all_kept();
        log.read(&all, from, before.last, |kept| {
            let concerns =
                self.subjects.live_of(&kept.subject).is_some_and(|live| self.sources.contains(&live));
            if concerns {
                let envelope = self.envelope(&kept.payload);
                let (_, count) = self::from(Some(&kept.headers));
                self.tell(Heard { envelope, sequence: Some(kept.sequence), count });
            }
            true
        })
        .await?;
        self.last = self.last.max(before.last);
        let after = if before.last == from { before } else { log.extent().await? };
        Ok(after.first <= from + 1)
    }
}

/// Writes who sends, and how many messages that makes.
pub(crate) fn headers(own: &str, count: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(FROM, format!("{own} {count}").as_str());
    headers
}

/// A place in the stream as clients know it.
pub(crate) fn position(sequence: u64) -> Position {
    Position(sequence.to_string().into())
}

/// Whether it is an event that a client may miss.
fn is_event(envelope: &Envelope) -> bool {
    use sockeye_cluster::Message;
    matches!(&envelope.message, Message::Broadcast { request_id: None, flags, .. } if !flags.volatile)
}

fn from(headers: Option<&HeaderMap>) -> (Option<&str>, u64) {
    let value = headers.and_then(|headers| headers.get(FROM));
    match value.and_then(|value| value.as_str().rsplit_once(' ')) {
        Some((from, count)) => (Some(from), count.parse().unwrap_or(0)),
        None => (None, 0),
    }
}
