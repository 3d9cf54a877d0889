//! Usual JSON to msgpack in one pass: no tree of values is built, and strings without escapes are copied as they stand.
//!
//! Whatever is unusual (broken text above all) is not judged here but left to [`writer`](super::writer), whose bytes these are; the tests hold the
//! two against each other.

use super::writer::{push_text, push_unsigned, write_negative};
use crate::json::plain_bytes;

/// Nesting that is read here.
const DEPTH_MAX: u32 = 32;

/// Digits of a number that is certainly not too large for 64 bits with a sign.
const DIGITS_MAX: usize = 18;

/// Appends JSON text that has no binary parts. `None`: it is for the thorough reader, and `out` is as it was.
pub(super) fn push_json(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let before = out.len();
    let mut text = Text { text: std::str::from_utf8(text).ok()?, at: 0 };
    let pushed = text.value(0, out).filter(|()| text.token().is_none());
    if pushed.is_none() {
        out.truncate(before);
    }
    pushed
}

struct Text<'a> {
    text: &'a str,
    at: usize,
}

impl Text<'_> {
    fn value(&mut self, depth: u32, out: &mut Vec<u8>) -> Option<()> {
        match self.token()? {
            b'"' => self.string(out),
            b'[' if depth < DEPTH_MAX => self.array(depth, out),
            b'{' if depth < DEPTH_MAX => self.map(depth, out),
            b't' => self.word("rue", 0xc3, out),
            b'f' => self.word("alse", 0xc2, out),
            b'n' => self.word("ull", 0xc0, out),
            b'-' | b'0'..=b'9' => self.number(out),
            _ => None,
        }
    }

    fn array(&mut self, depth: u32, out: &mut Vec<u8>) -> Option<()> {
        let marker = out.len();
        out.push(0x90);
        let mut count = 0;
        if self.skip_token(b']') {
            return Some(());
        }
        loop {
            self.value(depth + 1, out)?;
            count += 1;
            match self.token()? {
                b',' => {}
                b']' => return set_count(out, marker, count, [0x90, 0xdc, 0xdd]),
                _ => return None,
            }
        }
    }

    fn map(&mut self, depth: u32, out: &mut Vec<u8>) -> Option<()> {
        let marker = out.len();
        out.push(0x80);
        let mut count = 0;
        if self.skip_token(b'}') {
            return Some(());
        }
        loop {
            if self.token()? != b'"' {
                return None;
            }
            self.string(out)?;
            if self.token()? != b':' {
                return None;
            }
            self.value(depth + 1, out)?;
            count += 1;
            match self.token()? {
                b',' => {}
                b'}' => return set_count(out, marker, count, [0x80, 0xde, 0xdf]),
                _ => return None,
            }
        }
    }

    /// Takes the rest of a string.
    fn string(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let (text, begin) = (self.text, self.at);
        let bytes = text.as_bytes();
        let mut escapes = false;
        loop {
            while let Some(eight) = bytes[self.at..].first_chunk() {
                let plain = plain_bytes(u64::from_le_bytes(*eight));
                self.at += plain;
                if plain < 8 {
                    break;
                }
            }
            let byte = *bytes.get(self.at)?;
            self.at += 1;
            match byte {
                b'"' => break,
                // What follows may be a quote; what it means is judged below.
                b'\\' => {
                    escapes = true;
                    bytes.get(self.at)?;
                    self.at += 1;
                }
                0..0x20 => return None,
                _ => {}
            }
        }
        if escapes {
            let read: String = serde_json::from_slice(&bytes[begin - 1..self.at]).ok()?;
            push_text(&read, out);
        } else {
            push_text(&text[begin..self.at - 1], out);
        }
        Some(())
    }

    /// Takes the rest of a number.
    fn number(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let begin = self.at - 1;
        let bytes = self.text.as_bytes();
        while let Some(b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-') = bytes.get(self.at) {
            self.at += 1;
        }
        let number = &bytes[begin..self.at];
        let (negative, digits) = match number {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        let whole = digits.iter().all(u8::is_ascii_digit) && (1..=DIGITS_MAX).contains(&digits.len());
        if whole && (digits[0] != b'0' || (digits.len() == 1 && !negative)) {
            let magnitude = digits.iter().fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
            if negative {
                write_negative(out, -magnitude.cast_signed());
            } else {
                push_unsigned(magnitude, out);
            }
            return Some(());
        }
        super::writer::push_value(number, out)
    }

    fn word(&mut self, rest: &str, marker: u8, out: &mut Vec<u8>) -> Option<()> {
        let found = self.text.as_bytes()[self.at..].starts_with(rest.as_bytes());
        self.at += rest.len();
        out.push(marker);
        found.then_some(())
    }

    /// Takes the first byte that is no white space.
    fn token(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            self.at += 1;
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
        }
    }

    /// Takes it if it is this one.
    fn skip_token(&mut self, wanted: u8) -> bool {
        let before = self.at;
        let found = self.token() == Some(wanted);
        if !found {
            self.at = before;
        }
        found
    }
}

