//! One HTTP/1.1 request head over borrowed bytes: enough to route it, to recognise an upgrade, and to refuse
//! what request smuggling is made of.
//!
//! It reads no body and writes no answer. Limits of size and time belong to whoever reads the bytes.

pub mod encoding;

use std::borrow::Cow;
use std::mem::MaybeUninit;

pub use httparse::Status;
use httparse::{Header, Request};
use smallvec::SmallVec;

use crate::ws::handshake;

/// Most header fields a request may have.
pub const HEADERS_MAX: usize = 100;

/// Fields that a head holds without an allocation; browsers send some 15.
const HEADERS_USUAL: usize = 16;

/// A parsed request head.
#[derive(Debug)]
pub struct Head<'a> {
    method: &'a str,
    target: &'a str,
    /// Where the `?` of the target stands, or its end.
    path_end: usize,
    minor_version: u8,
    /// Which of the fields that frame a request there are: they are asked for with each one, and most have none of them.
    framing: Framing,
    body: BodyLength,
    headers: SmallVec<[Header<'a>; HEADERS_USUAL]>,
}

/// Which fields there are.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "four fields, each there or not")]
struct Framing {
    length: bool,
    encoding: bool,
    connection: bool,
    upgrade: bool,
}

/// How the end of a request's body is found: RFC 9112 §6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none.
    None,
    /// So many bytes follow.
    Known(u64),
    /// It tells its end itself (`Transfer-Encoding`), or claims more bytes than can be counted.
    Unknown,
}

impl<'a> Head<'a> {
    /// Parses the head at the front of `bytes`; `Complete` tells its length, empty line included.
    ///
    /// # Errors
    ///
    /// What no server should guess at: see [`HeadError`]. Answer 400 and close.
    pub fn parse(bytes: &'a [u8]) -> Result<Status<(Self, usize)>, HeadError> {
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut request = Request::new(&mut []);
        let length = match request.parse_with_uninit_headers(bytes, &mut headers) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) => return Ok(Status::Partial),
            Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooManyHeaders),
            Err(_) => return Err(HeadError::Malformed),
        };
        let target = request.path.ok_or(HeadError::Malformed)?;
        let mut head = Self {
            method: request.method.ok_or(HeadError::Malformed)?,
            target,
            path_end: memchr::memchr(b'?', target.as_bytes()).unwrap_or(target.len()),
            framing: Framing::of(request.headers),
            body: BodyLength::None,
            minor_version: request.version.ok_or(HeadError::Malformed)?,
            headers: SmallVec::from_slice(request.headers),
        };
        head.body = head.find_body()?;
        Ok(Status::Complete((head, length)))
    }

    /// The method as it was sent.
    #[must_use]
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// The request target as it was sent: path and query, or whatever else the client wrote.
    #[must_use]
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// The target up to the `?`, not decoded.
    #[must_use]
    pub fn path(&self) -> &'a str {
        &self.target[..self.path_end]
    }

    /// The target after the `?`, not decoded; empty where there is none.
    #[must_use]
    pub fn query_string(&self) -> &'a str {
        self.target.get(self.path_end + 1..).unwrap_or_default()
    }

    /// The decoded value of the first pair called `name` of the query.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<Cow<'a, str>> {
        query_param(self.query_string(), name)
    }

    /// The first field called `name` (in any case); a value that is not UTF-8 counts as absent.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.values(name).next().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All fields in their order, values as raw bytes.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.headers.iter().map(|header| (header.name, header.value))
    }

    /// Whether the client speaks HTTP/1.1 (else 1.0).
    #[must_use]
    pub fn is_http11(&self) -> bool {
        self.minor_version == 1
    }

    /// Whether the connection may carry another request after this one: RFC 9112 §9.3.
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        self.is_http11() && !(self.framing.connection && self.has_token("connection", "close"))
    }

    /// How the end of the body is found.
    #[must_use]
    pub fn body_length(&self) -> BodyLength {
        self.body
    }

    /// Whether the client wants a WebSocket, in order or not: RFC 6455 §4.1.
    #[must_use]
    pub fn asks_for_websocket(&self) -> bool {
        self.framing.upgrade && self.is_http11() && handshake::is_asked(|name| self.values(name))
    }

    /// Whether this is a WebSocket handshake that a server may answer with 101: RFC 6455 §4.2.1.
    #[must_use]
    pub fn is_websocket_upgrade(&self) -> bool {
        self.websocket_key().is_some()
    }

    /// The `Sec-WebSocket-Key` of a valid WebSocket handshake.
    #[must_use]
    pub fn websocket_key(&self) -> Option<&'a str> {
        let in_order = self.asks_for_websocket()
            && handshake::check(self.method, |name| self.values(name)).is_ok()
            && self.values("sec-websocket-key").count() == 1;
        self.header("sec-websocket-key").filter(|_| in_order)
    }

    /// Whether the comma-separated list in the fields called `name` holds `token` (in any case).
    #[must_use]
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        handshake::has_token(self.values(name), token)
    }

    /// The values of all fields called `name` (in any case), in their order.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    // RFC 9112 §6.3: the length of a body must have one meaning. (obs-fold and a space before the colon are
    // refused by the parser itself, RFC 9112 §5.1 and §5.2.)
    fn find_body(&self) -> Result<BodyLength, HeadError> {
        if !self.framing.length && !self.framing.encoding {
            return Ok(BodyLength::None);
        }
        let mut lengths = self.values("content-length");
        let length = lengths.next();
        if lengths.next().is_some() {
            return Err(HeadError::RepeatedLength);
        }
        if length.is_some_and(|digits| digits.is_empty() || !digits.iter().all(u8::is_ascii_digit)) {
            return Err(HeadError::InvalidLength);
        }
        match (self.framing.encoding, length) {
            (false, Some(digits)) => {
                let more =
                    |length: u64, digit: &u8| length.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
                Ok(digits.iter().try_fold(0, more).map_or(BodyLength::Unknown, BodyLength::Known))
            }
            (false, None) => Ok(BodyLength::None),
            (true, None) if self.is_http11() => Ok(BodyLength::Unknown),
            (true, _) => Err(HeadError::AmbiguousLength),
        }
    }
}

