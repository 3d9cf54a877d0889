//! The opening handshake, server half: RFC 6455 §4.2. What is refused is refused in the words of `ws`, on which the official server stands.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// Why a request that wants a WebSocket gets none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The method is not GET.
    Method,
    /// `Upgrade` names something else.
    Upgrade,
    /// `Sec-WebSocket-Key` is not the base64 text of 16 bytes.
    Key,
    /// `Sec-WebSocket-Version` is neither 13 nor 8, which differs from 13 in nothing that is framed.
    Version,
}

impl Rejection {
    /// The status of the answer.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Method => 405,
            Self::Upgrade | Self::Key | Self::Version => 400,
        }
    }

    /// The body of the answer.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Method => "Invalid HTTP method",
            Self::Upgrade => "Invalid Upgrade header",
            Self::Key => "Missing or invalid Sec-WebSocket-Key header",
            Self::Version => "Missing or invalid Sec-WebSocket-Version header",
        }
    }

    /// The whole answer; the connection is closed after it.
    #[must_use]
    pub fn reply(self) -> Vec<u8> {
        let (status, message) = (self.status(), self.message());
        let reason = if status == 405 { "Method Not Allowed" } else { "Bad Request" };
        let versions = if self == Self::Version { "Sec-WebSocket-Version: 13, 8\r\n" } else { "" };
        let length = message.len();
        format!(
            "HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: text/html\r\n\
             Content-Length: {length}\r\n{versions}\r\n{message}"
        )
        .into_bytes()
    }
}

/// Whether a request of HTTP/1.1 wants a WebSocket, in order or not. `values` gives the values of the fields of a name.
#[must_use]
pub fn is_asked<'a, V: Iterator<Item = &'a [u8]>>(values: impl Fn(&'static str) -> V) -> bool {
    has_token(values("upgrade"), "websocket") && has_token(values("connection"), "upgrade")
}

/// Takes the key out of a request that wants a WebSocket.
///
/// # Errors
///
/// What is not in order: the first of what `ws` looks at.
pub fn check<'a, V: Iterator<Item = &'a [u8]>>(
    method: &str,
    values: impl Fn(&'static str) -> V,
) -> Result<&'a str, Rejection> {
    if method != "GET" {
        return Err(Rejection::Method);
    }
    if !has_token(values("upgrade"), "websocket") {
        return Err(Rejection::Upgrade);
    }
    let key = values("sec-websocket-key").next().and_then(|key| std::str::from_utf8(key).ok());
    let key = key.filter(|key| is_key(key)).ok_or(Rejection::Key)?;
    match values("sec-websocket-version").next() {
        Some(b"13" | b"8") => Ok(key),
        Some(_) | None => Err(Rejection::Version),
    }
}

/// Whether the comma-separated list in these values holds `token` (in any case).
pub(crate) fn has_token<'a>(mut values: impl Iterator<Item = &'a [u8]>, token: &str) -> bool {
    values.any(|value| {
        let mut items = value.split(|&byte| byte == b',');
        items.any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    })
}

/// The value of `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`.
#[must_use]
pub fn accept_key(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize())
}

/// Whether `key` is the base64 text of 16 bytes.
#[must_use]
pub fn is_key(key: &str) -> bool {
    key.len() == 24 && STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

/// The whole 101 answer to a handshake with this key, with `extra` fields.
///
/// A field that would break out of its line (a CR, LF or NUL in it) is left out.
#[must_use]
pub fn switching_protocols<'a>(key: &str, extra: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut reply = Vec::with_capacity(160);
    reply.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
    );
    reply.extend_from_slice(accept_key(key).as_bytes());
    reply.extend_from_slice(b"\r\n");
    let breaks = |byte: &u8| matches!(byte, b'\r' | b'\n' | b'\0');
    for (name, value) in extra {
        if name.as_bytes().iter().chain(value).any(breaks) {
            continue;
        }
        reply.extend_from_slice(name.as_bytes());
        reply.extend_from_slice(b": ");
        reply.extend_from_slice(value);
        reply.extend_from_slice(b"\r\n");
    }
    reply.extend_from_slice(b"\r\n");
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejections_are_the_bytes_of_ws() {
        let good = [
            ("upgrade", "websocket"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
        ];
        let check = |method, fields: &[(&str, &'static str)]| {
            check(method, |name| {
                let value =
                    fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_bytes());
                value.into_iter()
            })
        };
        assert_eq!(check("GET", &good), Ok("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(check("POST", &good), Err(Rejection::Method));
        assert_eq!(check("GET", &good[1..]), Err(Rejection::Upgrade));
        assert_eq!(check("GET", &[good[0], ("sec-websocket-key", "short"), good[2]]), Err(Rejection::Key));
        assert_eq!(check("GET", &good[..2]), Err(Rejection::Version));
        assert_eq!(
            Rejection::Method.reply(),
            b"HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: 19\r\n\r\nInvalid HTTP method"
        );
        assert_eq!(
            Rejection::Version.reply(),
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: 47\r\n\
              Sec-WebSocket-Version: 13, 8\r\n\r\nMissing or invalid Sec-WebSocket-Version header"
        );
    }

    #[test]
    fn the_key_of_the_rfc_is_answered_as_in_the_rfc() {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let reply = |extra: &[(&'static str, &'static [u8])]| {
            String::from_utf8(switching_protocols(key, extra.iter().copied())).unwrap()
        };
        let start = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        assert_eq!(reply(&[]), format!("{start}\r\n"));
        assert_eq!(reply(&[("Vary", b"Origin")]), format!("{start}Vary: Origin\r\n\r\n"));
        assert_eq!(
            reply(&[("X", b"a\r\nSet-Cookie: b"), ("Y\n", b"1"), ("Z", b"\0")]),
            format!("{start}\r\n")
        );
    }
}
