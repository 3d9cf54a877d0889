//! Rooms that come and go, for whoever wants to know.
//!
//! A watched namespace counts its rooms over all shards, under one lock more. One that nobody watches pays nothing.

use crate::id::SocketId;
use parking_lot::Mutex;
use sockeye_cluster::Room;
use sockeye_proto::sid::Sid;
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Something that happened to a room of a namespace, on this node. A socket's own room, named by its id, is one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoomEvent {
    /// The room has its first socket.
    Created(Room),
    /// A socket joined.
    Joined(Room, SocketId),
    /// A socket left.
    Left(Room, SocketId),
    /// The room has no socket any more.
    Deleted(Room),
}

/// A listener of rooms.
pub(crate) type OnRoom = Arc<dyn Fn(&RoomEvent) + Send + Sync>;

/// The listener, and what it takes to know a room's first socket and its last.
pub(crate) struct Watch {
    listener: OnRoom,
    counts: Mutex<HashMap<Room, usize>>,
}

/// What changes, while it changes.
pub(super) struct Notes<'a> {
    counts: &'a mut HashMap<Room, usize>,
    events: Vec<RoomEvent>,
}

impl Watch {
    pub(crate) fn new(listener: OnRoom) -> Self {
        Self { listener, counts: Mutex::default() }
    }

    /// Lets `work` change rooms and note it; the listener hears of it when nothing is locked any more.
    pub(super) fn change(&self, work: impl FnOnce(&mut Notes<'_>)) {
        let events = {
            let mut counts = self.counts.lock();
            let mut notes = Notes { counts: &mut counts, events: Vec::new() };
            work(&mut notes);
            notes.events
        };
        for event in events {
            if catch_unwind(AssertUnwindSafe(|| (self.listener)(&event))).is_err() {
                tracing::error!("a listener of rooms panicked");
            }
        }
    }
}

impl Notes<'_> {
    /// Notes that a socket joined. In the official order: the room first.
    pub(super) fn joined(&mut self, room: &Room, id: Sid) {
        let count = self.counts.entry(room.clone()).or_default();
        *count += 1;
        if *count == 1 {
            self.events.push(RoomEvent::Created(room.clone()));
        }
        self.events.push(RoomEvent::Joined(room.clone(), SocketId::new(id)));
    }

    /// Notes that a socket left. In the official order: the room last.
    pub(super) fn left(&mut self, room: &Room, id: Sid) {
        self.events.push(RoomEvent::Left(room.clone(), SocketId::new(id)));
        let Some(count) = self.counts.get_mut(room) else { return };
        *count -= 1;
        if *count == 0 {
            self.counts.remove(room);
            self.events.push(RoomEvent::Deleted(room.clone()));
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}
