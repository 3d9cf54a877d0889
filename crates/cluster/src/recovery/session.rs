//! One client's session: who it is, from where on events concern it, and in which rooms it has been when.

use bytes::Bytes;
use sockeye_proto::sid::Sid;
use std::time::Instant;

use super::offset::Offset;
use crate::name::Room;
use crate::selector::Selector;

/// A session, whether its client is here or not.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) sid: Sid,
    /// What the client was told, or can have been told, up to its beginning: nothing up to here is missing.
    pub(super) floor: Offset,
    /// Up to here it is forgotten in which rooms the session was.
    pub(super) blind: Option<Offset>,
    pub(super) absence: Option<Absence>,
    /// When its credential ends.
    pub(super) ends: Option<Instant>,
    stays: Vec<Stay>,
}

/// A client that is away.
#[derive(Debug)]
pub(super) struct Absence {
    pub(super) since: Instant,
    pub(super) data: Bytes,
}

/// A time in a room.
#[derive(Debug)]
struct Stay {
    room: Room,
    /// What came after this was heard.
    from: Offset,
    /// And up to this.
    until: Option<Offset>,
}

impl Session {
    pub(super) const fn new(sid: Sid, floor: Offset) -> Self {
        Self { sid, floor, blind: None, absence: None, ends: None, stays: Vec::new() }
    }

    pub(super) fn join(&mut self, room: &Room, at: Offset) {
        if !self.stays.iter().any(|stay| stay.until.is_none() && stay.room == *room) {
            self.stays.push(Stay { room: room.clone(), from: at, until: None });
        }
    }

    /// Leaves a room. `aged`: what nobody can miss any more; at most `past_max` former stays are remembered.
    pub(super) fn leave(&mut self, room: &Room, at: Offset, aged: Offset, past_max: usize) {
        let here = |stay: &&mut Stay| stay.until.is_none() && stay.room == *room;
        let Some(stay) = self.stays.iter_mut().find(here) else { return };
        stay.until = Some(at);
        // A stay in which nothing was said, or nothing that anybody can miss, is not worth remembering.
        self.stays.retain(|stay| stay.until.is_none_or(|until| until > stay.from && until > aged));
        let past = |stay: &Stay| stay.until.is_some();
        if self.stays.iter().filter(|stay| past(stay)).count() > past_max
            && let Some(oldest) = self.stays.iter().position(past)
        {
            self.blind = self.blind.max(self.stays.remove(oldest).until);
        }
    }

    /// Whether an event was meant for this session when it was said.
    pub(super) fn is_meant(&self, selector: &Selector, offset: Offset) -> bool {
        selector.selects(|room| {
            self.stays.iter().any(|stay| {
                stay.room == *room && stay.from < offset && stay.until.is_none_or(|until| offset <= until)
            })
        })
    }

    /// The rooms that it is in.
    pub(super) fn rooms(&self) -> Vec<Room> {
        self.stays.iter().filter(|stay| stay.until.is_none()).map(|stay| stay.room.clone()).collect()
    }
}