impl Framing {
    fn of(headers: &[Header<'_>]) -> Self {
        let mut framing = Self::default();
        for Header { name, .. } in headers {
            match name.len() {
                7 => framing.upgrade |= name.eq_ignore_ascii_case("upgrade"),
                10 => framing.connection |= name.eq_ignore_ascii_case("connection"),
                14 => framing.length |= name.eq_ignore_ascii_case("content-length"),
                17 => framing.encoding |= name.eq_ignore_ascii_case("transfer-encoding"),
                _ => {}
            }
        }
        framing
    }
}

/// Why a request head is refused; the answer is 400 and the end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not the grammar of HTTP/1: folded lines, a space before a colon, forbidden bytes.
    #[error("request head is not HTTP/1")]
    Malformed,
    /// More than [`HEADERS_MAX`] fields.
    #[error("request head has more than {HEADERS_MAX} fields")]
    TooManyHeaders,
    /// More than one `Content-Length`, equal or not.
    #[error("content-length is repeated")]
    RepeatedLength,
    /// A `Content-Length` that is not plain digits.
    #[error("content-length is not a number")]
    InvalidLength,
    /// `Transfer-Encoding` beside `Content-Length`, or in HTTP/1.0.
    #[error("transfer-encoding contradicts content-length or the version")]
    AmbiguousLength,
}

/// Whether an empty line stands in `bytes`, the end of a head: of what came before, give at least the last three bytes. A bare
/// line feed ends a line, too (RFC 9112 §2.2).
#[must_use]
pub fn ends_head(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes).any(|end| {
        let rest = &bytes[end + 1..];
        rest.starts_with(b"\n") || rest.starts_with(b"\r\n")
    })
}

/// The decoded value of the first pair called `name` in a query, as Node's `querystring` reads it.
///
/// `+` is a space; a percent sign that starts no hex pair stands for itself; bytes that are not UTF-8 become U+FFFD.
#[must_use]
pub fn query_param<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    if !is_plain(query) {
        return query_pairs(query).find(|(key, _)| key == name).map(|(_, value)| value);
    }
    // The same, where names and values stand as they are: most parts are passed over by a look at their beginning.
    let mut rest = query;
    loop {
        let (pair, after) = cut(rest, b'&');
        match pair.strip_prefix(name).map(|tail| (tail, tail.strip_prefix('='))) {
            Some((_, Some(value))) => return Some(Cow::Borrowed(value)),
            Some(("", None)) if !pair.is_empty() => return Some(Cow::Borrowed("")),
            Some(_) | None => {}
        }
        rest = after?;
    }
}

