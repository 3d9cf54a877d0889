//! Where a server is: what a URL says, and the targets of requests.

use crate::error::ConfigError;
use http::Uri;
use std::fmt::Write as _;

/// A server as a URL names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// Whether it is spoken to over TLS.
    pub tls: bool,
    /// The name or the IP address; an IPv6 address without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path of the URL, `/` where it has none: to the official client the name of a namespace.
    pub path: String,
    /// The query of the URL, without its question mark.
    pub query: String,
}

impl Address {
    /// Reads a URL of the schemes `http`, `https`, `ws` or `wss`; without a scheme it is `http`.
    ///
    /// # Errors
    /// The text is no such URL.
    pub fn parse(url: &str) -> Result<Self, ConfigError> {
        let wrong = |why| ConfigError::Url { url: url.to_owned(), why };
        let whole = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let uri: Uri = whole.parse().map_err(|_| wrong("it is no URL"))?;
        let tls = match uri.scheme_str() {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            Some(_) | None => return Err(wrong("the scheme is none of http, https, ws and wss")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("it holds a name and a password: use `headers`"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong("it has no host"));
        }
        // A port that is no number is no port to `authority`.
        if authority.as_str().len() > authority.host().len() && authority.port_u16().is_none() {
            return Err(wrong("the port is no number up to 65535"));
        }
        Ok(Self {
            tls,
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            path: if uri.path().is_empty() { "/".to_owned() } else { uri.path().to_owned() },
            query: uri.query().unwrap_or_default().to_owned(),
        })
    }

    /// The value of the field `Host`.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }

    /// Scheme, host and port, as a browser writes an origin.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

/// Writes pairs of a query, percent-encoded.
pub(crate) fn push_pair(query: &mut String, key: &str, value: &str) {
    if !query.is_empty() {
        query.push('&');
    }
    encode(key, query);
    query.push('=');
    encode(value, query);
}

fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_servers() {
        for (url, tls, host, port, path, query, authority) in [
            ("http://a", false, "a", 80, "/", "", "a"),
            ("a:3000", false, "a", 3000, "/", "", "a:3000"),
            ("https://a.example/chat?x=1", true, "a.example", 443, "/chat", "x=1", "a.example"),
            ("wss://a:80", true, "a", 80, "/", "", "a:80"),
            ("ws://127.0.0.1:80/", false, "127.0.0.1", 80, "/", "", "127.0.0.1"),
            ("http://[::1]:3000", false, "::1", 3000, "/", "", "[::1]:3000"),
            ("http://[::1]", false, "::1", 80, "/", "", "[::1]"),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!(address.authority(), authority, "{url}");
            let (host, path, query) = (host.to_owned(), path.to_owned(), query.to_owned());
            assert_eq!(address, Address { tls, host, port, path, query }, "{url}");
        }
    }

    #[test]
    fn what_is_no_server_is_refused_with_the_reason() {
        for url in
            ["", "http://", "ftp://a", "http://a:99999", "http://a:b", "http://u:p@a", "http://a b", "/chat"]
        {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn pairs_are_encoded() {
        let mut query = String::new();
        push_pair(&mut query, "a", "b c");
        push_pair(&mut query, "é&", "=~");
        assert_eq!(query, "a=b%20c&%C3%A9%26=%3D~");
    }
}
