//! Which members are to hear of what is published here (`docs/mesh.md`, "Interest").
//!
//! A member's board says at any moment which rooms it hears; what has been sent to it and will let its sockets join is not on it yet. So after
//! such a message everything goes to it, until it says that it has come that far. Reading boards is the driver's.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use sockeye_proto::sid::{Sid, Tag};

use super::board::place;
use crate::message::Message;
use crate::name::{Nsp, Room};

/// Rooms of one message that are looked for on a board; one with more goes to every member.
pub const LOOKS_MAX: usize = 16;

/// What a member's hello says of what it hears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hears {
    /// It has no clients.
    pub guest: bool,
    /// It keeps sessions, and so needs every event that has a place.
    pub keeps: bool,
    /// Bytes of its board; without one it hears everything.
    pub board: Option<NonZeroU32>,
}

/// What the members hear. One that is not known hears everything.
#[derive(Debug, Default)]
pub struct Ears {
    by_tag: BTreeMap<Tag, Ear>,
    marks: u64,
}

#[derive(Debug)]
struct Ear {
    hears: Hears,
    state: State,
}

/// Whether a board shows all that the messages to its member have led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It does not; and no mark is on its way.
    Behind,
    /// It will, when this mark comes back; `again`: that one is not enough.
    Awaited { number: u64, again: bool },
    /// It does.
    Current,
}

impl Ears {
    /// Takes a member's hello.
    pub fn handle_hello(&mut self, tag: Tag, hears: Hears) {
        self.by_tag.insert(tag, Ear { hears, state: State::Behind });
    }

    /// Takes note that a member is gone.
    pub fn handle_left(&mut self, tag: Tag) {
        self.by_tag.remove(&tag);
    }

    /// Takes note that the connection to a member has ended, and what was under way may be lost.
    pub fn handle_lost(&mut self, tag: Tag) {
        if let Some(ear) = self.by_tag.get_mut(&tag) {
            ear.state = State::Behind;
        }
    }

    /// Takes note that something was sent that may let a member's sockets join rooms, or that a connection to it has begun. The number of the
    /// mark that is to be sent after it.
    pub fn handle_moving(&mut self, tag: Tag) -> Option<u64> {
        let ear = self.by_tag.get_mut(&tag).filter(|ear| ear.hears.board.is_some())?;
        match &mut ear.state {
            State::Awaited { again, .. } => {
                *again = true;
                None
            }
            State::Behind | State::Current => Some(ear.mark(&mut self.marks)),
        }
    }

    /// Takes a mark that came back. The number of the next one, if that is to be sent.
    pub fn handle_marked(&mut self, tag: Tag, marked: u64) -> Option<u64> {
        let ear = self.by_tag.get_mut(&tag)?;
        let State::Awaited { number, again } = ear.state else { return None };
        if number != marked {
            return None;
        }
        if again {
            return Some(ear.mark(&mut self.marks));
        }
        ear.state = State::Current;
        None
    }

    /// Whether a member is to hear of a message. `look` tells whether a byte of its board is set, or cannot be had.
    pub fn hears(&self, tag: Tag, nsp: &Nsp, message: &Message, mut look: impl FnMut(u32) -> bool) -> bool {
        let Some(Ear { hears, state, .. }) = self.by_tag.get(&tag) else { return true };
        let selector = match message {
            Message::Broadcast { flags, .. } if hears.keeps && flags.at.is_some() => return true,
            Message::Broadcast { selector, request_id: None, .. }
            | Message::SocketsJoin { selector, .. }
            | Message::SocketsLeave { selector, .. }
            | Message::DisconnectSockets { selector, .. } => selector,
            Message::Broadcast { request_id: Some(_), .. }
            | Message::FetchSockets { .. }
            | Message::FetchSocketsResponse { .. }
            | Message::ServerSideEmit { .. }
            | Message::ServerSideEmitResponse { .. }
            | Message::BroadcastClientCount { .. }
            | Message::BroadcastAck { .. }
            | Message::InitialHeartbeat
            | Message::Heartbeat
            | Message::AdapterClose => return true,
        };
        if hears.guest {
            return false;
        }
        let Some(bytes) = hears.board else { return true };
        if *state != State::Current || selector.rooms.len() > LOOKS_MAX {
            return true;
        }
        if selector.rooms.is_empty() {
            return look(place(nsp, None, bytes));
        }
        let its_own = |room: &Room| room.parse::<Sid>().is_ok_and(|sid| sid.tag() == tag);
        selector.rooms.iter().any(|room| its_own(room) || look(place(nsp, Some(room), bytes)))
    }
}

impl Ear {
    const fn mark(&mut self, marks: &mut u64) -> u64 {
        *marks += 1;
        self.state = State::Awaited { number: *marks, again: false };
        *marks
    }
}
