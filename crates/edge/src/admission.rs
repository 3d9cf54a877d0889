//! How many sessions begin in a second: a machine that says to whom comes too early when to come again (GCRA).

use std::time::{Duration, Instant};

/// The rate at which sessions are let in.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    per_second: u32,
    /// When the next one would be due at an even pace.
    due: Option<Instant>,
}

impl Admission {
    /// So many a second, a second's worth at once; 0: as many as come.
    pub(crate) const fn new(per_second: u32) -> Self {
        Self { per_second, due: None }
    }

    /// The rate is another from here on.
    pub(crate) const fn handle_rate(&mut self, per_second: u32) {
        self.per_second = per_second;
    }

    /// One more wants in.
    ///
    /// # Errors
    ///
    /// How long it had better wait.
    pub(crate) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        let Some(step) = Duration::from_secs(1).checked_div(self.per_second) else { return Ok(()) };
        let due = self.due.map_or(now, |due| due.max(now));
        let ahead = due.saturating_duration_since(now);
        if ahead + step > Duration::from_secs(1) {
            return Err(ahead + step - Duration::from_secs(1));
        }
        self.due = Some(due + step);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_let_in_at_the_rate() {
        let (mut admission, start) = (Admission::new(10), Instant::now());
        let mut admitted = |millis| {
            let now = start + Duration::from_millis(millis);
            (0..100).filter(|_| admission.admit(now).is_ok()).count()
        };
        assert_eq!(admitted(0), 10);
        assert_eq!(admitted(0), 0);
        assert_eq!(admitted(99), 0);
        assert_eq!(admitted(100), 1);
        assert_eq!(admitted(500), 4);
        assert_eq!(admitted(60_000), 10, "no more than a second's worth");
        let wait = admission.admit(start + Duration::from_mins(1)).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
    }

    #[test]
    fn without_a_rate_everybody_is_let_in() {
        let mut admission = Admission::new(0);
        assert!((0..1000).all(|_| admission.admit(Instant::now()).is_ok()));
    }
}
