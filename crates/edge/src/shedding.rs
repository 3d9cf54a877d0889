//! How sessions leave a member that drains, or has more than its share after another came: a machine that says how many go now.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::config;
use crate::member::MemberId;
use crate::pool::Standing;

/// The pace of one group.
#[derive(Debug)]
pub(crate) struct Shedding {
    pace: u32,
    rebalance: bool,
    /// What may go and has not, in sessions.
    due: f64,
    looked: Option<Instant>,
    /// While the excess over the mean is being moved: the most sessions that there were. Those on their way from one to another still count.
    levelling: Option<u64>,
    /// Whether somebody has too much.
    at_work: bool,
    /// What each has still to let go, for whoever asks how far it is.
    left: BTreeMap<MemberId, u64>,
    /// What each had when it began to drain, for the same.
    begun: BTreeMap<MemberId, u64>,
}

/// A member as the pace is concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) id: MemberId,
    pub(crate) standing: Standing,
    pub(crate) weight: u16,
    pub(crate) sessions: u64,
}

impl Shedding {
    pub(crate) const fn new(config: &config::Drain) -> Self {
        Self {
            pace: config.pace,
            rebalance: config.rebalance,
            due: 0.0,
            looked: None,
            levelling: None,
            at_work: false,
            left: BTreeMap::new(),
            begun: BTreeMap::new(),
        }
    }

    /// The pace is another from here on.
    pub(crate) const fn handle_config(&mut self, config: &config::Drain) {
        (self.pace, self.rebalance) = (config.pace, config.rebalance);
    }

    /// A member came to others, or came back.
    pub(crate) const fn handle_joined(&mut self) {
        if self.rebalance {
            self.levelling = Some(0);
        }
    }

    /// Who lets how many sessions go at this moment.
    pub(crate) fn handle_time(&mut self, loads: &[Load], now: Instant) -> Vec<(MemberId, u32)> {
        self.begun
            .retain(|id, _| loads.iter().any(|load| load.id == *id && load.standing == Standing::Draining));
        for load in loads.iter().filter(|load| load.standing == Standing::Draining) {
            let begun = self.begun.entry(load.id).or_insert(load.sessions);
            *begun = (*begun).max(load.sessions);
        }
        // What was not to be done before is not made up for.
        let since = self.looked.replace(now).filter(|_| self.at_work);
        let mut excess = self.excess(loads);
        self.at_work = self.pace > 0 && excess.iter().any(|(_, sessions)| *sessions > 0);
        if !self.at_work {
            self.levelling = None;
            self.due = 0.0;
            self.left.clear();
            return Vec::new();
        }
        let passed = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        // A look that comes late makes up for a second, not for more.
        self.due = (passed.as_secs_f64() * f64::from(self.pace) + self.due).min(f64::from(self.pace));
        let mut going: BTreeMap<MemberId, u32> = BTreeMap::new();
        while self.due >= 1.0 {
            // The fullest first, so that several empty side by side.
            let Some((id, left)) = excess.iter_mut().max_by_key(|(_, left)| *left) else { break };
            if *left == 0 {
                break;
            }
            *left -= 1;
            *going.entry(*id).or_default() += 1;
            self.due -= 1.0;
        }
        self.left = excess.into_iter().filter(|(_, left)| *left > 0).collect();
        going.into_iter().collect()
    }

    /// Whether more will go.
    pub(crate) const fn is_at_work(&self) -> bool {
        self.at_work
    }

    /// How many sessions a member has still to let go, at the pace.
    pub(crate) fn left(&self, id: MemberId) -> u64 {
        self.left.get(&id).copied().unwrap_or(0)
    }

    /// How many sessions a member had when it began to drain.
    pub(crate) fn begun(&self, id: MemberId) -> Option<u64> {
        self.begun.get(&id).copied()
    }

