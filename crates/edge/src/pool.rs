//! Which worker gets a request: a machine that knows workers by their tags and counts sessions at assignment.
//!
//! A worker reports how many sessions it has and how many handshakes have reached it, but late. So a worker's load is what it reported plus what was assigned to
//! it and has not reached it yet; a hundred clients that come at once are spread evenly before the first report.
//!
//! Not known here: addresses, descriptors, whether a worker answers. A tag that is not here belongs to nobody who lives.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sockeye_proto::Tag;

/// The workers of one machine, and whose turn it is.
#[derive(Debug)]
pub struct Pool {
    workers: BTreeMap<Tag, Worker>,
    /// How many must be ready before the pool counts as started.
    asked: usize,
    started: bool,
    /// Grows at each choice; ties go to the worker whose last choice is the longest ago.
    turn: u64,
}

/// A worker's part of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Sessions it reported last.
    pub sessions: u32,
    /// Handshakes assigned to it that had not reached it then.
    pub on_the_way: u64,
    /// Whether it takes no new sessions.
    pub draining: bool,
}

#[derive(Debug)]
struct Worker {
    draining: bool,
    sessions: u32,
    /// As reported: handshakes that ever reached it.
    arrived: u64,
    /// Handshakes ever assigned to it.
    assigned: u64,
    /// What the two counts differ by although nothing is on the way: handshakes that broke off, or were counted on one side only.
    drift: i64,
    /// What had been assigned at some time; what has not arrived [`SETTLE_TIME`] after that never will.
    mark: Option<(Instant, u64)>,
    turn: u64,
}

impl Pool {
    /// A pool without a worker, that counts as started once `asked` are ready.
    #[must_use]
    pub const fn new(asked: usize) -> Self {
        Self { workers: BTreeMap::new(), asked, started: false, turn: 0 }
    }

    /// How many must be ready before the pool counts as started, if it has not.
    pub const fn ask(&mut self, asked: usize) {
        self.asked = asked;
    }

    /// A worker serves. Its counts start anew.
    pub fn handle_ready(&mut self, tag: Tag) {
        self.workers.insert(tag, Worker::new());
        self.started |= self.takers().count() >= self.asked;
    }

    /// A worker told its counts.
    pub fn handle_load(&mut self, tag: Tag, sessions: u32, arrived: u64) {
        if let Some(worker) = self.workers.get_mut(&tag) {
            worker.handle_load(sessions, arrived);
        }
    }

    /// A worker takes no new sessions, and keeps those it has.
    pub fn handle_draining(&mut self, tag: Tag) {
        if let Some(worker) = self.workers.get_mut(&tag) {
            worker.draining = true;
        }
    }

    /// A worker is gone, and its sessions with it.
    pub fn handle_gone(&mut self, tag: Tag) {
        self.workers.remove(&tag);
    }

    /// Chooses the worker with the fewest sessions for a new one, and counts it there. `except` have been tried in vain.
    pub fn assign(&mut self, except: &[Tag], now: Instant) -> Option<Tag> {
        for worker in self.workers.values_mut() {
            worker.settle(now);
        }
        let tag = self.least(except, |worker| worker.load())?;
        let turn = self.next_turn();
        let worker = self.workers.get_mut(&tag)?;
        worker.turn = turn;
        worker.assigned += 1;
        worker.mark.get_or_insert((now, worker.assigned));
        Some(tag)
    }

    /// Takes an assignment back that did not reach its worker.
    pub fn unassign(&mut self, tag: Tag) {
        if let Some(worker) = self.workers.get_mut(&tag) {
            worker.assigned = worker.assigned.saturating_sub(1);
            worker.correct();
        }
    }

    /// Chooses a worker in turn for a request that makes no session. `except` have been tried in vain.
    pub fn rotate(&mut self, except: &[Tag]) -> Option<Tag> {
        let tag = self.least(except, |_| 0)?;
        let turn = self.next_turn();
        self.workers.get_mut(&tag)?.turn = turn;
        Some(tag)
    }

    /// Whether a worker lives; it may be draining.
    #[must_use]
    pub fn holds(&self, tag: Tag) -> bool {
        self.workers.contains_key(&tag)
    }

    /// Whether somebody takes new sessions, and everybody asked for has been there once.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.started && self.takers().next().is_some()
    }

    /// Each worker's part, by tag.
    pub fn shares(&self) -> impl Iterator<Item = (Tag, Share)> {
        self.workers.iter().map(|(tag, worker)| (*tag, worker.share()))
    }

    fn least(&self, except: &[Tag], load: impl Fn(&Worker) -> u64) -> Option<Tag> {
        let takers = self.takers().filter(|(tag, _)| !except.contains(tag));
        takers.min_by_key(|(_, worker)| (load(worker), worker.turn)).map(|(tag, _)| tag)
    }

    fn takers(&self) -> impl Iterator<Item = (Tag, &Worker)> {
        self.workers.iter().filter(|(_, worker)| !worker.draining).map(|(tag, worker)| (*tag, worker))
    }

    const fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }
}

