//! A request as it goes on to an upstream, written from the bytes that came. Pure.

use sockeye_proto::http::{BodyLength, Head, Status};
use sockeye_proto::ws;

use super::teller::{Teller, line};
use crate::config::Cidr;

/// A request ready to go.
#[derive(Debug)]
pub(crate) struct Order {
    /// Its head, and what was read of its body.
    pub(crate) bytes: Vec<u8>,
    /// How much of its body has not come.
    pub(crate) missing: usize,
    /// Whether the client's connection goes on after it.
    pub(crate) keeps_alive: bool,
    /// Whether the answer has no body whatever it says.
    pub(crate) is_head: bool,
    /// Whether it may be sent twice without harm.
    pub(crate) is_repeatable: bool,
    /// What an upstream that switches to a WebSocket has to answer; none where nobody asks it to.
    pub(crate) accept: Option<String>,
}

/// How a request is usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usual<'a> {
    /// An answer ends it.
    Request,
    /// It asks for a WebSocket, with this key.
    Upgrade(&'a str),
}

impl<'a> Usual<'a> {
    /// Whether a request is usual in how it is framed, so that its bytes can be carried as they are; and how.
    pub(crate) fn of(head: &Head<'a>) -> Option<Self> {
        let framed = match head.body_length() {
            BodyLength::None => true,
            BodyLength::Known(length) => length <= BODY_BYTES_MAX,
            BodyLength::Unknown => false,
        };
        if !framed
            || !head.is_http11()
            || !head.target().starts_with('/')
            || head.method() == "CONNECT"
            || head.values("host").count() != 1
        {
            return None;
        }
        let key = head.websocket_key();
        let known = if key.is_some() { &["upgrade", "keep-alive"] } else { &["close", "keep-alive"] };
        let usual = head.headers().all(|(name, value)| match Field::of(name) {
            Field::Kept | Field::Forwarded | Field::Dropped => true,
            Field::Unusual => false,
            Field::Upgrade => key.is_some() && value.eq_ignore_ascii_case(b"websocket"),
            Field::Connection => {
                let mut words = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
                words.all(|word| known.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes())))
            }
        });
        match key {
            _ if !usual => None,
            None => Some(Self::Request),
            Some(key) if head.body_length() == BodyLength::None => Some(Self::Upgrade(key)),
            Some(_) => None,
        }
    }
}

impl Order {
    /// Writes a usual request. `read` begins with the head, of `length` bytes; `plain` asks for an answer that can be read. Tells how many bytes of `read` it took.
    pub(crate) fn write(
        (head, length): (&Head<'_>, usize),
        read: &[u8],
        usual: Usual<'_>,
        (teller, trust): (&Teller, &[Cidr]),
        plain: bool,
    ) -> (Self, usize) {
        let body = match head.body_length() {
            BodyLength::Known(body) => usize::try_from(body).unwrap_or(usize::MAX),
            BodyLength::None | BodyLength::Unknown => 0,
        };
        let here = body.min(read.len() - length);
        let mut bytes = Vec::with_capacity(length + TOLD_BYTES + body.min(BODY_BYTES_MAX as usize));
        for part in [head.method(), " ", head.target(), " HTTP/1.1\r\n"] {
            bytes.extend_from_slice(part.as_bytes());
        }
        for (name, value) in head.headers() {
            match Field::of(name) {
                Field::Kept if plain && name.eq_ignore_ascii_case("accept-encoding") => {}
                Field::Kept => line(&mut bytes, name, value),
                Field::Forwarded if teller.keeps(name) => line(&mut bytes, name, value),
                Field::Forwarded | Field::Dropped | Field::Connection | Field::Upgrade | Field::Unusual => {}
            }
            if name.eq_ignore_ascii_case("host") && teller.names_host(head) {
                line(&mut bytes, "X-Forwarded-Host", value);
            }
        }
        teller.write(head, trust, &mut bytes);
        let accept = match usual {
            Usual::Request => None,
            Usual::Upgrade(key) => {
                bytes.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n");
                Some(ws::handshake::accept_key(key))
            }
        };
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&read[length..length + here]);
        let is_safe = matches!(head.method(), "GET" | "HEAD" | "OPTIONS");
        let order = Self {
            bytes,
            missing: body - here,
            keeps_alive: head.keeps_alive(),
            is_head: head.method() == "HEAD",
            is_repeatable: is_safe && body == 0,
            accept,
        };
        (order, length + here)
    }
}

/// Parses a head that is whole; `None` where it is not, or is none.
pub(crate) fn parse(bytes: &[u8]) -> Option<Result<(Head<'_>, usize), ()>> {
    match Head::parse(bytes) {
        Ok(Status::Complete(parsed)) => Some(Ok(parsed)),
        Ok(Status::Partial) => None,
        Err(_) => Some(Err(())),
    }
}

/// What becomes of a field on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Kept,
    /// It concerns the connection alone, or could be taken for a word of ours.
    Dropped,
    /// It says who the client is, which this hop says itself.
    Forwarded,
    Connection,
    /// It asks for another protocol.
    Upgrade,
    /// It changes how the request is to be read.
    Unusual,
}

impl Field {
    fn of(name: &str) -> Self {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match name.as_bytes().first().map(u8::to_ascii_lowercase) {
            Some(b'c') if is("connection") => Self::Connection,
            Some(b'e') if is("expect") => Self::Unusual,
            // What is said there is added to, which needs a look at all of it.
            Some(b'f') if is("forwarded") => Self::Unusual,
            Some(b'k') if is("keep-alive") => Self::Dropped,
            Some(b'p') if is("proxy-connection") || is("proxy-authenticate") || is("proxy-authorization") => {
                Self::Dropped
            }
            Some(b't') if is("te") => Self::Dropped,
            Some(b't') if is("transfer-encoding") => Self::Unusual,
            Some(b'u') if is("upgrade") => Self::Upgrade,
            Some(b'x') if name.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("x-sockeye-")) => {
                Self::Dropped
            }
            Some(b'x')
                if is("x-forwarded-for")
                    || is("x-forwarded-proto")
                    || is("x-forwarded-host")
                    || is("x-forwarded-port") =>
            {
                Self::Forwarded
            }
            Some(_) | None => Self::Kept,
        }
    }
}

