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
    let whole = Cookie {
        path: Some(cookie.path.clone().unwrap_or_else(|| "/".to_owned())),
        http_only: Some(cookie.http_only.unwrap_or(true)),
        secure: Some(cookie.secure.unwrap_or(tls)),
        ..cookie.clone()
    };
    format!("{}={server}{}", cookie.name, attributes(&whole, now))
}

/// A server's own `Set-Cookie` with its name put before the value, or in its place; `None` where it is about another cookie. Attributes that were
/// configured replace the server's.
pub(crate) fn from_server(
    cookie: &Cookie,
    server: &str,
    field: &[u8],
    tls: bool,
    now: SystemTime,
) -> Option<Vec<u8>> {
    let mut pieces = field.split(|byte| *byte == b';');
    let (name, value) = split(pieces.next().unwrap_or_default().trim_ascii());
    if name != cookie.name.as_bytes() {
        return None;
    }
    let mark = MARK.to_string();
    let mut text = match cookie.mode {
        CookieMode::Insert => return None,
        CookieMode::Prefix => [name, b"=", server.as_bytes(), mark.as_bytes(), value].concat(),
        CookieMode::Rewrite => [name, b"=", server.as_bytes()].concat(),
    };
    // One that takes its cookie back does so.
    let ends = pieces.clone().any(|piece| is_over(split(piece.trim_ascii()), now));
    // What browsers take with `Secure` alone gets it by TLS, as one that the edge sets does.
    let needs_secure = cookie.same_site == Some(SameSite::None) || cookie.partitioned == Some(true);
    let own = Cookie {
        secure: cookie.secure.or((needs_secure && tls).then_some(true)),
        expires: cookie.expires.filter(|_| !ends),
        ..cookie.clone()
    };
    for piece in pieces.filter(|piece| !is_replaced(&own, split(piece.trim_ascii()).0)) {
        text.push(b';');
        text.extend(piece);
    }
    text.extend(attributes(&own, now).into_bytes());
    Some(text)
}

/// The attributes that are set, as they stand behind the value.
fn attributes(cookie: &Cookie, now: SystemTime) -> String {
    let mut text = String::new();
    for (name, value) in [("Path", &cookie.path), ("Domain", &cookie.domain)] {
        if let Some(value) = value {
            text += &format!("; {name}={value}");
        }
    }
    if let Some(expires) = cookie.expires {
        let date = httpdate::fmt_http_date(now + expires);
        text += &format!("; Expires={date}; Max-Age={}", expires.as_secs());
    }
    if cookie.http_only == Some(true) {
        text += "; HttpOnly";
    }
    if cookie.secure == Some(true) {
        text += "; Secure";
    }
    text += match cookie.same_site {
        Some(SameSite::Strict) => "; SameSite=Strict",
        Some(SameSite::Lax) => "; SameSite=Lax",
        Some(SameSite::None) => "; SameSite=None",
        None => "",
    };
    if cookie.partitioned == Some(true) {
        text += "; Partitioned";
    }
    text
}

/// Whether a server's attribute gives way to a configured one.
fn is_replaced(cookie: &Cookie, name: &[u8]) -> bool {
    [
        ("path", cookie.path.is_some()),
        ("domain", cookie.domain.is_some()),
        ("expires", cookie.expires.is_some()),
        ("max-age", cookie.expires.is_some()),
        ("httponly", cookie.http_only.is_some()),
        ("secure", cookie.secure.is_some()),
        ("samesite", cookie.same_site.is_some()),
        ("partitioned", cookie.partitioned.is_some()),
    ]
    .iter()
    .any(|(known, is_set)| *is_set && name.eq_ignore_ascii_case(known.as_bytes()))
}

/// Whether an attribute ends its cookie: RFC 6265 §3.1.
fn is_over((name, value): (&[u8], &[u8]), now: SystemTime) -> bool {
    let Ok(value) = std::str::from_utf8(value) else { return false };
    if name.eq_ignore_ascii_case(b"max-age") {
        return value.parse().is_ok_and(|seconds: i64| seconds <= 0);
    }
    name.eq_ignore_ascii_case(b"expires") && httpdate::parse_http_date(value).is_ok_and(|date| date <= now)
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
            let got = from_server(&cookie(mode), "app01", field.as_bytes(), true, SystemTime::now());
            assert_eq!(got.as_deref(), expected.map(str::as_bytes), "{mode:?} {field}");
        }
    }

    #[test]
    fn the_servers_attributes_give_way_to_those_that_are_set() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(24);
        let full = Cookie {
            path: Some("/io".to_owned()),
            domain: Some("example.com".to_owned()),
            expires: Some(Duration::from_hours(1)),
            http_only: Some(false),
            secure: Some(true),
            same_site: Some(SameSite::None),
            partitioned: Some(true),
            ..cookie(CookieMode::Rewrite)
        };
        let partitioned = Cookie { partitioned: Some(true), ..cookie(CookieMode::Prefix) };
        let set = "Path=/io; Domain=example.com; Expires=Fri, 02 Jan 1970 01:00:00 GMT; Max-Age=3600; Secure; SameSite=None; Partitioned";
        let unending = set.replace("Expires=Fri, 02 Jan 1970 01:00:00 GMT; Max-Age=3600; ", "");
        for (cookie, tls, field, expected) in [
            (
                &full,
                false,
                "io=abc; Path=/; HttpOnly; samesite=Lax; Max-Age=9; Priority=High",
                format!("io=app01; Priority=High; {set}"),
            ),
            (&full, false, "io=; Max-Age=0", format!("io=app01; Max-Age=0; {unending}")),
            (
                &full,
                false,
                "io=; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
                format!("io=app01; Expires=Thu, 01 Jan 1970 00:00:00 GMT; {unending}"),
            ),
            (
                &partitioned,
                true,
                "io=abc; Path=/; HttpOnly; Secure",
                "io=app01~abc; Path=/; HttpOnly; Secure; Partitioned".to_owned(),
            ),
            (&partitioned, false, "io=abc; Path=/x", "io=app01~abc; Path=/x; Partitioned".to_owned()),
        ] {
            let got = from_server(cookie, "app01", field.as_bytes(), tls, now).unwrap();
            assert_eq!(String::from_utf8(got).unwrap(), expected, "{field}");
        }
    }

    #[test]
    fn an_inserted_cookie_has_all_that_it_was_told() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(24);
        let plain = Cookie { http_only: Some(false), ..Cookie::default() };
        assert_eq!(inserted(&plain, "app01", false, now), "SERVERID=app01; Path=/");
        assert_eq!(inserted(&plain, "app01", true, now), "SERVERID=app01; Path=/; Secure");
        let full = Cookie {
            name: "srv_id".to_owned(),
            domain: Some(".example.com".to_owned()),
            expires: Some(Duration::from_hours(1)),
            http_only: Some(true),
            secure: Some(true),
            same_site: Some(SameSite::None),
            partitioned: Some(true),
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
