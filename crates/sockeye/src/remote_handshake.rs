//! The handshake of a socket on whichever node, as nodes tell it to each other.

use crate::handshake::Handshake;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::{Duration, SystemTime};

/// What is known from the request that opened a session, as the official servers write it down.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RemoteHandshake {
    /// The headers, their names in lower case; lines of one name are joined by commas.
    pub headers: Map<String, Value>,
    /// When the session was opened, for people.
    pub time: String,
    /// The client's IP address.
    pub address: String,
    /// Whether the request came from another origin.
    pub xdomain: bool,
    /// Whether this very connection was encrypted.
    pub secure: bool,
    /// When the session was opened, in milliseconds since 1970.
    pub issued: u64,
    /// The target of the request: path and query.
    pub url: String,
    /// The parameters of the query, decoded.
    pub query: Map<String, Value>,
    /// The `auth` payload.
    pub auth: Value,
}

impl RemoteHandshake {
    /// Writes down a handshake of this node.
    pub(crate) fn of(handshake: &Handshake) -> Self {
        let headers = handshake.headers();
        let issued = handshake.issued().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let query = handshake.query_pairs();
        Self {
            xdomain: headers.contains_key("origin"),
            headers,
            time: date(issued),
            address: handshake.address().ip().to_string(),
            secure: false,
            issued: u64::try_from(issued.as_millis()).unwrap_or(u64::MAX),
            url: handshake.url().into_owned(),
            query,
            auth: handshake.auth().unwrap_or(Value::Null),
        }
    }
}

/// A moment as JavaScript's `Date` turns into text, in UTC.
fn date(since_1970: Duration) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, second) = (since_1970.as_secs() / 86_400, since_1970.as_secs() % 86_400);
    // The calendar repeats every 400 years of 146,097 days; years begin in March, so that the leap day is their last.
    let day = days + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    let weekday = WEEKDAYS[usize::try_from(days % 7).unwrap_or_default()];
    let month = MONTHS[usize::try_from(month).unwrap_or_default()];
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!(
        "{weekday} {month} {of_month:02} {year:04} {hour:02}:{minute:02}:{second:02} GMT+0000 (Coordinated Universal Time)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use serde_json::json;

    #[test]
    fn a_handshake_has_the_official_fields() {
        let head =
            "GET /socket.io/?EIO=4&t=a%20b HTTP/1.1\r\nHost: x\r\nOrigin: o\r\nX-A: 1\r\nx-a: 2\r\n\r\n";
        let handshake = Handshake::new(Bytes::from_static(head.as_bytes()), ([127, 0, 0, 1], 5).into());
        let mut value =
            serde_json::to_value(RemoteHandshake::of(&handshake.with_auth(r#"{"k":1}"#))).unwrap();
        for field in ["time", "issued"] {
            assert!(value.as_object_mut().unwrap().remove(field).is_some());
        }
        let expected = json!({
            "headers": {"host": "x", "origin": "o", "x-a": "1, 2"},
            "address": "127.0.0.1", "xdomain": true, "secure": false, "url": "/socket.io/?EIO=4&t=a%20b",
            "query": {"EIO": "4", "t": "a b"}, "auth": {"k": 1},
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn a_moment_reads_as_in_javascript() {
        let rows = [
            (0, "Thu Jan 01 1970 00:00:00"),
            (951_782_399, "Mon Feb 28 2000 23:59:59"),
            (951_782_400, "Tue Feb 29 2000 00:00:00"),
            (951_868_800, "Wed Mar 01 2000 00:00:00"),
            (1_735_689_599, "Tue Dec 31 2024 23:59:59"),
            (4_107_542_400, "Mon Mar 01 2100 00:00:00"),
        ];
        for (seconds, expected) in rows {
            let expected = format!("{expected} GMT+0000 (Coordinated Universal Time)");
            assert_eq!(date(Duration::from_secs(seconds)), expected);
        }
    }
}
