//! One worker's life: starting, ready, draining, stopping, dead, and again. Pure.
//!
//! Told what happened to the process; tells what to do to it. It knows no pid and sends no signal.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config::{Policy, Timing};

#[cfg(test)]
mod tests;

/// What to do to the process, or what became of the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Start a process; then [`Worker::handle_spawned`] or [`Worker::handle_spawn_failed`].
    Spawn,
    /// Tell it to let its sessions go within this time.
    Drain(Duration),
    /// It serves: told once a process.
    Ready,
    /// Ask it to end by `Stop` over the link, which lets it close in order.
    Stop,
    /// Ask it to end by SIGTERM to its group: it has no link, or did not do what the link said.
    Terminate,
    /// End it: SIGKILL to its group.
    Kill,
    /// A process will be started after this time.
    RestartingIn(Duration),
    /// It failed too often in a row: there is no process and there will be none.
    GaveUp,
    /// There is no process and there will be none.
    Stopped,
}

/// Counters of one worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerStats {
    /// Processes that were to be started, the first one included.
    pub starts: u64,
    /// Processes that were to be started again.
    pub restarts: u64,
    /// Processes that were killed because they were not ready in time.
    pub overdue: u64,
}

/// The machine of one worker.
#[derive(Debug)]
pub struct Worker {
    timing: Timing,
    policy: Policy,
    state: State,
    /// Whether a process that ends is started again.
    wanted: bool,
    /// Whether it ends because a fresh one is asked for, which comes without a pause.
    again: bool,
    /// When the process was made.
    spawned: Option<Instant>,
    /// Ends in a row that came too early.
    unstable: u32,
    /// Whether the process can be told things over its link.
    linked: bool,
    /// Ends in a row without a long enough service between.
    failures: u32,
    outputs: VecDeque<Output>,
    stats: WorkerStats,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// The process is being made; it cannot be signalled yet.
    Spawning {
        ready_by: Instant,
    },
    Starting {
        ready_by: Instant,
    },
    Ready {
        since: Instant,
    },
    Draining {
        until: Instant,
        since: Option<Instant>,
    },
    Stopping {
        /// When words over the link have had their time.
        terminate_at: Option<Instant>,
        kill_at: Instant,
        since: Option<Instant>,
    },
    /// Only its end is awaited.
    Killed {
        since: Option<Instant>,
    },
    BackingOff {
        until: Instant,
    },
    Stopped,
    /// As stopped, but nobody asked for it.
    Errored,
}

/// What a person is told of a worker; the words are pm2's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Its process is being made, or does not serve yet.
    Launching,
    /// It serves.
    Online,
    /// It lets its clients go, or ends.
    Stopping,
    /// It was ended, or ended in a way that is no failure.
    Stopped,
    /// It failed too often in a row.
    Errored,
    /// It failed and is started again after a pause.
    Waiting,
}

impl Status {
    /// The word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Launching => "launching",
            Self::Online => "online",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Errored => "errored",
            Self::Waiting => "waiting restart",
        }
    }
}

impl Worker {
    /// A worker that was never started.
    #[must_use]
    pub fn new(timing: Timing, policy: Policy) -> Self {
        Self {
            timing,
            policy,
            state: State::Idle,
            wanted: false,
            again: false,
            spawned: None,
            unstable: 0,
            linked: false,
            failures: 0,
            outputs: VecDeque::new(),
            stats: WorkerStats::default(),
        }
    }

    /// It shall run from here on.
    pub fn handle_start(&mut self, now: Instant) {
        self.wanted = true;
        match self.state {
            State::Idle | State::Stopped | State::Errored => {
                (self.failures, self.unstable) = (0, 0);
                self.spawn(now);
            }
            State::Spawning { .. }
            | State::Starting { .. }
            | State::Ready { .. }
            | State::Draining { .. }
            | State::Stopping { .. }
            | State::Killed { .. }
            | State::BackingOff { .. } => {}
        }
    }

    /// The process exists.
    pub fn handle_spawned(&mut self, now: Instant) {
        let State::Spawning { ready_by } = self.state else { return };
        self.state = State::Starting { ready_by };
        self.spawned = Some(now);
        if !self.wanted {
            self.ask(None, now);
        }
    }

    /// The process could not be made.
    pub fn handle_spawn_failed(&mut self, now: Instant) {
        if matches!(self.state, State::Spawning { .. }) {
            self.end(None, None, now);
        }
    }

