//! Whether clients go on by a WebSocket as they should, judged a sample of sessions at a time. Where few do, something on the way loses `Upgrade`: they stay on
//! polling, which works but is not realtime.
//!
//! Absent: counting (the listener's), a clock: a sample is a number of sessions.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How many sessions that began by polling are judged together. Fewer say little: the last ones may be about to upgrade.
const SAMPLE_SESSIONS: u64 = 200;

/// Of a sample at least this share is to go on by a WebSocket, in percent; below it is said, once, until it is well again.
const SHARE_PERCENT_MIN: u64 = 50;

/// What was judged last.
#[derive(Debug, Default)]
pub(crate) struct Upgrades {
    upgraded_before: AtomicU64,
    few: AtomicBool,
}

/// What a judgement is worth saying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// So many percent of the last sample went on by a WebSocket, which is few.
    Few(u64),
    /// It is well again.
    Well,
}

impl Upgrades {
    /// One more session began by polling: so many have in all, and so many went on by a WebSocket.
    pub(crate) fn handle_began(&self, polling: u64, upgraded: u64) -> Option<Turn> {
        if polling == 0 || !polling.is_multiple_of(SAMPLE_SESSIONS) {
            return None;
        }
        let before = self.upgraded_before.swap(upgraded, Ordering::Relaxed);
        let percent = upgraded.saturating_sub(before) * 100 / SAMPLE_SESSIONS;
        let few = percent < SHARE_PERCENT_MIN;
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
    fn few_upgrades_are_told_once_until_they_are_well_again() {
        let upgrades = Upgrades::default();
        for (polling, upgraded, told) in [
            (199, 0, None),
            (200, 180, None),
            (400, 279, Some(Turn::Few(49))),
            (401, 279, None),
            (600, 279, None),
            (800, 379, Some(Turn::Well)),
            (1000, 580, None),
        ] {
            assert_eq!(upgrades.handle_began(polling, upgraded), told, "{polling} {upgraded}");
        }
    }
}
