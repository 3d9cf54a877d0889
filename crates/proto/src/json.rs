//! Whether a text is JSON, without building anything. What numbers and escapes mean is for whoever reads them.
//!
//! It accepts what `serde_json` accepts for a value that is ignored; the tests hold it against that. Each event passes here, so it looks
//! at eight bytes of a string at a time.

/// Nesting that fits the word in which open brackets are kept; what nests deeper is left to `serde_json`.
const DEPTH_MAX: u32 = 64;

/// Whether the whole text is one JSON value, with white space around it or without.
pub(crate) fn is_json(text: &str) -> bool {
    let mut check = Check { bytes: text.as_bytes(), objects: 0, depth: 0 };
    check.run().unwrap_or_else(|TooDeep| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
}

/// How many bytes the JSON value takes that begins this text; `None`: none does, or it nests too deep. What follows it is not looked at.
pub fn length_of_value(text: &str) -> Option<usize> {
    let mut check = Check { bytes: text.as_bytes(), objects: 0, depth: 0 };
    let found = check.value().ok()?;
    found.then(|| text.len() - check.bytes.len())
}

/// Whether text stands in a JSON string as it is.
pub fn is_plain(text: &str) -> bool {
    let (chunks, rest) = text.as_bytes().as_chunks::<8>();
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    chunks.iter().all(|eight| plain_bytes(u64::from_le_bytes(*eight)) == 8) && !rest.iter().any(special)
}

struct Check<'a> {
    /// What is left.
    bytes: &'a [u8],
    /// A bit for each open bracket, the innermost lowest: whether it is an object's.
    objects: u64,
    depth: u32,
}

struct TooDeep;

impl Check<'_> {
    fn run(&mut self) -> Result<bool, TooDeep> {
        Ok(self.value()? && self.skip_space().is_none())
    }

    /// Takes one value.
    fn value(&mut self) -> Result<bool, TooDeep> {
        loop {
            let opened = match self.next_token() {
                Some(b'"') if self.string() => false,
                Some(first @ (b'-' | b'0'..=b'9')) if self.number(first) => false,
                Some(b't') if self.word(b"rue") => false,
                Some(b'f') if self.word(b"alse") => false,
                Some(b'n') if self.word(b"ull") => false,
                Some(bracket @ (b'[' | b'{')) => {
                    if self.depth == DEPTH_MAX {
                        return Err(TooDeep);
                    }
                    self.depth += 1;
                    self.objects = self.objects << 1 | u64::from(bracket == b'{');
                    true
                }
                _ => return Ok(false),
            };
            match self.go_on(opened) {
                Next::Value => {}
                Next::End => return Ok(true),
                Next::Wrong => return Ok(false),
            }
        }
    }

    /// Reads on after a value, or after a bracket that was `opened`, to where the next value stands.
    fn go_on(&mut self, mut opened: bool) -> Next {
        while self.depth > 0 {
            let object = self.objects & 1 == 1;
            let Some(token) = self.skip_space() else { return Next::Wrong };
            if token == if object { b'}' } else { b']' } {
                self.bytes = &self.bytes[1..];
                self.depth -= 1;
                self.objects >>= 1;
                opened = false;
                continue;
            }
            if !opened {
                if token != b',' {
                    return Next::Wrong;
                }
                self.bytes = &self.bytes[1..];
            }
            let named = !object
                || (self.next_token() == Some(b'"') && self.string() && self.next_token() == Some(b':'));
            return if named { Next::Value } else { Next::Wrong };
        }
        Next::End
    }

    /// Takes the first byte that is no white space.
    fn next_token(&mut self) -> Option<u8> {
        let token = self.skip_space()?;
        self.bytes = &self.bytes[1..];
        Some(token)
    }

    /// Tells that byte and leaves it.
    fn skip_space(&mut self) -> Option<u8> {
        while let [first, rest @ ..] = self.bytes {
            if !matches!(first, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(*first);
            }
            self.bytes = rest;
        }
        None
    }

    /// Takes the rest of a string.
    fn string(&mut self) -> bool {
        loop {
            while let Some((eight, rest)) = self.bytes.split_first_chunk::<8>() {
                let plain = plain_bytes(u64::from_le_bytes(*eight));
                if plain < 8 {
                    self.bytes = &self.bytes[plain..];
                    break;
                }
                self.bytes = rest;
            }
            // A byte that is not plain, or one of the last seven.
            let Some((first, rest)) = self.bytes.split_first() else { return false };
            self.bytes = rest;
            match first {
                b'"' => return true,
                b'\\' if self.escape() => {}
                b'\\' | 0..0x20 => return false,
                _ => {}
            }
        }
    }

    fn escape(&mut self) -> bool {
        match self.bytes {
            [b'u', a, b, c, d, rest @ ..] if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) => {
                self.bytes = rest;
                true
            }
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', rest @ ..] => {
                self.bytes = rest;
                true
            }
            _ => false,
        }
    }

    /// Takes the rest of a number.
    fn number(&mut self, first: u8) -> bool {
        let first = if first == b'-' { self.take() } else { Some(first) };
        match first {
            Some(b'0') if self.bytes.first().is_some_and(u8::is_ascii_digit) => return false,
            Some(b'0') => {}
            Some(b'1'..=b'9') => self.digits(),
            Some(_) | None => return false,
        }
        if let [b'.', rest @ ..] = self.bytes {
            self.bytes = rest;
            if !self.take().is_some_and(|digit| digit.is_ascii_digit()) {
                return false;
            }
            self.digits();
        }
        if let [b'e' | b'E', rest @ ..] = self.bytes {
            self.bytes = rest;
            if let [b'+' | b'-', rest @ ..] = self.bytes {
                self.bytes = rest;
            }
            if !self.take().is_some_and(|digit| digit.is_ascii_digit()) {
                return false;
            }
            self.digits();
        }
        true
    }

    fn digits(&mut self) {
        while let [b'0'..=b'9', rest @ ..] = self.bytes {
            self.bytes = rest;
        }
    }

    fn word(&mut self, rest: &[u8]) -> bool {
        let found = self.bytes.strip_prefix(rest);
        self.bytes = found.unwrap_or_default();
        found.is_some()
    }

    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }
}

