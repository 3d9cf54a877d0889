//! A worker's output, line by line, and each line bounded.

use std::fmt;
use std::io::{self, Read};
use std::num::NonZeroUsize;

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Error,
}

/// One line that a worker wrote; shown as `worker 2 | …`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Which worker.
    pub instance: u32,
    /// Its place (`NODE_APP_INSTANCE`).
    pub place: u32,
    /// On which stream.
    pub stream: Stream,
    /// The line without its end; what is not UTF-8 is replaced.
    pub text: &'a str,
    /// Whether the next line of this stream is here already, so that both can be written at once.
    pub more: bool,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} | {}", self.place, self.text)
    }
}

/// How much is read at a time: what a pipe holds, so that a fast writer costs few calls.
const BUFFER_BYTES: usize = 64 << 10;

/// Reads `from` to its end and tells each line.
pub(crate) fn read_lines(mut from: impl Read, bytes_max: NonZeroUsize, mut tell: impl FnMut(&str, bool)) {
    let mut lines = Lines::new(bytes_max);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => lines.handle_bytes(&buffer[..read], &mut tell),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    lines.handle_end(&mut tell);
}

/// Cuts bytes into lines. Pure.
struct Lines {
    bytes_max: usize,
    begun: Vec<u8>,
}

impl Lines {
    fn new(bytes_max: NonZeroUsize) -> Self {
        Self { bytes_max: bytes_max.get(), begun: Vec::new() }
    }

    fn handle_bytes(&mut self, mut bytes: &[u8], tell: &mut impl FnMut(&str, bool)) {
        while !bytes.is_empty() {
            let room = self.bytes_max - self.begun.len();
            let end = bytes.iter().position(|byte| *byte == b'\n');
            match end {
                Some(end) if end <= room => {
                    self.begun.extend_from_slice(&bytes[..end]);
                    bytes = &bytes[end + 1..];
                    self.finish(bytes.contains(&b'\n'), tell);
                }
                Some(_) | None if bytes.len() > room => {
                    self.begun.extend_from_slice(&bytes[..room]);
                    bytes = &bytes[room..];
                    self.finish(true, tell);
                }
                Some(_) | None => {
                    self.begun.extend_from_slice(bytes);
                    bytes = &[];
                }
            }
        }
    }

    fn handle_end(&mut self, tell: &mut impl FnMut(&str, bool)) {
        if !self.begun.is_empty() {
            self.finish(false, tell);
        }
    }

    fn finish(&mut self, more: bool, tell: &mut impl FnMut(&str, bool)) {
        let line = self.begun.strip_suffix(b"\r").unwrap_or(&self.begun);
        tell(&String::from_utf8_lossy(line), more);
        self.begun.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_lines() {
        check(&[b""], &[]);
        check(&[b"one\n"], &["one"]);
        check(&[b"one\ntwo"], &["one", "two"]);
        check(&[b"o", b"ne\r", b"\n", b"\n", b"two\n"], &["one", "", "two"]);
        check(&[b"12345678\n"], &["12345678"]);
        check(&[b"12345678", b"\n9"], &["12345678", "9"]);
        check(&[b"\xff\n"], &["\u{fffd}"]);
    }

    #[test]
    fn a_line_too_long_is_split() {
        check(&[b"123456789\n"], &["12345678", "9"]);
        check(&[b"1234", b"56789abcdefgh", b"i\nj\n"], &["12345678", "9abcdefg", "hi", "j"]);
    }

    #[test]
    fn whether_another_line_is_there_is_known() {
        let (mut lines, mut told) = (Lines::new(NonZeroUsize::new(8).unwrap()), Vec::new());
        lines.handle_bytes(b"a\nb\nc", &mut |line, more| told.push((line.to_owned(), more)));
        lines.handle_bytes(b"\n123456789", &mut |line, more| told.push((line.to_owned(), more)));
        let told: Vec<_> = told.iter().map(|(line, more)| (line.as_str(), *more)).collect();
        assert_eq!(told, [("a", true), ("b", false), ("c", false), ("12345678", true)]);
    }

    #[test]
    fn a_line_says_whose_it_is() {
        let line = Line { instance: 5, place: 2, stream: Stream::Out, text: "hello", more: false };
        assert_eq!(line.to_string(), "worker 2 | hello");
    }

    #[track_caller]
    fn check(pieces: &[&[u8]], expected: &[&str]) {
        let (mut lines, mut told) = (Lines::new(NonZeroUsize::new(8).unwrap()), Vec::new());
        for piece in pieces {
            lines.handle_bytes(piece, &mut |line, _| told.push(line.to_owned()));
        }
        lines.handle_end(&mut |line, _| told.push(line.to_owned()));
        assert_eq!(told, expected);
    }
}
