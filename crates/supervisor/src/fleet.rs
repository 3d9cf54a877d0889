//! All workers of one run: which to start, when all serve, when none is left. Pure.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::config::Timing;
use crate::event::Stats;
use crate::worker::{Output, Worker};

/// What to do, or what became of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FleetOutput {
    /// Do this to one.
    Worker(u32, Output),
    /// All serve at the same time, for the first time.
    AllReady,
    /// No process is left and none will be started. The last output.
    AllStopped,
}

/// The machine of all workers, which are numbered from 0.
#[derive(Debug)]
pub struct Fleet {
    workers: Vec<Worker>,
    outputs: VecDeque<FleetOutput>,
    ready_told: bool,
    stopped_told: bool,
}

impl Fleet {
    /// Workers that were never started.
    #[must_use]
    pub fn new(instances: NonZeroU32, timing: &Timing) -> Self {
        let workers = (0..instances.get()).map(|_| Worker::new(timing.clone())).collect();
        Self { workers, outputs: VecDeque::new(), ready_told: false, stopped_told: false }
    }

    /// All shall run.
    pub fn handle_start(&mut self, now: Instant) {
        self.each(|worker| worker.handle_start(now));
    }

    /// All shall end, and may take `within` to let their sessions go.
    pub fn handle_stop(&mut self, within: Duration, now: Instant) {
        self.each(|worker| worker.handle_stop(within, now));
    }

    /// All shall end at once.
    pub fn handle_kill(&mut self) {
        self.each(Worker::handle_kill);
    }

    /// Something happened to one: `what` is one of the worker's own `handle_*`.
    pub fn handle_worker(&mut self, instance: u32, what: impl FnOnce(&mut Worker)) {
        if let Some(worker) = self.workers.get_mut(instance as usize) {
            what(worker);
            self.collect();
        }
    }

    /// The moment of [`Self::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.each(|worker| worker.handle_timeout(now));
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Option<FleetOutput> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`], if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.workers.iter().filter_map(Worker::poll_timeout).min()
    }

    /// Counters over all workers.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        for worker in &self.workers {
            let one = worker.stats();
            stats.starts += one.starts;
            stats.restarts += one.restarts;
            stats.overdue += one.overdue;
            stats.ready += u32::from(worker.is_ready());
        }
        stats
    }

    fn each(&mut self, mut what: impl FnMut(&mut Worker)) {
        self.workers.iter_mut().for_each(&mut what);
        self.collect();
    }

    fn collect(&mut self) {
        for (instance, worker) in (0..).zip(&mut self.workers) {
            while let Some(output) = worker.poll_output() {
                self.outputs.push_back(FleetOutput::Worker(instance, output));
            }
        }
        if !self.ready_told && self.workers.iter().all(Worker::is_ready) {
            self.ready_told = true;
            self.outputs.push_back(FleetOutput::AllReady);
        }
        if !self.stopped_told && self.workers.iter().all(Worker::is_stopped) {
            self.stopped_told = true;
            self.outputs.push_back(FleetOutput::AllStopped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FleetOutput::{AllReady, AllStopped, Worker as One};

    #[test]
    fn all_start_and_when_the_last_is_ready_it_is_told_once() {
        let (mut fleet, now) = (fleet(2), Instant::now());
        fleet.handle_start(now);
        assert_eq!(outputs(&mut fleet), [One(0, Output::Spawn), One(1, Output::Spawn)]);
        become_ready(&mut fleet, 1, now);
        assert_eq!(outputs(&mut fleet), [One(1, Output::Ready)]);
        become_ready(&mut fleet, 0, now);
        assert_eq!(outputs(&mut fleet), [One(0, Output::Ready), AllReady]);
        fleet.handle_worker(1, |worker| worker.handle_exited(now));
        fleet.handle_timeout(now + Duration::from_millis(100));
        become_ready(&mut fleet, 1, now);
        let delay = Duration::from_millis(100);
        assert_eq!(
            outputs(&mut fleet),
            [One(1, Output::RestartingIn(delay)), One(1, Output::Spawn), One(1, Output::Ready)]
        );
        assert_eq!(fleet.stats(), Stats { starts: 3, restarts: 1, overdue: 0, ready: 2 });
    }

    #[test]
    fn the_next_timeout_is_the_earliest() {
        let (mut fleet, now) = (fleet(2), Instant::now());
        fleet.handle_start(now);
        assert_eq!(fleet.poll_timeout(), None);
        fleet.handle_worker(0, |worker| worker.handle_spawned(now));
        assert_eq!(fleet.poll_timeout(), Some(now + Duration::from_secs(30)));
        fleet.handle_worker(1, |worker| worker.handle_spawn_failed(now));
        assert_eq!(fleet.poll_timeout(), Some(now + Duration::from_millis(100)));
    }

    #[test]
    fn it_is_over_when_the_last_is_gone() {
        let (mut fleet, now) = (fleet(3), Instant::now());
        fleet.handle_start(now);
        become_ready(&mut fleet, 0, now);
        fleet.handle_worker(0, Worker::handle_linked);
        become_ready(&mut fleet, 1, now);
        fleet.handle_worker(2, |worker| worker.handle_spawn_failed(now));
        outputs(&mut fleet);
        fleet.handle_stop(Duration::ZERO, now);
        assert_eq!(
            outputs(&mut fleet),
            [One(0, Output::Stop), One(1, Output::Terminate), One(2, Output::Stopped)]
        );
        fleet.handle_worker(0, |worker| worker.handle_exited(now));
        assert_eq!(outputs(&mut fleet), [One(0, Output::Stopped)]);
        fleet.handle_kill();
        assert_eq!(outputs(&mut fleet), [One(1, Output::Kill)]);
        fleet.handle_worker(1, |worker| worker.handle_exited(now));
        assert_eq!(outputs(&mut fleet), [One(1, Output::Stopped), AllStopped]);
        fleet.handle_stop(Duration::ZERO, now);
        assert_eq!(outputs(&mut fleet), []);
    }

    #[test]
    fn a_word_about_a_stranger_changes_nothing() {
        let mut fleet = fleet(1);
        fleet.handle_worker(1, |worker| worker.handle_start(Instant::now()));
        assert_eq!(outputs(&mut fleet), []);
    }

    fn fleet(instances: u32) -> Fleet {
        Fleet::new(NonZeroU32::new(instances).unwrap(), &Timing::default())
    }

    fn become_ready(fleet: &mut Fleet, instance: u32, now: Instant) {
        fleet.handle_worker(instance, |worker| worker.handle_spawned(now));
        fleet.handle_worker(instance, |worker| worker.handle_ready(now));
    }

    fn outputs(fleet: &mut Fleet) -> Vec<FleetOutput> {
        std::iter::from_fn(|| fleet.poll_output()).collect()
    }
}
