//! Requests with a session id that nobody knows: one line in the log for each cause, with what to do about it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often one cause is logged at most; further requests are counted and told with the next line.
const LOGGED_EVERY: Duration = Duration::from_secs(60);

/// Why an id is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It is no id that a node makes.
    Foreign,
    /// It names another node, and none of that name is in the mesh.
    NoOwner,
    /// It names this node, which has no such session (any more).
    Ended,
}

/// When each cause was logged.
#[derive(Debug)]
pub(crate) struct Strangers {
    begin: Instant,
    causes: [Seen; 3],
}

#[derive(Debug, Default)]
struct Seen {
    /// Milliseconds from `begin` to the next line.
    quiet_until: AtomicU64,
    untold: AtomicU64,
}

impl Strangers {
    pub(crate) fn new(now: Instant) -> Self {
        Self { begin: now, causes: Default::default() }
    }

    /// Logs a cause, unless it was logged a moment ago.
    pub(crate) fn note(&self, cause: Cause, now: Instant) {
        let Some(untold) = self.due(cause, now) else { return };
        let fix = cause.fix();
        match cause {
            Cause::Foreign | Cause::NoOwner => tracing::warn!(?cause, untold, fix, "unknown session id"),
            Cause::Ended => tracing::info!(?cause, untold, fix, "unknown session id"),
        }
    }

    /// How many requests went by without a line, if it is time for one.
    fn due(&self, cause: Cause, now: Instant) -> Option<u64> {
        let seen = &self.causes[cause as usize];
        let since = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let at = since(now.duration_since(self.begin));
        let quiet_until = seen.quiet_until.load(Ordering::Relaxed);
        let next = at.saturating_add(since(LOGGED_EVERY));
        let turn = at >= quiet_until
            && seen
                .quiet_until
                .compare_exchange(quiet_until, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if turn {
            Some(seen.untold.swap(0, Ordering::Relaxed))
        } else {
            seen.untold.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

impl Cause {
    fn fix(self) -> &'static str {
        match self {
            Self::Foreign => {
                "no Sockeye node made this id: a server of another make shares the address, or somebody is guessing"
            }
            Self::NoOwner => {
                "the node that it names is gone, or this node cannot reach it: let the nodes share a mesh \
                 (`sockeye up` does), or let the balancer be sticky"
            }
            Self::Ended => {
                "the session is over; a stock client opens another one. Nothing to do unless it is frequent"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_logged_once_a_minute_with_what_went_untold() {
        let begin = Instant::now();
        let strangers = Strangers::new(begin);
        let at = |seconds| begin + Duration::from_secs(seconds);
        for (seconds, cause, due) in [
            (0, Cause::Ended, Some(0)),
            (1, Cause::Ended, None),
            (2, Cause::Foreign, Some(0)),
            (59, Cause::Ended, None),
            (60, Cause::Ended, Some(2)),
            (61, Cause::Ended, None),
            (130, Cause::Ended, Some(1)),
        ] {
            assert_eq!(strangers.due(cause, at(seconds)), due, "{seconds} s {cause:?}");
        }
    }
}
