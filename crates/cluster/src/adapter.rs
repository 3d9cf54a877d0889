//! The contract of every adapter: what a backplane has to do for the servers of a cluster, and nothing more.
//!
//! An adapter carries messages between servers and, where its backplane can hold them, keeps sessions. It does not know what a
//! message means: requests, sums of acks, liveness and timeouts are decided in [`Node`](crate::Node), once for all adapters. An adapter
//! writes the format of the official one for its backplane, so that servers in Node.js hear it.
//!
//! One [`Adapter`] a server, one [`Channel`] a namespace. What comes in goes to the channel's [`Inbox`].
//!
//! Every adapter passes one suite: the crate `sockeye-adapter-suite`, which also has an adapter without a backplane, for tests.
//!
//! # One order
//!
//! Where a backplane has offsets ([`Traits::offsets`]) a client goes on from the last one that it met, so that every server has to
//! deliver such events in the order of the backplane, its own among them. An own event therefore **comes back** by the inbox, at its place
//! and with its offset, like those of others; the driver delivers it then. Without offsets own messages need not come back, and those
//! that do are ignored.
//!
//! # Replies without a name
//!
//! Some official formats do not say who answers (classic Redis). The `uid` of such a reply is empty ([`Uid::is_nameless`]): each is counted for
//! somebody else.

use std::cmp::Ordering;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sockeye_proto::sid::Sid;
use thiserror::Error;

use crate::message::{Envelope, Message, Packet};
use crate::name::{EMITTER, Nsp, Pid, Room, Uid};
use crate::selector::{Flags, Selector};
use crate::to::To;

/// A future that an adapter returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A connection to a backplane, or the means to have one.
pub trait Adapter: fmt::Debug + Send + Sync + 'static {
    /// What this adapter can do; the same for all of its channels, at all times.
    fn traits(&self) -> Traits;

    /// Where the backplane is, for people: `redis://10.0.0.7:6379`. Without a password.
    fn place(&self) -> String {
        "the backplane".into()
    }

    /// Joins the servers of a namespace. When this returns, whatever others publish comes to the inbox, in the order of its
    /// sender. It goes on doing so across lost connections until the channel is dropped or closed.
    ///
    /// # Errors
    ///
    /// Fails where the backplane cannot be reached or refuses; nothing is left behind.
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Channel>, AdapterError>>;

    /// Opens a namespace for a program that is no server: what it publishes is signed [`EMITTER`], nothing comes to it, and nobody counts it.
    ///
    /// As it is here it opens as a server would; an adapter whose servers are counted has to do better.
    ///
    /// # Errors
    ///
    /// As [`Adapter::open`]; and where servers are counted and the adapter cannot help being one.
    fn publisher(&self, nsp: Nsp) -> BoxFuture<'_, Result<Arc<dyn Channel>, AdapterError>> {
        match self.traits().presence {
            Presence::Heartbeats { .. } => {
                self.open(Opening { nsp, uid: EMITTER.into(), inbox: Arc::new(|_| {}) })
            }
            Presence::Counted => Box::pin(std::future::ready(Err(AdapterError::Refused(
                "only servers can publish by this adapter".into(),
            )))),
        }
    }
}

/// One namespace of one server on a backplane.
///
/// The driver calls [`Channel::publish`] one batch after the other, from one task; everything else at any time.
pub trait Channel: Send + Sync + 'static {
    /// Publishes a batch, in order; as many results as letters.
    ///
    /// A letter whose outcome is an error was not published, as far as is known. The adapter does not try again: it waits for a connection
    /// no longer than its own named limit.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: when it is dropped, some of the batch may have been published.
    fn publish(&self, batch: Vec<Letter>) -> BoxFuture<'_, Vec<Result<Published, AdapterError>>>;

    /// Takes note that this server has a first member in a room, so that what is said to it alone has to come here. The future ends
    /// when messages to the room reach this server. Adapters that select nothing return at once. A socket's own room, named by its id, is
    /// such a room, too: an adapter that sends what is said to ids (20 characters) to all servers returns at once for these.
    fn listen(&self, room: Room) -> BoxFuture<'_, Result<(), AdapterError>> {
        drop(room);
        Box::pin(std::future::ready(Ok(())))
    }

    /// Takes note that this server's last member has left a room.
    fn unlisten(&self, room: Room) -> BoxFuture<'_, ()> {
        drop(room);
        Box::pin(std::future::ready(()))
    }

    /// The place after which events come to the inbox, where the backplane has offsets: known when [`Adapter::open`] has returned. Nothing up
    /// to it comes in, everything after it does.
    fn began(&self) -> Option<Position> {
        None
    }

    /// How many servers the namespace has, this one included; asked where [`Traits::presence`] is [`Presence::Counted`].
    ///
    /// # Errors
    ///
    /// Fails where the backplane cannot be reached, or cannot tell.
    fn servers(&self) -> BoxFuture<'_, Result<u64, AdapterError>> {
        Box::pin(std::future::ready(Err(AdapterError::Refused(
            "servers of this backplane are not counted".into(),
        ))))
    }

    /// Where sessions are kept, if this backplane keeps any.
    fn sessions(&self) -> Option<&dyn Sessions> {
        None
    }

    /// Leaves. What was published before is sent, nothing comes in any more.
    fn close(&self) -> BoxFuture<'_, ()>;

    /// What was counted so far.
    fn stats(&self) -> ChannelStats;
}

