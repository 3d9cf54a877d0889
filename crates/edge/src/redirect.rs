//! Sending clients elsewhere: the address is settled, path and query are the request's own.

use http::header::LOCATION;
use http::{HeaderValue, Response, StatusCode};
use sockeye_relay::Body;

use crate::config::{Redirect, RedirectStatus};
use crate::layout::{is_host, without_port};
use crate::reply;

/// Answers a request for `host` (which may have a port) and `target` (path and query).
pub(crate) fn answer(redirect: &Redirect, host: &str, target: &str) -> Response<Body> {
    let location = location(redirect, host, target).and_then(|to| HeaderValue::try_from(to).ok());
    let Some(location) = location else {
        return reply::plain(StatusCode::BAD_REQUEST, "no host that this redirect knows");
    };
    let mut response = reply::plain(status(redirect.status), "see Location");
    response.headers_mut().insert(LOCATION, location);
    response
}

const fn status(status: RedirectStatus) -> StatusCode {
    match status {
        RedirectStatus::Moved => StatusCode::MOVED_PERMANENTLY,
        RedirectStatus::Permanent => StatusCode::PERMANENT_REDIRECT,
    }
}

/// The other address; none if the request names no host that it may be sent to.
fn location(redirect: &Redirect, host: &str, target: &str) -> Option<String> {
    let asked = without_port(host);
    let is_named = redirect.server_names.iter().any(|name| is_host(asked, name));
    let host = match &redirect.host {
        Some(fixed) => fixed.as_str(),
        None if is_named => asked,
        // A pattern is no host to be sent to.
        None => redirect.server_names.iter().find(|name| !name.starts_with('*'))?,
    };
    let port = match redirect.port {
        Some(443) if redirect.scheme == "https" => None,
        Some(80) if redirect.scheme == "http" => None,
        other => other,
    };
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    // An asterisk or a foreign form asks for no path here.
    let target = if target.starts_with('/') { target } else { "/" };
    Some(format!("{}://{host}{port}{target}", redirect.scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_sent_where_the_rows_say() {
        let names: &[&str] = &["chat.example.com", "*.example.org"];
        for (fixed, names, port, host, target, expected) in [
            (None, names, None, "chat.example.com:12345", "/a?b=c", Some("https://chat.example.com/a?b=c")),
            (None, names, None, "a.example.org", "/", Some("https://a.example.org/")),
            (None, names, None, "evil.example", "/x", Some("https://chat.example.com/x")),
            (None, names, None, "", "/x", Some("https://chat.example.com/x")),
            (None, names, Some(8443), "CHAT.example.com", "/", Some("https://CHAT.example.com:8443/")),
            (None, names, Some(443), "chat.example.com", "/", Some("https://chat.example.com/")),
            (None, &[], None, "chat.example.com", "/", None),
            (None, &["*.example.org"], None, "evil.example", "/", None),
            (Some("fixed.example"), &[], None, "evil.example", "/a", Some("https://fixed.example/a")),
            (Some("fixed.example"), names, None, "chat.example.com", "*", Some("https://fixed.example/")),
            (None, names, None, "chat.example.com", "//evil/", Some("https://chat.example.com//evil/")),
        ] {
            let redirect = Redirect {
                status: RedirectStatus::Moved,
                scheme: "https".to_owned(),
                host: fixed.map(str::to_owned),
                server_names: names.iter().map(|&name| name.to_owned()).collect(),
                port,
            };
            assert_eq!(location(&redirect, host, target).as_deref(), expected, "{host}{target}");
        }
    }
}
