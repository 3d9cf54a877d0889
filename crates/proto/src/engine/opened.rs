//! What the answer to a polling handshake says to somebody who looks on: the session's id and its heartbeat, whichever program answered.
//!
//! It is a look and no decoder: versions 3 and 4, JSONP, and a handshake with packets behind it read alike. Absent: everything else that the answer says.

use std::time::Duration;

/// A session that was just opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// Its id, any text of visible ASCII without quotes.
    pub sid: &'a str,
    /// pingInterval + pingTimeout, where both are told.
    pub heartbeat: Option<Duration>,
}

impl<'a> Opened<'a> {
    /// Looks for the open packet at the front of a body.
    #[must_use]
    pub fn find(body: &'a [u8]) -> Option<Self> {
        let start = memchr::memchr(b'{', &body[..body.len().min(PREFIX_BYTES_MAX)])?;
        let before = &body[..start];
        // Engine.IO v4: `0{`; v3: `97:0{`; JSONP: `___eio[0]("97:0{`.
        if before.last() != Some(&b'0') {
            return None;
        }
        let rest = &body[start..];
        let end = memchr::memchr(b'}', rest)?;
        let packet = &rest[..end.min(PACKET_BYTES_MAX)];
        let sid = text(packet, b"sid")?;
        let (interval, timeout) = (number(packet, b"pingInterval"), number(packet, b"pingTimeout"));
        let heartbeat = interval.zip(timeout).map(|(one, other)| one + other);
        Some(Self { sid, heartbeat })
    }
}

/// The value of a member that is a short text.
fn text<'a>(packet: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let value = member(packet, name)?;
    let value = value.strip_prefix(b"\\").unwrap_or(value).strip_prefix(b"\"")?;
    let end = value.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    let text = &value[..end];
    let fits = !text.is_empty() && text.iter().all(u8::is_ascii_graphic);
    if fits { std::str::from_utf8(text).ok() } else { None }
}

/// The value of a member that is a number of milliseconds.
fn number(packet: &[u8], name: &[u8]) -> Option<Duration> {
    let value = member(packet, name)?;
    let end = value.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(value.len());
    let millis: u32 = std::str::from_utf8(&value[..end]).ok()?.parse().ok()?;
    Some(Duration::from_millis(millis.into()))
}

/// What stands behind the colon of a member; in JSONP its quotes are escaped.
fn member<'a>(packet: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut from = 0;
    while let Some(found) = memchr::memmem::find(&packet[from..], name) {
        let at = from + found;
        from = at + name.len();
        if !packet[..at].ends_with(b"\"") {
            continue;
        }
        let rest = &packet[from..];
        let rest = rest.strip_prefix(b"\\").unwrap_or(rest);
        if let Some(value) = rest.strip_prefix(b"\"") {
            return value.trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii_start);
        }
    }
    None
}

/// What may stand before the packet.
const PREFIX_BYTES_MAX: usize = 32;
/// The longest packet that is looked at.
const PACKET_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_handshakes_say_what_the_rows_say() {
        let v4 = r#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
        let v3 = format!("97:{v4}2:40");
        let jsonp = format!("___eio[0](\"{}\");", v3.replace('"', "\\\""));
        let spaced =
            r#"0{ "pingTimeout": 20000, "pingInterval": 25000, "sid" : "lv_VI97HAXpY6yYWAAAC" }"#.to_owned();
        let behind = format!("{v4}\u{1e}40{{\"sid\":\"other\"}}");
        for body in [v4.to_owned(), v3, jsonp, spaced, behind] {
            let expected = Opened { sid: "lv_VI97HAXpY6yYWAAAC", heartbeat: Some(Duration::from_secs(45)) };
            assert_eq!(Opened::find(body.as_bytes()), Some(expected), "{body}");
        }
        let untold = Opened::find(br#"0{"sid":"a","pingInterval":25000}"#);
        assert_eq!(untold, Some(Opened { sid: "a", heartbeat: None }));
    }

    #[test]
    fn what_opens_no_session_says_nothing() {
        for body in [
            "",
            "0",
            "ok",
            "0{",
            r#"0{"sid":"a""#,
            r#"{"code":1,"message":"Session ID unknown"}"#,
            r#"{"sid":"a"}"#,
            r#"40{"nosid":"a"}"#,
            r#"0{"sid":""}"#,
            r#"0{"sid":"a b"}"#,
            r#"0{"sid":"ä"}"#,
            r#"0{"sid":7}"#,
            "2",
            "<html>0123456789012345678901234567890{\"sid\":\"a\"}",
        ] {
            assert_eq!(Opened::find(body.as_bytes()), None, "{body}");
        }
    }
}
