//! A namespace, as one speaks to it.

use crate::answers::{Answers, AskError, Gathered};
use crate::broadcast::Broadcast;
use crate::delivery::Hub;
use crate::payload::{EmitError, FromArgs, Payload};
use crate::presence::{PresenceStats, Present};
use crate::remote_socket::RemoteSocket;
use sockeye_cluster::{Request, Room, Selector};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A handle to a namespace: all of its sockets, on every node. Cheap to clone, usable from any task.
///
/// ```
/// use sockeye::{Config, EmitError, Server};
///
/// let mut io = Server::new(Config::default());
/// let news = io.namespace("/news").handle();
/// news.emit("headline", "it rains")?;
/// news.to("sports").emit("score", (2, 1))?;
/// assert!(matches!(news.emit("connect", ()), Err(EmitError::ReservedName(_))));
/// # Ok::<_, EmitError>(())
/// ```
#[derive(Clone)]
pub struct Namespace(Arc<Hub>);

impl Namespace {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self(hub)
    }

    /// The name, with its leading slash.
    pub fn name(&self) -> &str {
        self.0.nsp()
    }

    /// Emits an event to every socket, on every node. Never waits.
    ///
    /// # Errors
    /// [`EmitError`]: the payload cannot be sent as it is; nobody got anything.
    pub fn emit(&self, event: &str, payload: impl Payload) -> Result<(), EmitError> {
        self.everybody().emit(event, payload)
    }

    /// Speaks to a room.
    pub fn to(&self, room: impl Into<Room>) -> Broadcast {
        self.everybody().to(room)
    }

    /// Speaks to everybody but a room.
    pub fn except(&self, room: impl Into<Room>) -> Broadcast {
        self.everybody().except(room)
    }

    /// Speaks to everybody on this node.
    pub fn local(&self) -> Broadcast {
        self.everybody().local()
    }

    /// Speaks to those who can take it right away.
    pub fn volatile(&self) -> Broadcast {
        self.everybody().volatile()
    }

    /// Chooses every socket.
    pub fn everybody(&self) -> Broadcast {
        Broadcast::new(Arc::clone(&self.0), Selector::all())
    }

    /// Asks every node for its sockets of this namespace.
    ///
    /// # Errors
    /// As [`Broadcast::fetch_sockets`].
    pub async fn fetch_sockets(&self) -> Result<Vec<RemoteSocket>, AskError> {
        self.everybody().fetch_sockets().await
    }

    /// Sends an event to the other nodes themselves, not to their clients. Never waits.
    ///
    /// # Errors
    /// [`EmitError`]: the payload cannot be sent as it is; nobody got anything.
    pub fn server_side_emit(&self, event: &str, payload: impl Payload) -> Result<(), EmitError> {
        self.0.tell_servers(event, &payload)
    }

    /// The same, and waits for the answer of each, at most 5 s. A node without a handler, or whose handler does not answer, is
    /// missing in the end.
    ///
    /// # Errors
    /// [`AskError`]: nobody was asked, or the server ended.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the answers; the event is sent at the first poll.
    pub async fn server_side_emit_with_ack<T: FromArgs>(
        &self,
        event: &str,
        payload: impl Payload,
    ) -> Result<Answers<T>, AskError> {
        self.ask_servers(None, event, payload).await
    }

    /// The same with a timeout of its own.
    ///
    /// # Errors
    /// As [`Namespace::server_side_emit_with_ack`].
    pub async fn server_side_emit_with_ack_within<T: FromArgs>(
        &self,
        timeout: Duration,
        event: &str,
        payload: impl Payload,
    ) -> Result<Answers<T>, AskError> {
        self.ask_servers(Some(timeout), event, payload).await
    }

    async fn ask_servers<T: FromArgs>(
        &self,
        timeout: Option<Duration>,
        event: &str,
        payload: impl Payload,
    ) -> Result<Answers<T>, AskError> {
        let packet = self.0.server_packet(event, &payload)?;
        drop(payload);
        let outcome = self.0.ask(Request::ServerSideEmit { packet, timeout }).await?;
        Ok(Answers::of(&outcome))
    }

    /// Counts the sockets of the namespace, on every node.
    ///
    /// # Errors
    /// As [`Broadcast::count`].
    pub async fn count(&self) -> Result<Gathered<u64>, AskError> {
        self.everybody().count().await
    }

    /// Who is in a room, on all servers, by what this one knows: nobody is asked. Empty where presence is not tracked
    /// ([`Definition::track_presence`](crate::Definition::track_presence)).
    pub fn presence(&self, room: &str) -> Vec<Present> {
        self.0.attendance().map(|attendance| attendance.members(room)).unwrap_or_default()
    }

    /// How many are in a room, on all servers; as [`presence`](Self::presence).
    pub fn presence_count(&self, room: &str) -> usize {
        self.0.attendance().map_or(0, |attendance| attendance.count(room))
    }

    /// The rooms that somebody is in, on all servers; as [`presence`](Self::presence).
    pub fn presence_rooms(&self) -> Vec<Room> {
        self.0.attendance().map(|attendance| attendance.rooms()).unwrap_or_default()
    }

    /// What was counted of presence.
    pub fn presence_stats(&self) -> PresenceStats {
        self.0.attendance().map(|attendance| attendance.stats()).unwrap_or_default()
    }

    /// How many sockets of the namespace are on this node.
    pub fn local_len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Namespace").field(&self.name()).finish()
    }
}
