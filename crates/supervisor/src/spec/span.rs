//! A time as people write it: `500ms`, `2s`, `5m`, `1h`, `1d`, or a bare number of milliseconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

/// A time, at most a hundred years.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

const MAX: Duration = Duration::from_secs(100 * 366 * 86_400);

impl Span {
    /// So many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many thousandths of a second.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// The same as the standard library has it.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let seconds = match unit.trim() {
            "" | "ms" => Some(0.001),
            "s" => Some(1.0),
            "m" => Some(60.0),
            "h" => Some(3600.0),
            "d" => Some(86_400.0),
            _ => None,
        };
        let number: Option<f64> = number.parse().ok();
        number
            .zip(seconds)
            .and_then(|(number, seconds)| Duration::try_from_secs_f64(number * seconds).ok())
            .filter(|duration| *duration <= MAX)
            .map(|duration| {
                // Thousandths are as fine as it is written; a float is not to show.
                Self(Duration::from_millis(
                    u64::try_from((duration.as_micros() + 500) / 1000).unwrap_or(u64::MAX),
                ))
            })
            .ok_or_else(|| format!("expected a time such as 500ms, 2s, 5m or 1h, got {text}"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        match millis {
            0 => f.write_str("0s"),
            _ if millis.is_multiple_of(1000) => write!(f, "{}s", millis / 1000),
            _ => write!(f, "{millis}ms"),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl Visitor<'_> for Words {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as 500ms or 2s")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, millis: u64) -> Result<Span, E> {
                millis.to_string().parse().map_err(E::custom)
            }

            fn visit_i64<E: Error>(self, millis: i64) -> Result<Span, E> {
                millis.to_string().parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_and_written() {
        for (said, millis, written) in [
            ("1600", 1600, "1600ms"),
            ("500ms", 500, "500ms"),
            ("2s", 2000, "2s"),
            ("1.5s", 1500, "1500ms"),
            ("5m", 300_000, "300s"),
            ("1h", 3_600_000, "3600s"),
            ("1d", 86_400_000, "86400s"),
            ("0", 0, "0s"),
        ] {
            let span: Span = said.parse().unwrap();
            assert_eq!((span.duration().as_millis(), span.to_string().as_str()), (millis, written), "{said}");
        }
        for wrong in ["", "s", "-1s", "1w", "1.2.3s", "99999999999d", "soon"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong}");
        }
    }
}
