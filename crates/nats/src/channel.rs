//! One namespace on NATS: what is published where, and which rooms are listened to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::context::PublishAckFuture;
use bytes::Bytes;
use parking_lot::Mutex as Lock;
use sockeye_cluster::adapter::{
    AdapterError, BoxFuture, Channel, ChannelStats, Letter, Opening, Position, Published, Sessions,
};
use sockeye_cluster::counters::Counters;
use sockeye_cluster::node::To;
use sockeye_cluster::{Envelope, Message, Room, wire};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use crate::failure::{keeping, publishing, unreachable};
use crate::interest::{Interest, Need};
use crate::link::Link;
use crate::reader::{Command, Reader, headers, position};
use crate::sessions::Bucket;
use crate::sources::Sources;
use crate::stream::Log;
use crate::subject::{Subjects, token};

/// How long a channel, or a room, waits until messages are known to come.
pub(crate) const LISTEN_WAIT: Duration = Duration::from_secs(5);

/// How many rooms may wait for the reader to take them on.
const COMMANDS_MAX: usize = 1024;

/// One namespace of one server.
#[derive(Debug)]
pub(crate) struct Seat {
    link: Link,
    opening: OpeningOf,
    subjects: Subjects,
    publish_timeout: Duration,
    log: Option<Log>,
    bucket: Option<Bucket>,
    began: u64,
    sent: AtomicU64,
    interest: Mutex<Interest>,
    commands: mpsc::Sender<Command>,
    counters: Arc<Counters>,
    /// Aborted with the channel.
    reader: Lock<Option<JoinHandle<()>>>,
}

/// Who this is.
#[derive(Debug)]
struct OpeningOf {
    nsp: sockeye_cluster::Nsp,
    uid: sockeye_cluster::Uid,
    /// The uid as it stands in headers.
    own: String,
}

/// What became of a letter so far.
enum Sent {
    Done(Result<Published, AdapterError>),
    Kept { ack: PublishAckFuture, bytes: usize, is_event: bool },
}

impl Seat {
    /// Listens to the namespace, and returns when messages come.
    pub(crate) async fn open(
        link: Link,
        log: Option<Log>,
        subjects: Subjects,
        opening: Opening,
        publish_timeout: Duration,
    ) -> Result<Self, AdapterError> {
        let mut turns = link.turns();
        turns.borrow_and_update();
        let mut sources = Sources::default();
        for subject in [subjects.all(), subjects.one(&opening.uid)] {
            let subscriber = link.client.subscribe(subject.clone()).await.map_err(unreachable)?;
            sources.add(subject, subscriber);
        }
        let identity = link.identity();
        link.round_trip(LISTEN_WAIT).await?;
        let began = match &log {
            Some(log) => log.extent().await?.last,
            None => 0,
        };
        let (commands, told) = mpsc::channel(COMMANDS_MAX);
        let counters = Arc::<Counters>::default();
        let own = token(&opening.uid);
        let opening_of = OpeningOf { nsp: opening.nsp.clone(), uid: opening.uid.clone(), own: own.clone() };
        let reader = Reader {
            link: link.clone(),
            identity,
            turns,
            opening,
            own,
            subjects: subjects.clone(),
            sources,
            commands: told,
            log: log.clone(),
            last: began,
            counters: Arc::clone(&counters),
        };
        let bucket = log.clone().map(|log| Bucket { log, subjects: subjects.clone() });
        Ok(Self {
            link,
            opening: opening_of,
            subjects,
            publish_timeout,
            log,
            bucket,
            began,
            sent: AtomicU64::new(0),
            interest: Mutex::default(),
            commands,
            counters,
            reader: Lock::new(Some(tokio::spawn(reader.run()))),
        })
    }

    async fn publish_all(&self, batch: Vec<Letter>) -> Vec<Result<Published, AdapterError>> {
        if let Err(error) = self.link.up(self.publish_timeout).await {
            return batch.iter().map(|_| Err(error.clone())).collect();
        }
        let mut sent = Vec::with_capacity(batch.len());
        for letter in batch {
            let passes = !self.is_kept(&letter);
            if passes {
                // What goes past the stream must not overtake what goes by it.
                settle(&self.link, &mut sent).await;
            }
            let begun = tokio::time::timeout(self.publish_timeout, self.send(letter)).await;
            sent.push(begun.unwrap_or_else(|_| {
                Sent::Done(Err(unreachable(format!("not taken within {:?}", self.publish_timeout))))
            }));
        }
        let flushed = self.link.flush(self.publish_timeout).await;
        settle(&self.link, &mut sent).await;
        let results = sent.into_iter().map(|sent| match (sent, &flushed) {
            (Sent::Done(Ok(Published { offset: None })), Err(error)) => Err(error.clone()),
            (Sent::Done(result), _) => result,
            (Sent::Kept { .. }, _) => Err(unreachable("it was not settled")),
        });
        results.collect()
    }

