//! An upstream's answer as it goes back to a client: its head written anew, and how its end is found. Pure.

use std::mem::MaybeUninit;

use httparse::{ParserConfig, Response, Status};

use super::plain;
use super::teller::line;

/// How the end of an answer's body is found: RFC 9112 §6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// So many bytes.
    Known(u64),
    /// Chunks, which are carried as they are.
    Chunked(Chunks),
    /// Whatever comes before the connection ends.
    UntilEnd,
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// As it goes to the client, with room for what came behind it.
    pub(crate) head: Vec<u8>,
    pub(crate) rest: Rest,
    /// Whether the upstream keeps its connection.
    pub(crate) keeps_alive: bool,
    /// Whether the client was told that its own ends.
    pub(crate) closes: bool,
    /// Whether the upstream switched to the WebSocket that was asked for.
    pub(crate) switches: bool,
    /// How many bytes its head took.
    pub(crate) taken: usize,
}

/// What an answer is an answer to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Question<'a> {
    /// Whether it has no body whatever it says.
    pub(crate) is_head: bool,
    /// Whether the client is told that its connection ends.
    pub(crate) closes: bool,
    /// What an upstream that switches has to say; none where nobody asked it to.
    pub(crate) accept: Option<&'a str>,
}

/// Why an answer cannot be carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoAnswer;

impl Answer {
    /// Reads the head at the front of `bytes`; nothing while it is not whole.
    pub(crate) fn read(bytes: &[u8], question: &Question<'_>) -> Result<Option<Self>, NoAnswer> {
        if let Some(answer) = Self::plain(bytes, question) {
            return Ok(Some(answer));
        }
        Self::parsed(bytes, question)
    }

    /// The same of a head that is written as nearly all are, and whole: at most a line of it has to be left out. For any other there is a parser.
    fn plain(bytes: &[u8], question: &Question<'_>) -> Option<Self> {
        let line = plain::line(bytes)?;
        let (digits, reason) = line.strip_prefix(b"HTTP/1.1 ")?.split_at_checked(3)?;
        let status = number(digits)?;
        if !(200..1000).contains(&status) || reason.first() != Some(&b' ') {
            return None;
        }
        let mut head = Vec::with_capacity(bytes.len() + 32);
        let mut framing = Framing { keeps_alive: true, ..Framing::default() };
        // What goes on as it stands goes on in one piece.
        let (mut begin, mut taken) = (0, line.len() + 2);
        let mut fields = 0;
        while !bytes[taken..].starts_with(b"\r\n") {
            let (name, value, length) = plain::field(&bytes[taken..])?;
            fields += 1;
            if fields > FIELDS_MAX {
                return None;
            }
            if !framing.handle_field(name, value).ok()? {
                head.extend_from_slice(&bytes[begin..taken]);
                begin = taken + length;
            }
            taken += length;
        }
        head.extend_from_slice(&bytes[begin..taken]);
        framing.end(u16::try_from(status).ok()?, head, question, (taken + 2, true)).ok()
    }

    pub(crate) fn parsed(bytes: &[u8], question: &Question<'_>) -> Result<Option<Self>, NoAnswer> {
        let mut before = 0;
        loop {
            let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
            let mut response = Response::new(&mut []);
            let head = &bytes[before..];
            let parsed =
                ParserConfig::default().parse_response_with_uninit_headers(&mut response, head, &mut fields);
            let taken = match parsed {
                Ok(Status::Complete(taken)) => before + taken,
                Ok(Status::Partial) => return Ok(None),
                Err(_) => return Err(NoAnswer),
            };
            match response.code.ok_or(NoAnswer)? {
                101 => return Self::switched(&response, question, taken, bytes.len()).map(Some),
                // RFC 9110 §15.2: nobody asked for it, and the answer follows.
                100..200 => before = taken,
                status => return Self::told(status, &response, question, taken, bytes.len()).map(Some),
            }
        }
    }

