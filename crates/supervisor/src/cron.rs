//! When something is due, in the words of cron: five fields (minute, hour, day of the month, month, day of the week), in UTC. Pure.
//!
//! A field is `*`, a number, a range `1-5`, a list of those, each with a step `/2`. Sunday is 0 and 7. As in cron, where both days are said, either will do.
//! Absent: names of months and days, seconds, `@daily`, time zones.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::Civil;

/// Moments that come again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    any_day: bool,
    any_weekday: bool,
}

/// How far ahead a moment is looked for: 29 February comes again after at most 8 years.
const DAYS_MAX: u64 = 8 * 366 + 1;

impl Cron {
    /// The first moment after `now`; none if it never comes, as 30 February.
    #[must_use]
    pub fn next(&self, now: SystemTime) -> Option<SystemTime> {
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut minute = seconds / 60 + 1;
        let last = minute + DAYS_MAX * 1440;
        while minute < last {
            let moment = UNIX_EPOCH + Duration::from_secs(minute * 60);
            let civil = Civil::of(moment);
            if !self.has_day(&civil) {
                minute = (minute / 1440 + 1) * 1440;
            } else if !has(self.hours, civil.hour) {
                minute = (minute / 60 + 1) * 60;
            } else if !has(self.minutes, civil.minute) {
                minute += 1;
            } else {
                return Some(moment);
            }
        }
        None
    }

    fn has_day(&self, civil: &Civil) -> bool {
        let (day, weekday) = (has(self.days, civil.day), has(self.weekdays, civil.weekday));
        let fits = if self.any_day || self.any_weekday { day && weekday } else { day || weekday };
        fits && has(self.months, civil.month)
    }
}

impl FromStr for Cron {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fields: Vec<_> = text.split_ascii_whitespace().collect();
        let &[minute, hour, day, month, weekday] = &fields[..] else {
            return Err(format!("expected five fields of cron such as 0 3 * * *, got {text}"));
        };
        let read = |field, least, most| {
            set(field, least, most).ok_or_else(|| {
                format!("expected a field of cron from {least} to {most}, got {field} in {text}")
            })
        };
        let weekdays = read(weekday, 0, 7)?;
        let cron = Self {
            minutes: read(minute, 0, 59)?,
            hours: read(hour, 0, 23)?,
            days: read(day, 1, 31)?,
            months: read(month, 1, 12)?,
            weekdays: weekdays | weekdays >> 7,
            any_day: day == "*",
            any_weekday: weekday == "*",
        };
        match cron.next(UNIX_EPOCH) {
            Some(_) => Ok(cron),
            None => Err(format!("expected moments that come, got {text}")),
        }
    }
}

fn has(set: u64, number: u32) -> bool {
    set >> number & 1 == 1
}

fn set(field: &str, least: u32, most: u32) -> Option<u64> {
    let mut set = 0;
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (least, most),
            Some((from, to)) => (number(from)?, number(to)?),
            None if part.contains('/') => (number(range)?, most),
            None => (number(range)?, number(range)?),
        };
        if from < least || to > most || from > to {
            return None;
        }
        (from..=to).step_by(step).for_each(|number| set |= 1 << number);
    }
    Some(set)
}

/// Digits alone: no sign.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_moment_is_found() {
        // 2026-11-30 is a Monday.
        for (cron, expected) in [
            ("* * * * *", "2026-11-30T07:01:00.000Z"),
            ("0 3 * * *", "2026-12-01T03:00:00.000Z"),
            ("0 7 * * *", "2026-12-01T07:00:00.000Z"),
            ("*/15 * * * *", "2026-11-30T07:15:00.000Z"),
            ("5/20 * * * *", "2026-11-30T07:05:00.000Z"),
            ("0 0 29 2 *", "2028-02-29T00:00:00.000Z"),
            ("30 8-10/2 * * 1-5", "2026-11-30T08:30:00.000Z"),
            ("0 0 * * 7", "2026-12-06T00:00:00.000Z"),
            ("0 0 13 * 5", "2026-12-04T00:00:00.000Z"),
            ("0 0 1 1,6 *", "2027-01-01T00:00:00.000Z"),
        ] {
            let now = UNIX_EPOCH + Duration::from_millis(1_796_022_000_123);
            let next = cron.parse::<Cron>().unwrap().next(now).unwrap();
            assert_eq!(Civil::of(next).to_string(), expected, "{cron}");
        }
    }

    #[test]
    fn what_is_no_cron_is_refused() {
        for wrong in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "a * * * *",
            "*/0 * * * *",
            "5-1 * * * *",
            "1- * * * *",
            "+1 * * * *",
            "0 0 30 2 *",
            ", * * * *",
        ] {
            assert!(wrong.parse::<Cron>().is_err(), "{wrong}");
        }
    }
}
