//! Copies of the sessions of all members: whose they are, who waits, and how many bytes they may have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::adapter::Session;
use crate::name::{Pid, Uid};
use crate::recovery::Config;

/// What a copy costs beside what it says.
const COPY_BYTES: usize = 256;

/// Sessions by their private id.
#[derive(Debug, Default)]
pub(super) struct Copies {
    all: BTreeMap<Pid, Copy>,
    bytes: usize,
    /// Whose client is away, longest first.
    away: BTreeSet<(Instant, Pid)>,
}

#[derive(Debug)]
struct Copy {
    session: Session,
    /// The member that has it; `None`: that one is gone.
    holder: Option<Uid>,
    away_since: Option<Instant>,
}

impl Copies {
    /// Keeps one in place of a former one; how many were not kept for it.
    pub(super) fn keep(
        &mut self,
        session: Session,
        holder: Option<Uid>,
        away_since: Option<Instant>,
        config: &Config,
    ) -> u64 {
        self.remove(&session.pid);
        let bytes = cost(&session);
        if self.bytes + bytes > config.copy_bytes_max || session.data.len() > config.data_bytes_max {
            return 1;
        }
        self.bytes += bytes;
        let pid = session.pid.clone();
        if let Some(since) = away_since {
            self.away.insert((since, pid.clone()));
        }
        self.all.insert(pid, Copy { session, holder, away_since });
        self.evict(config)
    }

    pub(super) fn remove(&mut self, pid: &Pid) {
        if let Some(copy) = self.all.remove(pid) {
            self.bytes -= cost(&copy.session);
            if let Some(since) = copy.away_since {
                self.away.remove(&(since, pid.clone()));
            }
        }
    }

    /// Its holder is gone: the clients of its sessions are away. How many could not be kept.
    pub(super) fn orphan(&mut self, holder: &Uid, now: Instant, config: &Config) -> u64 {
        let Self { all, away, .. } = self;
        for (pid, copy) in all.iter_mut().filter(|(_, copy)| copy.holder.as_ref() == Some(holder)) {
            copy.holder = None;
            if copy.away_since.is_none() {
                copy.away_since = Some(now);
                away.insert((now, pid.clone()));
            }
        }
        self.evict(config)
    }

    /// Forgets those who are away for too long; how many.
    pub(super) fn expire(&mut self, now: Instant, away_max: Duration) -> u64 {
        let mut expired = 0;
        while let Some((since, pid)) = self.away.first()
            && now.saturating_duration_since(*since) >= away_max
        {
            let pid = pid.clone();
            self.remove(&pid);
            expired += 1;
        }
        expired
    }

    pub(super) fn get(&self, pid: &Pid) -> Option<&Session> {
        self.all.get(pid).map(|copy| &copy.session)
    }

    pub(super) fn held_by(&self, pid: &Pid, holder: &Uid) -> Option<(Session, bool)> {
        let copy = self.all.get(pid).filter(|copy| copy.holder.as_ref() == Some(holder))?;
        Some((copy.session.clone(), copy.away_since.is_some()))
    }

    /// Those of a member, and whether their clients are away.
    pub(super) fn of<'a>(&'a self, holder: &'a Uid) -> impl Iterator<Item = (&'a Session, bool)> {
        let theirs = self.all.values().filter(move |copy| copy.holder.as_ref() == Some(holder));
        theirs.map(|copy| (&copy.session, copy.away_since.is_some()))
    }

    /// Since when the one who is away longest is away.
    pub(super) fn longest(&self) -> Option<Instant> {
        self.away.first().map(|(since, _)| *since)
    }

    pub(super) fn away(&self) -> usize {
        self.away.len()
    }

    /// How many there are, and their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.all.len(), self.bytes)
    }

    fn evict(&mut self, config: &Config) -> u64 {
        let mut evicted = 0;
        while self.away.len() > config.sessions_max
            && let Some((_, pid)) = self.away.first()
        {
            let pid = pid.clone();
            self.remove(&pid);
            evicted += 1;
        }
        evicted
    }
}

fn cost(session: &Session) -> usize {
    let rooms = session.rooms.iter().map(|room| room.len() + size_of_val(room)).sum::<usize>();
    let start = session.start.as_ref().map_or(0, |start| start.0.len());
    session.pid.len() + rooms + session.data.len() + start + COPY_BYTES
}
