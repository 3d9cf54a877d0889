//! Whether clients that ask for a WebSocket get it, judged a sample of sessions at a time. Where few do, something on the way loses `Upgrade`: they stay on
//! polling, which works but is not realtime. Clients that never ask poll by their own choice, and do not count.
//!
//! Absent: a clock: a sample is a number of sessions.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How many sessions that asked are judged together. Fewer say little: one server that ends takes some with it.
const SAMPLE_SESSIONS: u64 = 200;

/// What was judged last, and the sample under way.
#[derive(Debug, Default)]
pub(crate) struct Upgrades {
    asked: AtomicU64,
    lost: AtomicU64,
    few: AtomicBool,
}

/// What a judgement is worth saying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// So many percent of the last sample got it, which is few.
    Few(u64),
    /// It is well again.
    Well,
}

impl Upgrades {
    /// One more session that began by polling asked for a WebSocket, and got it or not. Of a sample at least this share is to get it, in percent; below it is
    /// said, once, until it is well again.
    pub(crate) fn handle_asked(&self, got: bool, percent_min: u8) -> Option<Turn> {
        if !got {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        let asked = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        if !asked.is_multiple_of(SAMPLE_SESSIONS) {
            return None;
        }
        let lost = self.lost.swap(0, Ordering::Relaxed).min(SAMPLE_SESSIONS);
        let percent = (SAMPLE_SESSIONS - lost) * 100 / SAMPLE_SESSIONS;
        let few = percent < percent_min.into();
        match (self.few.swap(few, Ordering::Relaxed), few) {
            (false, true) => Some(Turn::Few(percent)),
            (true, false) => Some(Turn::Well),
            (true, true) | (false, false) => None,
        }
    }

    pub(crate) fn are_few(&self) -> bool {
        self.few.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_upgrades_are_told_once_until_they_are_well_again_or_nobody_wants_to_know() {
        let upgrades = Upgrades::default();
        for (got, percent_min, told) in [
            (180, 50, None),
            (99, 50, Some(Turn::Few(49))),
            (0, 50, None),
            (100, 50, Some(Turn::Well)),
            (100, 90, Some(Turn::Few(50))),
            (0, 0, Some(Turn::Well)),
            (0, 0, None),
        ] {
            let turns: Vec<Turn> =
                (0..SAMPLE_SESSIONS).filter_map(|n| upgrades.handle_asked(n < got, percent_min)).collect();
            assert_eq!(turns, told.into_iter().collect::<Vec<_>>(), "{got} of a sample, {percent_min} %");
        }
    }
}