    async fn send(&self, letter: Letter) -> Sent {
        let live = match &letter.to {
            To::All => self.subjects.of(&letter.message),
            To::One(uid) => self.subjects.one(uid),
        };
        let kept = self.log.as_ref().filter(|_| self.is_kept(&letter));
        let is_event = matches!(letter.message, Message::Broadcast { .. });
        let envelope = Envelope {
            uid: self.opening.uid.clone(),
            nsp: self.opening.nsp.clone(),
            message: letter.message,
        };
        let payload: Bytes = match wire::encode(&envelope) {
            Ok(payload) => payload,
            Err(error) => return Sent::Done(Err(AdapterError::Refused(error.to_string()))),
        };
        let bytes = payload.len();
        let headers = headers(&self.opening.own, self.sent.fetch_add(1, Ordering::Relaxed) + 1);
        if let Some(log) = kept {
            return match log.publish(self.subjects.kept(&live), headers, payload).await {
                Ok(ack) => Sent::Kept { ack, bytes, is_event },
                Err(error) => Sent::Done(Err(keeping(&error, bytes, self.link.client.max_payload()))),
            };
        }
        let published = self.link.client.publish_with_headers(live, headers, payload).await;
        Sent::Done(match published {
            Ok(()) => Ok(Published::default()),
            Err(error) => Err(publishing(&error, bytes, self.link.client.max_payload())),
        })
    }

    /// Whether it goes by the stream: what changes a client's state and is asked of nobody.
    fn is_kept(&self, letter: &Letter) -> bool {
        let changes = match &letter.message {
            Message::Broadcast { request_id, flags, .. } => request_id.is_none() && !flags.volatile,
            Message::SocketsJoin { .. }
            | Message::SocketsLeave { .. }
            | Message::DisconnectSockets { .. } => true,
            Message::InitialHeartbeat
            | Message::Heartbeat
            | Message::FetchSockets { .. }
            | Message::FetchSocketsResponse { .. }
            | Message::ServerSideEmit { .. }
            | Message::ServerSideEmitResponse { .. }
            | Message::BroadcastClientCount { .. }
            | Message::BroadcastAck { .. }
            | Message::AdapterClose => false,
        };
        changes && letter.to == To::All && self.log.is_some()
    }

    async fn listen_to(&self, room: &Room) -> Result<(), AdapterError> {
        let Some(subject) = self.subjects.room(room) else { return Ok(()) };
        let need = self.begin(&subject).await?;
        if need == Need::Nothing {
            return Ok(());
        }
        if let Err(error) = self.link.round_trip(LISTEN_WAIT).await {
            self.unlisten_to(room).await;
            return Err(error);
        }
        self.interest.lock().await.settle(&subject);
        Ok(())
    }

    async fn begin(&self, subject: &str) -> Result<Need, AdapterError> {
        let mut interest = self.interest.lock().await;
        let need = interest.add(subject);
        if need == Need::Listen {
            let listening = async {
                let subscriber = self.link.client.subscribe(subject.to_owned()).await.map_err(unreachable)?;
                let command = Command::Add(subject.to_owned(), subscriber);
                self.commands.send(command).await.map_err(|_| unreachable("the channel is closed"))
            };
            let listening = tokio::time::timeout(LISTEN_WAIT, listening).await;
            if let Err(error) =
                listening.unwrap_or_else(|_| Err(unreachable(format!("not taken within {LISTEN_WAIT:?}"))))
            {
                interest.remove(subject);
                return Err(error);
            }
        }
        Ok(need)
    }

    async fn unlisten_to(&self, room: &Room) {
        let Some(subject) = self.subjects.room(room) else { return };
        let mut interest = self.interest.lock().await;
        if interest.remove(&subject) {
            // An error: the reader has ended, and listens to nothing.
            drop(self.commands.send(Command::Remove(subject)).await);
        }
    }
}

impl Channel for Seat {
    fn publish(&self, batch: Vec<Letter>) -> BoxFuture<'_, Vec<Result<Published, AdapterError>>> {
        Box::pin(async move {
            let results = self.publish_all(batch).await;
            self.counters.sent(&results);
            results
        })
    }

    fn listen(&self, room: Room) -> BoxFuture<'_, Result<(), AdapterError>> {
        Box::pin(async move { self.listen_to(&room).await })
    }

    fn unlisten(&self, room: Room) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.unlisten_to(&room).await })
    }

    fn began(&self) -> Option<Position> {
        self.log.as_ref().map(|_| position(self.began))
    }

    fn sessions(&self) -> Option<&dyn Sessions> {
        self.bucket.as_ref().map(|bucket| bucket as &dyn Sessions)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let reader = self.reader.lock().take();
            if let Some(reader) = reader {
                if let Err(error) = self.link.flush(self.publish_timeout).await {
                    tracing::debug!(%error, "what was published last may not have been sent");
                }
                reader.abort();
                // An error is the abort.
                drop(reader.await);
            }
        })
    }

    fn stats(&self) -> ChannelStats {
        self.counters.stats()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.get_mut() {
            reader.abort();
        }
    }
}

/// Waits for the stream's answers.
async fn settle(link: &Link, sent: &mut [Sent]) {
    for sent in sent {
        let Sent::Kept { .. } = sent else { continue };
        let pending = std::mem::replace(sent, Sent::Done(Ok(Published::default())));
        let Sent::Kept { ack, bytes, is_event } = pending else { continue };
        *sent = Sent::Done(match ack.await {
            Ok(ack) => Ok(Published { offset: is_event.then(|| position(ack.sequence)) }),
            Err(error) => Err(keeping(&error, bytes, link.client.max_payload())),
        });
    }
}