    /// The process said Hello and has its assignment.
    pub fn handle_linked(&mut self) {
        self.linked = true;
    }

    /// The worker said that it serves.
    pub fn handle_ready(&mut self, now: Instant) {
        if matches!(self.state, State::Starting { .. }) {
            self.state = State::Ready { since: now };
            self.outputs.push_back(Output::Ready);
        }
    }

    /// The worker said how many sessions it has: one that drains and has none may end.
    pub fn handle_load(&mut self, sessions: u32, now: Instant) {
        if let State::Draining { since, .. } = self.state
            && sessions == 0
        {
            self.ask(since, now);
        }
    }

    /// The link to a process that still runs is broken: without it the worker is of no use.
    pub fn handle_link_ended(&mut self, now: Instant) {
        self.linked = false;
        match self.state {
            State::Starting { .. } => self.ask(None, now),
            State::Ready { since } => self.ask(Some(since), now),
            State::Draining { since, .. } => self.ask(since, now),
            State::Idle
            | State::Spawning { .. }
            | State::Stopping { .. }
            | State::Killed { .. }
            | State::BackingOff { .. }
            | State::Stopped
            | State::Errored => {}
        }
    }

    /// A fresh process shall take its place: the one there is, if any, is asked to end, and the next comes without a pause.
    pub fn handle_restart(&mut self, now: Instant) {
        match self.state {
            State::Idle | State::Stopped | State::Errored => return self.handle_start(now),
            State::BackingOff { .. } => {
                self.stats.restarts += 1;
                self.spawn(now);
            }
            State::Starting { .. } => self.ask(None, now),
            State::Ready { since } => self.ask(Some(since), now),
            State::Draining { since, .. } => self.ask(since, now),
            State::Spawning { .. } | State::Stopping { .. } | State::Killed { .. } => {}
        }
        self.wanted = true;
        self.again = !matches!(self.state, State::Spawning { .. }) || self.again;
        (self.failures, self.unstable) = (0, 0);
    }

    /// It shall end, and may take `within` to let its sessions go. A second call with less time shortens the first.
    pub fn handle_stop(&mut self, within: Duration, now: Instant) {
        (self.wanted, self.again) = (false, false);
        match self.state {
            State::Errored => self.state = State::Stopped,
            State::Idle | State::BackingOff { .. } => self.stopped(),
            State::Starting { .. } => self.ask(None, now),
            State::Ready { since } if within.is_zero() => self.ask(Some(since), now),
            State::Draining { since, .. } if within.is_zero() => self.ask(since, now),
            State::Ready { since } => {
                self.state = State::Draining { until: now + within, since: Some(since) };
                self.outputs.push_back(Output::Drain(within));
            }
            State::Draining { since, until } => {
                self.state = State::Draining { until: until.min(now + within), since };
            }
            State::Spawning { .. } | State::Stopping { .. } | State::Killed { .. } | State::Stopped => {}
        }
    }

    /// It shall end at once.
    pub fn handle_kill(&mut self) {
        (self.wanted, self.again) = (false, false);
        match self.state {
            State::Errored => self.state = State::Stopped,
            State::Idle | State::BackingOff { .. } => self.stopped(),
            State::Starting { .. } => self.kill(None),
            State::Ready { since } => self.kill(Some(since)),
            State::Draining { since, .. } | State::Stopping { since, .. } => self.kill(since),
            State::Spawning { .. } | State::Killed { .. } | State::Stopped => {}
        }
    }

    /// The process ended, for whatever reason; by a signal it has no code.
    pub fn handle_exited(&mut self, code: Option<i32>, now: Instant) {
        match self.state {
            State::Ready { since } => self.end(Some(since), code, now),
            State::Draining { since, .. } | State::Stopping { since, .. } | State::Killed { since } => {
                self.end(since, code, now);
            }
            State::Starting { .. } | State::Spawning { .. } => self.end(None, code, now),
            State::Idle | State::BackingOff { .. } | State::Stopped | State::Errored => {}
        }
    }