    /// What each has too much.
    fn excess(&mut self, loads: &[Load]) -> Vec<(MemberId, u64)> {
        let up = || loads.iter().filter(|load| load.standing == Standing::Up);
        let somebody = up().next().is_some();
        let all: u64 = loads.iter().map(|load| load.sessions).sum();
        self.levelling = self.levelling.map(|most| most.max(all));
        let weights: u64 = up().map(|load| u64::from(load.weight)).sum();
        loads
            .iter()
            .map(|load| {
                let excess = match load.standing {
                    // Where nobody could take them they stay.
                    Standing::Draining if somebody => load.sessions,
                    Standing::Up => self.levelling.map_or(0, |all| {
                        let share = (all * u64::from(load.weight)).div_ceil(weights.max(1));
                        load.sessions.saturating_sub(share)
                    }),
                    Standing::Draining | Standing::Out => 0,
                };
                (load.id, excess)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_leave_at_the_pace() {
        use Standing::{Draining, Out, Up};
        // Pace, what each is good for and has, and how many of each have gone after 10 looks in a second.
        for (pace, loads, expected) in [
            (0, &[(Draining, 100), (Up, 0)][..], [0, 0]),
            (20, &[(Draining, 100), (Up, 0)], [20, 0]),
            (20, &[(Draining, 5), (Up, 0)], [5, 0]),
            (20, &[(Draining, 100), (Out, 0)], [0, 0]),
            (20, &[(Draining, 100), (Draining, 100)], [0, 0]),
            (20, &[(Up, 100), (Up, 0)], [0, 0]),
        ] {
            let mut shedding = Shedding::new(&config::Drain { pace, rebalance: false });
            assert_eq!(run(&mut shedding, loads, 10), expected, "{pace} {loads:?}");
        }
    }

    #[test]
    fn after_a_member_came_the_excess_over_the_mean_goes() {
        use Standing::Up;
        let mut shedding = Shedding::new(&config::Drain { pace: 100, rebalance: true });
        assert_eq!(run(&mut shedding, &[(Up, 60), (Up, 0)], 10), [0, 0], "nobody came");
        shedding.handle_joined();
        assert_eq!(run(&mut shedding, &[(Up, 60), (Up, 0)], 20), [30, 0], "those on their way count");
        assert_eq!(run(&mut shedding, &[(Up, 30), (Up, 30)], 10), [0, 0]);
        assert_eq!(run(&mut shedding, &[(Up, 60), (Up, 0)], 10), [0, 0], "level once: done");
        let mut off = Shedding::new(&config::Drain { pace: 100, rebalance: false });
        off.handle_joined();
        assert_eq!(run(&mut off, &[(Up, 60), (Up, 0)], 10), [0, 0]);
    }

    #[test]
    fn how_far_a_drain_is_can_be_told() {
        let mut shedding = Shedding::new(&config::Drain { pace: 10, rebalance: false });
        let id = MemberId::new(0);
        run(&mut shedding, &[(Standing::Draining, 50), (Standing::Up, 0)], 10);
        assert_eq!((shedding.begun(id), shedding.left(id)), (Some(50), 40));
        run(&mut shedding, &[(Standing::Up, 50), (Standing::Up, 0)], 1);
        assert_eq!((shedding.begun(id), shedding.left(id)), (None, 0));
    }

    #[test]
    fn how_far_the_levelling_is_can_be_told() {
        let mut shedding = Shedding::new(&config::Drain { pace: 10, rebalance: true });
        let (full, fresh) = (MemberId::new(0), MemberId::new(1));
        shedding.handle_joined();
        run(&mut shedding, &[(Standing::Up, 60), (Standing::Up, 0)], 10);
        assert_eq!((shedding.left(full), shedding.left(fresh)), (20, 0));
        run(&mut shedding, &[(Standing::Up, 30), (Standing::Up, 30)], 1);
        assert_eq!(shedding.left(full), 0);
    }

    /// So many looks, a tenth of a second apart; what goes is gone at once.
    fn run(shedding: &mut Shedding, loads: &[(Standing, u64)], looks: u32) -> [u32; 2] {
        let start = shedding.looked.unwrap_or_else(Instant::now);
        let mut loads: Vec<Load> = (0..)
            .zip(loads)
            .map(|(n, (standing, sessions))| Load {
                id: MemberId::new(n),
                standing: *standing,
                weight: 1,
                sessions: *sessions,
            })
            .collect();
        let mut gone = [0; 2];
        for look in 0..=looks {
            for (id, sessions) in shedding.handle_time(&loads, start + Duration::from_millis(100) * look) {
                let at = loads.iter().position(|load| load.id == id).unwrap();
                loads[at].sessions -= u64::from(sessions);
                gone[at] += sessions;
            }
        }
        gone
    }
}
