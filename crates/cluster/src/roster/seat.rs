//! A socket in a room.

use std::sync::Arc;

use crate::name::Room;

/// A socket in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The room.
    pub room: Room,
    /// The socket.
    pub id: Arc<str>,
    /// What is shown of it: JSON.
    pub data: Option<Arc<str>>,
}

/// A socket in a room.
pub(super) type Key = (Room, Arc<str>);

/// What is shown of it: JSON.
pub(super) type Data = Option<Arc<str>>;
