//! The adapter for servers with `@socket.io/redis-adapter` (`createAdapter`), and for programs with `@socket.io/redis-emitter`.
//!
//! Publish and subscribe, nothing kept: what is published while a server's connection is broken is lost to it. Every server gets everything; what
//! is for one room alone is not decoded by servers that have nobody in it. Works with Redis 6 and later, with Redis Cluster and Sentinel.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use redis::cmd;
use sockeye_cluster::adapter::{
    Adapter, AdapterError, Arrival, BoxFuture, Channel, ChannelStats, Inbox, Letter, Opening, Presence,
    Published, Traits,
};
use sockeye_cluster::counters::Counters;
use sockeye_cluster::node::To;
use sockeye_cluster::wire::Malformed;
use sockeye_cluster::wire::classic::{self, Asked, Place, Reply, UNSIGNED};
use sockeye_cluster::{Envelope, Message, Nsp, RequestId, Room, Uid};
use tokio::sync::Semaphore;
use tracing::debug;

use crate::connection::Command;
use crate::glob::escape;
use crate::ids::ids_in;
use crate::limits::ANSWERS_MAX;
use crate::link::Link;
use crate::place::place;
use crate::publisher::{self, Post};
use crate::routes::{Ear, Kind, Subscription};
use crate::server::Server;
use crate::subscriber::{Member, Subscriber};

/// Options of [`Classic`]; the official names in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicOptions {
    /// What all channels begin with (`key`); the same for all servers and emitters. Default `socket.io`.
    pub channel_prefix: String,
    /// Whether answers go to the one who asked alone (`publishOnSpecificResponseChannel`): less traffic, and understood by official servers of
    /// version 8.1 and later. Default `false`, as there.
    pub specific_responses: bool,
}

impl Default for ClassicOptions {
    fn default() -> Self {
        Self { channel_prefix: "socket.io".into(), specific_responses: false }
    }
}

/// The adapter for servers with the official Redis adapter.
pub struct Classic {
    server: Server,
    options: ClassicOptions,
    link: Arc<Link>,
    counting: Arc<Link>,
    subscriber: Subscriber,
}

impl Classic {
    /// Makes an adapter; it connects when a channel is opened.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub fn new(server: Server, options: ClassicOptions) -> Self {
        // Whatever is published at one server of a cluster comes to all of them.
        let link = Arc::new(Link::new(server.clone(), false));
        let counting =
            if server.is_cluster() { Arc::new(Link::new(server.clone(), true)) } else { Arc::clone(&link) };
        let subscriber = Subscriber::new(server.clone(), false);
        Self { server, options, link, counting, subscriber }
    }

    fn hall(&self, opening: Opening) -> Hall {
        Hall {
            names: Names::new(&self.options, &opening),
            nsp: opening.nsp,
            uid: opening.uid,
            inbox: opening.inbox,
            specific: self.options.specific_responses,
            link: Arc::clone(&self.link),
            rooms: RwLock::default(),
            ids_wanted: Mutex::default(),
            answers: Arc::new(Semaphore::new(ANSWERS_MAX)),
            counters: Counters::default(),
        }
    }
}

