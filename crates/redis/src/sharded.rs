//! The adapter for servers with `createShardedAdapter` of `@socket.io/redis-adapter`: sharded publish and subscribe, Redis 7 and later.
//!
//! Nothing is kept: what is published while a server's connection is broken is lost to it. In the dynamic modes what is for one room alone goes
//! to servers that have somebody in it, and in a Redis Cluster each room's channel to one shard: the more servers, the more rooms.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use redis::cmd;
use sockeye_cluster::adapter::{
    Adapter, AdapterError, Arrival, BoxFuture, Channel, ChannelStats, Inbox, Letter, Opening, Presence,
    Published, Traits,
};
use sockeye_cluster::counters::Counters;
use sockeye_cluster::node::To;
use sockeye_cluster::{Envelope, Message, Nsp, Room, Uid, wire};
use tracing::debug;

use crate::connection::Command;
use crate::link::Link;
use crate::place::place;
use crate::publisher::{self, Post};
use crate::routes::{Ear, Kind, Subscription};
use crate::server::Server;
use crate::subscriber::{Member, Subscriber};

/// Options of [`Sharded`]; the official names in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardedOptions {
    /// What all channels begin with (`channelPrefix`); the same for all servers. Default `socket.io`.
    pub channel_prefix: String,
    /// Which rooms have channels of their own (`subscriptionMode`); the same for all servers. Default [`Mode::Dynamic`].
    pub mode: Mode,
}

impl Default for ShardedOptions {
    fn default() -> Self {
        Self { channel_prefix: "socket.io".into(), mode: Mode::Dynamic }
    }
}

/// Which rooms have channels of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// None: two channels a namespace. Every server gets everything.
    Static,
    /// Those whose names do not look like the id of a socket (20 characters).
    Dynamic,
    /// All, those of single sockets too.
    DynamicPrivate,
}

impl Mode {
    /// Whether a room has a channel of its own.
    fn has_channel(self, room: &Room) -> bool {
        match self {
            Self::Static => false,
            // Official servers count as JavaScript does.
            Self::Dynamic => room.encode_utf16().count() != 20,
            Self::DynamicPrivate => true,
        }
    }
}

/// The adapter for servers with the official sharded Redis adapter.
pub struct Sharded {
    server: Server,
    options: ShardedOptions,
    link: Arc<Link>,
    subscriber: Subscriber,
}

impl Sharded {
    /// Makes an adapter; it connects when a channel is opened.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub fn new(server: Server, options: ShardedOptions) -> Self {
        let link = Arc::new(Link::new(server.clone(), true));
        let subscriber = Subscriber::new(server.clone(), true);
        Self { server, options, link, subscriber }
    }

    fn hall(&self, opening: Opening) -> Hall {
        let (prefix, nsp, uid) = (&self.options.channel_prefix, &opening.nsp, &opening.uid);
        Hall {
            name: format!("{prefix}#{nsp}#").into(),
            own_end: format!(r#""uid":"{uid}","nsp":"{nsp}"}}"#),
            nsp: opening.nsp,
            uid: opening.uid,
            inbox: opening.inbox,
            mode: self.options.mode,
            link: Arc::clone(&self.link),
            counters: Counters::default(),
        }
    }
}

