//! HTTP requests and answers, as far as the benchmark contract uses them.

use base64::Engine as _;
use sha1::{Digest as _, Sha1};

/// One request, borrowed from the read buffer.
#[derive(Debug, PartialEq)]
pub(crate) struct Request<'a> {
    pub(crate) what: What<'a>,
    /// How many bytes of the buffer it took.
    pub(crate) end: usize,
}

/// What a request is for.
#[derive(Debug, PartialEq)]
pub(crate) enum What<'a> {
    /// `GET /health`
    Health,
    /// A GET without a sid: a handshake.
    Open,
    /// A GET with a sid: a poll.
    Poll { sid: &'a [u8] },
    /// A POST with a sid and its packets.
    Post { sid: &'a [u8], body: &'a [u8] },
    /// A WebSocket, of its own or with the sid of the session to upgrade.
    WebSocket { key: &'a [u8], sid: Option<&'a [u8]> },
    /// Any other request.
    Other,
}

/// Finds the request at the start of `bytes`; `None` when it is not whole yet.
pub(crate) fn request(bytes: &[u8]) -> Option<Request<'_>> {
    let mut at = memchr::memchr(b'\n', bytes)? + 1;
    let line = &bytes[..at];
    let (mut length, mut key) = (0, None);
    loop {
        let end = at + memchr::memchr(b'\n', &bytes[at..])? + 1;
        let header = &bytes[at..end];
        at = end;
        if header == b"\r\n" {
            break;
        }
        if let Some(digits) = value(header, b"content-length:") {
            length = decimal(digits)?;
        } else if let Some(text) = value(header, b"sec-websocket-key:") {
            key = Some(text);
        }
    }
    let end = at.checked_add(length)?;
    Some(Request { what: what(line, key, bytes.get(at..end)?), end })
}

fn what<'a>(line: &'a [u8], key: Option<&'a [u8]>, body: &'a [u8]) -> What<'a> {
    let (posted, query) = match (line.strip_prefix(b"GET "), line.strip_prefix(b"POST ")) {
        (Some(get), _) if get.starts_with(b"/health") => return What::Health,
        (Some(get), _) => (false, get.strip_prefix(b"/socket.io/?")),
        (None, Some(post)) => (true, post.strip_prefix(b"/socket.io/?")),
        (None, None) => return What::Other,
    };
    let Some(query) = query.and_then(|query| Some(&query[..memchr::memchr(b' ', query)?])) else {
        return What::Other;
    };
    let (mut sid, mut web_socket) = (None, false);
    for part in query.split(|&byte| byte == b'&') {
        match part.strip_prefix(b"sid=") {
            None => web_socket |= part == b"transport=websocket",
            found => sid = found,
        }
    }
    match (sid, key) {
        (sid, Some(key)) if web_socket => What::WebSocket { key, sid },
        (_, None) if web_socket => What::Other,
        (Some(sid), _) if posted => What::Post { sid, body },
        (Some(sid), _) => What::Poll { sid },
        (None, _) if posted => What::Other,
        (None, _) => What::Open,
    }
}

/// The value of a header line, if it is the one of this name (in lower case, with its colon).
fn value<'a>(header: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, value) = header.split_at_checked(name.len())?;
    found.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

fn decimal(digits: &[u8]) -> Option<usize> {
    digits.iter().try_fold(0_usize, |sum, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        sum.checked_mul(10)?.checked_add(digit.into())
    })
}

/// Writes a whole answer into `out`.
pub(crate) fn answer(out: &mut Vec<u8>, fixed: &[u8], body: &[u8]) {
    out.clear();
    out.extend_from_slice(fixed);
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = body.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(left % 10).expect("a digit");
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(body);
}

/// Writes the answer that turns a connection into a WebSocket.
pub(crate) fn switch(out: &mut Vec<u8>, key: &[u8]) {
    let mut hash = Sha1::new();
    hash.update(key);
    // RFC 6455 §1.3
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let mut accept = [0; 28];
    let encoded = base64::engine::general_purpose::STANDARD.encode_slice(hash.finalize(), &mut accept);
    assert!(encoded == Ok(28), "twenty bytes are twenty-eight characters");
    out.clear();
    out.extend_from_slice(SWITCHING);
    out.extend_from_slice(&accept);
    out.extend_from_slice(b"\r\n\r\n");
}

const SWITCHING: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
pub(crate) const PACKETS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=UTF-8\r\n\
    Cache-Control: no-store\r\nContent-Length: ";
pub(crate) const POSTED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: ";
pub(crate) const UNKNOWN_SID: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: ";
pub(crate) const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: ";

#[cfg(test)]
mod tests {
    use super::{Request, What, answer, request, switch};

    #[test]
    fn the_requests_of_the_contract_are_told_apart() {
        let rows: &[(&str, What<'_>)] = &[
            ("GET /health HTTP/1.1\r\nHost: x\r\n\r\n", What::Health),
            ("GET / HTTP/1.1\r\n\r\n", What::Other),
            ("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n\r\n", What::Open),
            (
                "GET /socket.io/?EIO=4&transport=polling&sid=ab&t=1 HTTP/1.1\r\n\r\n",
                What::Poll { sid: b"ab" },
            ),
            (
                "POST /socket.io/?EIO=4&transport=polling&sid=ab HTTP/1.1\r\ncontent-Length: 2\r\n\r\n40",
                What::Post { sid: b"ab", body: b"40" },
            ),
            (
                "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nSec-WebSocket-Key: k\r\n\r\n",
                What::WebSocket { key: b"k", sid: None },
            ),
        ];
        for (text, what) in rows {
            let found = request(text.as_bytes()).unwrap();
            assert_eq!((&found.what, found.end), (what, text.len()), "{text}");
            assert_eq!(
                request(&text.as_bytes()[..text.len() - 1]),
                None::<Request<'_>>,
                "one byte short: {text}"
            );
        }
    }

    #[test]
    fn lengths_are_written_in_decimal() {
        let mut out = Vec::new();
        for (body, length) in [(0, "0"), (9, "9"), (10, "10"), (1234, "1234")] {
            answer(&mut out, b"L: ", &vec![b'x'; body]);
            assert!(out.starts_with(format!("L: {length}\r\n\r\n").as_bytes()));
        }
    }

    #[test]
    fn the_accept_header_is_the_one_of_the_rfc() {
        let mut out = Vec::new();
        switch(&mut out, b"dGhlIHNhbXBsZSBub25jZQ==");
        assert!(out.ends_with(b": s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"));
    }
}
