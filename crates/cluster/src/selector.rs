//! Whom a message is for: rooms wanted, rooms left out, and the flags of a broadcast.
//!
//! Says nothing of how sockets are found: an index of rooms asks [`Selector::selects`] or walks the rooms itself.

use std::sync::Arc;
use std::time::Duration;

use crate::name::Room;
use crate::places::Place;

/// Whom a broadcast, a join, a leave or a disconnect is for.
///
/// ```
/// use sockeye_cluster::Selector;
///
/// let selector = Selector::to("kitchen").and_except("cook");
/// assert!(selector.selects(|room| *room == "kitchen"));
/// assert!(!selector.selects(|room| ["kitchen", "cook"].contains(&room.as_str())));
/// assert!(Selector::all().selects(|_| false));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// A socket must be in one of these; empty means every socket of the namespace.
    pub rooms: Vec<Room>,
    /// A socket must be in none of these. A sender leaves itself out by the room of its own id.
    pub except: Vec<Room>,
}

impl Selector {
    /// Selects every socket of the namespace.
    pub const fn all() -> Self {
        Self { rooms: Vec::new(), except: Vec::new() }
    }

    /// Selects the sockets of one room.
    pub fn to(room: impl Into<Room>) -> Self {
        Self { rooms: vec![room.into()], except: Vec::new() }
    }

    /// Adds the sockets of a further room.
    #[must_use]
    pub fn and_to(mut self, room: impl Into<Room>) -> Self {
        self.rooms.push(room.into());
        self
    }

    /// Leaves out the sockets of a room.
    #[must_use]
    pub fn and_except(mut self, room: impl Into<Room>) -> Self {
        self.except.push(room.into());
        self
    }

    /// Tells whether a socket is meant, given which rooms it is in.
    pub fn selects(&self, is_in: impl Fn(&Room) -> bool) -> bool {
        let wanted = self.rooms.is_empty() || self.rooms.iter().any(&is_in);
        wanted && !self.except.iter().any(&is_in)
    }
}

/// How a broadcast is to be treated, in the official adapters' words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// The message may be dropped for a client that is not ready to take it.
    pub volatile: bool,
    /// The sender's wish about compression; `None` leaves it to the receiver.
    pub compress: Option<bool>,
    /// The message stays on the node that published it.
    pub local: bool,
    /// The message was sent by `socket.broadcast`; it selects nothing by itself.
    pub broadcast: bool,
    /// How long acks are waited for.
    pub timeout: Option<Duration>,
    /// One reply is enough: the room is that of a single socket.
    pub expect_single_response: bool,
    /// A later message of the same key takes the place of this one while it waits for a client. Not an official flag: official
    /// servers pass over it.
    pub coalesce: Option<Arc<str>>,
    /// Where the message stands among those of a member of a mesh. Not an official flag either.
    pub at: Option<Place>,
}
