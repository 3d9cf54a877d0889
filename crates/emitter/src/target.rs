//! Whom it is for.

use sockeye::Payload;
use sockeye_cluster::{Flags, Message, Room, Selector};

use crate::{Emitter, Unsaid, packet};

/// Sockets of a namespace, and how they are spoken to.
#[derive(Clone, Debug)]
#[must_use = "nothing is said until `emit` or another order"]
pub struct Target<'a> {
    emitter: &'a Emitter,
    selector: Selector,
    flags: Flags,
}

impl<'a> Target<'a> {
    pub(crate) const fn new(emitter: &'a Emitter, selector: Selector, flags: Flags) -> Self {
        Self { emitter, selector, flags }
    }

    /// Adds the sockets of a room; a socket's id is its own room.
    pub fn to(mut self, room: impl Into<Room>) -> Self {
        self.selector = self.selector.and_to(room);
        self
    }

    /// Leaves out the sockets of a room.
    pub fn except(mut self, room: impl Into<Room>) -> Self {
        self.selector = self.selector.and_except(room);
        self
    }

    /// Lets the event be lost for clients that are not ready to take it.
    pub const fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Says whether the event is worth compressing; where nothing is said the servers decide.
    pub const fn compress(mut self, compress: bool) -> Self {
        self.flags.compress = Some(compress);
        self
    }

    /// Sends an event: a tuple is several arguments, `()` none, [`Bytes`](bytes::Bytes) anywhere in it are binary.
    ///
    /// # Errors
    ///
    /// The event cannot be sent, or the backplane does not take it.
    pub async fn emit(self, event: &str, payload: impl Payload) -> Result<(), Unsaid> {
        let packet = packet(event, &payload)?;
        let Self { emitter, selector, flags } = self;
        emitter.publish(Message::Broadcast { selector, flags, packet, request_id: None }).await
    }

    /// Lets the sockets join rooms.
    ///
    /// # Errors
    ///
    /// The backplane does not take it.
    pub async fn sockets_join(self, rooms: impl IntoIterator<Item: Into<Room>>) -> Result<(), Unsaid> {
        let rooms = rooms.into_iter().map(Into::into).collect();
        self.emitter.publish(Message::SocketsJoin { selector: self.selector, rooms }).await
    }

    /// Lets the sockets leave rooms.
    ///
    /// # Errors
    ///
    /// The backplane does not take it.
    pub async fn sockets_leave(self, rooms: impl IntoIterator<Item: Into<Room>>) -> Result<(), Unsaid> {
        let rooms = rooms.into_iter().map(Into::into).collect();
        self.emitter.publish(Message::SocketsLeave { selector: self.selector, rooms }).await
    }

    /// Disconnects the sockets, and, with `close`, their connections.
    ///
    /// # Errors
    ///
    /// The backplane does not take it.
    pub async fn disconnect_sockets(self, close: bool) -> Result<(), Unsaid> {
        self.emitter.publish(Message::DisconnectSockets { selector: self.selector, close }).await
    }
}
