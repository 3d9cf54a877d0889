//! A socket of whichever node, known by what its node told.

use crate::delivery::Hub;
use crate::payload::{EmitError, Payload};
use crate::remote_handshake::RemoteHandshake;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sockeye_cluster::{Flags, Packet, Room, Selector};
use std::fmt;
use std::sync::Arc;

/// A socket of whichever node: what was known of it when it was asked for, and the way to it.
///
/// What is said to it goes by the room of its id, wherever it is; when it is gone that is a no-op.
#[derive(Clone)]
pub struct RemoteSocket {
    hub: Arc<Hub>,
    told: Arc<Told>,
}

#[derive(Debug, Deserialize)]
struct Told {
    id: Room,
    #[serde(default)]
    handshake: RemoteHandshake,
    #[serde(default)]
    rooms: Vec<Room>,
    #[serde(default)]
    data: Option<Box<RawValue>>,
}

impl RemoteSocket {
    /// Reads what one node told; a packet that is no list of sockets is an error.
    pub(crate) fn read(hub: &Arc<Hub>, packet: &Packet) -> Result<Vec<Self>, serde_json::Error> {
        let told: Vec<Told> = serde_json::from_slice(&packet.data)?;
        Ok(told.into_iter().map(|told| Self { hub: Arc::clone(hub), told: Arc::new(told) }).collect())
    }

    /// The socket's id, which is also the name of a room that it is alone in.
    pub fn id(&self) -> &Room {
        &self.told.id
    }

    /// What was known from the request that opened the session, and the `auth` payload.
    pub fn handshake(&self) -> &RemoteHandshake {
        &self.told.handshake
    }

    /// The rooms that it was in.
    pub fn rooms(&self) -> &[Room] {
        &self.told.rooms
    }

    /// Reads the data that was kept with it; `None` when there was none (an empty object is none, as officially).
    ///
    /// # Errors
    /// The data is not of that type.
    pub fn data<T: DeserializeOwned>(&self) -> Result<Option<T>, serde_json::Error> {
        let data = self.told.data.as_deref().map(RawValue::get).filter(|data| *data != "{}");
        data.map(serde_json::from_str).transpose()
    }

    /// Emits an event to it. Never waits.
    ///
    /// # Errors
    /// [`EmitError`]: the payload cannot be sent as it is.
    pub fn emit(&self, event: &str, payload: impl Payload) -> Result<(), EmitError> {
        self.hub.publish(self.selector(), Flags::default(), event, &payload)
    }

    /// Lets it join rooms.
    pub fn join<I: IntoIterator<Item: Into<Room>>>(&self, rooms: I) {
        self.hub.join(self.selector(), rooms.into_iter().map(Into::into).collect());
    }

    /// Lets it leave a room.
    pub fn leave(&self, room: impl Into<Room>) {
        self.hub.leave(self.selector(), vec![room.into()]);
    }

    /// Takes it out of the namespace.
    pub fn disconnect(&self) {
        self.hub.disconnect(self.selector(), false);
    }

    /// Closes its connection.
    pub fn disconnect_and_close(&self) {
        self.hub.disconnect(self.selector(), true);
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    pub(crate) fn selector(&self) -> Selector {
        Selector::to(self.told.id.clone())
    }
}

impl fmt::Debug for RemoteSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteSocket").field(&self.told.id).finish()
    }
}
