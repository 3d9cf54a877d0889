//! How many sessions a member has, known late: what it told, or was seen to have, and what was assigned to it and has not reached it yet.

use std::time::{Duration, Instant};

/// The sessions of one member.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    sessions: u32,
    /// As reported or seen: handshakes that ever reached it.
    arrived: u64,
    /// Handshakes ever assigned to it.
    assigned: u64,
    /// What the two counts differ by although nothing is on the way: handshakes that broke off, or were counted on one side only.
    drift: i64,
    /// What had been assigned at some time; what has not arrived [`SETTLE_TIME`] after that never will.
    mark: Option<(Instant, u64)>,
    /// Sessions that others gave it: what it said that it has in all, without those that are known here.
    elsewhere: u64,
    /// It tells its counts itself: what is seen is not counted as well.
    tells: bool,
}

impl Count {
    /// A worker told its counts.
    pub(crate) fn handle_load(&mut self, sessions: u32, arrived: u64) {
        self.sessions = sessions;
        self.arrived = arrived;
        self.correct();
    }

    /// A member told its counts, and will go on to tell them.
    pub(crate) fn handle_told(&mut self, sessions: u32, arrived: u64) {
        self.tells = true;
        self.handle_load(sessions, arrived);
    }

    /// A member said how many sessions it has in all, whoever gave them to it.
    pub(crate) fn handle_whole(&mut self, sessions: u32) {
        self.elsewhere = u64::from(sessions).saturating_sub(self.own());
    }

    /// A session was seen to begin.
    pub(crate) fn handle_begun(&mut self) {
        if self.tells {
            return;
        }
        self.handle_load(self.sessions.saturating_add(1), self.arrived.saturating_add(1));
    }

    /// A session was seen to end.
    pub(crate) fn handle_ended(&mut self) {
        if !self.tells {
            self.sessions = self.sessions.saturating_sub(1);
        }
    }

    /// A handshake is on its way.
    pub(crate) fn assign(&mut self, now: Instant) {
        self.assigned += 1;
        self.mark.get_or_insert((now, self.assigned));
    }

    /// It did not get there.
    pub(crate) fn unassign(&mut self) {
        self.assigned = self.assigned.saturating_sub(1);
        self.correct();
    }

    /// Gives up what was assigned long ago and never arrived.
    pub(crate) fn settle(&mut self, now: Instant) {
        let Some((since, assigned)) = self.mark else { return };
        if now.saturating_duration_since(since) < SETTLE_TIME {
            return;
        }
        let gap = self.gap();
        let later = i64::try_from(self.assigned.saturating_sub(assigned)).unwrap_or(i64::MAX);
        self.drift = self.drift.max(gap.saturating_sub(later));
        self.mark = (gap > self.drift).then_some((now, self.assigned));
    }

    pub(crate) const fn sessions(&self) -> u32 {
        self.sessions
    }

    pub(crate) fn on_the_way(&self) -> u64 {
        u64::try_from(self.gap().saturating_sub(self.drift)).unwrap_or(0)
    }

    /// Sessions, and those to be, that are known here.
    pub(crate) fn own(&self) -> u64 {
        u64::from(self.sessions).saturating_add(self.on_the_way())
    }

    /// All of them, those that others gave it too.
    pub(crate) fn load(&self) -> u64 {
        self.own().saturating_add(self.elsewhere)
    }

    pub(crate) const fn elsewhere(&self) -> u64 {
        self.elsewhere
    }

    /// More arrivals than assignments are somebody else's: the difference is drift.
    fn correct(&mut self) {
        self.drift = self.drift.min(self.gap());
        if self.gap() == self.drift {
            self.mark = None;
        }
    }

    fn gap(&self) -> i64 {
        let wide = i128::from(self.assigned) - i128::from(self.arrived);
        i64::try_from(wide).unwrap_or(if wide < 0 { i64::MIN } else { i64::MAX })
    }
}

/// After this time an assigned handshake that has not been reported will not be: its client went away, or the worker does not count it.
pub(crate) const SETTLE_TIME: Duration = Duration::from_secs(5);
