//! What is known of the other servers: what each said last, and until when it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use super::config::{ASK_PAUSE, SERVERS_MAX};
use super::say::Kind;
use super::seat::{Key, Seat};
use crate::name::Uid;

/// The other servers, by the name of their run.
#[derive(Debug, Default)]
pub(super) struct Others(BTreeMap<Arc<str>, Other>);

#[derive(Debug)]
struct Other {
    uid: Uid,
    until: Instant,
    /// What of its changes is known; `None`: nothing yet.
    version: Option<u64>,
    /// What it has said of all that it has, so far.
    told: Option<Telling>,
    asked: Option<Instant>,
    seats: BTreeSet<Key>,
}

#[derive(Debug)]
struct Telling {
    version: u64,
    next: u64,
    seats: Vec<Seat>,
}

/// What follows from what was said.
#[derive(Debug)]
pub(super) enum Heard {
    Nothing,
    /// It is to be asked for all that it has, and does not know this one.
    New,
    /// Something of it was missed: it is to be asked.
    Missed,
    /// There are too many.
    TooMany,
    Changed {
        present: Vec<Seat>,
        absent: Vec<Key>,
    },
}

impl Others {
    /// Takes what a server said of itself.
    pub(super) fn heard(
        &mut self,
        name: &Arc<str>,
        uid: &Uid,
        until: Instant,
        now: Instant,
        kind: Kind,
    ) -> Heard {
        let known = self.0.contains_key(name);
        if !known && self.0.len() >= SERVERS_MAX {
            return Heard::TooMany;
        }
        let other = self.0.entry(Arc::clone(name)).or_insert_with(|| Other {
            uid: uid.clone(),
            until,
            version: None,
            told: None,
            asked: None,
            seats: BTreeSet::new(),
        });
        other.until = until;
        other.uid = uid.clone();
        let heard = other.take(kind, now);
        if !known && matches!(heard, Heard::Missed) { Heard::New } else { heard }
    }

    /// Notes a seat of a server; `false`: it has too many.
    pub(super) fn sit(&mut self, name: &Arc<str>, key: &Key, max: usize) -> bool {
        let Some(other) = self.0.get_mut(name) else { return false };
        let room = other.seats.len() < max || other.seats.contains(key);
        if room {
            other.seats.insert(key.clone());
        }
        room
    }

    /// Forgets a server, and gives its seats back.
    pub(super) fn forget(&mut self, name: &Arc<str>) -> BTreeSet<Key> {
        self.0.remove(name).map(|other| other.seats).unwrap_or_default()
    }

    pub(super) fn names_of(&self, uid: &Uid) -> Vec<Arc<str>> {
        self.0.iter().filter(|(_, other)| other.uid == *uid).map(|(name, _)| Arc::clone(name)).collect()
    }

    pub(super) fn silent(&self, now: Instant) -> Vec<Arc<str>> {
        self.0.iter().filter(|(_, other)| other.until <= now).map(|(name, _)| Arc::clone(name)).collect()
    }

    pub(super) fn next_silent(&self) -> Option<Instant> {
        self.0.values().map(|other| other.until).min()
    }
}

impl Other {
    fn take(&mut self, kind: Kind, now: Instant) -> Heard {
        match kind {
            Kind::Here { version } if self.version == Some(version) => Heard::Nothing,
            Kind::Here { .. } => self.miss(now),
            // It came twice, or late.
            Kind::Changed { version, .. } if self.version.is_some_and(|known| version <= known) => {
                Heard::Nothing
            }
            Kind::Changed { before, version, present, absent } if self.version == Some(before) => {
                self.version = Some(version);
                for key in &absent {
                    self.seats.remove(key);
                }
                Heard::Changed { present, absent }
            }
            Kind::Changed { .. } => self.miss(now),
            Kind::All { version, .. } if self.version.is_some_and(|known| version <= known) => Heard::Nothing,
            Kind::All { version, part, last, present } => self.told(version, part, last, present),
            // Taken before.
            Kind::Ask { .. } | Kind::Gone => Heard::Nothing,
        }
    }

    fn told(&mut self, version: u64, part: u64, last: bool, present: Vec<Seat>) -> Heard {
        let telling = match self.told.take() {
            Some(telling) if telling.version == version && telling.next == part => Some(telling),
            Some(_) | None if part == 0 => Some(Telling { version, next: 0, seats: Vec::new() }),
            Some(_) | None => None,
        };
        // What it is a part of was missed: its next word leads to another question.
        let Some(mut telling) = telling else { return Heard::Nothing };
        telling.next += 1;
        telling.seats.extend(present);
        if !last {
            self.told = Some(telling);
            return Heard::Nothing;
        }
        self.version = Some(version);
        self.asked = None;
        let present = telling.seats;
        let there: BTreeSet<Key> =
            present.iter().map(|seat| (seat.room.clone(), Arc::clone(&seat.id))).collect();
        let absent: Vec<Key> = self.seats.difference(&there).cloned().collect();
        self.seats.retain(|key| there.contains(key));
        Heard::Changed { present, absent }
    }

    /// Something is missing; it is asked for unless it just was.
    fn miss(&mut self, now: Instant) -> Heard {
        if self.asked.is_some_and(|asked| now < asked + ASK_PAUSE) {
            return Heard::Nothing;
        }
        self.asked = Some(now);
        Heard::Missed
    }
}