/// Says how many entries there are in the marker that stands before them, which knows of none yet.
#[expect(clippy::cast_possible_truncation, reason = "each form is chosen by the highest count it holds")]
fn set_count(out: &mut Vec<u8>, marker: usize, count: usize, [short, two, four]: [u8; 3]) -> Option<()> {
    let behind = marker + 1;
    if count <= 15 {
        out[marker] = short | count as u8;
    } else if count <= 0xffff {
        out[marker] = two;
        out.splice(behind..behind, (count as u16).to_be_bytes());
    } else {
        out[marker] = four;
        out.splice(behind..behind, u32::try_from(count).ok()?.to_be_bytes());
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::writer;

    const SEEDS: [&str; 14] = [
        r#"["echo","0123456789abcdef0123456789abcdef",{"a":[1,-2.5e+3,0,0.1,-0,-7]}]"#,
        r#"["a",{"b":[1,255,256,65535,65536,4294967296,-32,-33,-128,-129,-32769,-2147483649]}]"#,
        r#"[999999999999999999,-999999999999999999,1234567890123456789,18446744073709551615,1e400]"#,
        r#"[ "a\n\u00e9\\\"\/" , {"k" : "v", "k":null} , true,false , [ ] , { } ]"#,
        r#"{"message":"x","data":{"code":42}}"#,
        r#"{"_placeholder":true,"num":0}"#,
        r#"["\ud800"]"#,
        "[1,2",
        "{\"a\"}",
        "[\"1234567\u{1f}\"]",
        "[\"€äöü😀1234567890\"]",
        "01",
        "-",
        "",
    ];

    #[test]
    fn it_writes_the_bytes_of_the_thorough_writer_or_leaves_it_to_it() {
        for seed in SEEDS {
            check(seed.as_bytes());
            for at in 0..seed.len() {
                let (before, rest) = seed.as_bytes().split_at(at);
                check(before);
                check(rest);
                check(&[before, &rest[1..]].concat());
                check(&[before, &rest[..1], rest].concat());
                for byte in 0..=255 {
                    check(&[before, &[byte], &rest[1..]].concat());
                    check(&[before, &[byte], rest].concat());
                }
            }
        }
    }

    #[test]
    fn many_entries_and_deep_ones_are_the_same_too() {
        for count in [0, 1, 15, 16, 17, 65_535, 65_536] {
            check(format!("[{}]", vec!["7"; count].join(",")).as_bytes());
            let entries: Vec<_> = (0..count).map(|entry| format!("\"{entry}\":[{entry}]")).collect();
            check(format!("{{{}}}", entries.join(",")).as_bytes());
        }
        for depth in [31, 32, 33, 127, 128, 129] {
            check(format!("{}{}", "[".repeat(depth), "]".repeat(depth)).as_bytes());
        }
        for length in [31, 32, 255, 256, 65_535, 65_536] {
            check(format!("[\"{}\"]", "x".repeat(length)).as_bytes());
        }
    }

    #[test]
    fn what_is_usual_is_written_here() {
        for seed in &SEEDS[..6] {
            assert!(
                super::push_json(seed.as_bytes(), &mut Vec::new()).is_some() || seed.contains("1e400"),
                "{seed}"
            );
        }
    }

    fn check(text: &[u8]) {
        let mut swift = b"before".to_vec();
        let mut thorough = swift.clone();
        if super::push_json(text, &mut swift).is_none() {
            assert_eq!(swift, b"before");
            return;
        }
        writer::push_value(text, &mut thorough).expect("what is taken here is JSON");
        assert_eq!(swift, thorough, "{:?}", String::from_utf8_lossy(text));
    }
}
