//! An answer to a plain request, before anybody knows how it travels: on a connection of our own, or in a response of an HTTP library.

use crate::date;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use sockeye_relay::Body;

/// An answer to a plain request.
#[derive(Debug)]
pub(crate) struct HttpAnswer {
    /// The status.
    pub(crate) status: StatusCode,
    /// Headers that are known beforehand, as lines.
    lines: &'static str,
    /// Further headers.
    more: HeaderMap,
    /// The body.
    pub(crate) body: Bytes,
}

impl HttpAnswer {
    /// An answer with these header lines.
    pub(crate) fn new(status: StatusCode, lines: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, lines, more: HeaderMap::new(), body: body.into() }
    }

    /// An answer that its status says all of.
    pub(crate) fn status(status: StatusCode) -> Self {
        Self::new(status, "", Bytes::new())
    }

    /// The headers that are not known beforehand; one of the same name as a known one stands beside it.
    pub(crate) fn more(&mut self) -> &mut HeaderMap {
        &mut self.more
    }

    /// All headers, for whoever may change any of them.
    pub(crate) fn all(&mut self) -> &mut HeaderMap {
        if !self.lines.is_empty() {
            let mut all = HeaderMap::new();
            append_lines(self.lines, &mut all);
            all.extend(std::mem::take(&mut self.more));
            self.lines = "";
            self.more = all;
        }
        &mut self.more
    }

    /// The response of an HTTP library, which adds length and date.
    pub(crate) fn into_response(mut self) -> Response<Body> {
        let headers = std::mem::take(self.all());
        let mut response = Response::new(Body::full(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        response
    }

    /// The head as bytes, with room for `spare` more behind it. The headers stand as hyper would write them.
    pub(crate) fn head(&self, keeps_alive: bool, spare: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_USUAL + spare);
        if self.status == StatusCode::OK {
            out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        } else {
            let reason = self.status.canonical_reason().unwrap_or_default();
            for part in ["HTTP/1.1 ", self.status.as_str(), " ", reason, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        out.extend_from_slice(self.lines.as_bytes());
        // Framing is the connection's business, whatever a hook says.
        let ours = [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION];
        for (name, value) in self.more.iter().filter(|(name, _)| !ours.contains(name)) {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                out.extend_from_slice(part);
            }
        }
        if !keeps_alive {
            out.extend_from_slice(b"connection: close\r\n");
        }
        out.extend_from_slice(b"content-length: ");
        append_decimal(self.body.len(), &mut out);
        out.extend_from_slice(b"\r\n");
        if !self.more.contains_key(DATE) {
            date::append_line(&mut out);
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

/// Bytes of the heads that are usual.
const HEAD_USUAL: usize = 224;

fn append_decimal(mut number: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut begin = digits.len();
    while begin == digits.len() || number > 0 {
        begin -= 1;
        digits[begin] = b"0123456789"[number % 10];
        number /= 10;
    }
    out.extend_from_slice(&digits[begin..]);
}

fn append_lines(lines: &'static str, headers: &mut HeaderMap) {
    for (name, value) in lines.split_terminator("\r\n").filter_map(|line| line.split_once(": ")) {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_decimal() {
        for (number, text) in
            [(0, "0"), (9, "9"), (10, "10"), (1_234_567, "1234567"), (usize::MAX, "18446744073709551615")]
        {
            let mut out = Vec::new();
            append_decimal(number, &mut out);
            assert_eq!(out, text.as_bytes());
        }
    }

    #[test]
    fn an_answer_says_the_same_on_either_way() {
        let mut answer =
            HttpAnswer::new(StatusCode::OK, "content-type: text/html\r\ncache-control: no-store\r\n", "ok");
        answer.more().insert(DATE, HeaderValue::from_static("today"));
        answer.more().insert(CONTENT_LENGTH, HeaderValue::from_static("7"));
        assert_eq!(
            String::from_utf8(answer.head(false, 0)).unwrap(),
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncache-control: no-store\r\ndate: today\r\n\
             connection: close\r\ncontent-length: 2\r\n\r\n"
        );
        let response = answer.into_response();
        assert_eq!(response.headers()["content-type"], "text/html");
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
}