    fn told(
        status: u16,
        response: &Response<'_, '_>,
        question: &Question<'_>,
        taken: usize,
        length: usize,
    ) -> Result<Self, NoAnswer> {
        let mut head = Vec::with_capacity(length + 32);
        head.extend_from_slice(b"HTTP/1.1 ");
        head.extend_from_slice(&[100, 10, 1].map(|place| b'0' + (status / place % 10) as u8));
        head.push(b' ');
        head.extend_from_slice(response.reason.unwrap_or("").as_bytes());
        head.extend_from_slice(b"\r\n");
        let mut framing = Framing { keeps_alive: response.version == Some(1), ..Framing::default() };
        for field in response.headers.iter() {
            if framing.handle_field(field.name.as_bytes(), field.value)? {
                line(&mut head, field.name, field.value);
            }
        }
        framing.end(status, head, question, (taken, response.version == Some(1)))
    }

    /// RFC 6455 §4.1: an upstream has switched only if it says so in every field that it has to.
    fn switched(
        response: &Response<'_, '_>,
        question: &Question<'_>,
        taken: usize,
        length: usize,
    ) -> Result<Self, NoAnswer> {
        let expected = question.accept.filter(|_| response.version == Some(1)).ok_or(NoAnswer)?;
        let mut head = Vec::with_capacity(length + 32);
        head.extend_from_slice(SWITCHING);
        let mut said = [0; 3];
        for field in response.headers.iter() {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            let word = [("connection", "upgrade"), ("upgrade", "websocket")];
            if let Some(which) = word.iter().position(|(name, _)| is(name)) {
                // Other words name what is not to go on, or what nobody asked for.
                if !field.value.eq_ignore_ascii_case(word[which].1.as_bytes()) {
                    return Err(NoAnswer);
                }
                said[which] += 1;
            } else if is("transfer-encoding") {
                return Err(NoAnswer);
            } else if !is("content-length") && !stays(field.name.as_bytes()) {
                // RFC 9110 §8.6: a length means nothing here, and must not mean anything to anybody else.
                line(&mut head, field.name, field.value);
                if is("sec-websocket-accept") {
                    said[2] += if field.value == expected.as_bytes() { 1 } else { 2 };
                }
            }
        }
        if said != [1; 3] {
            return Err(NoAnswer);
        }
        head.extend_from_slice(b"\r\n");
        let rest = Rest::Known(0);
        Ok(Self { status: 101, head, rest, keeps_alive: false, closes: true, switches: true, taken })
    }
}

/// What the fields of a head say of how its body ends.
#[derive(Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
    keeps_alive: bool,
}

impl Framing {
    /// Ends a head whose fields were looked at; how long it was, and whether it is of HTTP/1.1.
    fn end(
        self,
        status: u16,
        mut head: Vec<u8>,
        question: &Question<'_>,
        (taken, http11): (usize, bool),
    ) -> Result<Answer, NoAnswer> {
        let bodiless = question.is_head || status == 204 || status == 304;
        let rest = match (bodiless, self.chunked, self.length) {
            (_, true, Some(_)) => return Err(NoAnswer),
            // RFC 9112 §6.1: nobody of that version knows it.
            (_, true, None) if !http11 => return Err(NoAnswer),
            (true, ..) => Rest::Known(0),
            (false, true, None) => Rest::Chunked(Chunks::default()),
            (false, false, Some(length)) => Rest::Known(length),
            (false, false, None) => Rest::UntilEnd,
        };
        let closes = question.closes || rest == Rest::UntilEnd;
        if closes {
            head.extend_from_slice(b"Connection: close\r\n");
        }
        head.extend_from_slice(b"\r\n");
        // RFC 9110 §15.3.5: whoever frames a body that there cannot be may send it after all.
        let extra = status == 204 && (self.chunked || self.length.is_some_and(|length| length > 0));
        let keeps_alive = self.keeps_alive && rest != Rest::UntilEnd && !extra;
        Ok(Answer { status, head, rest, keeps_alive, closes, switches: false, taken })
    }

