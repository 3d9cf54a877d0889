//! All workers of one app: which to start, when all serve, how they are replaced, when none is left. Pure.
//!
//! A worker has a number that no other of this run ever has, and a place (`NODE_APP_INSTANCE`), which its successor takes over in a [`Fleet::handle_reload`]. A
//! reload replaces one after the other: the successor starts; when it serves, the old one lets its clients go and ends. Where a successor fails, the old one
//! goes on, and so do all that were not replaced yet.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::config::{Policy, Timing};
use crate::event::Stats;
use crate::worker::{Output, Worker};

#[cfg(test)]
mod tests;

/// What to do, or what became of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FleetOutput {
    /// Do this to one.
    Worker(u32, Output),
    /// All serve at the same time, for the first time.
    AllReady,
    /// One was replaced or scaled away, and is forgotten.
    Gone(u32),
    /// The reload came to its end: whether all were replaced.
    Reloaded(bool),
    /// No process is left and none will be started. The last output.
    AllStopped,
}

/// Why a change cannot begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a reload is under way: wait for its end")]
pub struct Busy;

/// The machine of all workers, which are numbered from 0.
#[derive(Debug)]
pub struct Fleet {
    members: BTreeMap<u32, Member>,
    next: u32,
    timing: Timing,
    policy: Policy,
    roll: Option<Roll>,
    ending: bool,
    outputs: VecDeque<FleetOutput>,
    ready_told: bool,
    stopped_told: bool,
    /// What forgotten ones counted.
    past: Stats,
}

/// One worker and the place it has.
#[derive(Debug)]
struct Member {
    place: u32,
    worker: Worker,
    /// It is forgotten once it ended.
    leaving: bool,
}

/// A reload under way.
#[derive(Debug)]
struct Roll {
    waiting: VecDeque<u32>,
    step: Option<Step>,
    drain: Duration,
}

/// One replacement.
#[derive(Debug, Clone, Copy)]
enum Step {
    Starting { old: u32, new: u32 },
    Leaving { old: u32 },
}

impl Fleet {
    /// Workers that were never started.
    #[must_use]
    pub fn new(instances: NonZeroU32, timing: &Timing, policy: &Policy) -> Self {
        let mut fleet = Self {
            members: BTreeMap::new(),
            next: 0,
            timing: timing.clone(),
            policy: policy.clone(),
            roll: None,
            ending: false,
            outputs: VecDeque::new(),
            ready_told: false,
            stopped_told: false,
            past: Stats::default(),
        };
        for place in 0..instances.get() {
            fleet.join(place);
        }
        fleet
    }

    /// All shall run.
    pub fn handle_start(&mut self, now: Instant) {
        (self.ending, self.stopped_told) = (false, false);
        self.each(now, |worker| worker.handle_start(now));
    }

    /// All shall end, and may take `within` to let their sessions go.
    pub fn handle_stop(&mut self, within: Duration, now: Instant) {
        self.give_up();
        self.each(now, |worker| worker.handle_stop(within, now));
    }

    /// All shall end at once.
    pub fn handle_kill(&mut self, now: Instant) {
        self.give_up();
        self.each(now, Worker::handle_kill);
    }

    /// Each shall be followed by a fresh process, at once.
    pub fn handle_restart(&mut self, now: Instant) {
        (self.ending, self.stopped_told) = (false, false);
        let staying = self.members.values_mut().filter(|member| !member.leaving);
        staying.for_each(|member| member.worker.handle_restart(now));
        self.collect(now);
    }

    /// Each that is not stopped is replaced by a fresh one, one after the other.
    ///
    /// # Errors
    /// When another reload is under way.
    pub fn handle_reload(&mut self, drain: Duration, now: Instant) -> Result<(), Busy> {
        if self.roll.is_some() {
            return Err(Busy);
        }
        let staying = self.members.iter().filter(|(_, member)| !member.leaving);
        let waiting =
            staying.filter(|(_, member)| !member.worker.is_stopped()).map(|(slot, _)| *slot).collect();
        self.roll = Some(Roll { waiting, step: None, drain });
        self.collect(now);
        Ok(())
    }

    /// There shall be so many; those with the highest places leave, and may take `drain` for it.
    ///
    /// # Errors
    /// When a reload is under way.
    pub fn handle_scale(&mut self, instances: NonZeroU32, drain: Duration, now: Instant) -> Result<(), Busy> {
        if self.roll.is_some() {
            return Err(Busy);
        }
        let wanted = instances.get();
        for member in self.members.values_mut().filter(|member| !member.leaving && member.place >= wanted) {
            member.leaving = true;
            member.worker.handle_stop(drain, now);
        }
        for place in 0..wanted {
            if !self.members.values().any(|member| !member.leaving && member.place == place) {
                let slot = self.join(place);
                self.members.get_mut(&slot).expect("it has just joined").worker.handle_start(now);
            }
        }
        self.collect(now);
        Ok(())
    }