impl Worker {
    const fn new() -> Self {
        Self { draining: false, sessions: 0, arrived: 0, assigned: 0, drift: 0, mark: None, turn: 0 }
    }

    fn handle_load(&mut self, sessions: u32, arrived: u64) {
        self.sessions = sessions;
        self.arrived = arrived;
        self.correct();
    }

    /// Gives up what was assigned long ago and never arrived.
    fn settle(&mut self, now: Instant) {
        let Some((since, assigned)) = self.mark else { return };
        if now.saturating_duration_since(since) < SETTLE_TIME {
            return;
        }
        let gap = self.gap();
        let later = i64::try_from(self.assigned.saturating_sub(assigned)).unwrap_or(i64::MAX);
        self.drift = self.drift.max(gap.saturating_sub(later));
        self.mark = (gap > self.drift).then_some((now, self.assigned));
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

    fn on_the_way(&self) -> u64 {
        u64::try_from(self.gap().saturating_sub(self.drift)).unwrap_or(0)
    }

    fn load(&self) -> u64 {
        u64::from(self.sessions).saturating_add(self.on_the_way())
    }

    fn share(&self) -> Share {
        Share { sessions: self.sessions, on_the_way: self.on_the_way(), draining: self.draining }
    }
}

/// After this time an assigned handshake that has not been reported will not be: its client went away, or the worker does not count it.
const SETTLE_TIME: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hundred_at_once_are_split_evenly() {
        for (workers, expected) in [
            (1, vec![100]),
            (2, vec![50, 50]),
            (3, vec![34, 33, 33]),
            (8, vec![13, 13, 13, 13, 12, 12, 12, 12]),
        ] {
            let mut pool = pool(workers);
            assert_eq!(burst(&mut pool, 100), expected);
        }
    }

    #[test]
    fn reports_that_come_in_the_middle_of_a_burst_change_nothing() {
        let (mut pool, start) = (pool(2), Instant::now());
        for n in 0..50 {
            pool.assign(&[], start);
            pool.assign(&[], start);
            // The first worker is quick to report, the second never does.
            pool.handle_load(tag(0), n + 1, u64::from(n) + 1);
        }
        assert_eq!(loads(&pool), [50, 50]);
    }

    #[test]
    fn a_worker_that_lost_sessions_catches_up() {
        let (mut pool, start) = (pool(2), Instant::now());
        burst(&mut pool, 100);
        pool.handle_load(tag(0), 50, 50);
        pool.handle_load(tag(1), 20, 50);
        for _ in 0..30 {
            assert_eq!(pool.assign(&[], start), Some(tag(1)));
        }
        assert_eq!(loads(&pool), [50, 50]);
    }

    #[test]
    fn sessions_and_states_choose_as_the_rows_say() {
        let start = Instant::now();
        let mut pool = Pool::new(2);
        assert_eq!(pool.assign(&[], start), None);
        pool.handle_ready(tag(0));
        assert!(!pool.is_ready(), "one of two asked for");
        assert_eq!(pool.assign(&[], start), Some(tag(0)), "who is there serves");
        pool.handle_ready(tag(1));
        assert!(pool.is_ready());
        assert_eq!(pool.assign(&[], start), Some(tag(1)));
        assert_eq!(pool.assign(&[tag(0)], start), Some(tag(1)), "not whom we tried");
        assert_eq!(pool.assign(&[tag(0), tag(1)], start), None);
        pool.handle_draining(tag(0));
        assert!(pool.is_ready(), "one is enough after the start");
        assert!(pool.holds(tag(0)), "a draining worker keeps its sessions");
        assert_eq!(pool.rotate(&[]), Some(tag(1)));
        pool.handle_gone(tag(1));
        assert!(!pool.is_ready() && !pool.holds(tag(1)));
        assert_eq!((pool.assign(&[], start), pool.rotate(&[])), (None, None));
        pool.handle_gone(tag(1));
        pool.handle_load(tag(1), 3, 3);
        pool.unassign(tag(1));
        pool.handle_ready(tag(2));
        assert_eq!(pool.assign(&[], start), Some(tag(2)));
    }

    #[test]
    fn requests_without_a_session_take_turns() {
        let mut pool = pool(3);
        pool.handle_load(tag(1), 1000, 0);
        let turns: Vec<_> = (0..6).filter_map(|_| pool.rotate(&[])).collect();
        assert_eq!(turns, [tag(0), tag(1), tag(2), tag(0), tag(1), tag(2)]);
    }

    #[test]
    fn an_assignment_taken_back_weighs_nothing() {
        let (mut pool, start) = (pool(2), Instant::now());
        assert_eq!(pool.assign(&[], start), Some(tag(0)));
        pool.unassign(tag(0));
        assert_eq!(loads(&pool), [0, 0]);
    }

