//! When the next try is due, as the official client has it (`backo2`): doubling, spread, bounded.

use std::num::NonZeroU32;
use std::time::Duration;

/// How a client comes back after its connection broke, or could not be opened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reconnection {
    /// The mean wait before the first try; each further one waits twice as long. Default 1 s (`reconnectionDelay`).
    pub delay: Duration,
    /// The longest wait. Default 5 s (`reconnectionDelayMax`).
    pub delay_max: Duration,
    /// How far a wait may lie from its mean, as a part of it: 0 to 1. Default 0.5 (`randomizationFactor`).
    pub jitter: f64,
    /// How many tries, one after the other, may fail before the client gives up. Default: no limit (`reconnectionAttempts`).
    pub attempts_max: Option<NonZeroU32>,
}

impl Default for Reconnection {
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(1),
            delay_max: Duration::from_secs(5),
            jitter: 0.5,
            attempts_max: None,
        }
    }
}

/// Counts the tries.
#[derive(Debug)]
pub(super) struct Reconnect {
    how: Option<Reconnection>,
    attempts: u32,
}

impl Reconnect {
    pub(super) fn new(how: Option<Reconnection>) -> Self {
        Self { how, attempts: 0 }
    }

    /// How long to wait before the next try, or `None` for no more tries. `chance` is a random number from 0 to 1.
    pub(super) fn next(&mut self, chance: f64) -> Option<Duration> {
        let how = self.how?;
        if how.attempts_max.is_some_and(|max| self.attempts >= max.get()) {
            return None;
        }
        let doublings = self.attempts.min(DOUBLINGS_MAX);
        self.attempts = self.attempts.saturating_add(1);
        let mean = how.delay.as_secs_f64() * f64::from(1_u32 << doublings);
        // One random number says how far and, by its first digit, to which side: `backo2`.
        let deviation = chance * how.jitter.clamp(0.0, 1.0) * mean;
        let wait = if (chance * 10.0) as u32 & 1 == 0 { mean - deviation } else { mean + deviation };
        Some(Duration::from_secs_f64(wait.clamp(0.0, how.delay_max.as_secs_f64())))
    }

    /// The connection is there.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Tries since the last connection.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }
}

/// Beyond this many doublings a wait is over any limit.
const DOUBLINGS_MAX: u32 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_lie_around_their_mean() {
        for (chance, millis) in [
            (0.0, [1000, 2000, 4000, 5000, 5000]),
            (0.25, [875, 1750, 3500, 5000, 5000]),
            (0.999_999, [1499, 2999, 5000, 5000, 5000]),
            (0.899_999, [550, 1100, 2200, 4400, 5000]),
        ] {
            let mut reconnect = Reconnect::new(Some(Reconnection::default()));
            let waits = [0; 5].map(|_| reconnect.next(chance).unwrap().as_millis());
            assert_eq!(waits, millis, "{chance}");
        }
    }

    #[test]
    fn a_client_gives_up_after_its_attempts_and_counts_anew_after_a_connection() {
        let how = Reconnection { attempts_max: NonZeroU32::new(2), ..Reconnection::default() };
        let mut reconnect = Reconnect::new(Some(how));
        assert!(reconnect.next(0.0).is_some());
        reconnect.reset();
        assert_eq!(reconnect.next(0.0), Some(Duration::from_secs(1)));
        assert_eq!(reconnect.next(0.0), Some(Duration::from_secs(2)));
        assert_eq!(reconnect.attempts(), 2);
        assert_eq!(reconnect.next(0.0), None);
        assert_eq!(Reconnect::new(None).next(0.0), None);
    }

    #[test]
    fn absurd_settings_are_bounded() {
        let how = Reconnection { jitter: 7.0, ..Reconnection::default() };
        let mut reconnect = Reconnect::new(Some(how));
        for chance in [0.0, 0.45, 0.55, 1.0].into_iter().cycle().take(1000) {
            assert!(reconnect.next(chance).unwrap() <= Duration::from_secs(5));
        }
    }
}