/// Nearly all queries are plain; searching each part for what is to be decoded would cost more than all the rest.
fn is_plain(query: &str) -> bool {
    memchr::memchr2(b'%', b'+', query.as_bytes()).is_none()
}

/// All pairs of a query, decoded, in their order.
pub fn query_pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let is_plain = is_plain(query);
    let mut rest = Some(query);
    std::iter::from_fn(move || {
        loop {
            let text = rest?;
            let (pair, after) = cut(text, b'&');
            rest = after;
            if !pair.is_empty() {
                let (key, value) = cut(pair, b'=');
                let value = value.unwrap_or_default();
                return Some(if is_plain {
                    (Cow::Borrowed(key), Cow::Borrowed(value))
                } else {
                    (decode(key), decode(value))
                });
            }
        }
    })
}

/// What stands before the first `byte`, which is ASCII, and what stands behind it.
fn cut(text: &str, byte: u8) -> (&str, Option<&str>) {
    match memchr::memchr(byte, text.as_bytes()) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

fn decode(text: &str) -> Cow<'_, str> {
    if memchr::memchr2(b'%', b'+', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut rest = text.as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (*first, hex_pair(tail)) {
            (b'+', _) => bytes.push(b' '),
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (byte, _) => bytes.push(byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn hex_pair(bytes: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let [high, low, ..] = bytes else { return None };
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPGRADE: &str = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
        Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

    #[test]
    fn a_head_is_read_and_measured() {
        let bytes = b"POST /socket.io/?EIO=4&sid=a%2Bb HTTP/1.1\r\nHost: x\r\ncontent-LENGTH: 3\r\n\r\nabc";
        let Ok(Status::Complete((head, length))) = Head::parse(bytes) else { panic!("head is whole") };
        assert_eq!(&bytes[length..], b"abc");
        assert_eq!((head.method(), head.path()), ("POST", "/socket.io/"));
        assert_eq!(head.query("sid").as_deref(), Some("a+b"));
        assert_eq!(head.query("nope"), None);
        assert_eq!(head.header("Content-Length"), Some("3"));
        assert_eq!(head.headers().next(), Some(("Host", &b"x"[..])));
        assert!(head.is_http11() && !head.is_websocket_upgrade());
        for cut in 0..length {
            assert!(matches!(Head::parse(&bytes[..cut]), Ok(Status::Partial)), "{cut}");
        }
    }

    #[test]
    fn smuggled_requests_are_refused() {
        let bad = |fields: &str| {
            let text = format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
            Head::parse(text.as_bytes()).map(|_| ()).expect_err(fields)
        };
        for (fields, error) in [
            ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", HeadError::AmbiguousLength),
            ("transfer-encoding: x\r\ncontent-length: 3\r\n", HeadError::AmbiguousLength),
            ("Content-Length: 3\r\nContent-Length: 3\r\n", HeadError::RepeatedLength),
            ("Content-Length: 3\r\nContent-Length: 4\r\n", HeadError::RepeatedLength),
            ("Content-Length: 3, 3\r\n", HeadError::InvalidLength),
            ("Content-Length: +3\r\n", HeadError::InvalidLength),
            ("Content-Length: -3\r\n", HeadError::InvalidLength),
            ("Content-Length: 0x3\r\n", HeadError::InvalidLength),
            ("Content-Length:\r\n", HeadError::InvalidLength),
            ("Content-Length : 3\r\n", HeadError::Malformed),
            ("Transfer-Encoding : chunked\r\n", HeadError::Malformed),
            ("X: a\r\n b\r\n", HeadError::Malformed),
            ("X: a\r\n\tb\r\n", HeadError::Malformed),
            ("X: a\0b\r\n", HeadError::Malformed),
            ("X: a\rb\r\n", HeadError::Malformed),
            ("no colon\r\n", HeadError::Malformed),
            (": no name\r\n", HeadError::Malformed),
            (&"X: 1\r\n".repeat(HEADERS_MAX), HeadError::TooManyHeaders),
        ] {
            assert_eq!(bad(fields), error, "{fields}");
        }
        for (line, error) in [
            ("GET / HTTP/2.0\r\n\r\n", HeadError::Malformed),
            ("GET /\r\n\r\n", HeadError::Malformed),
            ("GET  / HTTP/1.1\r\n\r\n", HeadError::Malformed),
            ("\x16\x03\x01\x02", HeadError::Malformed),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", HeadError::AmbiguousLength),
        ] {
            assert_eq!(Head::parse(line.as_bytes()).map(|_| ()).expect_err(line), error, "{line}");
        }
    }

    #[test]
    fn a_head_ends_with_an_empty_line_in_either_spelling() {
        let rows: [(&[u8], bool); 7] = [
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", true),
            (b"GET / HTTP/1.1\nHost: x\n\n", true),
            (b"GET / HTTP/1.1\nHost: x\n\r\n", true),
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\nbody", true),
            (b"GET / HTTP/1.1\r\nHost: x\r\n", false),
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r", false),
            (b"", false),
        ];
        for (bytes, whole) in rows {
            assert_eq!(ends_head(bytes), whole, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_body_ends_where_its_head_says() {
        for (line, fields, length, keeps_alive) in [
            ("POST / HTTP/1.1", "", BodyLength::None, true),
            ("POST / HTTP/1.1", "Content-Length: 0\r\n", BodyLength::Known(0), true),
            (
                "POST / HTTP/1.1",
                "Content-Length: 007\r\nConnection: x, Close\r\n",
                BodyLength::Known(7),
                false,
            ),
            ("POST / HTTP/1.0", "Content-Length: 7\r\n", BodyLength::Known(7), false),
            ("POST / HTTP/1.1", "Content-Length: 99999999999999999999\r\n", BodyLength::Unknown, true),
            ("POST / HTTP/1.1", "Transfer-Encoding: chunked\r\n", BodyLength::Unknown, true),
        ] {
            let text = format!("{line}\r\n{fields}\r\n");
            let Ok(Status::Complete((head, _))) = Head::parse(text.as_bytes()) else {
                panic!("no head: {text}")
            };
            assert_eq!((head.body_length(), head.keeps_alive()), (length, keeps_alive), "{text}");
        }
    }

    #[test]
    fn an_upgrade_needs_all_of_its_fields() {
        assert!(upgrades(UPGRADE));
        for (part, by) in [
            ("GET", "POST"),
            ("HTTP/1.1", "HTTP/1.0"),
            ("keep-alive, Upgrade", "keep-alive, UPGRADE"),
            ("keep-alive, Upgrade", "keep-alive"),
            ("keep-alive, Upgrade", "not-upgrade"),
            ("Upgrade: WebSocket", "Upgrade: h2c, websocket"),
            ("Upgrade: WebSocket", "Upgrade: h2c"),
            ("Version: 13", "Version: 7"),
            ("Version: 13", "Version: 13, 8"),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ"),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZWRk"),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25*ZQ=="),
            ("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key"),
            ("Sec-WebSocket-Key", "Sec-WebSocket-Lock"),
        ] {
            let good = by.ends_with("UPGRADE") || by.ends_with("websocket");
            assert_eq!(upgrades(&UPGRADE.replace(part, by)), good, "{by}");
        }
    }

    #[test]
    fn queries_are_decoded_as_node_does() {
        for (query, value) in [
            ("a=1", Some("1")),
            ("b=2&a=1", Some("1")),
            ("a=1&a=2", Some("1")),
            ("&&a=1&", Some("1")),
            ("a", Some("")),
            ("a=", Some("")),
            ("a=1=2", Some("1=2")),
            ("a=x+y%20z", Some("x y z")),
            ("a=%E2%82%AC", Some("€")),
            ("%61=1", Some("1")),
            ("a=100%", Some("100%")),
            ("a=%4", Some("%4")),
            ("a=%zz%41", Some("%zzA")),
            ("a=%+1", Some("% 1")),
            ("a=%ff", Some("\u{FFFD}")),
            ("aa=1", None),
            ("A=1", None),
            ("", None),
            ("=1", None),
        ] {
            assert_eq!(query_param(query, "a").as_deref(), value, "{query}");
        }
    }

    fn upgrades(text: &str) -> bool {
        match Head::parse(text.as_bytes()) {
            Ok(Status::Complete((head, _))) => head.is_websocket_upgrade(),
            Ok(Status::Partial) | Err(_) => panic!("no head: {text}"),
        }
    }
}
