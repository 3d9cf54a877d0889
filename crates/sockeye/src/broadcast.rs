//! A broadcast in the making: to whom, and how.

use crate::answers::{Answers, AskError, Gathered};
use crate::delivery::Hub;
use crate::payload::{EmitError, FromArgs, Payload};
use crate::remote_socket::RemoteSocket;
use sockeye_cluster::{Flags, Request, Room, Selector};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Chooses sockets of a namespace, on every node, and speaks to them.
///
/// Each socket hears an event once, in however many of the rooms it is.
///
/// ```
/// use sockeye::{Config, Event, Server};
///
/// let mut io = Server::new(Config::default());
/// io.namespace("/").on("position", |event: Event| async move {
///     event.namespace().to("players").to("watchers").except("muted").volatile().emit("position", event.args())
/// });
/// ```
#[derive(Debug, Clone)]
#[must_use = "a broadcast does nothing until it emits"]
pub struct Broadcast {
    hub: Arc<Hub>,
    selector: Selector,
    flags: Flags,
}

impl Broadcast {
    pub(crate) fn new(hub: Arc<Hub>, selector: Selector) -> Self {
        Self { hub, selector, flags: Flags::default() }
    }

    /// Marks it as said by a socket.
    pub(crate) fn said_by_socket(mut self) -> Self {
        self.flags.broadcast = true;
        self
    }

    /// Adds the sockets of a room. Without any, everybody is meant.
    pub fn to(mut self, room: impl Into<Room>) -> Self {
        self.selector.rooms.push(room.into());
        self
    }

    /// Leaves out the sockets of a room; a socket's id is a room, too.
    pub fn except(mut self, room: impl Into<Room>) -> Self {
        self.selector.except.push(room.into());
        self
    }

    /// Stays on this node.
    pub fn local(mut self) -> Self {
        self.flags.local = true;
        self
    }

    /// Drops the event for clients that cannot take it right away.
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Says whether the event may be compressed on its way, where the server and the client agreed upon compression. It may,
    /// unless this says otherwise.
    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.compress = Some(compress);
        self
    }

    /// Lets a later event of the same key take the place of this one while it waits for a client, on every node: positions of
    /// cursors, numbers on a dashboard. The later one stands at the end, so what a client gets is in the order in which it was
    /// said. An event that wants an ack is never replaced. Keys are a namespace's own.
    pub fn coalesce(mut self, key: &str) -> Self {
        self.flags.coalesce = Some(key.into());
        self
    }

    /// Emits an event to the chosen sockets. Never waits.
    ///
    /// # Errors
    /// [`EmitError`]: the payload cannot be sent as it is; nobody got anything.
    pub fn emit(self, event: &str, payload: impl Payload) -> Result<(), EmitError> {
        self.hub.publish(self.selector, self.flags, event, &payload)
    }

    /// How long answers are waited for, of [`emit_with_ack`](Self::emit_with_ack) and [`fetch_sockets`](Self::fetch_sockets).
    /// Default 5 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.flags.timeout = Some(timeout);
        self
    }

    /// Emits an event to the chosen sockets, on every node, and waits for the answer of each: the first argument of its ack.
    ///
    /// It ends when all have answered, or when the [`timeout`](Self::timeout) is over, with what is there.
    ///
    /// ```
    /// use sockeye::{Answers, AskError, Namespace};
    /// use std::time::Duration;
    ///
    /// async fn vote(game: &Namespace) -> Result<usize, AskError> {
    ///     let votes: Answers<bool> =
    ///         game.to("players").timeout(Duration::from_secs(3)).emit_with_ack("agreed?", ()).await?;
    ///     println!("{} players did not vote", votes.missing.clients);
    ///     Ok(votes.values.into_iter().filter(|yes| *yes).count())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`AskError`]: nobody was asked, or the server ended.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the answers; the event is sent at the first poll.
    pub async fn emit_with_ack<T: FromArgs>(
        self,
        event: &str,
        payload: impl Payload,
    ) -> Result<Answers<T>, AskError> {
        let packet = self.hub.packet(event, &payload)?;
        drop(payload);
        let flags = Flags { coalesce: None, ..self.flags };
        let request = Request::Broadcast { selector: self.selector, flags, packet };
        let outcome = self.hub.ask(request).await?;
        Ok(Answers::of(&outcome))
    }

    /// Asks every node for the chosen sockets.
    ///
    /// # Errors
    /// [`AskError::Incomplete`] when a node did not answer in time, with the sockets of those that did.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the answers.
    pub async fn fetch_sockets(self) -> Result<Vec<RemoteSocket>, AskError> {
        let request = Request::FetchSockets { selector: self.selector, flags: self.flags };
        let outcome = self.hub.ask(request).await?;
        let mut nodes = outcome.missing.len();
        let mut sockets = Vec::new();
        for answer in &outcome.answers {
            match RemoteSocket::read(&self.hub, &answer.packet) {
                Ok(told) => sockets.extend(told),
                Err(error) => {
                    tracing::warn!(%error, node = %answer.uid, "a node told its sockets in no known way");
                    nodes += 1;
                }
            }
        }
        if nodes > 0 { Err(AskError::Incomplete { sockets, nodes }) } else { Ok(sockets) }
    }

    /// Lets the chosen sockets join rooms.
    pub fn sockets_join<I: IntoIterator<Item: Into<Room>>>(self, rooms: I) {
        self.hub.join(self.selector, rooms.into_iter().map(Into::into).collect());
    }

    /// The same, and waits until what is said to these rooms from here on reaches the sockets. That matters only where a backplane carries
    /// what is said to a room to servers with members of it alone (sharded Redis, NATS): everywhere else it is so at once. Servers of
    /// Sockeye's are waited for, for at most 5 s; of those in Node.js it cannot be told.
    ///
    /// # Cancel safety
    /// The sockets join at the first poll.
    pub async fn sockets_join_and_listen<I: IntoIterator<Item: Into<Room>>>(self, rooms: I) {
        let rooms: Vec<Room> = rooms.into_iter().map(Into::into).collect();
        self.hub.join(self.selector, rooms.clone());
        self.hub.joined(&rooms, true).await;
    }

    /// Counts the chosen sockets, on every node. Nodes of Sockeye's tell a number; where one of Node.js may be there, all are asked for
    /// their sockets.
    ///
    /// # Errors
    /// [`AskError`]: nobody was asked, or the server ended. Who does not answer in time is missing.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the answers.
    pub async fn count(self) -> Result<Gathered<u64>, AskError> {
        self.hub.count(self.selector, self.flags).await
    }

    /// The rooms that the chosen sockets are in, on every node, those of their ids included. As [`count`](Self::count).
    ///
    /// # Errors
    /// As [`count`](Self::count).
    ///
    /// # Cancel safety
    /// Dropping the future forgets the answers.
    pub async fn rooms(self) -> Result<Gathered<BTreeSet<Room>>, AskError> {
        self.hub.rooms_of_all(self.selector, self.flags).await
    }

    /// Lets the chosen sockets leave rooms.
    pub fn sockets_leave<I: IntoIterator<Item: Into<Room>>>(self, rooms: I) {
        self.hub.leave(self.selector, rooms.into_iter().map(Into::into).collect());
    }

    /// Disconnects the chosen sockets; with `close` their connections, too.
    pub fn disconnect_sockets(self, close: bool) {
        self.hub.disconnect(self.selector, close);
    }
}
