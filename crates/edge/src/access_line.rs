//! How a line of the access log reads. Sids are their client's secret: only their tag is written, and of an engine's query only what is known to be none.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sockeye_proto::http::Head;

/// What is known of one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    /// Whom the connection is from.
    pub(crate) peer: Option<IpAddr>,
    /// The client behind proxies that are believed.
    pub(crate) client: Option<IpAddr>,
    pub(crate) method: String,
    /// Path and query, without secrets: [`shown`].
    pub(crate) target: String,
    pub(crate) version: &'static str,
    pub(crate) host: String,
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    pub(crate) referer: Option<String>,
    pub(crate) agent: Option<String>,
    /// The tag of the sid.
    pub(crate) tag: Option<String>,
    pub(crate) transport: Option<&'static str>,
    pub(crate) upstream: Option<String>,
    pub(crate) listener: String,
    pub(crate) time: Duration,
}

impl Line {
    /// What a head tells.
    pub(crate) fn of(head: &Head<'_>, peer: IpAddr, client: IpAddr) -> Self {
        Self {
            peer: Some(peer),
            client: Some(client),
            method: head.method().to_owned(),
            target: shown(head.path(), head.target().contains('?').then(|| head.query_string())),
            version: "HTTP/1.1",
            host: head.header("host").unwrap_or_default().to_owned(),
            referer: head.header("referer").map(str::to_owned),
            agent: head.header("user-agent").map(str::to_owned),
            ..Self::default()
        }
    }

    /// Apache's combined format; then the client behind trusted proxies, the sid's tag, the transport, the upstream and the seconds that it took.
    pub(crate) fn combined(&self, at: SystemTime, text: &mut String) {
        let or_dash = |value: Option<&str>| value.map_or("-".to_owned(), quoted);
        let peer = self.peer.map_or("-".to_owned(), |ip| ip.to_canonical().to_string());
        let client = self.client.map_or("-".to_owned(), |ip| ip.to_canonical().to_string());
        let (year, month, day, hour, minute, second) = civil(at);
        let month = MONTHS[month - 1];
        let _ = writeln!(
            text,
            "{peer} - - [{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000] \"{} {} {}\" {} {} \"{}\" \"{}\" \"{client}\" {} {} {} {:.3}",
            quoted(&self.method),
            quoted(&self.target),
            self.version,
            self.status,
            self.bytes,
            or_dash(self.referer.as_deref()),
            or_dash(self.agent.as_deref()),
            or_dash(self.tag.as_deref()),
            self.transport.unwrap_or("-"),
            or_dash(self.upstream.as_deref()),
            self.time.as_secs_f64(),
        );
    }

    /// One JSON object.
    pub(crate) fn json(&self, at: SystemTime, text: &mut String) {
        let (year, month, day, hour, minute, second) = civil(at);
        let millis = at.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_millis();
        let _ = write!(
            text,
            "{{\"time\":\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z\""
        );
        let ip = |ip: Option<IpAddr>| ip.map(|ip| ip.to_canonical().to_string());
        for (name, value) in [
            ("listener", Some(self.listener.as_str())),
            ("peer", ip(self.peer).as_deref()),
            ("client", ip(self.client).as_deref()),
            ("method", Some(self.method.as_str())),
            ("host", Some(self.host.as_str())),
            ("target", Some(self.target.as_str())),
            ("version", Some(self.version)),
            ("referer", self.referer.as_deref()),
            ("agent", self.agent.as_deref()),
            ("sid", self.tag.as_deref()),
            ("transport", self.transport),
            ("upstream", self.upstream.as_deref()),
        ] {
            if let Some(value) = value {
                let _ = write!(text, ",\"{name}\":\"{}\"", escaped(value));
            }
        }
        let (status, bytes, seconds) = (self.status, self.bytes, self.time.as_secs_f64());
        let _ = writeln!(text, ",\"status\":{status},\"bytes\":{bytes},\"seconds\":{seconds:.3}}}");
    }
}

/// A target as it may be written: of the query of an engine's request, which may hold sids and tokens, only what is known to be neither.
pub(crate) fn shown(path: &str, query: Option<&str>) -> String {
    let Some(query) = query else { return path.to_owned() };
    let pairs = || query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    if !pairs().any(|(name, _)| matches!(name, "EIO" | "transport" | "sid") || name.contains('%')) {
        return format!("{path}?{query}");
    }
    let mut target = path.to_owned();
    for (at, (name, value)) in pairs().enumerate() {
        target.push(if at == 0 { '?' } else { '&' });
        let value = match name {
            "EIO" | "transport" | "t" | "b64" | "j" => value,
            "sid" => value.get(..TAG_LENGTH).unwrap_or("*"),
            _ => "*",
        };
        let _ = write!(target, "{name}={value}");
    }
    target
}