impl fmt::Debug for Sharded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharded")
            .field("server", &self.server)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Adapter for Sharded {
    fn traits(&self) -> Traits {
        Traits {
            presence: Presence::Counted,
            offsets: false,
            selects_rooms: self.options.mode != Mode::Static,
        }
    }

    fn place(&self) -> String {
        place("redis+sharded", &self.server)
    }

    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Channel>, AdapterError>> {
        Box::pin(async move {
            let hall = Arc::new(self.hall(opening));
            let responses = format!("{}{}#", hall.name, hall.uid).into();
            let subscriptions =
                [Arc::clone(&hall.name), responses].map(|name| Subscription { kind: Kind::Shard, name });
            let ear = Arc::new(Listening(Arc::clone(&hall)));
            let member = self.subscriber.join(ear, subscriptions.into()).await?;
            Ok(Arc::new(Open { hall, member }) as Arc<dyn Channel>)
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
}

/// What is shared by those who publish and the one who listens.
struct Hall {
    /// The name of the common channel; those of rooms and of servers begin with it.
    name: Arc<str>,
    /// What this server's own messages end with, as JSON: they need not be read.
    own_end: String,
    nsp: Nsp,
    uid: Uid,
    inbox: Inbox,
    mode: Mode,
    link: Arc<Link>,
    counters: Counters,
}

impl Channel for Open {
    fn publish(&self, batch: Vec<Letter>) -> BoxFuture<'_, Vec<Result<Published, AdapterError>>> {
        publisher::publish(&*self.hall, batch)
    }

    fn listen(&self, room: Room) -> BoxFuture<'_, Result<(), AdapterError>> {
        Box::pin(async move {
            match self.hall.subscription_of(&room) {
                Some(subscription) => self.member.subscribe(subscription).await,
                None => Ok(()),
            }
        })
    }

    fn unlisten(&self, room: Room) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Some(subscription) = self.hall.subscription_of(&room) {
                self.member.unsubscribe(subscription).await;
            }
        })
    }

    fn servers(&self) -> BoxFuture<'_, Result<u64, AdapterError>> {
        Box::pin(self.hall.link.count("SHARDNUMSUB", &self.hall.name))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.member.leave();
        Box::pin(std::future::ready(()))
    }

    fn stats(&self) -> ChannelStats {
        self.hall.counters.stats()
    }
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
        let commands = written.iter().filter_map(|one| one.as_ref().ok()).map(|(name, bytes)| {
            let mut publish = cmd("SPUBLISH");
            publish.arg(&**name).arg(&bytes[..]);
            Command { name, cmd: publish }
        });
        let mut sent = self.link.send_all(commands.collect()).await.into_iter();
        let results = written.iter().map(|one| match one {
            Ok(_) => sent.next().unwrap_or(Ok(redis::Value::Nil)).map(|_| Published::default()),
            Err(error) => Err(error.clone()),
        });
        results.collect()
    }

    /// The channel and the bytes of a letter.
    fn write(&self, letter: Letter) -> Result<(String, Bytes), AdapterError> {
        let Letter { to, message } = letter;
        let name = match (&to, &message) {
            (To::One(uid), _) => format!("{}{uid}#", self.name),
            (To::All, Message::Broadcast { selector, request_id: None, .. }) => match &*selector.rooms {
                [room] if self.mode.has_channel(room) => format!("{}{room}#", self.name),
                _ => self.name.to_string(),
            },
            (To::All, _) => self.name.to_string(),
        };
        let envelope = Envelope { uid: self.uid.clone(), nsp: self.nsp.clone(), message };
        let bytes = wire::encode(&envelope).map_err(|error| AdapterError::Refused(error.to_string()))?;
        Ok((name, bytes))
    }

    fn subscription_of(&self, room: &Room) -> Option<Subscription> {
        let name = || format!("{}{room}#", self.name).into();
        self.mode.has_channel(room).then(|| Subscription { kind: Kind::Shard, name: name() })
    }
}

/// What the subscriber holds: not the channel itself, which ends when its user drops it.
struct Listening(Arc<Hall>);

impl Ear for Listening {
    fn payload(&self, channel: &str, payload: Bytes) {
        let hall = &self.0;
        if payload.ends_with(hall.own_end.as_bytes()) {
            return;
        }
        match wire::decode(&payload) {
            // The name of one namespace may begin like that of another and its rooms.
            Ok(envelope) if envelope.nsp != hall.nsp => {}
            Ok(envelope) => {
                hall.counters.received();
                (hall.inbox)(Arrival::Message { envelope, offset: None });
            }
            Err(error) => {
                debug!(channel, %error, "skipped what is no message");
                hall.counters.malformed();
                (hall.inbox)(Arrival::Malformed);
            }
        }
    }

    fn lost(&self) {
        self.0.counters.lost();
    }

    fn resumed(&self) {
        self.0.counters.gap();
        (self.0.inbox)(Arrival::Resumed { whole: false });
    }
}

#[cfg(test)]
mod tests;