    /// Looks at a field, and tells whether it goes on.
    fn handle_field(&mut self, name: &[u8], value: &[u8]) -> Result<bool, NoAnswer> {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if is("connection") {
            let mut words = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            if words.clone().any(|word| word.eq_ignore_ascii_case(b"close")) {
                self.keeps_alive = false;
            } else if !words.all(|word| word.eq_ignore_ascii_case(b"keep-alive")) {
                // It names fields that are not to go on.
                return Err(NoAnswer);
            }
            return Ok(false);
        }
        if is("content-length") {
            let told = number(value);
            if told.is_none() || self.length.is_some_and(|before| Some(before) != told) {
                return Err(NoAnswer);
            }
            self.length = told;
        }
        if is("transfer-encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(NoAnswer);
            }
            self.chunked = true;
        }
        Ok(!stays(name) && !is("upgrade"))
    }
}

/// RFC 9110 §8.6: digits, where Rust would take a sign, too.
fn number(digits: &[u8]) -> Option<u64> {
    let more = |number: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    };
    if digits.is_empty() { None } else { digits.iter().try_fold(0, more) }
}

/// Whether a field concerns the connection alone.
fn stays(name: &[u8]) -> bool {
    let fields = ["keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te"];
    // Most names differ from all of these by their length.
    fields.iter().any(|field| field.len() == name.len() && name.eq_ignore_ascii_case(field.as_bytes()))
}

impl Rest {
    /// Some of a body came. Tells how much of it belongs to the body, and whether that is its end.
    pub(crate) fn handle_bytes(&mut self, bytes: &[u8]) -> Result<(usize, bool), NoAnswer> {
        match self {
            Self::Known(left) => {
                let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= taken as u64;
                Ok((taken, *left == 0))
            }
            Self::Chunked(chunks) => chunks.handle_bytes(bytes),
            Self::UntilEnd => Ok((bytes.len(), false)),
        }
    }
}

/// Where in a chunked body one is: RFC 9112 §7.1, to the letter. Bytes are looked at, never changed, so whoever reads them next must find the same end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chunks {
    at: At,
    /// The size of a chunk while it is read, then what is left of it.
    left: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// The first digit of a size.
    #[default]
    Size,
    Digits,
    /// Spaces behind a size.
    Space,
    /// The rest of the line behind the size.
    Extension,
    SizeEnd,
    Data,
    /// The line break behind the data.
    DataBreak,
    DataEnd,
    /// The first byte of a line of the trailer.
    Trailer,
    TrailerLine,
    TrailerEnd,
    End,
    Done,
}

impl Chunks {
    fn handle_bytes(&mut self, bytes: &[u8]) -> Result<(usize, bool), NoAnswer> {
        let mut taken = 0;
        while taken < bytes.len() && self.at != At::Done {
            if self.at == At::Data {
                let piece = (bytes.len() - taken).min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= piece as u64;
                taken += piece;
                if self.left == 0 {
                    self.at = At::DataBreak;
                }
                continue;
            }
            self.at = self.next(bytes[taken])?;
            taken += 1;
        }
        Ok((taken, self.at == At::Done))
    }

    fn next(&mut self, byte: u8) -> Result<At, NoAnswer> {
        Ok(match (self.at, byte) {
            (At::Size | At::Digits, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = u64::from((byte as char).to_digit(16).ok_or(NoAnswer)?);
                self.left = self.left.checked_mul(16).ok_or(NoAnswer)?.checked_add(digit).ok_or(NoAnswer)?;
                At::Digits
            }
            (At::Digits | At::Space, b' ' | b'\t') => At::Space,
            (At::Digits | At::Space, b';') => At::Extension,
            (At::Digits | At::Space | At::Extension, b'\r') => At::SizeEnd,
            (At::SizeEnd, b'\n') if self.left == 0 => At::Trailer,
            (At::SizeEnd, b'\n') => At::Data,
            (At::DataBreak, b'\r') => At::DataEnd,
            (At::DataEnd, b'\n') => At::Size,
            (At::Trailer, b'\r') => At::End,
            (At::TrailerLine, b'\r') => At::TrailerEnd,
            (At::TrailerEnd, b'\n') => At::Trailer,
            (At::End, b'\n') => At::Done,
            // A line feed alone ends a line for some, and for others not.
            (At::Extension, byte) if byte != b'\n' => At::Extension,
            (At::Trailer | At::TrailerLine, byte) if byte != b'\n' => At::TrailerLine,
            (
                At::Size
                | At::Digits
                | At::Space
                | At::Extension
                | At::SizeEnd
                | At::Data
                | At::DataBreak
                | At::DataEnd
                | At::Trailer
                | At::TrailerLine
                | At::TrailerEnd
                | At::End
                | At::Done,
                _,
            ) => return Err(NoAnswer),
        })
    }
}

