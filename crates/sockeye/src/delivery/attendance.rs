//! The list of who is in which room on all servers, as one namespace has it: what changes here goes to it, and what others say.
//!
//! What is known and what is said is decided in `sockeye_cluster::roster`. A room that somebody joined or left is looked at again under the
//! list's lock, so that it does not matter in which order threads tell of it. Its task is in `attending`.

use super::Rooms;
use crate::clock::now;
use crate::presence::{Presence, PresenceEvent, PresenceStats, Present};
use parking_lot::Mutex;
use serde_json::value::RawValue;
use sockeye_cluster::roster::{Roster, Say};
use sockeye_cluster::{Packet, Room, Uid};
use sockeye_proto::sid::Sid;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;

/// The event by which servers tell each other who is where.
pub(super) const PRESENT: &str = "sockeye:present";

/// Who is where in one namespace.
pub(crate) struct Attendance {
    presence: Presence,
    roster: Mutex<Roster>,
    /// Rings when there is something to say or to tell.
    bell: Notify,
}

impl Attendance {
    pub(super) fn new(presence: Presence) -> Self {
        let name = format!("{:016x}", rand::random::<u64>()).into();
        let roster = Mutex::new(Roster::new(name, presence.config(), now()));
        Self { presence, roster, bell: Notify::new() }
    }

    /// Looks whether a socket of this server is in a room, and what is shown of it.
    pub(crate) fn look(&self, rooms: &Rooms, room: &Room, id: Sid) {
        if **room == *id.as_str() || !self.presence.tracks(room) {
            return;
        }
        loop {
            let data = rooms.seated(id, room).and_then(|profile| profile.data.lock().clone());
            let shown = self.presence.show(data.as_deref().map(RawValue::get));
            let mut roster = self.roster.lock();
            match rooms.seated(id, room) {
                None => roster.handle_absent(room, id.as_str()),
                Some(profile) => {
                    let same = profile.data.lock().as_deref().map(RawValue::get)
                        == data.as_deref().map(RawValue::get);
                    if !same {
                        continue;
                    }
                    roster.handle_present(room, id.as_str(), shown);
                }
            }
            break;
        }
        self.bell.notify_one();
    }

    /// Looks at all rooms of a socket whose data have changed.
    pub(crate) fn look_at_all(&self, rooms: &Rooms, id: Sid) {
        rooms.rooms_of(id).iter().for_each(|room| self.look(rooms, room, id));
    }

    /// Takes what another server said.
    pub(super) fn hear(&self, json: &[u8]) {
        match Say::read(json) {
            Some(say) => {
                self.roster.lock().handle_say(say, now());
                self.bell.notify_one();
            }
            None => tracing::debug!("what another server said of presence is not understood"),
        }
    }

    /// A server came.
    pub(crate) fn meet(&self) {
        self.roster.lock().handle_met(now());
        self.bell.notify_one();
    }

    /// A server is gone.
    pub(crate) fn miss(&self, uid: &Uid) {
        self.roster.lock().handle_lost(uid);
        self.bell.notify_one();
    }

    pub(crate) fn members(&self, room: &str) -> Vec<Present> {
        let roster = self.roster.lock();
        roster.members(room).map(|(id, data)| Present::new(Arc::clone(id), data.clone())).collect()
    }

    pub(crate) fn count(&self, room: &str) -> usize {
        self.roster.lock().count(room)
    }

    pub(crate) fn rooms(&self) -> Vec<Room> {
        self.roster.lock().rooms().cloned().collect()
    }

    pub(crate) fn stats(&self) -> PresenceStats {
        self.roster.lock().stats()
    }

    /// What is to be said next.
    pub(super) fn next_say(&self) -> Option<Packet> {
        let say = self.roster.lock().poll_say()?;
        Some(Packet::text(format!("[\"{PRESENT}\",{}]", say.json())))
    }

    /// What is to be told next.
    pub(super) fn next_event(&self) -> Option<PresenceEvent> {
        self.roster.lock().poll_event().map(PresenceEvent::from)
    }

    /// Does what is due, as the server that signs like this; returns when there is more to do.
    pub(super) fn turn(&self, uid: Option<Uid>) -> Instant {
        let mut roster = self.roster.lock();
        uid.into_iter().for_each(|uid| roster.handle_uid(uid));
        roster.handle_timeout(now());
        roster.poll_timeout()
    }

    /// Waits until there is something to say or to tell.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Says goodbye next, and nothing after it.
    pub(super) fn close(&self) {
        self.roster.lock().handle_close();
    }
}

impl fmt::Debug for Attendance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attendance").field("presence", &self.presence).finish_non_exhaustive()
    }
}
