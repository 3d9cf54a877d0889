//! `[upstream.NAME.cookie]`: the cookie that names a server.

use std::time::Duration;

use sockeye_edge::config::{Cookie, CookieMode, SameSite};

use crate::desk::{Desk, Sheet, words};
use crate::keys::COOKIE;
use crate::tree::Value;
use crate::units::SPAN_MAX;

/// The cookie of a group.
pub(crate) fn cookie(desk: &mut Desk<'_>, upstream: &Sheet<'_>) -> Cookie {
    let plain = Cookie::default();
    let Some(node) = upstream.node("cookie") else { return plain };
    let key = upstream.key("cookie");
    if !matches!(node.value, Value::Table(_)) {
        let name = words(node).filter(|name| is_token(name));
        if name.is_none() {
            desk.refuse(&key, node, "expected a cookie's name, or a table");
        }
        return Cookie { name: name.unwrap_or_default(), ..plain };
    }
    let Some(sheet) = desk.open(&key, node, &COOKIE) else { return plain };
    let token = |text: &str| is_token(text).then(|| text.to_owned());
    let attribute = |text: &str| is_attribute(text).then(|| text.to_owned());
    let modes =
        [("insert", CookieMode::Insert), ("prefix", CookieMode::Prefix), ("rewrite", CookieMode::Rewrite)];
    let sites = [("strict", SameSite::Strict), ("lax", SameSite::Lax), ("none", SameSite::None)];
    let cookie = Cookie {
        name: sheet.read(desk, "name", "a cookie's name, such as \"SERVERID\"", token).unwrap_or(plain.name),
        mode: sheet.choice(desk, "mode", &modes).unwrap_or(plain.mode),
        path: sheet.read(desk, "path", "a path, such as \"/\"", attribute),
        domain: sheet.read(desk, "domain", "a domain, such as \".example.com\"", attribute),
        expires: sheet.span(desk, "expires", Duration::from_secs(1)..=SPAN_MAX),
        http_only: sheet.flag(desk, "http_only"),
        secure: sheet.flag(desk, "secure"),
        same_site: sheet.choice(desk, "same_site", &sites),
        partitioned: sheet.flag(desk, "partitioned"),
    };
    if cookie.secure == Some(false) {
        for (wants_secure, key) in [
            (cookie.same_site == Some(SameSite::None), "same_site"),
            (cookie.partitioned == Some(true), "partitioned"),
        ] {
            if wants_secure && let Some(node) = sheet.node(key) {
                desk.refuse(
                    &sheet.key(key),
                    node,
                    "browsers refuse such a cookie without secure: set secure = true, or leave it out",
                );
            }
        }
    }
    cookie
}

fn is_token(text: &str) -> bool {
    let separator = |byte: u8| br#"()<>@,;:\"/[]?={} "#.contains(&byte);
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !separator(byte))
}

fn is_attribute(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';')
}
