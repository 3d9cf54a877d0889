//! A request as it goes on to an upstream, written from the bytes that came. Pure.

use sockeye_proto::http::{BodyLength, Head, Status};

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
}

/// Whether a request is usual in how it is framed, so that its bytes can be carried as they are.
pub(crate) fn is_usual(head: &Head<'_>) -> bool {
    let framed = match head.body_length() {
        BodyLength::None => true,
        BodyLength::Known(length) => length <= BODY_BYTES_MAX,
        BodyLength::Unknown => false,
    };
    framed
        && head.is_http11()
        && head.target().starts_with('/')
        && head.method() != "CONNECT"
        && head.values("host").count() == 1
        && head.headers().all(|(name, value)| match Field::of(name) {
            Field::Kept | Field::Forwarded | Field::Dropped => true,
            Field::Unusual => false,
            Field::Connection => {
                value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close")
            }
        })
}

impl Order {
    /// Writes a usual request. `origin` are the lines that tell who the client is; `read` begins with the head, of `length` bytes. Tells how many bytes of
    /// `read` it took.
    pub(crate) fn write(
        head: &Head<'_>,
        length: usize,
        read: &[u8],
        origin: &[u8],
        plain: bool,
    ) -> (Self, usize) {
        let body = match head.body_length() {
            BodyLength::Known(body) => usize::try_from(body).unwrap_or(usize::MAX),
            BodyLength::None | BodyLength::Unknown => 0,
        };
        let here = body.min(read.len() - length);
        let mut bytes = Vec::with_capacity(length + origin.len() + body.min(BODY_BYTES_MAX as usize) + 96);
        for part in [head.method(), " ", head.target(), " HTTP/1.1\r\n"] {
            bytes.extend_from_slice(part.as_bytes());
        }
        for (name, value) in head.headers() {
            if Field::of(name) != Field::Kept || (plain && name.eq_ignore_ascii_case("accept-encoding")) {
                continue;
            }
            line(&mut bytes, name, value);
            if name.eq_ignore_ascii_case("host") {
                line(&mut bytes, "X-Forwarded-Host", value);
            }
        }
        bytes.extend_from_slice(origin);
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&read[length..length + here]);
        let is_safe = matches!(head.method(), "GET" | "HEAD" | "OPTIONS");
        let order = Self {
            bytes,
            missing: body - here,
            keeps_alive: head.keeps_alive(),
            is_head: head.method() == "HEAD",
            is_repeatable: is_safe && body == 0,
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
            Some(b'u') if is("upgrade") => Self::Unusual,
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

fn line(bytes: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        bytes.extend_from_slice(part);
    }
}

/// The largest body that is read before its request goes on.
const BODY_BYTES_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_request_goes_on_as_it_came_but_for_what_is_this_hops() {
        let read = b"POST /a?b HTTP/1.1\r\nHost: h:1\r\nConnection: keep-alive\r\nX-Forwarded-For: 6.6.6.6\r\nX-Sockeye-Peer: 6\r\n\
            Content-Length: 5\r\nTE: trailers\r\nX-Kept: 1\r\n\r\nhel";
        let (head, length) = parse(read).unwrap().unwrap();
        assert!(is_usual(&head));
        let (order, taken) = Order::write(&head, length, read, b"X-Forwarded-For: 1.2.3.4\r\n", false);
        assert_eq!(
            String::from_utf8(order.bytes).unwrap(),
            "POST /a?b HTTP/1.1\r\nHost: h:1\r\nX-Forwarded-Host: h:1\r\nContent-Length: 5\r\nX-Kept: 1\r\n\
             X-Forwarded-For: 1.2.3.4\r\n\r\nhel"
        );
        assert_eq!(
            (order.missing, taken, order.keeps_alive, order.is_repeatable),
            (2, read.len(), true, false)
        );
    }

    #[test]
    fn what_follows_a_request_stays() {
        let read =
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAccept-Encoding: gzip\r\n\r\nGET /next";
        let (head, length) = parse(read).unwrap().unwrap();
        let (order, taken) = Order::write(&head, length, read, b"", true);
        assert_eq!(order.bytes, b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Host: h\r\n\r\n");
        assert_eq!((taken, order.keeps_alive, order.is_repeatable), (read.len() - 9, false, true));
    }

    #[test]
    fn what_is_unusual_is_somebody_elses() {
        for fields in [
            "Transfer-Encoding: chunked",
            "Expect: 100-continue",
            "Upgrade: websocket\r\nConnection: Upgrade",
            "Connection: close, x-secret",
            "Content-Length: 65537",
            "Forwarded: for=1.1.1.1",
            "Host: b",
        ] {
            let read = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
            let (head, _) = parse(read.as_bytes()).unwrap().unwrap();
            assert!(!is_usual(&head), "{fields}");
        }
        for read in [
            "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            let (head, _) = parse(read.as_bytes()).unwrap().unwrap();
            assert!(!is_usual(&head), "{read}");
        }
        assert!(parse(b"nonsense\r\n\r\n").is_some_and(|parsed| parsed.is_err()));
        assert!(parse(b"GET / HT").is_none());
    }
}
