//! How a node knows who else is there: it is told, it hears them, or the backplane counts.
//!
//! Keeps the account of who spoke when; who is a peer, and what follows from it, is [`Node`](crate::Node)'s.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::adapter::Presence;
use crate::name::Uid;
use crate::request::ANSWERERS_MAX;

/// How a node knows who else is there.
#[derive(Debug)]
pub(super) enum Roll {
    /// By whoever knows: a mesh.
    Told,
    /// By what they say.
    Heard(Heard),
    /// By the backplane, which knows how many, but not who.
    Counted(Counted),
}

/// Who spoke when.
#[derive(Debug)]
pub(super) struct Heard {
    interval: Duration,
    timeout: Duration,
    /// When this server has to say that it lives.
    due: Instant,
    spoke: BTreeMap<Uid, Instant>,
}

/// How many there are, and the names of some.
#[derive(Debug, Default)]
pub(super) struct Counted {
    servers: u64,
    names: BTreeSet<Uid>,
}

impl Roll {
    pub(super) fn new(presence: Presence, now: Instant) -> Self {
        match presence {
            Presence::Heartbeats { interval, timeout } => {
                Self::Heard(Heard { interval, timeout, due: now + interval, spoke: BTreeMap::new() })
            }
            Presence::Counted => Self::Counted(Counted::default()),
        }
    }

    /// When somebody may be dead, or this server has to speak.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Heard(heard) => {
                let silent = heard.spoke.values().min().map(|spoke| *spoke + heard.timeout);
                silent.into_iter().chain([heard.due]).min()
            }
            Self::Told | Self::Counted(_) => None,
        }
    }
}

impl Heard {
    /// Notes that somebody spoke; `true`: for the first time. One more than [`ANSWERERS_MAX`] is not noted.
    pub(super) fn note(&mut self, uid: &Uid, now: Instant) -> bool {
        if let Some(spoke) = self.spoke.get_mut(uid) {
            *spoke = now.max(*spoke);
            return false;
        }
        let room = self.spoke.len() < ANSWERERS_MAX;
        if room {
            self.spoke.insert(uid.clone(), now);
        }
        room
    }

    pub(super) fn forget(&mut self, uid: &Uid) {
        self.spoke.remove(uid);
    }

    /// Who has said nothing for too long.
    pub(super) fn silent(&self, now: Instant) -> Vec<Uid> {
        let silent = self.spoke.iter().filter(|(_, spoke)| **spoke + self.timeout <= now);
        silent.map(|(uid, _)| uid.clone()).collect()
    }

    /// Notes that this server spoke.
    pub(super) fn spoken(&mut self, now: Instant) {
        self.due = now + self.interval;
    }

    /// Whether this server has to speak; asked once, it waits for another interval.
    pub(super) fn has_to_speak(&mut self, now: Instant) -> bool {
        let due = self.due <= now;
        if due {
            self.spoken(now);
        }
        due
    }
}

impl Counted {
    pub(super) const fn set(&mut self, servers: u64) {
        self.servers = servers;
    }

    /// How many there are besides this one.
    pub(super) const fn others(&self) -> u64 {
        self.servers.saturating_sub(1)
    }

    pub(super) fn note(&mut self, uid: &Uid) {
        if self.names.len() < ANSWERERS_MAX {
            self.names.insert(uid.clone());
        }
    }

    pub(super) fn forget(&mut self, uid: &Uid) {
        self.names.remove(uid);
    }

    /// Those that were ever heard.
    pub(super) const fn names(&self) -> &BTreeSet<Uid> {
        &self.names
    }
}
