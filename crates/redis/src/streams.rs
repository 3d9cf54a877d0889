//! The adapter for servers with `@socket.io/redis-streams-adapter` 0.3: events and orders in a stream, requests and answers by publish and subscribe.
//!
//! What is published while a server's connection is broken comes when it is back, as long as the stream holds it; clients that come back find
//! what they missed on any server. Requests that come meanwhile are lost, and cost their asker the timeout.

mod entry;
mod names;
mod reader;
mod sessions;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use redis::{Value, cmd};
use sockeye_cluster::adapter::{
    Adapter, AdapterError, Arrival, BoxFuture, Channel, ChannelStats, Inbox, Letter, Opening, Position,
    Presence, Published, Sessions, Traits,
};
use sockeye_cluster::counters::Counters;
use sockeye_cluster::node::To;
use sockeye_cluster::{Envelope, Message, Nsp, Uid, wire};
use tracing::debug;

pub use sessions::REPLAY_ENTRIES_MAX;

use self::entry::{Entry, has_offset};
use self::names::Names;
use self::reader::{Follower, Following, Reader, Reading};
use self::sessions::Kept;
use crate::connection::Command;
use crate::link::Link;
use crate::place::place;
use crate::publisher::{self, Post};
use crate::routes::{Ear, Kind, Subscription};
use crate::server::Server;
use crate::subscriber::{Member, Subscriber};

/// Options of [`Streams`]; the official names in brackets. Where it says so they are the same for all servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamsOptions {
    /// The stream (`streamName`), the same for all. Default `socket.io`.
    pub stream_name: String,
    /// How many streams namespaces are spread over (`streamCount`), the same for all: `<stream_name>-0` and so on. Each that is read costs a connection.
    /// Default 1, which has no number.
    pub stream_count: u16,
    /// What channels of requests begin with (`channelPrefix`), the same for all. Default `socket.io`.
    pub channel_prefix: String,
    /// Whether requests go by sharded publish and subscribe (`useShardedPubSub`, Redis 7), the same for all. Default `false`.
    pub sharded_pub_sub: bool,
    /// How many entries a stream keeps, more or less (`maxLen`). A server or a client that is away for longer than these last has a gap. Default 10,000.
    pub max_len: u64,
    /// How many entries are read at a time (`readCount`). Default 100.
    pub read_count: u32,
    /// How long Redis holds a question for news (`blockTimeInMs`). A dead connection is noticed after this and
    /// [`RESPONSE_TIMEOUT`](crate::limits::RESPONSE_TIMEOUT). Default 5 s.
    pub block: Duration,
    /// What the keys of sessions begin with (`sessionKeyPrefix`), the same for all. Default `sio:session:`.
    pub session_key_prefix: String,
}

impl Default for StreamsOptions {
    fn default() -> Self {
        Self {
            stream_name: "socket.io".into(),
            stream_count: 1,
            channel_prefix: "socket.io".into(),
            sharded_pub_sub: false,
            max_len: 10_000,
            read_count: 100,
            block: Duration::from_secs(5),
            session_key_prefix: "sio:session:".into(),
        }
    }
}

/// The adapter for servers with the official Redis streams adapter.
pub struct Streams {
    server: Server,
    options: StreamsOptions,
    link: Arc<Link>,
    subscriber: Subscriber,
    readers: tokio::sync::Mutex<HashMap<String, Weak<Reader>>>,
}

