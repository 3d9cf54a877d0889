//! Times as balancers write them, and the one they are held against.

/// Seconds of `60s`, `1h`, `500ms`, `2m`, `1d`; a number alone counts in `unit` seconds. `None` where it is none of these.
pub(super) fn seconds(text: &str, unit: f64) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    let unit = match &text[end..] {
        "" => unit,
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    Some(number * unit)
}

/// pingInterval + pingTimeout of a server as it comes.
pub(super) const HEARTBEAT_SECONDS: f64 = 45.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_unit() {
        for (text, unit, expected) in [
            ("60s", 1.0, Some(60.0)),
            ("60", 1.0, Some(60.0)),
            ("60000", 1e-3, Some(60.0)),
            ("500ms", 1.0, Some(0.5)),
            ("1h", 1.0, Some(3600.0)),
            ("2m", 1.0, Some(120.0)),
            ("", 1.0, None),
            ("x", 1.0, None),
            ("1y", 1.0, None),
        ] {
            assert_eq!(seconds(text, unit), expected, "{text}");
        }
    }
}