    #[test]
    fn what_never_arrives_is_given_up_after_a_while() {
        let (mut pool, start) = (pool(2), Instant::now());
        for _ in 0..10 {
            pool.assign(&[tag(1)], start);
        }
        assert_eq!(pool.assign(&[], start), Some(tag(1)));
        assert_eq!(pool.assign(&[tag(1)], start + SETTLE_TIME / 2), Some(tag(0)));
        assert_eq!(loads(&pool), [11, 1]);
        let later = start + SETTLE_TIME;
        assert_eq!(pool.assign(&[tag(0)], later), Some(tag(1)));
        assert_eq!(loads(&pool), [10, 1], "all but those assigned since the first are waited for longer");
        assert_eq!(pool.assign(&[tag(0)], later + SETTLE_TIME), Some(tag(1)));
        assert_eq!(loads(&pool), [0, 1]);
        // Counts go on from there.
        pool.handle_load(tag(0), 1, 1);
        assert_eq!(loads(&pool), [1, 1]);
    }

    #[test]
    fn arrivals_that_nobody_assigned_hide_no_later_ones() {
        let (mut pool, start) = (pool(1), Instant::now());
        pool.handle_load(tag(0), 5, 5);
        pool.assign(&[], start);
        assert_eq!(loads(&pool), [6]);
        pool.handle_load(tag(0), 6, 6);
        assert_eq!(loads(&pool), [6]);
    }

    proptest! {
        #[test]
        fn whatever_happens_choices_are_fair_and_counts_stay_sane(steps in prop::collection::vec(step(), 1..200)) {
            let mut pool = Pool::new(1);
            let mut now = Instant::now();
            for step in steps {
                match step {
                    Step::Ready(n) => pool.handle_ready(tag(n)),
                    Step::Load(n, sessions, arrived) => pool.handle_load(tag(n), sessions, arrived),
                    Step::Draining(n) => pool.handle_draining(tag(n)),
                    Step::Gone(n) => pool.handle_gone(tag(n)),
                    Step::Unassign(n) => pool.unassign(tag(n)),
                    Step::Wait(millis) => now += Duration::from_millis(millis),
                    Step::Assign => {
                        let chosen = pool.assign(&[], now);
                        let least = pool.takers().map(|(_, worker)| worker.load()).min();
                        if let Some(chosen) = chosen {
                            let worker = &pool.workers[&chosen];
                            prop_assert!(!worker.draining);
                            // It had the least before it was counted.
                            prop_assert!(worker.load() <= least.unwrap_or(0).saturating_add(1));
                        } else {
                            prop_assert_eq!(least, None);
                        }
                    }
                }
            }
        }

        #[test]
        fn a_burst_on_equals_is_even(workers in 1_u64..9, clients in 0_usize..300, each in 0_u32..50) {
            let mut pool = pool(workers);
            for n in 0..workers {
                pool.handle_load(tag(n), each, 0);
            }
            let split = burst(&mut pool, clients);
            let (most, fewest) = (split.iter().max(), split.iter().min());
            prop_assert!(most.zip(fewest).is_some_and(|(most, fewest)| most - fewest <= 1), "{:?}", split);
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Ready(u64),
        Load(u64, u32, u64),
        Draining(u64),
        Gone(u64),
        Unassign(u64),
        Wait(u64),
        Assign,
    }

    fn step() -> impl Strategy<Value = Step> {
        let worker = 0_u64..4;
        prop_oneof![
            worker.clone().prop_map(Step::Ready),
            (worker.clone(), any::<u32>(), prop_oneof![0_u64..100, any::<u64>()])
                .prop_map(|(n, sessions, arrived)| Step::Load(n, sessions, arrived)),
            worker.clone().prop_map(Step::Draining),
            worker.clone().prop_map(Step::Gone),
            worker.prop_map(Step::Unassign),
            (0_u64..10_000).prop_map(Step::Wait),
            Just(Step::Assign),
            Just(Step::Assign),
            Just(Step::Assign),
        ]
    }

    fn pool(workers: u64) -> Pool {
        let mut pool = Pool::new(1);
        for n in 0..workers {
            pool.handle_ready(tag(n));
        }
        pool
    }

    fn burst(pool: &mut Pool, clients: usize) -> Vec<u64> {
        let (before, now) = (loads(pool), Instant::now());
        for _ in 0..clients {
            pool.assign(&[], now);
        }
        loads(pool).iter().zip(before).map(|(after, before)| after - before).collect()
    }

    fn loads(pool: &Pool) -> Vec<u64> {
        pool.shares().map(|(_, share)| u64::from(share.sessions) + share.on_the_way).collect()
    }

    fn tag(n: u64) -> Tag {
        Tag::from_bits(n)
    }
}
