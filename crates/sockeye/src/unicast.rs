//! An event for one socket in the making: how it goes out.

use crate::payload::{EmitError, FromArgs, Payload};
use crate::socket::{AckError, Socket};
use sockeye_cluster::Flags;
use std::time::Duration;

/// Says how one event goes to one socket, and sends it.
///
/// ```
/// use sockeye::{Config, Event, Server};
///
/// let mut io = Server::new(Config::default());
/// io.namespace("/").on("where?", async |event: Event| -> sockeye::Result {
///     let socket = event.socket();
///     socket.compress(false).emit("picture", "already small")?;
///     socket.coalesce("cursor").emit("cursor", (3, 4))?; // takes the place of one that still waits
///     Ok(())
/// });
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing happens until it emits"]
pub struct Unicast {
    socket: Socket,
    flags: Flags,
}

impl Socket {
    /// Drops the event when the client cannot take it right away.
    pub fn volatile(&self) -> Unicast {
        self.aside().volatile()
    }

    /// Says whether the event may be compressed.
    pub fn compress(&self, compress: bool) -> Unicast {
        self.aside().compress(compress)
    }

    /// Lets a later event of the same key take the place of this one while it waits for the client.
    pub fn coalesce(&self, key: &str) -> Unicast {
        self.aside().coalesce(key)
    }

    /// Says how long the answer of [`Unicast::emit_with_ack`] is waited for.
    pub fn timeout(&self, timeout: Duration) -> Unicast {
        self.aside().timeout(timeout)
    }

    fn aside(&self) -> Unicast {
        Unicast { socket: self.clone(), flags: Flags::default() }
    }
}

impl Unicast {
    /// Drops the event when the client cannot take it right away.
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

    /// Lets a later event of the same key take the place of this one while it waits for the client: the position of a cursor, a
    /// number on a dashboard. The later one stands at the end, so what the client gets is in the order in which it was said. An event
    /// that wants an ack is never replaced. Keys are a namespace's own; a broadcast of the same key counts as well.
    pub fn coalesce(mut self, key: &str) -> Self {
        self.flags.coalesce = Some(key.into());
        self
    }

    /// How long [`emit_with_ack`](Self::emit_with_ack) waits. Default: the server's `ack_timeout`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.flags.timeout = Some(timeout);
        self
    }

    /// Emits the event. Never waits; to a closed socket it is a no-op.
    ///
    /// # Errors
    /// [`EmitError`]: the payload cannot be sent as it is.
    pub fn emit(self, event: &str, payload: impl Payload) -> Result<(), EmitError> {
        self.socket.emit_as(self.flags, event, &payload)
    }

    /// Emits the event and waits for the client's answer.
    ///
    /// # Errors
    /// As [`Socket::emit_with_ack`].
    ///
    /// # Cancel safety
    /// Dropping the future forgets the answer; the event is sent at the first poll.
    pub async fn emit_with_ack<T: FromArgs>(self, event: &str, payload: impl Payload) -> Result<T, AckError> {
        let flags = Flags { coalesce: None, ..self.flags };
        self.socket.ask_as(&flags, event, payload).await
    }
}