/// The largest body that is read before its request goes on.
const BODY_BYTES_MAX: u64 = 64 * 1024;
/// Room for the lines that tell who the client is: most take less.
const TOLD_BYTES: usize = 320;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_request_goes_on_as_it_came_but_for_what_is_this_hops() {
        let read = b"POST /a?b HTTP/1.1\r\nHost: h:1\r\nConnection: keep-alive\r\nX-Forwarded-For: 6.6.6.6\r\nX-Sockeye-Peer: 6\r\n\
            Content-Length: 5\r\nTE: trailers\r\nX-Kept: 1\r\n\r\nhel";
        let (order, taken) = written(read, false, false);
        assert_eq!(
            String::from_utf8(order.bytes).unwrap(),
            "POST /a?b HTTP/1.1\r\nHost: h:1\r\nX-Forwarded-Host: h:1\r\nContent-Length: 5\r\nX-Kept: 1\r\n\
             X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n\
             X-Sockeye-Peer: 10.0.0.1:5\r\nX-Sockeye-Relayed: edge\r\n\r\nhel"
        );
        assert_eq!(
            (order.missing, taken, order.keeps_alive, order.is_repeatable),
            (2, read.len(), true, false)
        );
    }

    #[test]
    fn what_a_trusted_proxy_says_is_added_to() {
        let read = b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.7\r\nX-Forwarded-Host: outer\r\n\
            X-Forwarded-For: 10.0.0.2\r\nX-Forwarded-Proto: http\r\n\r\n";
        assert_eq!(
            String::from_utf8(written(read, true, false).0.bytes).unwrap(),
            "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Host: outer\r\nX-Forwarded-Proto: http\r\n\
             X-Forwarded-For: 6.6.6.6, 192.0.2.7, 10.0.0.2, 10.0.0.1\r\nX-Forwarded-Port: 443\r\n\
             X-Sockeye-Peer: 192.0.2.7:0\r\nX-Sockeye-Relayed: edge\r\n\r\n"
        );
        let read = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        assert_eq!(
            String::from_utf8(written(read, true, false).0.bytes).unwrap(),
            "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Host: h\r\nX-Forwarded-For: 10.0.0.1\r\n\
             X-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\nX-Sockeye-Peer: 10.0.0.1:5\r\n\
             X-Sockeye-Relayed: edge\r\n\r\n"
        );
    }

    #[test]
    fn what_follows_a_request_stays() {
        let read =
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAccept-Encoding: gzip\r\n\r\nGET /next";
        let (order, taken) = written(read, false, true);
        assert!(
            order.bytes.starts_with(b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Host: h\r\nX-Forwarded-For")
        );
        assert_eq!((taken, order.keeps_alive, order.is_repeatable), (read.len() - 9, false, true));
    }

    #[test]
    fn an_upgrade_says_what_it_wants_and_knows_what_grants_it() {
        let read = b"GET /s HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\x80";
        let (order, taken) = written(read, false, false);
        let text = String::from_utf8(order.bytes).unwrap();
        assert!(
            text.starts_with(
                "GET /s HTTP/1.1\r\nHost: h\r\nX-Forwarded-Host: h\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Forwarded-For: 10.0.0.1\r\n"
            ) && text.ends_with("edge\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
            "{text}"
        );
        assert_eq!(order.accept.as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!((taken, order.is_repeatable), (read.len() - 2, true));
    }

    #[test]
    fn what_is_unusual_is_somebody_elses() {
        let upgrade = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        for fields in [
            "Transfer-Encoding: chunked",
            "Expect: 100-continue",
            "Upgrade: websocket\r\nConnection: Upgrade",
            "Connection: close, x-secret",
            "Content-Length: 65537",
            "Forwarded: for=1.1.1.1",
            "Host: b",
            &format!("{upgrade}Upgrade: websocket, h2c\r\nConnection: Upgrade"),
            &format!("{upgrade}Upgrade: websocket\r\nConnection: Upgrade, x-secret"),
            &format!("{upgrade}Upgrade: websocket\r\nConnection: Upgrade, close"),
            &format!("{upgrade}Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 1"),
            &format!("{upgrade}Upgrade: websocket\r\nConnection: Upgrade\r\nTransfer-Encoding: chunked"),
        ] {
            let read = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
            let (head, _) = parse(read.as_bytes()).unwrap().unwrap();
            assert_eq!(Usual::of(&head), None, "{fields}");
        }
        for read in [
            "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            let (head, _) = parse(read.as_bytes()).unwrap().unwrap();
            assert_eq!(Usual::of(&head), None, "{read}");
        }
        assert!(parse(b"nonsense\r\n\r\n").is_some_and(|parsed| parsed.is_err()));
        assert!(parse(b"GET / HT").is_none());
    }

    fn written(read: &[u8], trusted: bool, plain: bool) -> (Order, usize) {
        let (head, length) = parse(read).unwrap().unwrap();
        let trust = ["10.0.0.0/8".parse().unwrap()];
        let teller = Teller::new("10.0.0.1:5".parse().unwrap(), true, Some(443), trusted);
        Order::write((&head, length), read, Usual::of(&head).unwrap(), (&teller, &trust), plain)
    }
}