/// The sessions of a namespace on a backplane, and the events that they may have missed.
pub trait Sessions: Send + Sync {
    /// Writes a session down, in place of what was written before. It is forgotten after `keep`, unless it is written again.
    ///
    /// # Errors
    ///
    /// Fails where the backplane cannot be reached or refuses: then the former one may still be there.
    fn save<'a>(&'a self, session: &'a Session, keep: Duration) -> BoxFuture<'a, Result<(), AdapterError>>;

    /// Takes a session, so that nobody else can, with what was published to its rooms after `offset`, in order. `None`: there is no such session, or
    /// it cannot be promised that nothing is missing.
    ///
    /// # Errors
    ///
    /// Fails where the backplane cannot be reached; the session may be lost.
    fn take<'a>(
        &'a self,
        pid: &'a Pid,
        offset: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<Returned>, AdapterError>>;

    /// Forgets a session.
    fn forget<'a>(&'a self, pid: &'a Pid) -> BoxFuture<'a, ()>;

    /// Which of two places of this namespace comes first: [`Position::in_order_of_numbers`], unless the adapter's are written otherwise.
    fn order(&self, one: &Position, other: &Position) -> Ordering {
        one.in_order_of_numbers(other)
    }
}

/// What joins a namespace.
#[derive(Clone)]
pub struct Opening {
    /// The namespace.
    pub nsp: Nsp,
    /// How this server signs in it: unique in the cluster, 16 hex digits.
    pub uid: Uid,
    /// Who hears what comes in.
    pub inbox: Inbox,
}

/// Hears what comes in. It is called from the adapter's tasks, must not block, and never fails.
pub type Inbox = Arc<dyn Fn(Arrival) + Send + Sync>;

/// What comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all that comes in are messages")]
pub enum Arrival {
    /// A message of another server or of an emitter, or one's own: see *One order*.
    Message {
        /// What it says, and who.
        envelope: Envelope,
        /// Where it stands among the events of this backplane, where it has offsets.
        offset: Option<Position>,
    },
    /// Something that is no message. It was skipped; the adapter has logged why.
    Malformed,
    /// The connection was lost, and is back.
    Resumed {
        /// Whether everything that was published meanwhile comes, or has come. `false`: it is lost.
        whole: bool,
    },
}

/// One message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// For whom.
    pub to: To,
    /// What it says. The adapter knows who says it: [`Opening::uid`].
    pub message: Message,
}

/// What became of a letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// The event's place, where the backplane has offsets and the message is one that a client may miss.
    pub offset: Option<Position>,
}

/// Where an event stands on a backplane: what clients get as its offset, and hand back. Opaque to all but the adapter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position(pub Arc<str>);

impl Position {
    /// Compares two places as lists of numbers, `-` between them: `9-11` is before `10-2`. Parts that are no numbers compare as text.
    pub fn in_order_of_numbers(&self, other: &Self) -> Ordering {
        let parts = |place: &'_ Self| -> Vec<(Option<u128>, Box<str>)> {
            place.0.split('-').map(|part| (part.parse().ok(), part.into())).collect()
        };
        for (one, other) in parts(self).iter().zip(&parts(other)) {
            let order = match (one.0, other.0) {
                (Some(one), Some(other)) => one.cmp(&other),
                (None, _) | (_, None) => one.1.cmp(&other.1),
            };
            if order.is_ne() {
                return order;
            }
        }
        self.0.split('-').count().cmp(&other.0.split('-').count())
    }
}

/// A session as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its private id.
    pub pid: Pid,
    /// Its socket's id.
    pub sid: Sid,
    /// The rooms of its socket, that of its id included.
    pub rooms: Vec<Room>,
    /// The socket's data: JSON.
    pub data: Bytes,
    /// Where it began: a client without an offset has met nothing since.
    pub start: Option<Position>,
}

/// A session that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returned {
    /// The session.
    pub session: Session,
    /// What it may have missed, in order: only broadcasts that want no ack and are not volatile, and that its rooms select.
    pub missed: Vec<Missed>,
}

/// An event that a session may have missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// Where it stands.
    pub offset: Position,
    /// Whom it was for.
    pub selector: Selector,
    /// How it was to be treated.
    pub flags: Flags,
    /// The event.
    pub packet: Packet,
}

/// What an adapter can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// How one knows who else is there.
    pub presence: Presence,
    /// Events have offsets: broadcasts that want no ack and are not volatile. One's own come back by the inbox: see *One order*.
    pub offsets: bool,
    /// What is said to one room goes to servers that listen for it only.
    pub selects_rooms: bool,
}

/// How one knows who else is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Servers say that they live ([`Message::Heartbeat`]); the node keeps the account.
    Heartbeats {
        /// How often a server that has nothing else to say says that it lives. Official default 5 s.
        interval: Duration,
        /// How long a server that says nothing is thought to live. Official default 10 s.
        timeout: Duration,
    },
    /// The backplane counts its subscribers: [`Channel::servers`].
    Counted,
}

/// What a channel has counted since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelStats {
    /// Messages published.
    pub published: u64,
    /// Messages that could not be published.
    pub unpublished: u64,
    /// Messages that came in.
    pub received: u64,
    /// Messages that were not understood, and skipped.
    pub malformed: u64,
    /// How often the connection was lost.
    pub disconnects: u64,
    /// How often what was published meanwhile is lost.
    pub gaps: u64,
}

/// Why a backplane did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AdapterError {
    /// It cannot be reached, at present: the driver counts and reports it; a later try may do.
    #[error("expected to reach the backplane: {0}")]
    Unreachable(String),
    /// It refuses, and will again: a wrong password, a message that is too long, a table that is not there.
    #[error("the backplane refuses: {0}")]
    Refused(String),
}
