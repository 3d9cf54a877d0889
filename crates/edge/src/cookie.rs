//! The cookie that names a server: read from a request, taken out of it, and written into an answer. Pure.

use std::time::SystemTime;

use crate::config::{Cookie, CookieMode, SameSite};

/// The server that a request's `Cookie` fields name, if they name one.
pub(crate) fn named<'a>(cookie: &Cookie, fields: impl Iterator<Item = &'a [u8]>) -> Option<&'a str> {
    let value = fields.flat_map(pairs).find(|(name, _)| *name == cookie.name.as_bytes())?.1;
    let value = std::str::from_utf8(value).ok()?;
    match cookie.mode {
        CookieMode::Insert | CookieMode::Rewrite => Some(value),
        CookieMode::Prefix => value.split_once(MARK).map(|(server, _)| server),
    }
}

/// The name behind the dot of an older balancer's value: Apache's `sticky.app01` names `app01`.
pub(crate) fn migrated(value: &str) -> Option<&str> {
    value.split_once('.').map(|(_, route)| route).filter(|route| !route.is_empty())
}

/// A `Cookie` field as the server is to see it; `None` where it stays as it is. Empty: there is nothing left.
pub(crate) fn towards_server(cookie: &Cookie, field: &[u8]) -> Option<Vec<u8>> {
    let mut changed = false;
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut values: Vec<Vec<u8>> = Vec::new();
    for piece in field.split(|byte| *byte == b';').map(<[u8]>::trim_ascii) {
        let (name, value) = split(piece);
        if name != cookie.name.as_bytes() {
            kept.push(piece);
            continue;
        }
        match cookie.mode {
            CookieMode::Insert => changed = true,
            CookieMode::Rewrite => kept.push(piece),
            CookieMode::Prefix => match memchr::memchr(MARK as u8, value) {
                Some(mark) => {
                    changed = true;
                    values.push([name, b"=", &value[mark + 1..]].concat());
                }
                None => kept.push(piece),
            },
        }
    }
    let all: Vec<&[u8]> = kept.into_iter().chain(values.iter().map(Vec::as_slice)).collect();
    changed.then(|| all.join(&b"; "[..]))
}

/// The `Set-Cookie` by which the edge itself names the server.
pub(crate) fn inserted(cookie: &Cookie, server: &str, tls: bool, now: SystemTime) -> String {
    let mut text = format!("{}={server}; Path={}", cookie.name, cookie.path);
    if let Some(domain) = &cookie.domain {
        text += "; Domain=";
        text += domain;
    }
    if let Some(expires) = cookie.expires {
        let date = httpdate::fmt_http_date(now + expires);
        text += &format!("; Expires={date}; Max-Age={}", expires.as_secs());
    }
    if cookie.http_only {
        text += "; HttpOnly";
    }
    if cookie.secure.unwrap_or(tls) {
        text += "; Secure";
    }
    text += match cookie.same_site {
        Some(SameSite::Strict) => "; SameSite=Strict",
        Some(SameSite::Lax) => "; SameSite=Lax",
        Some(SameSite::None) => "; SameSite=None",
        None => "",
    };
    if cookie.partitioned {
        text += "; Partitioned";
    }
    text
}

/// A server's own `Set-Cookie` with its name put before the value, or in its place; `None` where it is about another cookie.
pub(crate) fn from_server(cookie: &Cookie, server: &str, field: &[u8]) -> Option<Vec<u8>> {
    let end = memchr::memchr(b';', field).unwrap_or(field.len());
    let (name, value) = split(field[..end].trim_ascii());
    if name != cookie.name.as_bytes() {
        return None;
    }
    let mark = MARK.to_string();
    match cookie.mode {
        CookieMode::Insert => None,
        CookieMode::Prefix => {
            Some([name, b"=", server.as_bytes(), mark.as_bytes(), value, &field[end..]].concat())
        }
        CookieMode::Rewrite => Some([name, b"=", server.as_bytes(), &field[end..]].concat()),
    }
}

/// Whether a name can stand in a cookie's value, before a `~`: RFC 6265 §4.1.1.
pub(crate) fn can_name(server: &str) -> bool {
    !server.is_empty()
        && server.bytes().all(|byte| {
            byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\') && byte != MARK as u8
        })
}

fn pairs(field: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    field.split(|byte| *byte == b';').map(|piece| split(piece.trim_ascii()))
}

fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'=', pair) {
        Some(mark) => {
            let value = pair[mark + 1..].trim_ascii();
            let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
            (pair[..mark].trim_ascii(), quoted.unwrap_or(value))
        }
        None => (pair, b""),
    }
}

