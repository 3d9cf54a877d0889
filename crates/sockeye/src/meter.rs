//! A rate as a machine: GCRA, one instant for each thing that is metered.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// How much may come at once: what a second allows.
const BURST: Duration = Duration::from_secs(1);

/// Meters one thing. Costs nothing while nothing comes.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Meter {
    /// Until when what came is paid for.
    paid_until: Option<Instant>,
}

impl Meter {
    /// Takes one, if `per_second` allows it.
    pub(crate) fn take(&mut self, per_second: NonZeroU32, now: Instant) -> bool {
        let next = self.next(per_second, now);
        let fits = next <= now + BURST;
        if fits {
            self.paid_until = Some(next);
        }
        fits
    }

    /// Takes one in any case, and tells until when to take no more.
    pub(crate) fn charge(&mut self, per_second: NonZeroU32, now: Instant) -> Option<Instant> {
        let next = self.next(per_second, now);
        self.paid_until = Some(next);
        // The next one has to fit.
        next.checked_add(step(per_second))
            .and_then(|after| after.checked_sub(BURST))
            .filter(|&until| until > now)
    }

    /// Whether it may be forgotten.
    pub(crate) fn is_rested(&self, now: Instant) -> bool {
        self.paid_until.is_none_or(|until| until <= now)
    }

    fn next(self, per_second: NonZeroU32, now: Instant) -> Instant {
        self.paid_until.map_or(now, |until| until.max(now)) + step(per_second)
    }
}

fn step(per_second: NonZeroU32) -> Duration {
    Duration::from_secs(1) / per_second.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: NonZeroU32 = NonZeroU32::new(10).unwrap();

    #[test]
    fn a_second_may_come_at_once_and_then_one_in_each_step() {
        let begin = Instant::now();
        let mut meter = Meter::default();
        let took = |meter: &mut Meter, ms, times: usize| {
            let now = begin + Duration::from_millis(ms);
            (0..times).filter(|_| meter.take(RATE, now)).count()
        };
        for (ms, times, taken) in [(0, 20, 10), (50, 5, 0), (100, 5, 1), (350, 5, 2), (5_000, 20, 10)] {
            assert_eq!(took(&mut meter, ms, times), taken, "at {ms} ms");
        }
        assert!(!meter.is_rested(begin + Duration::from_millis(5_900)));
        assert!(meter.is_rested(begin + Duration::from_secs(6)));
    }

    #[test]
    fn a_charge_tells_when_to_go_on() {
        let begin = Instant::now();
        let mut meter = Meter::default();
        let until = |tenths: u32| Some(begin + Duration::from_millis(100) * tenths);
        let charges: Vec<_> = (0..12).map(|_| meter.charge(RATE, begin)).collect();
        assert_eq!(charges[..9], [None; 9]);
        assert_eq!(charges[9..], [until(1), until(2), until(3)]);
    }
}