/// Text between quotes as Apache has it: what could end the quotes or the line is written in hexadecimal.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || character == '"' || character == '\\' {
            let _ = write!(quoted, "\\x{:02x}", u32::from(character));
        } else {
            quoted.push(character);
        }
    }
    quoted
}

/// Text in JSON: RFC 8259 §7.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\\' => escaped.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(control));
            }
            other => escaped.push(other),
        }
    }
    escaped
}

/// Year, month, day, hour, minute and second of a time, UTC; after Howard Hinnant's `civil_from_days`.
fn civil(at: SystemTime) -> (u64, usize, u64, u64, u64, u64) {
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let month = usize::try_from(month).unwrap_or(1);
    (year, month, day, rest / 3600, rest / 60 % 60, rest % 60)
}

/// How much of a sid is no secret.
const TAG_LENGTH: usize = 6;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_as_the_rows_say() {
        let line = Line {
            peer: Some("::ffff:10.0.0.1".parse().unwrap()),
            client: Some("192.0.2.7".parse().unwrap()),
            method: "GET".to_owned(),
            target: shown("/socket.io/", Some("EIO=4&transport=polling&sid=AAAAAAsecretsecretse&token=x")),
            version: "HTTP/1.1",
            host: "io.example".to_owned(),
            status: 200,
            bytes: 2,
            referer: None,
            agent: Some("a\"b\\\n".to_owned()),
            tag: Some("AAAAAA".to_owned()),
            transport: Some("polling"),
            upstream: Some("app01".to_owned()),
            listener: "main".to_owned(),
            time: Duration::from_micros(1500),
        };
        let at = UNIX_EPOCH + Duration::from_millis(1_796_031_245_007);
        let mut text = String::new();
        line.combined(at, &mut text);
        assert_eq!(
            text,
            "10.0.0.1 - - [30/Nov/2026:09:34:05 +0000] \"GET /socket.io/?EIO=4&transport=polling&sid=AAAAAA&token=* HTTP/1.1\" 200 2 \"-\" \
             \"a\\x22b\\x5c\\x0a\" \"192.0.2.7\" AAAAAA polling app01 0.002\n"
        );
        text.clear();
        line.json(at, &mut text);
        assert_eq!(
            text,
            "{\"time\":\"2026-11-30T09:34:05.007Z\",\"listener\":\"main\",\"peer\":\"10.0.0.1\",\"client\":\"192.0.2.7\",\"method\":\"GET\",\
             \"host\":\"io.example\",\"target\":\"/socket.io/?EIO=4&transport=polling&sid=AAAAAA&token=*\",\"version\":\"HTTP/1.1\",\
             \"agent\":\"a\\\"b\\\\\\u000a\",\"sid\":\"AAAAAA\",\"transport\":\"polling\",\"upstream\":\"app01\",\"status\":200,\"bytes\":2,\"seconds\":0.002}\n"
        );
    }

    #[test]
    fn targets_keep_what_is_no_secret() {
        for (query, expected) in [
            (None, "/p"),
            (Some("a=b&c"), "/p?a=b&c"),
            (Some("sid=short"), "/p?sid=*"),
            (Some("s%69d=AAAAAAsecret"), "/p?s%69d=*"),
            (Some("transport=websocket&auth=secret"), "/p?transport=websocket&auth=*"),
            (Some("EIO=4&t=abc&sid="), "/p?EIO=4&t=abc&sid=*"),
            (Some("EIO=4&sid=\u{e4}\u{f6}\u{fc}\u{e4}bc"), "/p?EIO=4&sid=\u{e4}\u{f6}\u{fc}"),
        ] {
            assert_eq!(shown("/p", query), expected);
        }
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, (1970, 1, 1, 0, 0, 0)),
            (951_782_399, (2000, 2, 28, 23, 59, 59)),
            (951_782_400, (2000, 2, 29, 0, 0, 0)),
            (4_107_542_400, (2100, 3, 1, 0, 0, 0)),
        ] {
            assert_eq!(civil(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }
}