impl Streams {
    /// Makes an adapter; it connects when a channel is opened.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub fn new(server: Server, options: StreamsOptions) -> Self {
        let link = Arc::new(Link::new(server.clone(), true));
        let subscriber = Subscriber::new(server.clone(), options.sharded_pub_sub);
        Self { server, options, link, subscriber, readers: tokio::sync::Mutex::default() }
    }

    /// The reader of a stream; one for all namespaces in it.
    async fn reader(&self, stream: &str) -> Result<Arc<Reader>, AdapterError> {
        let mut readers = self.readers.lock().await;
        if let Some(reader) = readers.get(stream).and_then(Weak::upgrade) {
            return Ok(reader);
        }
        let reader = Reader::start(Reading {
            server: self.server.clone(),
            stream: stream.to_owned(),
            count: self.options.read_count,
            behind: usize::try_from(self.options.max_len.min(self.options.read_count.into()))
                .unwrap_or(usize::MAX),
            block: self.options.block,
        });
        let reader = Arc::new(reader.await?);
        readers.retain(|_, reader| reader.strong_count() > 0);
        readers.insert(stream.to_owned(), Arc::downgrade(&reader));
        Ok(reader)
    }

    fn hall(&self, opening: Opening) -> Hall {
        let options = &self.options;
        let (prefix, nsp) = (&options.channel_prefix, &opening.nsp);
        let names = Names::of(nsp, &options.stream_name, i32::from(options.stream_count));
        Hall {
            kept: Kept {
                nsp: opening.nsp.clone(),
                names,
                key_prefix: options.session_key_prefix.clone(),
                link: Arc::clone(&self.link),
            },
            channel: format!("{prefix}#{nsp}#").into(),
            sharded: options.sharded_pub_sub,
            max_len: options.max_len,
            nsp: opening.nsp,
            uid: opening.uid,
            inbox: opening.inbox,
            link: Arc::clone(&self.link),
            counters: Counters::default(),
        }
    }
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams")
            .field("server", &self.server)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Adapter for Streams {
    fn traits(&self) -> Traits {
        Traits { presence: Presence::Counted, offsets: true, selects_rooms: false }
    }

    fn place(&self) -> String {
        place("redis+streams", &self.server)
    }

    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Channel>, AdapterError>> {
        Box::pin(async move {
            let hall = Arc::new(self.hall(opening));
            let kind = if hall.sharded { Kind::Shard } else { Kind::Channel };
            let responses: Arc<str> = format!("{}{}#", hall.channel, hall.uid).into();
            let subscriptions =
                [Arc::clone(&hall.channel), responses].map(|name| Subscription { kind, name });
            let ear = Arc::new(Listening(Arc::clone(&hall)));
            let member = self.subscriber.join(ear, subscriptions.into()).await?;
            let mut following = Vec::new();
            for name in hall.kept.names.iter() {
                let reader = self.reader(name).await?;
                following.push(reader.follow(&hall.nsp, Arc::new(Listening(Arc::clone(&hall)))));
            }
            // The stream that is written to is the first; another one has no offsets of ours.
            let began = following[0].began.position();
            Ok(Arc::new(Open { hall, member, following: Mutex::new(following), began }) as Arc<dyn Channel>)
        })
    }

    fn publisher(&self, nsp: Nsp) -> BoxFuture<'_, Result<Arc<dyn Channel>, AdapterError>> {
        Box::pin(publisher::open(self.hall(publisher::opening(nsp)), &self.link))
    }
}

/// An open channel.
struct Open {
    hall: Arc<Hall>,
    member: Member,
    following: Mutex<Vec<Following>>,
    began: Position,
}

/// What is shared by those who publish and the one who listens.
struct Hall {
    kept: Kept,
    /// The channel of requests; those of answers begin with it.
    channel: Arc<str>,
    sharded: bool,
    max_len: u64,
    nsp: Nsp,
    uid: Uid,
    inbox: Inbox,
    link: Arc<Link>,
    counters: Counters,
}

impl Channel for Open {
    fn publish(&self, batch: Vec<Letter>) -> BoxFuture<'_, Vec<Result<Published, AdapterError>>> {
        publisher::publish(&*self.hall, batch)
    }

    fn began(&self) -> Option<Position> {
        Some(self.began.clone())
    }

    fn servers(&self) -> BoxFuture<'_, Result<u64, AdapterError>> {
        let word = if self.hall.sharded { "SHARDNUMSUB" } else { "NUMSUB" };
        Box::pin(self.hall.link.count(word, &self.hall.channel))
    }

    fn sessions(&self) -> Option<&dyn Sessions> {
        Some(&self.hall.kept)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.member.leave();
        self.following.lock().clear();
        Box::pin(std::future::ready(()))
    }

    fn stats(&self) -> ChannelStats {
        self.hall.counters.stats()
    }
}

/// What a letter becomes.
struct Written {
    name: String,
    cmd: redis::Cmd,
    has_offset: bool,
}