    /// The moment of [`Self::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        match self.state {
            State::Starting { .. } => {
                self.stats.overdue += 1;
                self.kill(None);
            }
            State::Draining { since, .. } => self.ask(since, now),
            State::Stopping { terminate_at: Some(due), kill_at, since } if due < kill_at => {
                self.state = State::Stopping { terminate_at: None, kill_at, since };
                self.outputs.push_back(Output::Terminate);
            }
            State::Stopping { since, .. } => self.kill(since),
            State::BackingOff { .. } => {
                self.stats.restarts += 1;
                self.spawn(now);
            }
            State::Idle
            | State::Spawning { .. }
            | State::Ready { .. }
            | State::Killed { .. }
            | State::Stopped
            | State::Errored => {}
        }
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`], if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Starting { ready_by: due }
            | State::Draining { until: due, .. }
            | State::BackingOff { until: due } => Some(due),
            State::Stopping { terminate_at, kill_at, .. } => {
                Some(terminate_at.map_or(kill_at, |terminate_at| terminate_at.min(kill_at)))
            }
            State::Idle
            | State::Spawning { .. }
            | State::Ready { .. }
            | State::Killed { .. }
            | State::Stopped
            | State::Errored => None,
        }
    }

    /// Whether it serves and is to go on serving.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready { .. })
    }

    /// Whether there is no process and will be none.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped | State::Errored)
    }

    /// Whether its last process ended without having been asked to.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        matches!(self.state, State::BackingOff { .. } | State::Errored | State::Stopped)
    }

    /// What a person is told of it.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.state {
            State::Idle | State::Stopped => Status::Stopped,
            State::Spawning { .. } | State::Starting { .. } => Status::Launching,
            State::Ready { .. } => Status::Online,
            State::Draining { .. } | State::Stopping { .. } | State::Killed { .. } => Status::Stopping,
            State::BackingOff { .. } => Status::Waiting,
            State::Errored => Status::Errored,
        }
    }

    /// When its process was made, if there is one.
    #[must_use]
    pub fn spawned(&self) -> Option<Instant> {
        self.spawned
    }

    /// How often it ended too early in a row.
    #[must_use]
    pub fn unstable(&self) -> u32 {
        self.unstable
    }

    /// From its next step on it is treated so.
    pub fn change(&mut self, timing: Timing, policy: Policy) {
        (self.timing, self.policy) = (timing, policy);
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> WorkerStats {
        self.stats
    }

    fn spawn(&mut self, now: Instant) {
        (self.linked, self.again) = (false, false);
        self.stats.starts += 1;
        self.state = State::Spawning { ready_by: now + self.timing.ready_timeout };
        self.outputs.push_back(Output::Spawn);
    }

    /// Asks the process to end, over the link if there is one.
    fn ask(&mut self, since: Option<Instant>, now: Instant) {
        let terminate_at = self.linked.then(|| now + self.timing.terminate_timeout);
        self.state = State::Stopping { terminate_at, kill_at: now + self.timing.kill_timeout, since };
        self.outputs.push_back(if self.linked { Output::Stop } else { Output::Terminate });
    }

    fn kill(&mut self, since: Option<Instant>) {
        self.state = State::Killed { since };
        self.outputs.push_back(Output::Kill);
    }

    fn stopped(&mut self) {
        self.state = State::Stopped;
        self.outputs.push_back(Output::Stopped);
    }

    /// No process is left of the last start, which had served since `since`.
    fn end(&mut self, since: Option<Instant>, code: Option<i32>, now: Instant) {
        let uptime = self.spawned.take().map(|spawned| now.duration_since(spawned));
        if !self.wanted {
            return self.stopped();
        }
        if self.again {
            self.stats.restarts += 1;
            return self.spawn(now);
        }
        if !self.policy.autorestart || code.is_some_and(|code| self.policy.stop_exit_codes.contains(&code)) {
            self.wanted = false;
            return self.stopped();
        }
        if since.is_some_and(|since| now.duration_since(since) >= self.timing.restart_reset_after) {
            self.failures = 0;
        }
        // Whoever lived long and never served has failed too.
        let is_stable = since.is_some() && uptime.is_some_and(|uptime| uptime >= self.policy.min_uptime);
        self.unstable = if is_stable { 0 } else { self.unstable.saturating_add(1) };
        if self.policy.max_restarts.is_some_and(|max| self.unstable >= max.get()) {
            self.wanted = false;
            self.state = State::Errored;
            return self.outputs.push_back(Output::GaveUp);
        }
        let doubled = self.timing.restart_delay_min.saturating_mul(2_u32.saturating_pow(self.failures));
        let delay = self.policy.restart_delay.unwrap_or(doubled.min(self.timing.restart_delay_max));
        self.failures = self.failures.saturating_add(1);
        self.state = State::BackingOff { until: now + delay };
        self.outputs.push_back(Output::RestartingIn(delay));
    }
}
