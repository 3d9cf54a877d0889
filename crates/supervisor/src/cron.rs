//! When something is due, in the words of cron: five fields (minute, hour, day of the month, month, day of the week), by the clock on the wall. Pure.
//!
//! A field is `*`, a number, a range `1-5`, a list of those, each with a step `/2`. Sunday is 0 and 7. As in cron, where both days are said, either will do.
//! An hour that is named and left out when clocks go forward comes as much later; one that comes twice when they go back is meant once. What is due every
//! hour goes on by the minute, whatever the clocks do. Absent: names of months and days, seconds, `@daily`.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Moments that come again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    any_hour: bool,
    any_day: bool,
    any_weekday: bool,
}

/// Whose clock counts.
#[derive(Debug, Clone)]
pub struct Zone(TimeZone);

/// How far ahead a moment is looked for: 29 February comes again after at most 8 years.
const YEARS_MAX: i64 = 8;

impl Zone {
    /// The zone that `TZ` names among the variables of an app, else the system's; UTC where there is none of that name.
    #[must_use]
    pub fn of(environment: &BTreeMap<String, String>) -> Self {
        let Some(named) = environment.get("TZ").filter(|named| !named.is_empty()) else {
            return Self(TimeZone::try_system().unwrap_or(TimeZone::UTC));
        };
        let name = named.trim_start_matches(':');
        Self(TimeZone::get(name).or_else(|_| TimeZone::posix(name)).unwrap_or(TimeZone::UTC))
    }
}

impl Cron {
    /// The first moment after `now`; none if it never comes, as 30 February.
    #[must_use]
    pub fn next(&self, now: SystemTime, zone: &Zone) -> Option<SystemTime> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Timestamp::new(i64::try_from(now.as_secs()).ok()?, i32::try_from(now.subsec_nanos()).ok()?)
            .ok()?;
        let found =
            if self.any_hour { self.by_the_minute(now, &zone.0) } else { self.by_the_wall(now, &zone.0) };
        let seconds = u64::try_from(found?.as_second()).ok()?;
        Some(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// Looks at each minute that passes.
    fn by_the_minute(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut moment = Timestamp::from_second(now.as_second().div_euclid(60) * 60 + 60).ok()?;
        let last = zone.to_datetime(now).checked_add(YEARS_MAX.years()).ok()?;
        loop {
            let wall = zone.to_datetime(moment);
            if wall > last {
                return None;
            } else if !self.has_day(wall) {
                let midnight = zone.to_ambiguous_timestamp(wall.date().tomorrow().ok()?.at(0, 0, 0, 0));
                // Where clocks go back over midnight its first time may be past.
                moment = midnight.compatible().ok()?.max(moment.checked_add(1.minute()).ok()?);
            } else if !has(self.minutes, wall.minute()) {
                moment = moment.checked_add(1.minute()).ok()?;
            } else {
                return Some(moment);
            }
        }
    }

    /// Looks at each minute that clocks show.
    fn by_the_wall(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let wall = zone.to_datetime(now);
        let last = wall.checked_add(YEARS_MAX.years()).ok()?;
        let mut wall = wall.date().at(wall.hour(), wall.minute(), 0, 0).checked_add(1.minute()).ok()?;
        while wall <= last {
            if !self.has_day(wall) {
                wall = wall.date().tomorrow().ok()?.at(0, 0, 0, 0);
            } else if !has(self.hours, wall.hour()) {
                wall = wall.date().at(wall.hour(), 0, 0, 0).checked_add(1.hour()).ok()?;
            } else if !has(self.minutes, wall.minute()) {
                wall = wall.checked_add(1.minute()).ok()?;
            } else {
                let moment = zone.to_ambiguous_timestamp(wall).compatible().ok()?;
                if moment > now {
                    return Some(moment);
                }
                // It was meant the first time.
                wall = wall.checked_add(1.minute()).ok()?;
            }
        }
        None
    }

    fn has_day(&self, wall: DateTime) -> bool {
        let day = has(self.days, wall.day());
        let weekday = has(self.weekdays, wall.weekday().to_sunday_zero_offset());
        let fits = if self.any_day || self.any_weekday { day && weekday } else { day || weekday };
        fits && has(self.months, wall.month())
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
            any_hour: hour == "*",
            any_day: day == "*",
            any_weekday: weekday == "*",
        };
        match cron.next(UNIX_EPOCH, &Zone(TimeZone::UTC)) {
            Some(_) => Ok(cron),
            None => Err(format!("expected moments that come, got {text}")),
        }
    }
}