    /// Something happened to one: `what` is one of the worker's own `handle_*`.
    pub fn handle_worker(&mut self, instance: u32, now: Instant, what: impl FnOnce(&mut Worker)) {
        if let Some(member) = self.members.get_mut(&instance) {
            what(&mut member.worker);
            self.collect(now);
        }
    }

    /// The moment of [`Self::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.each(now, |worker| worker.handle_timeout(now));
    }

    /// From their next step on all are treated so.
    pub fn change(&mut self, timing: &Timing, policy: &Policy) {
        (self.timing, self.policy) = (timing.clone(), policy.clone());
        self.members.values_mut().for_each(|member| member.worker.change(timing.clone(), policy.clone()));
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Option<FleetOutput> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`], if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.members.values().filter_map(|member| member.worker.poll_timeout()).min()
    }

    /// Number, place and machine of each, by number.
    pub fn workers(&self) -> impl Iterator<Item = (u32, u32, &Worker)> {
        self.members.iter().map(|(slot, member)| (*slot, member.place, &member.worker))
    }

    /// The place of a worker.
    #[must_use]
    pub fn place(&self, instance: u32) -> Option<u32> {
        self.members.get(&instance).map(|member| member.place)
    }

    /// Whether a reload is under way.
    #[must_use]
    pub fn is_reloading(&self) -> bool {
        self.roll.is_some()
    }

    /// Counters over all workers.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.past;
        for member in self.members.values() {
            stats.add(member.worker.stats());
            stats.ready += u32::from(member.worker.is_ready());
        }
        stats
    }

    /// All end: a successor that was on its way is none any more.
    fn give_up(&mut self) {
        self.ending = true;
        if let Some(Roll { step: Some(Step::Starting { new, .. }), .. }) = self.roll.take() {
            self.members.get_mut(&new).expect("nobody removes it meanwhile").leaving = true;
        }
    }

    fn join(&mut self, place: u32) -> u32 {
        let slot = self.next;
        self.next += 1;
        let worker = Worker::new(self.timing.clone(), self.policy.clone());
        self.members.insert(slot, Member { place, worker, leaving: false });
        slot
    }

    fn each(&mut self, now: Instant, mut what: impl FnMut(&mut Worker)) {
        self.members.values_mut().for_each(|member| what(&mut member.worker));
        self.collect(now);
    }

    fn collect(&mut self, now: Instant) {
        loop {
            for (slot, member) in &mut self.members {
                while let Some(output) = member.worker.poll_output() {
                    self.outputs.push_back(FleetOutput::Worker(*slot, output));
                }
            }
            if !self.advance(now) {
                break;
            }
        }
        let gone = self.members.extract_if(.., |_, member| member.leaving && member.worker.is_stopped());
        for (slot, member) in gone {
            self.past.add(member.worker.stats());
            self.outputs.push_back(FleetOutput::Gone(slot));
        }
        let mut staying = self.members.values().filter(|member| !member.leaving);
        if !self.ready_told && staying.all(|member| member.worker.is_ready()) {
            self.ready_told = true;
            self.outputs.push_back(FleetOutput::AllReady);
        }
        let is_over = self.ending && self.members.values().all(|member| member.worker.is_stopped());
        if is_over && !self.stopped_told {
            self.stopped_told = true;
            self.outputs.push_back(FleetOutput::AllStopped);
        }
    }

    /// One step of the reload under way, if it can be done: whether there may be more to do.
    fn advance(&mut self, now: Instant) -> bool {
        let Some(mut roll) = self.roll.take() else { return false };
        let step = match roll.step {
            None => {
                let Some(old) = roll.waiting.pop_front() else {
                    self.outputs.push_back(FleetOutput::Reloaded(true));
                    return false;
                };
                let Some(place) = self.place(old) else {
                    self.roll = Some(roll);
                    return true;
                };
                let new = self.join(place);
                self.members.get_mut(&new).expect("it has just joined").worker.handle_start(now);
                Some(Step::Starting { old, new })
            }
            Some(Step::Starting { old, new }) => {
                let successor = &mut self.members.get_mut(&new).expect("nobody removes it meanwhile").worker;
                if successor.is_ready() {
                    self.leave(old, roll.drain, now);
                    Some(Step::Leaving { old })
                } else if successor.has_failed() {
                    self.leave(new, Duration::ZERO, now);
                    self.outputs.push_back(FleetOutput::Reloaded(false));
                    return true;
                } else {
                    self.roll = Some(roll);
                    return false;
                }
            }
            Some(Step::Leaving { old }) => {
                if self.members.get(&old).is_some_and(|member| !member.worker.is_stopped()) {
                    self.roll = Some(roll);
                    return false;
                }
                None
            }
        };
        self.roll = Some(Roll { step, ..roll });
        true
    }

    fn leave(&mut self, slot: u32, drain: Duration, now: Instant) {
        if let Some(member) = self.members.get_mut(&slot) {
            member.leaving = true;
            member.worker.handle_stop(drain, now);
        }
    }
}
