//! Times and sizes as people write them.

use std::time::Duration;

/// Reads `250ms`, `10s`, `1.5m`, `1h` or `7d`. A number alone is no time, but for 0: it would be read as another unit than was meant.
#[must_use]
pub fn span(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number: f64 = text[..digits].parse().ok()?;
    let seconds = match text[digits..].trim() {
        "ms" => number / 1000.0,
        "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        "d" => number * 86_400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok().filter(|span| *span <= SPAN_MAX)
}

/// Reads `16384`, `16k`, `16KiB` or `1M`; all count by 1024.
pub(crate) fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// A time as it is written: the largest unit that is whole.
pub(crate) fn say(span: Duration) -> String {
    let millis = span.as_millis();
    match millis {
        0 => "0".to_owned(),
        _ if !millis.is_multiple_of(1000) => format!("{millis}ms"),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ => format!("{}s", millis / 1000),
    }
}

/// The longest time that a key takes: a year.
pub(crate) const SPAN_MAX: Duration = Duration::from_secs(366 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        for (text, span_of) in [
            ("250ms", Some(Duration::from_millis(250))),
            ("10s", Some(Duration::from_secs(10))),
            ("1.5m", Some(Duration::from_secs(90))),
            ("1h", Some(Duration::from_secs(3600))),
            ("7d", Some(Duration::from_secs(7 * 86_400))),
            (" 2 s ", Some(Duration::from_secs(2))),
            ("0", Some(Duration::ZERO)),
            ("10", None),
            ("-1s", None),
            ("1e9s", None),
            ("400d", None),
            ("s", None),
            ("", None),
            ("1.2.3s", None),
            ("10 parsecs", None),
        ] {
            assert_eq!(span(text), span_of, "{text}");
        }
    }

    #[test]
    fn a_size_may_have_one() {
        for (text, bytes) in [
            ("512", Some(512)),
            ("16k", Some(16 << 10)),
            ("16KiB", Some(16 << 10)),
            ("1 MB", Some(1 << 20)),
            ("99999999999999999999", None),
            ("18446744073709551615g", None),
            ("k", None),
            ("", None),
            ("-1", None),
        ] {
            assert_eq!(size(text), bytes, "{text}");
        }
    }

    #[test]
    fn what_is_said_reads_as_what_was_meant() {
        for millis in [0, 1, 250, 1000, 1500, 60_000, 90_000, 3_600_000, 86_400_000] {
            let time = Duration::from_millis(millis);
            assert_eq!(span(&say(time)), Some(time), "{}", say(time));
        }
    }
}
