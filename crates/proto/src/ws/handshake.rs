//! The opening handshake, server half: RFC 6455 §4.2.2.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

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