impl fmt::Debug for Classic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Classic")
            .field("server", &self.server)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Adapter for Classic {
    fn traits(&self) -> Traits {
        Traits { presence: Presence::Counted, offsets: false, selects_rooms: true }
    }

    fn place(&self) -> String {
        place("redis", &self.server)
    }

    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Channel>, AdapterError>> {
        Box::pin(async move {
            let hall = Arc::new(self.hall(opening));
            let member = self
                .subscriber
                .join(Arc::new(Listening(Arc::clone(&hall))), hall.names.subscriptions())
                .await?;
            let counting = Arc::clone(&self.counting);
            Ok(Arc::new(Open { hall, member, counting }) as Arc<dyn Channel>)
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
    counting: Arc<Link>,
}

/// What is shared by those who publish and the one who listens.
struct Hall {
    names: Names,
    nsp: Nsp,
    uid: Uid,
    inbox: Inbox,
    specific: bool,
    link: Arc<Link>,
    rooms: RwLock<HashSet<Room>>,
    /// Questions of others that want ids where newer servers want sockets.
    ids_wanted: Mutex<Vec<RequestId>>,
    answers: Arc<Semaphore>,
    counters: Counters,
}

/// The names of a namespace's channels.
struct Names {
    events: Arc<str>,
    requests: Arc<str>,
    responses: Arc<str>,
    own_responses: Arc<str>,
}

impl Names {
    fn new(options: &ClassicOptions, opening: &Opening) -> Self {
        let (prefix, nsp, uid) = (&options.channel_prefix, &opening.nsp, &opening.uid);
        Self {
            events: format!("{prefix}#{nsp}#").into(),
            requests: format!("{prefix}-request#{nsp}#").into(),
            responses: format!("{prefix}-response#{nsp}#").into(),
            own_responses: format!("{prefix}-response#{nsp}#{uid}#").into(),
        }
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        let channel = |name: &Arc<str>| Subscription { kind: Kind::Channel, name: Arc::clone(name) };
        let pattern = Subscription { kind: Kind::Pattern, name: format!("{}*", escape(&self.events)).into() };
        vec![pattern, channel(&self.requests), channel(&self.responses), channel(&self.own_responses)]
    }
}

impl Channel for Open {
    fn publish(&self, batch: Vec<Letter>) -> BoxFuture<'_, Vec<Result<Published, AdapterError>>> {
        publisher::publish(&*self.hall, batch)
    }

    fn listen(&self, room: Room) -> BoxFuture<'_, Result<(), AdapterError>> {
        self.hall.rooms.write().insert(room);
        Box::pin(std::future::ready(Ok(())))
    }

    fn unlisten(&self, room: Room) -> BoxFuture<'_, ()> {
        self.hall.rooms.write().remove(&room);
        Box::pin(std::future::ready(()))
    }

    fn servers(&self) -> BoxFuture<'_, Result<u64, AdapterError>> {
        Box::pin(self.counting.count("NUMSUB", &self.hall.names.requests))
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
        let commands = written.iter().filter_map(|one| one.as_ref().ok()?.as_ref()).map(|(name, bytes)| {
            let mut publish = cmd("PUBLISH");
            publish.arg(&**name).arg(&bytes[..]);
            Command { name, cmd: publish }
        });
        let mut sent = self.link.send_all(commands.collect()).await.into_iter();
        let results = written.iter().map(|one| match one {
            Ok(Some(_)) => sent.next().unwrap_or(Ok(redis::Value::Nil)).map(|_| Published::default()),
            // What has no form is nothing that anybody waits for.
            Ok(None) => Ok(Published::default()),
            Err(error) => Err(error.clone()),
        });
        results.collect()
    }

    /// The channel and the bytes of a letter.
    fn write(&self, letter: Letter) -> Result<Option<(String, Bytes)>, AdapterError> {
        if let Message::FetchSocketsResponse { request_id, sockets } = &letter.message
            && self.wants_ids(request_id)
        {
            let ids = ids_in(&sockets.data);
            let bytes = classic::encode_ids(request_id, ids.iter().map(|id| &**id));
            return Ok(Some((self.responses_of(&letter.to), bytes)));
        }
        let Letter { to, message } = letter;
        let envelope = Envelope { uid: self.uid.clone(), nsp: self.nsp.clone(), message };
        let written = classic::encode(&envelope).map_err(|error| AdapterError::Refused(error.to_string()))?;
        Ok(written.map(|(place, bytes)| {
            let name = match place {
                Place::Events => self.names.events.to_string(),
                Place::Room(room) => format!("{}{room}#", self.names.events),
                Place::Requests => self.names.requests.to_string(),
                Place::Responses => self.responses_of(&to),
                Place::CommonResponses => self.names.responses.to_string(),
            };
            (name, bytes)
        }))
    }

    fn responses_of(&self, to: &To) -> String {
        match to {
            To::One(uid) if self.specific && uid != UNSIGNED => format!("{}{uid}#", self.names.responses),
            To::One(_) | To::All => self.names.responses.to_string(),
        }
    }

    fn hear(&self, channel: &str, payload: &Bytes) -> Result<(), Malformed> {
        if let Some(rest) = channel.strip_prefix(&*self.names.events) {
            // The node passes over what is its own.
            if classic::is_event_of(payload, &self.uid) {
                return Ok(());
            }
            let room = rest.strip_suffix('#').unwrap_or(rest);
            if !room.is_empty() && !self.rooms.read().contains(room) {
                return Ok(());
            }
            let envelope = classic::decode_event(payload)?;
            // The name of one namespace may begin like that of another and its rooms.
            if envelope.nsp == self.nsp {
                self.deliver(envelope);
            }
            return Ok(());
        }
        if channel.starts_with(&*self.names.responses) {
            let response = classic::decode_response(payload)?;
            if let Some(message) = message_of(response) {
                self.deliver(Envelope { uid: UNSIGNED.into(), nsp: self.nsp.clone(), message });
            }
            return Ok(());
        }
        match classic::decode_request(&self.nsp, payload)? {
            Asked::Message(envelope) => self.deliver(envelope),
            Asked::Ids { uid, request_id, rooms } => {
                let mut wanted = self.ids_wanted.lock();
                if wanted.len() >= ANSWERS_MAX {
                    wanted.remove(0);
                }
                wanted.push(request_id.clone());
                drop(wanted);
                let selector = sockeye_cluster::Selector { rooms, except: Vec::new() };
                let flags = sockeye_cluster::Flags::default();
                let message = Message::FetchSockets { selector, flags, request_id };
                self.deliver(Envelope { uid, nsp: self.nsp.clone(), message });
            }
            Asked::Rooms { uid, request_id } if uid != self.uid => {
                let rooms = self.rooms.read();
                self.answer(&uid, classic::encode_rooms(&request_id, rooms.iter().map(|room| &**room)));
            }
            Asked::Single { sid, request_id, envelope } if self.rooms.read().contains(&sid) => {
                let uid = envelope.uid.clone();
                self.deliver(envelope);
                if let Some(request_id) = request_id {
                    self.answer(&uid, classic::encode_done(&request_id));
                }
            }
            Asked::Rooms { .. } | Asked::Single { .. } => {}
        }
        Ok(())
    }

    fn deliver(&self, envelope: Envelope) {
        self.counters.received();
        (self.inbox)(Arrival::Message { envelope, offset: None });
    }

    /// Answers an old question, which the node above does not know.
    fn answer(&self, uid: &Uid, bytes: Bytes) {
        let Ok(permit) = Arc::clone(&self.answers).try_acquire_owned() else { return };
        let name = self.responses_of(&To::One(uid.clone()));
        let link = Arc::clone(&self.link);
        // Ends with its answer, or the link's time limits; nothing in it panics.
        tokio::spawn(async move {
            let mut publish = cmd("PUBLISH");
            publish.arg(&*name).arg(&bytes[..]);
            let _ = link.send(&publish).await;
            drop(permit);
        });
    }

    fn wants_ids(&self, request_id: &RequestId) -> bool {
        let mut wanted = self.ids_wanted.lock();
        let at = wanted.iter().position(|id| id == request_id);
        at.map(|at| wanted.remove(at)).is_some()
    }
}

/// What the subscriber holds: not the channel itself, which ends when its user drops it.
struct Listening(Arc<Hall>);

impl Ear for Listening {
    fn payload(&self, channel: &str, payload: Bytes) {
        if let Err(error) = self.0.hear(channel, &payload) {
            debug!(channel, %error, "skipped what is no message");
            self.0.counters.malformed();
            (self.0.inbox)(Arrival::Malformed);
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

/// A response in the words of the node; those to questions that it does not ask are nothing.
fn message_of(response: classic::Response) -> Option<Message> {
    let request_id = response.request_id;
    Some(match response.reply {
        Reply::Sockets(sockets) => Message::FetchSocketsResponse { request_id, sockets },
        Reply::Value(packet) => Message::ServerSideEmitResponse { request_id, packet },
        Reply::ClientCount(client_count) => Message::BroadcastClientCount { request_id, client_count },
        Reply::Ack(packet) => Message::BroadcastAck { request_id, packet },
        Reply::Rooms(_) | Reply::Done => return None,
    })
}
