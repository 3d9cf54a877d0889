//! Whether the servers that a group began with have said for the first time whether they serve: a machine.
//!
//! Until then nobody gets anything. Whoever answers first would else get a whole burst alone, such as all clients that come back after a start, and
//! their WebSockets stay where they are.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::member::MemberId;

/// The beginning of a group.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Opening {
    /// There was no server yet.
    #[default]
    Empty,
    /// Of these nobody has heard; nobody waits for them longer than that.
    Awaits(BTreeSet<MemberId>, Instant),
    /// It is over, for good: who comes later is on its own.
    Over,
}

impl Opening {
    /// A list came: of these servers nobody has heard. `patience`: how long a request may wait.
    pub(super) fn handle_list(
        &mut self,
        silent: impl Iterator<Item = MemberId>,
        patience: Duration,
        now: Instant,
    ) {
        if *self != Self::Empty {
            return;
        }
        let silent: BTreeSet<MemberId> = silent.collect();
        if !silent.is_empty() {
            *self = Self::Awaits(silent, now + OPENING_MAX.min(patience / 2));
        }
    }

    /// A server answered, well or badly, or is gone. Tells whether that was the last one.
    pub(super) fn handle_heard(&mut self, id: MemberId) -> bool {
        let Self::Awaits(silent, _) = self else { return false };
        silent.remove(&id);
        let over = silent.is_empty();
        if over {
            *self = Self::Over;
        }
        over
    }

    /// Whether requests wait.
    pub(super) fn is_under_way(&mut self, now: Instant) -> bool {
        if matches!(self, Self::Awaits(_, until) if *until <= now) {
            *self = Self::Over;
        }
        matches!(self, Self::Awaits(..))
    }
}

/// How long a server that is slow to say whether it serves keeps the others waiting, once; half of the time that a request may wait, where that is shorter.
const OPENING_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::Roster;

    #[test]
    fn requests_wait_for_the_first_word_of_each_server_but_not_for_ever() {
        let mut roster = Roster::default();
        let (a, b, c) = (roster.draw(), roster.draw(), roster.draw());
        let start = Instant::now();
        let later = |millis| start + Duration::from_millis(millis);
        let opened = |patience| {
            let mut opening = Opening::default();
            assert!(!opening.is_under_way(start), "an empty group has nobody to wait for");
            opening.handle_list(std::iter::empty(), patience, start);
            opening.handle_list([a, b].into_iter(), patience, start);
            opening
        };
        let patience = Duration::from_secs(2);
        let mut opening = opened(patience);
        assert!(opening.is_under_way(later(999)));
        assert!(!opening.handle_heard(a) && opening.is_under_way(start));
        assert!(!opening.handle_heard(a) && opening.is_under_way(start));
        assert!(opening.handle_heard(b) && !opening.is_under_way(start));
        opening.handle_list([c].into_iter(), patience, start);
        assert!(!opening.is_under_way(start), "it is over for good");
        let mut opening = opened(patience);
        assert!(!opening.is_under_way(later(1000)) && !opening.is_under_way(start));
        let mut opening = opened(Duration::from_millis(100));
        assert!(opening.is_under_way(later(49)) && !opening.is_under_way(later(50)));
    }
}
