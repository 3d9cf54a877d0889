//! The cookies of one client: what `Set-Cookie` says, and what is sent back. For one server, so without domains.

use http::HeaderMap;
use http::header::SET_COOKIE;
use std::time::{Duration, SystemTime};

/// Cookies that servers and balancers have set.
#[derive(Debug)]
pub(crate) struct Jar {
    cookies: Vec<Cookie>,
    max: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct Cookie {
    name: String,
    value: String,
    path: String,
    secure: bool,
    ends: Option<SystemTime>,
}

impl Jar {
    pub(crate) fn new(max: usize) -> Self {
        Self { cookies: Vec::new(), max }
    }

    /// Takes the cookies of an answer.
    pub(crate) fn take(&mut self, headers: &HeaderMap, now: SystemTime) {
        for value in headers.get_all(SET_COOKIE) {
            if let Some(cookie) = value.to_str().ok().and_then(|text| parse(text, now)) {
                self.cookies.retain(|other| (&other.name, &other.path) != (&cookie.name, &cookie.path));
                if cookie.ends.is_none_or(|ends| ends > now) && self.cookies.len() < self.max {
                    self.cookies.push(cookie);
                }
            }
        }
    }

    /// The value of the field `Cookie` for a request, if any is to be sent.
    pub(crate) fn value(&mut self, path: &str, tls: bool, now: SystemTime) -> Option<String> {
        self.cookies.retain(|cookie| cookie.ends.is_none_or(|ends| ends > now));
        let fits = |cookie: &&Cookie| (tls || !cookie.secure) && covers(&cookie.path, path);
        let pairs: Vec<_> = self
            .cookies
            .iter()
            .filter(fits)
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

/// RFC 6265 §5.2, for one server.
fn parse(text: &str, now: SystemTime) -> Option<Cookie> {
    if text.len() > COOKIE_BYTES_MAX {
        return None;
    }
    let mut parts = text.split(';');
    let (name, value) = parts.next()?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty() {
        return None;
    }
    let mut cookie = Cookie {
        name: name.to_owned(),
        value: value.to_owned(),
        path: "/".to_owned(),
        secure: false,
        ends: None,
    };
    let mut lives = None;
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "path" if value.starts_with('/') => value.clone_into(&mut cookie.path),
            "secure" => cookie.secure = true,
            "expires" => cookie.ends = httpdate::parse_http_date(value).ok(),
            "max-age" => lives = value.parse::<i64>().ok(),
            _ => {}
        }
    }
    // RFC 6265 §5.3: Max-Age wins.
    if let Some(seconds) = lives {
        let wait = Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(AGE_MAX));
        cookie.ends = Some(now + wait);
    }
    Some(cookie)
}

/// RFC 6265 §5.1.4.
fn covers(cookie: &str, path: &str) -> bool {
    path.strip_prefix(cookie)
        .is_some_and(|rest| cookie.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

/// What browsers take at most.
const COOKIE_BYTES_MAX: usize = 4096;
/// The longest life in seconds (400 days), as browsers have it.
const AGE_MAX: u64 = 400 * 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_sent_where_and_while_they_count() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for (set, path, tls, after, sent) in [
            (&["io=app01~abc; Path=/; HttpOnly"][..], "/socket.io/", false, 0, Some("io=app01~abc")),
            (&["a=1", "b=2"], "/", false, 0, Some("a=1; b=2")),
            (&["a=1", "a=2"], "/", false, 0, Some("a=2")),
            (&["a=1; Secure"], "/", false, 0, None),
            (&["a=1; Secure; SameSite=None"], "/", true, 0, Some("a=1")),
            (&["a=1; path=/socket.io"], "/socket.io/", false, 0, Some("a=1")),
            (&["a=1; path=/socket"], "/socket.io/", false, 0, None),
            (&["a=1; Max-Age=10"], "/", false, 9, Some("a=1")),
            (&["a=1; Max-Age=10"], "/", false, 10, None),
            (&["a=1; Max-Age=0"], "/", false, 0, None),
            (&["a=1; Max-Age=-1"], "/", false, 0, None),
            (&["a=1; Max-Age=99999999999999999"], "/", false, 9, Some("a=1")),
            (&["a=1", "a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"], "/", false, 0, None),
            (&["a=1; Expires=nonsense"], "/", false, 0, Some("a=1")),
            (&["a=x=y"], "/", false, 0, Some("a=x=y")),
            (&["=1", "a", ""], "/", false, 0, None),
        ] {
            let mut jar = Jar::new(32);
            let mut headers = HeaderMap::new();
            for value in set {
                headers.append(SET_COOKIE, value.parse().unwrap());
            }
            jar.take(&headers, now);
            assert_eq!(jar.value(path, tls, now + Duration::from_secs(after)).as_deref(), sent, "{set:?}");
        }
    }

    #[test]
    fn a_jar_is_bounded() {
        let mut jar = Jar::new(2);
        let mut headers = HeaderMap::new();
        for value in ["a=1", "b=1", "c=1", &format!("a={}", "x".repeat(5000)), "b=2"] {
            headers.append(SET_COOKIE, value.parse().unwrap());
        }
        jar.take(&headers, SystemTime::UNIX_EPOCH);
        assert_eq!(jar.value("/", true, SystemTime::UNIX_EPOCH).as_deref(), Some("a=1; b=2"));
    }
}