fn has(set: u64, number: i8) -> bool {
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
    use crate::clock::Civil;

    #[test]
    fn the_next_moment_is_found() {
        // 2026-11-30 is a Monday.
        for (cron, expected) in [
            ("* * * * *", "2026-11-30T07:01:00Z"),
            ("0 3 * * *", "2026-12-01T03:00:00Z"),
            ("0 7 * * *", "2026-12-01T07:00:00Z"),
            ("*/15 * * * *", "2026-11-30T07:15:00Z"),
            ("5/20 * * * *", "2026-11-30T07:05:00Z"),
            ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
            ("30 8-10/2 * * 1-5", "2026-11-30T08:30:00Z"),
            ("0 0 * * 7", "2026-12-06T00:00:00Z"),
            ("0 0 13 * 5", "2026-12-04T00:00:00Z"),
            ("0 0 1 1,6 *", "2027-01-01T00:00:00Z"),
            ("0 * 1 1 *", "2027-01-01T00:00:00Z"),
        ] {
            check(cron, "UTC0", "2026-11-30T07:00:00.123Z", expected);
        }
    }

    #[test]
    fn the_clock_on_the_wall_counts() {
        // Berlin: forward from 2 to 3 on 29 March 2026, back from 3 to 2 on 25 October.
        let berlin = "CET-1CEST,M3.5.0,M10.5.0/3";
        for (cron, now, expected) in [
            ("0 3 * * *", "2026-11-30T07:00:00Z", "2026-12-01T02:00:00Z"),
            ("0 3 * * *", "2026-07-01T07:00:00Z", "2026-07-02T01:00:00Z"),
            ("30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-29T01:30:00Z"),
            ("30 2 * * *", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"),
            ("30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"),
            ("30 2 * * *", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
            ("*/30 * * * *", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z"),
            ("*/30 * * * *", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"),
            ("0 * * * *", "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"),
            ("0 0 * * *", "2026-11-30T22:59:00Z", "2026-11-30T23:00:00Z"),
        ] {
            check(cron, berlin, now, expected);
        }
    }

    #[test]
    fn the_zone_is_that_of_the_app() {
        let zone = |tz: &str| {
            let environment = BTreeMap::from([("TZ".to_owned(), tz.to_owned())]);
            let next = "0 3 * * *"
                .parse::<Cron>()
                .unwrap()
                .next(moment("2026-11-30T07:00:00Z"), &Zone::of(&environment));
            Civil::of(next.unwrap()).to_string()
        };
        assert_eq!(zone("EST5"), "2026-11-30T08:00:00.000Z");
        assert_eq!(zone(":UTC0"), "2026-12-01T03:00:00.000Z");
        assert_eq!(zone("no such zone"), "2026-12-01T03:00:00.000Z");
    }

    fn check(cron: &str, zone: &str, now: &str, expected: &str) {
        let zone = Zone(TimeZone::posix(zone).unwrap());
        let next = cron.parse::<Cron>().unwrap().next(moment(now), &zone).unwrap();
        assert_eq!(next, moment(expected), "{cron} after {now}: {}", Civil::of(next));
    }

    fn moment(text: &str) -> SystemTime {
        let moment: Timestamp = text.parse().unwrap();
        UNIX_EPOCH
            + Duration::new(moment.as_second().unsigned_abs(), moment.subsec_nanosecond().unsigned_abs())
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
