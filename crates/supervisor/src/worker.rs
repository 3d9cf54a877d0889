//! One worker's life: starting, ready, draining, stopping, dead, and again. Pure.
//!
//! Told what happened to the process; tells what to do to it. It knows no pid and sends no signal.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config::Timing;

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
    state: State,
    /// Whether a process that ends is started again.
    wanted: bool,
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
}

impl Worker {
    /// A worker that was never started.
    #[must_use]
    pub fn new(timing: Timing) -> Self {
        Self {
            timing,
            state: State::Idle,
            wanted: false,
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
            State::Idle | State::Stopped => self.spawn(now),
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
        if !self.wanted {
            self.ask(None, now);
        }
    }

    /// The process could not be made.
    pub fn handle_spawn_failed(&mut self, now: Instant) {
        if matches!(self.state, State::Spawning { .. }) {
            self.end(None, now);
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
            | State::Stopped => {}
        }
    }

    /// It shall end, and may take `within` to let its sessions go. A second call with less time shortens the first.
    pub fn handle_stop(&mut self, within: Duration, now: Instant) {
        self.wanted = false;
        match self.state {
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
        self.wanted = false;
        match self.state {
            State::Idle | State::BackingOff { .. } => self.stopped(),
            State::Starting { .. } => self.kill(None),
            State::Ready { since } => self.kill(Some(since)),
            State::Draining { since, .. } | State::Stopping { since, .. } => self.kill(since),
            State::Spawning { .. } | State::Killed { .. } | State::Stopped => {}
        }
    }

    /// The process ended, for whatever reason.
    pub fn handle_exited(&mut self, now: Instant) {
        match self.state {
            State::Ready { since } => self.end(Some(since), now),
            State::Draining { since, .. } | State::Stopping { since, .. } | State::Killed { since } => {
                self.end(since, now);
            }
            State::Starting { .. } | State::Spawning { .. } => self.end(None, now),
            State::Idle | State::BackingOff { .. } | State::Stopped => {}
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
            | State::Stopped => {}
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
            | State::Stopped => None,
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
        self.state == State::Stopped
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> WorkerStats {
        self.stats
    }

    fn spawn(&mut self, now: Instant) {
        self.linked = false;
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
    fn end(&mut self, since: Option<Instant>, now: Instant) {
        if !self.wanted {
            return self.stopped();
        }
        if since.is_some_and(|since| now.duration_since(since) >= self.timing.restart_reset_after) {
            self.failures = 0;
        }
        let doubled = self.timing.restart_delay_min.saturating_mul(2_u32.saturating_pow(self.failures));
        let delay = doubled.min(self.timing.restart_delay_max);
        self.failures = self.failures.saturating_add(1);
        self.state = State::BackingOff { until: now + delay };
        self.outputs.push_back(Output::RestartingIn(delay));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_becomes_ready_and_stops() {
        let mut life = Life::new();
        life.check("start", 0, &[Output::Spawn]);
        life.check("spawned", 10, &[]);
        assert!(!life.worker.is_ready());
        life.check("linked", 15, &[]);
        life.check("ready", 20, &[Output::Ready]);
        life.check("ready", 21, &[]);
        assert!(life.worker.is_ready());
        life.check("stop", 30, &[Output::Stop]);
        life.check("exited", 40, &[Output::Stopped]);
        assert!(life.worker.is_stopped());
        assert_eq!(life.worker.stats(), WorkerStats { starts: 1, restarts: 0, overdue: 0 });
    }

    #[test]
    fn each_death_in_a_row_doubles_the_pause_up_to_ten_seconds() {
        let mut life = Life::new();
        life.check("start", 0, &[Output::Spawn]);
        let mut now = 0;
        for delay in [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
            life.check("spawned", now, &[]);
            life.check("exited", now, &[Output::RestartingIn(ms(delay))]);
            life.check("timeout", now + delay - 1, &[]);
            now += delay;
            life.check("timeout", now, &[Output::Spawn]);
        }
        assert_eq!(life.worker.stats(), WorkerStats { starts: 10, restarts: 9, overdue: 0 });
    }

    #[test]
    fn thirty_seconds_of_service_forgive_the_failures() {
        for (served, delay) in [(29_999, 400), (30_000, 100)] {
            let mut life = Life::new();
            life.check("start", 0, &[Output::Spawn]);
            life.check("spawned", 0, &[]);
            life.check("exited", 0, &[Output::RestartingIn(ms(100))]);
            life.check("timeout", 100, &[Output::Spawn]);
            life.check("spawned", 100, &[]);
            life.check("exited", 100, &[Output::RestartingIn(ms(200))]);
            life.check("timeout", 300, &[Output::Spawn]);
            life.check("spawned", 300, &[]);
            life.check("ready", 1000, &[Output::Ready]);
            life.check("exited", 1000 + served, &[Output::RestartingIn(ms(delay))]);
        }
    }

    #[test]
    fn one_that_is_not_ready_in_time_is_killed_and_restarted() {
        let mut life = Life::new();
        life.check("start", 0, &[Output::Spawn]);
        life.check("spawned", 10, &[]);
        life.check("timeout", 29_999, &[]);
        life.check("timeout", 30_000, &[Output::Kill]);
        life.check("timeout", 99_000, &[]);
        life.check("ready", 99_000, &[]);
        life.check("exited", 99_001, &[Output::RestartingIn(ms(100))]);
        assert_eq!(life.worker.stats().overdue, 1);
    }

    #[test]
    fn one_that_cannot_be_started_is_tried_again() {
        let mut life = Life::new();
        life.check("start", 0, &[Output::Spawn]);
        life.check("spawn failed", 0, &[Output::RestartingIn(ms(100))]);
        life.check("timeout", 100, &[Output::Spawn]);
        life.check("spawn failed", 100, &[Output::RestartingIn(ms(200))]);
        life.check("stop", 150, &[Output::Stopped]);
        life.check("timeout", 999, &[]);
    }

    #[test]
    fn one_that_does_not_end_in_time_is_killed() {
        let mut life = Life::ready();
        life.check("stop", 1000, &[Output::Stop]);
        life.check("timeout", 2999, &[]);
        life.check("timeout", 3000, &[Output::Terminate]);
        life.check("timeout", 5999, &[]);
        life.check("timeout", 6000, &[Output::Kill]);
        life.check("exited", 6001, &[Output::Stopped]);
    }

    #[test]
    fn one_without_a_link_is_asked_by_signal() {
        let mut life = Life::new();
        life.check("start", 0, &[Output::Spawn]);
        life.check("spawned", 0, &[]);
        life.check("stop", 0, &[Output::Terminate]);
        life.check("timeout", 4999, &[]);
        life.check("timeout", 5000, &[Output::Kill]);
        life.check("exited", 5001, &[Output::Stopped]);
    }

    #[test]
    fn one_that_drains_ends_when_its_time_is_up() {
        let mut life = Life::ready();
        life.check("drain", 1000, &[Output::Drain(ms(2000))]);
        assert!(!life.worker.is_ready());
        life.check("load 1", 1500, &[]);
        life.check("timeout", 2999, &[]);
        life.check("timeout", 3000, &[Output::Stop]);
        life.check("link ended", 3100, &[]);
        life.check("timeout", 5000, &[Output::Terminate]);
        life.check("timeout", 8000, &[Output::Kill]);
        life.check("exited", 8000, &[Output::Stopped]);
    }

    #[test]
    fn one_that_drains_ends_when_it_is_empty() {
        let mut life = Life::ready();
        life.check("load 0", 500, &[]);
        life.check("drain", 1000, &[Output::Drain(ms(2000))]);
        life.check("load 0", 1500, &[Output::Stop]);
        life.check("exited", 1600, &[Output::Stopped]);
    }

    #[test]
    fn a_second_word_hurries() {
        let mut life = Life::ready();
        life.check("drain", 0, &[Output::Drain(ms(2000))]);
        life.check("stop", 10, &[Output::Stop]);
        life.check("stop", 11, &[]);
        life.check("kill", 20, &[Output::Kill]);
        life.check("kill", 21, &[]);
        life.check("exited", 30, &[Output::Stopped]);
    }

    #[test]
    fn one_that_is_stopped_while_it_is_being_made_ends_as_soon_as_it_exists() {
        let mut life = Life::new();
        life.check("start", 0, &[Output::Spawn]);
        life.check("stop", 1, &[]);
        life.check("spawned", 2, &[Output::Terminate]);
        life.check("exited", 3, &[Output::Stopped]);

        let mut life = Life::new();
        life.check("start", 0, &[Output::Spawn]);
        life.check("stop", 1, &[]);
        life.check("spawn failed", 2, &[Output::Stopped]);
    }

    #[test]
    fn one_whose_link_broke_is_ended_and_restarted() {
        let mut life = Life::ready();
        life.check("link ended", 10, &[Output::Terminate]);
        life.check("link ended", 11, &[]);
        life.check("timeout", 5010, &[Output::Kill]);
        life.check("exited", 5011, &[Output::RestartingIn(ms(100))]);
        life.check("link ended", 5012, &[]);
    }

    #[test]
    fn one_that_was_never_started_stops_at_once() {
        Life::new().check("stop", 0, &[Output::Stopped]);
        Life::new().check("kill", 0, &[Output::Stopped]);
    }

    /// A worker and its clock.
    struct Life {
        worker: Worker,
        birth: Instant,
    }

    impl Life {
        fn new() -> Self {
            Self { worker: Worker::new(Timing::default()), birth: Instant::now() }
        }

        fn ready() -> Self {
            let mut life = Self::new();
            life.check("start", 0, &[Output::Spawn]);
            life.check("spawned", 0, &[]);
            life.check("linked", 0, &[]);
            life.check("ready", 0, &[Output::Ready]);
            life
        }

        #[track_caller]
        fn check(&mut self, input: &str, at: u64, expected: &[Output]) {
            let (worker, now) = (&mut self.worker, self.birth + ms(at));
            match input {
                "start" => worker.handle_start(now),
                "spawned" => worker.handle_spawned(now),
                "spawn failed" => worker.handle_spawn_failed(now),
                "linked" => worker.handle_linked(),
                "ready" => worker.handle_ready(now),
                "load 0" => worker.handle_load(0, now),
                "load 1" => worker.handle_load(1, now),
                "link ended" => worker.handle_link_ended(now),
                "drain" => worker.handle_stop(ms(2000), now),
                "stop" => worker.handle_stop(Duration::ZERO, now),
                "kill" => worker.handle_kill(),
                "exited" => worker.handle_exited(now),
                "timeout" => worker.handle_timeout(now),
                other => panic!("no input is called {other}"),
            }
            let outputs: Vec<_> = std::iter::from_fn(|| worker.poll_output()).collect();
            assert_eq!(outputs, expected, "after {input} at {at} ms");
        }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }
}
