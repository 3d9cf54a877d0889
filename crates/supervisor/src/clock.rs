//! The calendar: what day a second is in, and a moment as text. Pure, in UTC, without leap seconds, as the system counts.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment by the calendar, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// The year.
    pub year: i64,
    /// From 1.
    pub month: u32,
    /// From 1.
    pub day: u32,
    /// From 0, on a Sunday.
    pub weekday: u32,
    /// From 0.
    pub hour: u32,
    /// From 0.
    pub minute: u32,
    /// From 0.
    pub second: u32,
    /// From 0.
    pub millisecond: u32,
}

impl Civil {
    /// The calendar's word for a moment; what lies before 1970 is 1970.
    #[must_use]
    pub fn of(moment: SystemTime) -> Self {
        let since = moment.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let days = i64::try_from(since.as_secs() / 86_400).unwrap_or(i64::MAX / 2);
        let second = u32::try_from(since.as_secs() % 86_400).expect("it is less than a day");
        // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days: eras of 400 years from a 1 March.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * march + 2) / 5 + 1;
        let month = if march < 10 { march + 3 } else { march - 9 };
        let small = |number: i64| u32::try_from(number).unwrap_or_default();
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: small(month),
            day: small(day),
            weekday: small((days + 4) % 7),
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
            millisecond: since.subsec_millis(),
        }
    }
}

impl fmt::Display for Civil {
    /// RFC 3339, with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second, millisecond, weekday: _ } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_a_date() {
        for (millis, text, weekday) in [
            (0, "1970-01-01T00:00:00.000Z", 4),
            (951_782_399_999, "2000-02-28T23:59:59.999Z", 1),
            (951_782_400_000, "2000-02-29T00:00:00.000Z", 2),
            (1_796_022_000_123, "2026-11-30T07:00:00.123Z", 1),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z", 1),
        ] {
            let civil = Civil::of(UNIX_EPOCH + Duration::from_millis(millis));
            assert_eq!((civil.to_string().as_str(), civil.weekday), (text, weekday));
        }
    }
}
