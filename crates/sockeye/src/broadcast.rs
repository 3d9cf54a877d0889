//! A broadcast in the making: to whom, and how.

use crate::delivery::Hub;
use crate::payload::{EmitError, Payload};
use sockeye_cluster::{Flags, Room, Selector};
use std::sync::Arc;

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

    /// Emits an event to the chosen sockets. Never waits.
    ///
    /// # Errors
    /// [`EmitError`]: the payload cannot be sent as it is; nobody got anything.
    pub fn emit(self, event: &str, payload: impl Payload) -> Result<(), EmitError> {
        self.hub.publish(self.selector, self.flags, event, &payload)
    }

    /// Lets the chosen sockets join rooms.
    pub fn sockets_join<I: IntoIterator<Item: Into<Room>>>(self, rooms: I) {
        self.hub.join(self.selector, rooms.into_iter().map(Into::into).collect());
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