impl Post for Hall {
    fn post(&self, batch: Vec<Letter>) -> BoxFuture<'_, Vec<Result<Published, AdapterError>>> {
        Box::pin(self.publish(batch))
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Hall {
    async fn publish(&self, batch: Vec<Letter>) -> Vec<Result<Published, AdapterError>> {
        let written: Vec<_> = batch.into_iter().map(|letter| self.write(letter)).collect();
        let commands = written
            .iter()
            .filter_map(|one| one.as_ref().ok())
            .map(|one| Command { name: &one.name, cmd: one.cmd.clone() });
        let mut sent = self.link.send_all(commands.collect()).await.into_iter();
        let results = written.iter().map(|one| match one {
            Ok(one) => match sent.next() {
                Some(Ok(Value::BulkString(id))) if one.has_offset => {
                    let id = String::from_utf8_lossy(&id);
                    Ok(Published { offset: Some(Position(id.as_ref().into())) })
                }
                Some(Err(error)) => Err(error),
                Some(Ok(_)) | None => Ok(Published::default()),
            },
            Err(error) => Err(error.clone()),
        });
        results.collect()
    }

    fn write(&self, letter: Letter) -> Result<Written, AdapterError> {
        let refused = |error: wire::EncodeError| AdapterError::Refused(error.to_string());
        let Letter { to, message } = letter;
        let name = match &to {
            To::All if is_durable(&message) => {
                let name = self.kept.names.written.clone();
                let mut xadd = cmd("XADD");
                xadd.arg(&name).arg("MAXLEN").arg("~").arg(self.max_len).arg("*");
                xadd.arg("uid").arg(&*self.uid).arg("nsp").arg(&*self.nsp).arg("type").arg(message.number());
                if let Some(data) = wire::stream::encode_data(&message).map_err(refused)? {
                    xadd.arg("data").arg(data);
                }
                return Ok(Written { name, cmd: xadd, has_offset: has_offset(&message) });
            }
            To::All => self.channel.to_string(),
            To::One(uid) => format!("{}{uid}#", self.channel),
        };
        let envelope = Envelope { uid: self.uid.clone(), nsp: self.nsp.clone(), message };
        // Official servers read msgpack here, and nothing else.
        let bytes = wire::msgpack::from_json(&wire::json::encode(&envelope), envelope.message.attachments());
        let mut publish = cmd(if self.sharded { "SPUBLISH" } else { "PUBLISH" });
        publish.arg(&name).arg(bytes.map_err(refused)?);
        Ok(Written { name, cmd: publish, has_offset: false })
    }

    fn deliver(
        &self,
        envelope: Result<Envelope, wire::Malformed>,
        position: impl FnOnce() -> Option<Position>,
    ) {
        match envelope {
            Ok(envelope) if envelope.nsp != self.nsp => {}
            Ok(envelope) => {
                self.counters.received();
                let offset = if has_offset(&envelope.message) { position() } else { None };
                (self.inbox)(Arrival::Message { envelope, offset });
            }
            Err(error) => {
                debug!(nsp = %self.nsp, %error, "skipped what is no message");
                self.counters.malformed();
                (self.inbox)(Arrival::Malformed);
            }
        }
    }
}

/// Whether a message goes into the stream; requests, answers and signs of life do not.
const fn is_durable(message: &Message) -> bool {
    matches!(
        message,
        Message::Broadcast { request_id: None, .. }
            | Message::SocketsJoin { .. }
            | Message::SocketsLeave { .. }
            | Message::DisconnectSockets { .. }
    )
}

/// What the subscriber and the reader hold: not the channel itself, which ends when its user drops it.
struct Listening(Arc<Hall>);

impl Ear for Listening {
    fn payload(&self, _channel: &str, payload: Bytes) {
        self.0.deliver(wire::decode(&payload), || None);
    }

    /// No event is lost by this; requests that are cost their asker the timeout.
    fn lost(&self) {
        self.0.counters.lost();
    }

    fn resumed(&self) {}
}

impl Follower for Listening {
    fn entry(&self, entry: &Entry) {
        self.0.deliver(entry.envelope(), || Some(entry.id.position()));
    }

    fn lost(&self) {
        self.0.counters.lost();
    }

    fn resumed(&self, whole: bool) {
        if !whole {
            self.0.counters.gap();
        }
        (self.0.inbox)(Arrival::Resumed { whole });
    }
}
