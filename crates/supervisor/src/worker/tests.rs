//! A worker's life on a clock of its own, in rows.

use super::*;
use std::num::NonZeroU32;

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
        Self { worker: Worker::new(Timing::default(), Policy::default()), birth: Instant::now() }
    }

    fn with(policy: Policy) -> Self {
        Self { worker: Worker::new(Timing::default(), policy), birth: Instant::now() }
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
            "exited" => worker.handle_exited(None, now),
            "exited 0" => worker.handle_exited(Some(0), now),
            "exited 3" => worker.handle_exited(Some(3), now),
            "restart" => worker.handle_restart(now),
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

#[test]
fn a_worker_that_fails_too_often_in_a_row_is_given_up() {
    let policy = Policy { max_restarts: NonZeroU32::new(3), ..Policy::default() };
    let mut life = Life::with(policy);
    life.check("start", 0, &[Output::Spawn]);
    life.check("spawned", 0, &[]);
    life.check("ready", 0, &[Output::Ready]);
    life.check("exited", 999, &[Output::RestartingIn(ms(100))]);
    life.check("timeout", 1100, &[Output::Spawn]);
    life.check("spawned", 1100, &[]);
    life.check("ready", 1100, &[Output::Ready]);
    // A second of service is stable: it counts from one again.
    life.check("exited", 2100, &[Output::RestartingIn(ms(200))]);
    let mut now = 2300;
    for delay in [400, 800] {
        life.check("timeout", now, &[Output::Spawn]);
        life.check("spawned", now, &[]);
        life.check("exited 3", now, &[Output::RestartingIn(ms(delay))]);
        now += delay;
    }
    life.check("timeout", now, &[Output::Spawn]);
    life.check("spawn failed", now, &[Output::GaveUp]);
    assert_eq!(life.worker.status(), Status::Errored);
    life.check("timeout", now + 99_000, &[]);
    life.check("start", now + 99_000, &[Output::Spawn]);
}

#[test]
fn who_is_not_to_be_started_again_is_stopped_by_its_own_end() {
    let mut life = Life::with(Policy { autorestart: false, ..Policy::default() });
    life.check("start", 0, &[Output::Spawn]);
    life.check("spawned", 0, &[]);
    life.check("exited 3", 10, &[Output::Stopped]);

    let mut life = Life::with(Policy { stop_exit_codes: vec![0], ..Policy::default() });
    life.check("start", 0, &[Output::Spawn]);
    life.check("spawned", 0, &[]);
    life.check("exited 3", 10, &[Output::RestartingIn(ms(100))]);
    life.check("timeout", 110, &[Output::Spawn]);
    life.check("spawned", 110, &[]);
    life.check("exited 0", 120, &[Output::Stopped]);
    assert_eq!(life.worker.status(), Status::Stopped);
}

#[test]
fn a_fixed_delay_does_not_grow() {
    let mut life = Life::with(Policy { restart_delay: Some(ms(3000)), ..Policy::default() });
    life.check("start", 0, &[Output::Spawn]);
    life.check("spawned", 0, &[]);
    life.check("exited", 0, &[Output::RestartingIn(ms(3000))]);
    life.check("timeout", 3000, &[Output::Spawn]);
    life.check("spawned", 3000, &[]);
    life.check("exited", 3000, &[Output::RestartingIn(ms(3000))]);
}

#[test]
fn a_restart_ends_what_there_is_and_begins_at_once() {
    let mut life = Life::ready();
    life.check("restart", 10, &[Output::Stop]);
    life.check("restart", 11, &[]);
    life.check("exited 0", 20, &[Output::Spawn]);
    life.check("spawned", 20, &[]);
    life.check("restart", 21, &[Output::Terminate]);
    life.check("stop", 22, &[]);
    life.check("exited", 23, &[Output::Stopped]);
    life.check("restart", 24, &[Output::Spawn]);
    life.check("restart", 25, &[]);
    life.check("spawned", 26, &[]);
    life.check("exited", 27, &[Output::RestartingIn(ms(100))]);
    life.check("restart", 28, &[Output::Spawn]);
    assert_eq!(life.worker.stats().restarts, 2);
}