/// Stands between the server's name and the value; HAProxy's own.
const MARK: char = '~';

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_request_names_its_server_as_the_rows_say() {
        for (mode, fields, expected) in [
            (CookieMode::Insert, &["io=app01"][..], Some("app01")),
            (CookieMode::Insert, &["a=b; io=app01; c=d"], Some("app01")),
            (CookieMode::Insert, &["a=b", "io=app01"], Some("app01")),
            (CookieMode::Insert, &["io=\"app01\""], Some("app01")),
            (CookieMode::Insert, &["radio=app01; io2=x"], None),
            (CookieMode::Insert, &["io=a; io=b"], Some("a")),
            (CookieMode::Insert, &["io"], Some("")),
            (CookieMode::Insert, &[], None),
            (CookieMode::Prefix, &["io=app01~sid"], Some("app01")),
            (CookieMode::Prefix, &["io=app01~a~b"], Some("app01")),
            (CookieMode::Prefix, &["io=sid"], None),
            (CookieMode::Rewrite, &["io=app01"], Some("app01")),
        ] {
            let got = named(&cookie(mode), fields.iter().map(|field| field.as_bytes()));
            assert_eq!(got, expected, "{mode:?} {fields:?}");
        }
        assert_eq!(migrated("sticky.app01"), Some("app01"));
        assert_eq!(migrated("sticky.10.0.0.1"), Some("10.0.0.1"));
        assert_eq!((migrated("app01"), migrated("sticky.")), (None, None));
    }

    #[test]
    fn the_server_sees_what_is_its_own() {
        for (mode, field, expected) in [
            (CookieMode::Insert, "io=app01", Some("")),
            (CookieMode::Insert, "a=b; io=app01; c=d", Some("a=b; c=d")),
            (CookieMode::Insert, "a=b; c=d", None),
            (CookieMode::Prefix, "io=app01~sid", Some("io=sid")),
            (CookieMode::Prefix, "io=app01~s~id; a=b", Some("a=b; io=s~id")),
            (CookieMode::Prefix, "io=sid", None),
            (CookieMode::Rewrite, "io=app01; a=b", None),
        ] {
            let got = towards_server(&cookie(mode), field.as_bytes());
            assert_eq!(got.as_deref(), expected.map(str::as_bytes), "{mode:?} {field}");
        }
    }

    #[test]
    fn the_servers_cookie_gets_its_name() {
        for (mode, field, expected) in [
            (CookieMode::Prefix, "io=abc; Path=/; HttpOnly", Some("io=app01~abc; Path=/; HttpOnly")),
            (CookieMode::Prefix, "io=abc", Some("io=app01~abc")),
            (CookieMode::Prefix, "other=abc", None),
            (CookieMode::Rewrite, "io=abc; Path=/", Some("io=app01; Path=/")),
            (CookieMode::Insert, "io=abc; Path=/", None),
        ] {
            let got = from_server(&cookie(mode), "app01", field.as_bytes());
            assert_eq!(got.as_deref(), expected.map(str::as_bytes), "{mode:?} {field}");
        }
    }

    #[test]
    fn an_inserted_cookie_has_all_that_it_was_told() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(24);
        let plain = Cookie { http_only: false, ..Cookie::default() };
        assert_eq!(inserted(&plain, "app01", false, now), "SERVERID=app01; Path=/");
        assert_eq!(inserted(&plain, "app01", true, now), "SERVERID=app01; Path=/; Secure");
        let full = Cookie {
            name: "srv_id".to_owned(),
            domain: Some(".example.com".to_owned()),
            expires: Some(Duration::from_hours(1)),
            http_only: true,
            secure: Some(true),
            same_site: Some(SameSite::None),
            partitioned: true,
            ..Cookie::default()
        };
        assert_eq!(
            inserted(&full, "app01", false, now),
            "srv_id=app01; Path=/; Domain=.example.com; Expires=Fri, 02 Jan 1970 01:00:00 GMT; Max-Age=3600; \
             HttpOnly; Secure; SameSite=None; Partitioned"
        );
    }

    #[test]
    fn names_that_break_a_cookie_are_none() {
        for (name, fits) in [
            ("app01", true),
            ("10.0.0.1:3000", true),
            ("unix:/run/app.sock", true),
            ("", false),
            ("a b", false),
            ("a;b", false),
            ("a~b", false),
            ("ä", false),
        ] {
            assert_eq!(can_name(name), fits, "{name}");
        }
    }

    fn cookie(mode: CookieMode) -> Cookie {
        Cookie { name: "io".to_owned(), mode, ..Cookie::default() }
    }
}