const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
/// The most fields an answer may have.
const FIELDS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_written_as_the_rows_say() {
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\nabc",
            false,
            Ok(("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", Rest::Known(3), true)),
        );
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n",
            false,
            Ok(("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", Rest::Known(3), false)),
        );
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
            true,
            Ok(("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n", Rest::Known(3), true)),
        );
        check(
            "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
            false,
            Ok(("HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", Rest::Known(0), true)),
        );
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            false,
            Ok((
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                Rest::Chunked(Chunks::default()),
                true,
            )),
        );
        check(
            "HTTP/1.0 200 OK\r\n\r\nabc",
            false,
            Ok(("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", Rest::UntilEnd, false)),
        );
        check(
            "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
            false,
            Ok(("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", Rest::Known(0), true)),
        );
        for bad in [
            "nonsense\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: x-secret\r\n\r\n",
        ] {
            check(bad, false, Err(NoAnswer));
        }
        assert!(matches!(Answer::read(b"HTTP/1.1 200 OK\r\nConte", &Question::default()), Ok(None)));
        assert!(matches!(Answer::read(b"HTTP/1.1 100 Continue\r\n\r\n", &Question::default()), Ok(None)));
        let head = Question { is_head: true, ..Question::default() };
        let answer = Answer::read(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", &head).unwrap().unwrap();
        assert_eq!(answer.rest, Rest::Known(0));
        // Any number of them is passed over, without a deeper stack.
        let many = "HTTP/1.1 102 Processing\r\n\r\n".repeat(2000) + "HTTP/1.1 200 OK\r\n\r\n";
        let answer = Answer::read(many.as_bytes(), &head).unwrap().unwrap();
        assert_eq!((answer.status, answer.taken), (200, many.len()));
    }

    #[test]
    fn a_plain_head_is_what_a_parser_reads_and_so_is_any_other() {
        let heads = [
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Length: 12\r\nKeep-Alive: a\r\nX: y\r\n\r\nabc",
            "HTTP/1.1 204 \r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ];
        let question = Question::default();
        let check = |bytes: &[u8]| {
            let shown = bytes.escape_ascii();
            assert_eq!(Answer::read(bytes, &question), Answer::parsed(bytes, &question), "{shown}");
        };
        for head in heads {
            for at in 0..head.len() {
                check(&head.as_bytes()[..at]);
                for byte in *b"\0\t\n\r \"(,-./019:;AEX_az{~\x7f\x80\xff" {
                    let mut bytes = head.as_bytes().to_vec();
                    bytes[at] = byte;
                    check(&bytes);
                    bytes.insert(at, byte);
                    check(&bytes);
                }
                let mut bytes = head.as_bytes().to_vec();
                bytes.remove(at);
                check(&bytes);
            }
        }
    }

    #[test]
    fn a_switch_is_believed_only_where_all_of_it_is_said() {
        const ALL: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: abc=\r\n\r\n";
        let read =
            |bytes: &str, accept| Answer::read(bytes.as_bytes(), &Question { accept, ..Question::default() });
        let more = ALL
            .replace("\r\n\r\n", "\r\nSet-Cookie: a\r\nContent-Length: 5\r\nKeep-Alive: 1\r\n\r\n0{}")
            .replace("Switching Protocols", "OK");
        let answer = read(&more, Some("abc=")).unwrap().unwrap();
        assert!(answer.switches);
        assert_eq!(&more[answer.taken..], "0{}");
        assert_eq!(
            String::from_utf8(answer.head).unwrap(),
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: abc=\r\nSet-Cookie: a\r\n\r\n"
        );
        assert_eq!(read(ALL, None).unwrap_err(), NoAnswer, "nobody asked");
        for (from, to) in [
            ("abc=", "abd="),
            ("Sec-WebSocket-Accept: abc=\r\n", ""),
            ("Sec-WebSocket-Accept: abc=", "Sec-WebSocket-Accept: abc=\r\nSec-WebSocket-Accept: abc="),
            ("Sec-WebSocket-Accept: abc=", "Sec-WebSocket-Accept: abc=\r\nSec-WebSocket-Accept: x"),
            ("Upgrade: websocket\r\n", ""),
            ("Upgrade: websocket", "Upgrade: h2c"),
            ("Upgrade: websocket", "Upgrade: websocket, h2c"),
            ("Connection: Upgrade\r\n", ""),
            ("Connection: Upgrade", "Connection: close"),
            ("Connection: Upgrade", "Connection: Upgrade, x-secret"),
            ("Upgrade: websocket", "Upgrade: websocket\r\nUpgrade: websocket"),
            ("Upgrade: websocket", "Upgrade: websocket\r\nTransfer-Encoding: chunked"),
            ("HTTP/1.1 101", "HTTP/1.0 101"),
        ] {
            assert_eq!(read(&ALL.replace(from, to), Some("abc=")).unwrap_err(), NoAnswer, "{from} -> {to}");
        }
        // One who refuses has an ordinary answer.
        let refused =
            read("HTTP/1.1 403 Forbidden\r\nContent-Length: 1\r\n\r\n", Some("abc=")).unwrap().unwrap();
        assert_eq!((refused.status, refused.switches, refused.rest), (403, false, Rest::Known(1)));
    }

    #[test]
    fn the_end_of_chunks_is_found_however_they_are_cut() {
        for (body, end) in [
            ("0\r\n\r\n", 5),
            ("3\r\nabc\r\n0\r\n\r\nHTTP", 13),
            ("A;x=y\r\n0123456789\r\n0\r\nX: y\r\nZ: w\r\n\r\n", 36),
            ("03 ;x\r\nabc\r\n00\r\n\r\n", 18),
        ] {
            for cut in 1..body.len() {
                let mut rest = Rest::Chunked(Chunks::default());
                let (mut taken, mut done) = (0, false);
                for piece in body.as_bytes().chunks(cut) {
                    if !done {
                        let (more, ended) = rest.handle_bytes(piece).unwrap();
                        (taken, done) = (taken + more, ended);
                    }
                }
                assert_eq!((taken, done), (end, true), "{body:?} cut at {cut}");
            }
        }
        for bad in [
            "x\r\n",
            "\r\n\r\n",
            ";x\r\n",
            "3\r\nabcd",
            "fffffffffffffffff\r\n",
            "3\nabc\n",
            "3;x\nabc\r\n",
            "3 3\r\nabc",
            " 3\r\nabc",
            "+3\r\nabc",
            "0x3\r\nabc",
            "3\rx",
            "3\r\nabc\n0\r\n",
            "0\r\n\n",
            "0\r\nX: y\n\r\n",
            "0\r\nX: y\rz",
        ] {
            assert_eq!(
                Rest::Chunked(Chunks::default()).handle_bytes(bad.as_bytes()),
                Err(NoAnswer),
                "{bad:?}"
            );
        }
    }

    fn check(bytes: &str, closes: bool, expected: Result<(&str, Rest, bool), NoAnswer>) {
        let question = Question { closes, ..Question::default() };
        let got = Answer::read(bytes.as_bytes(), &question);
        assert_eq!(got, Answer::parsed(bytes.as_bytes(), &question), "plain or not");
        let got = got.map(|answer| answer.unwrap());
        let got = got.as_ref().map(|a| (std::str::from_utf8(&a.head).unwrap(), a.rest, a.keeps_alive));
        assert_eq!(got.map_err(|error| *error), expected, "{bytes:?}");
    }
}
