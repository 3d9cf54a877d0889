//! Whether a worker still takes what comes to its door: a machine that is shown counts and remembers since when they stand still.
//!
//! It only hears of connections and handshakes, which a healthy worker takes at once. Long polls say nothing: they may hang for good reasons.

use std::time::{Duration, Instant};

/// What can be seen at a worker's door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Connections and handshakes it was given and has not taken.
    pub(crate) waiting: u64,
    /// Connections and handshakes it ever took.
    pub(crate) taken: u64,
    /// Connections that came back although it lives: it had no descriptor left for them.
    pub(crate) lost: u64,
}

/// The memory of one door.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pulse {
    last: Sight,
    /// Since when something waits and nothing is taken.
    still_since: Option<Instant>,
    /// When it was last seen to have stood still for too long; forgotten once it takes something.
    deaf_at: Option<Instant>,
    short_at: Option<Instant>,
}

impl Pulse {
    /// Somebody looked at the door.
    pub(crate) fn handle_sight(&mut self, sight: Sight, now: Instant) {
        if sight.taken != self.last.taken {
            (self.still_since, self.deaf_at) = (None, None);
        }
        self.still_since = if sight.waiting == 0 { None } else { self.still_since.or(Some(now)) };
        if self.still_since.is_some_and(|since| now.saturating_duration_since(since) >= DEAF_TIME) {
            self.deaf_at = Some(now);
        }
        if sight.lost != self.last.lost {
            self.short_at = Some(now);
        }
        self.last = sight;
    }

    /// Whether it has taken nothing for long, as a stopped or blocked process does: others are better served elsewhere. Where those who waited
    /// have gone, it gets another chance after a while.
    pub(crate) fn is_deaf(&self, now: Instant) -> bool {
        self.deaf_at.is_some_and(|at| now.saturating_duration_since(at) < DEAF_REST)
    }

    /// Whether it lacked descriptors a moment ago: a connection given to it would come back at once, and again, and again.
    pub(crate) fn is_short(&self, now: Instant) -> bool {
        self.short_at.is_some_and(|at| now.saturating_duration_since(at) < SHORT_TIME)
    }
}

/// After this time without taking anything a worker counts as deaf. Longer than a handler should ever block its thread.
const DEAF_TIME: Duration = Duration::from_secs(2);
/// For this time a worker that was deaf when somebody last waited for it gets no other to wait.
const DEAF_REST: Duration = Duration::from_secs(10);
/// For this time a worker that lacked descriptors is given no connection.
const SHORT_TIME: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_where_nothing_moves_is_deaf_after_a_while() {
        check(&[(0, 1, 5), (1_999, 1, 5)], &[]);
        check(&[(0, 1, 5), (2_000, 1, 5)], &["deaf"]);
        // More that comes does not help, something that is taken does.
        check(&[(0, 1, 5), (1_000, 9, 5), (2_000, 90, 5)], &["deaf"]);
        check(&[(0, 9, 5), (1_900, 8, 6), (2_000, 8, 6)], &[]);
        check(&[(0, 9, 5), (9_000, 9, 5), (9_001, 8, 6)], &[]);
        // Those who gave up leave their word behind, for a while.
        check(&[(0, 1, 5), (3_000, 1, 5), (3_000, 0, 5), (12_999, 0, 5)], &["deaf"]);
        check(&[(0, 1, 5), (3_000, 1, 5), (3_000, 0, 5), (13_000, 0, 5)], &[]);
        check(&[(0, 1, 5), (3_000, 1, 5), (3_000, 0, 6)], &[]);
        // Where nothing waits nothing need be taken.
        check(&[(0, 1, 5), (1_000, 0, 5), (1_001, 1, 5), (3_000, 1, 5)], &[]);
        check(&[(0, 0, 5), (60_000, 0, 5)], &[]);
        check(&[(0, 0, 5), (60_000, 1, 5)], &[]);
    }

    #[test]
    fn a_lack_of_descriptors_is_remembered_for_a_while() {
        let start = Instant::now();
        let mut pulse = Pulse::default();
        assert!(!pulse.is_short(start));
        pulse.handle_sight(Sight { lost: 1, ..Sight::default() }, start);
        assert!(pulse.is_short(start + SHORT_TIME / 2));
        assert!(!pulse.is_short(start + SHORT_TIME));
        pulse.handle_sight(Sight { lost: 1, ..Sight::default() }, start + SHORT_TIME);
        assert!(!pulse.is_short(start + SHORT_TIME), "the same one was seen before");
    }

    fn check(sights: &[(u64, u64, u64)], expected: &[&str]) {
        let start = Instant::now();
        let mut pulse = Pulse::default();
        let mut now = start;
        for &(at, waiting, taken) in sights {
            now = start + Duration::from_millis(at);
            pulse.handle_sight(Sight { waiting, taken, lost: 0 }, now);
        }
        assert_eq!(pulse.is_deaf(now), expected.contains(&"deaf"), "{sights:?}");
    }
}
