//! Says things to the clients of a cluster from programs that are no servers: a worker, a cron job, a payment's callback.
//!
//! It publishes over any [`Adapter`], in that adapter's format, as `@socket.io/redis-emitter` and its kin do: servers in Rust and in Node.js
//! hear it. It answers nothing, is counted by nobody, and gets no answers: there are no acks here.
//!
//! ```
//! # use std::sync::Arc;
//! # use sockeye_adapter_suite::memory::{Bus, Kind};
//! # use sockeye_cluster::adapter::Adapter;
//! use sockeye_emitter::Emitter;
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! # let adapter: Arc<dyn Adapter> = Bus::new(Kind::Plain).adapter();
//! // With Redis: let adapter = "redis://10.0.0.7".parse::<sockeye_redis::Address>()?.into_adapter();
//! let emitter = Emitter::new(adapter).await?;
//! emitter.to("order-17").emit("paid", ("EUR", 12.5)).await?;
//! emitter.of("/admin").await?.volatile().emit("load", 0.7).await?;
//! emitter.to("user-3").except("user-3-phone").disconnect_sockets(true).await?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod target;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use sockeye::{EmitError, Payload};
use sockeye_cluster::adapter::{Adapter, AdapterError, Channel, ChannelStats, Letter};
use sockeye_cluster::node::To;
use sockeye_cluster::{Flags, Message, Nsp, Packet, Room, Selector};
use sockeye_proto::socket::event::RESERVED;
use sockeye_proto::socket::packet::ATTACHMENTS_MAX;
use thiserror::Error;

pub use target::Target;

/// Says things to the clients of one namespace. A clone is the same one.
#[derive(Clone)]
pub struct Emitter {
    adapter: Arc<dyn Adapter>,
    nsp: Nsp,
    channel: Arc<dyn Channel>,
}

/// Nothing was said.
#[derive(Debug, Error)]
pub enum Unsaid {
    /// The event cannot be sent: the caller is to blame.
    #[error(transparent)]
    Event(#[from] EmitError),
    /// The backplane did not take it. It is not tried again.
    #[error(transparent)]
    Backplane(#[from] AdapterError),
}

impl Emitter {
    /// Makes an emitter for the main namespace.
    ///
    /// # Errors
    ///
    /// Fails where the backplane cannot be reached or refuses.
    pub async fn new(adapter: Arc<dyn Adapter>) -> Result<Self, AdapterError> {
        let nsp = Nsp::new("/");
        let channel = adapter.publisher(nsp.clone()).await?;
        Ok(Self { adapter, nsp, channel })
    }

    /// Makes an emitter for another namespace.
    ///
    /// # Errors
    ///
    /// Fails where the backplane cannot be reached or refuses.
    pub async fn of(&self, namespace: &str) -> Result<Self, AdapterError> {
        let slash = if namespace.starts_with('/') { "" } else { "/" };
        let nsp = Nsp::from(format!("{slash}{namespace}"));
        let channel = self.adapter.publisher(nsp.clone()).await?;
        Ok(Self { adapter: Arc::clone(&self.adapter), nsp, channel })
    }

    /// All sockets.
    pub fn all(&self) -> Target<'_> {
        Target::new(self, Selector::all(), Flags::default())
    }

    /// The sockets of a room, or of several, called again.
    pub fn to(&self, room: impl Into<Room>) -> Target<'_> {
        self.all().to(room)
    }

    /// All sockets but those of a room.
    pub fn except(&self, room: impl Into<Room>) -> Target<'_> {
        self.all().except(room)
    }

    /// All sockets that are ready to take it.
    pub fn volatile(&self) -> Target<'_> {
        self.all().volatile()
    }

    /// Sends an event to all sockets.
    ///
    /// # Errors
    ///
    /// The event cannot be sent, or the backplane does not take it.
    pub async fn emit(&self, event: &str, payload: impl Payload) -> Result<(), Unsaid> {
        self.all().emit(event, payload).await
    }

    /// Tells the servers themselves: `on_server_event`, in Node.js `io.on`.
    ///
    /// # Errors
    ///
    /// The event cannot be sent, or the backplane does not take it.
    pub async fn server_side_emit(&self, event: &str, payload: impl Payload) -> Result<(), Unsaid> {
        let packet = packet(event, &payload)?;
        self.publish(Message::ServerSideEmit { packet, request_id: None }).await
    }

    /// What was counted so far.
    pub fn stats(&self) -> ChannelStats {
        self.channel.stats()
    }

    async fn publish(&self, message: Message) -> Result<(), Unsaid> {
        let mut results = self.channel.publish(vec![Letter { to: To::All, message }]).await;
        match results.pop() {
            Some(Err(error)) => Err(error.into()),
            Some(Ok(_)) | None => Ok(()),
        }
    }
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter")
            .field("adapter", &self.adapter)
            .field("nsp", &self.nsp)
            .finish_non_exhaustive()
    }
}

/// `["name",arg,…]`, with its binary parts beside it.
fn packet(event: &str, payload: &impl Payload) -> Result<Packet, EmitError> {
    if RESERVED.contains(&event) {
        return Err(EmitError::ReservedName(event.to_owned()));
    }
    let (mut json, mut attachments) = (vec![b'['], Vec::<Bytes>::new());
    serde_json::to_writer(&mut json, event)?;
    json.push(b',');
    let before = json.len();
    payload.append_to(&mut json, &mut attachments)?;
    if json.len() == before {
        json.pop();
    }
    json.push(b']');
    let max = ATTACHMENTS_MAX as usize;
    if attachments.len() > max {
        return Err(EmitError::TooManyAttachments { count: attachments.len(), max });
    }
    Ok(Packet::binary(json, attachments))
}