/// What stands next.
enum Next {
    Value,
    End,
    Wrong,
}

/// How many of eight bytes stand before the first that ends a string, begins an escape, or is a control character.
pub(crate) fn plain_bytes(eight: u64) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const TOPS: u64 = ONES << 7;
    const QUOTES: u64 = ONES * b'"' as u64;
    const ESCAPES: u64 = ONES * b'\\' as u64;
    // The top bit of each byte that is zero, or below a space; above the first such byte a borrow may set others.
    let zero = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes;
    let control = eight.wrapping_sub(ONES * 0x20) & !eight;
    let special = (zero(eight ^ QUOTES) | zero(eight ^ ESCAPES) | control) & TOPS;
    (special.trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::IgnoredAny;

    const SEEDS: [&str; 14] = [
        r#"["echo","0123456789abcdef0123456789abcdef"]"#,
        r#"["a",{"b":[1,-2.5e+3,0,0.1],"c":null,"d":{}},true,false,[]]"#,
        r#"[ "a\n\u00e9\\\"\/" , {"k" : "v"} ]"#,
        r#"{"message":"x","data":{"code":42}}"#,
        "[1,2",
        "{\"a\"}",
        "[\"1234567\u{1f}\"]",
        "[\"€äöü😀1234567890\"]",
        "-",
        "01",
        "1.",
        "1e",
        "tru",
        "",
    ];

    #[test]
    fn it_agrees_with_serde_json() {
        for seed in SEEDS {
            check(seed);
            // Each way to cut, drop, double, and put one byte in another's place.
            for at in (0..seed.len()).filter(|at| seed.is_char_boundary(*at)) {
                check(&seed[..at]);
                check(&seed[at..]);
                let next = (at + 1..=seed.len()).find(|next| seed.is_char_boundary(*next)).unwrap();
                check(&[&seed[..at], &seed[next..]].concat());
                check(&[&seed[..next], &seed[at..]].concat());
                for byte in 0..128 {
                    let byte = char::from(byte).to_string();
                    check(&[&seed[..at], &byte, &seed[next..]].concat());
                    check(&[&seed[..at], &byte, &seed[at..]].concat());
                }
            }
        }
    }

    #[test]
    fn deep_nesting_is_judged_as_well() {
        for depth in [63, 64, 65, 100, 10_000] {
            let (open, close) = ("[{\"a\":".repeat(depth), "}]".repeat(depth));
            assert!(is_json(&format!("{open}1{close}")), "{depth}");
            assert!(!is_json(&format!("{open}1{close}]")), "{depth}");
            assert!(!is_json(&open), "{depth}");
        }
    }

    #[test]
    fn a_value_ends_where_it_ends() {
        for (text, length) in [
            (r#"["a",{"b":[1]}]},"opts""#, Some(15)),
            ("12,", Some(2)),
            (" 12 ,", Some(3)),
            (r#""a\"b" "#, Some(6)),
            ("[1,2", None),
            ("", None),
            ("]", None),
        ] {
            assert_eq!(length_of_value(text), length, "{text}");
        }
    }

    fn check(text: &str) {
        let whole = serde_json::from_str::<IgnoredAny>(text).is_ok();
        assert_eq!(is_json(text), whole, "{text:?}");
        if whole {
            assert_eq!(
                length_of_value(text),
                Some(text.trim_end_matches([' ', '\t', '\n', '\r']).len()),
                "{text:?}"
            );
        }
        let plain = serde_json::to_string(text).is_ok_and(|json| json.len() == text.len() + 2);
        assert_eq!(is_plain(text), plain, "{text:?}");
    }
}
