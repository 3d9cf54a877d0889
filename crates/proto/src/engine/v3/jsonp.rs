//! JSONP: polling for browsers that know no CORS. Answers are scripts, POSTs are forms. v4 clients may ask for it as well.

use crate::http::query_pairs;

/// Digits of the callback's number that are kept; stock clients count up from 0.
const DIGITS_MAX: usize = 20;

/// Fields of a form that are looked at, as Node's `querystring` has it.
const FIELDS_MAX: usize = 1000;

/// The number of the callback that an answer calls: the digits of the handshake's `j`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jsonp {
    digits: [u8; DIGITS_MAX],
    length: u8,
}

impl Jsonp {
    /// Reads the value of `j`; what is no digit is skipped, as the official server does, and so is what follows 20 of them.
    #[must_use]
    pub fn new(j: &str) -> Self {
        let mut this = Self { digits: [0; DIGITS_MAX], length: 0 };
        for (slot, digit) in this.digits.iter_mut().zip(j.bytes().filter(u8::is_ascii_digit)) {
            *slot = digit;
            this.length += 1;
        }
        this
    }

    /// Writes the script that hands a text payload to the client: `___eio[0]("…");`.
    #[must_use]
    pub fn script(&self, payload: &str) -> String {
        let mut script = String::with_capacity(payload.len() + payload.len() / 8 + 32);
        script.push_str("___eio[");
        script.extend(self.digits[..usize::from(self.length)].iter().map(|digit| char::from(*digit)));
        script.push_str("](");
        let json = serde_json::Value::from(payload).to_string();
        // ECMAScript before 2019 ends a line at these, also within a string.
        for part in json.split_inclusive(['\u{2028}', '\u{2029}']) {
            match part.char_indices().next_back() {
                Some((end, '\u{2028}')) => script.extend([&part[..end], "\\u2028"]),
                Some((end, '\u{2029}')) => script.extend([&part[..end], "\\u2029"]),
                _ => script.push_str(part),
            }
        }
        script.push_str(");");
        script
    }
}

/// Takes the payload out of a form: the field `d`, whose newlines were escaped. `None` if the field is absent or there twice:
/// the official server answers such a POST with `ok`, and nothing follows.
#[must_use]
pub fn form_payload(form: &str) -> Option<String> {
    let mut fields = query_pairs(form).take(FIELDS_MAX).filter(|(name, _)| name == "d");
    let (_, payload) = fields.next()?;
    if fields.next().is_some() {
        return None;
    }
    Some(unescape(&payload))
}

/// Browsers make `\r\n` of a newline in a form, so clients send `\n` for one, and `\\n` for what looks like that.
///
/// The official server replaces in two passes; one makes the same of it.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (taken, becomes) = match rest.as_bytes() {
            [b'\\', b'n', ..] => (2, "\n"),
            [b'\\', b'\\', b'n', ..] => (3, "\\n"),
            _ => (1, "\\"),
        };
        out.push_str(becomes);
        rest = &rest[taken..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_the_official_scripts() {
        for (j, payload, script) in [
            ("0", "2:40", r#"___eio[0]("2:40");"#),
            ("12", r#"6:42["a"]"#, r#"___eio[12]("6:42[\"a\"]");"#),
            ("a1b2;alert()", "", r#"___eio[12]("");"#),
            ("", "x", r#"___eio[]("x");"#),
            ("007", "x", r#"___eio[007]("x");"#),
            ("123456789012345678901234", "x", r#"___eio[12345678901234567890]("x");"#),
            (
                "0",
                "\u{2028}a\u{2029}\u{2029}b\\\"\n\r\t\u{8}\u{c}\u{1}\u{1f}\u{7f}€</script>\u{1e}",
                "___eio[0](\"\\u2028a\\u2029\\u2029b\\\\\\\"\\n\\r\\t\\b\\f\\u0001\\u001f\u{7f}€</script>\\u001e\");",
            ),
        ] {
            assert_eq!(Jsonp::new(j).script(payload), script, "{j}");
        }
    }

    #[test]
    fn forms_carry_payloads() {
        for (form, payload) in [
            ("d=2%3A40", Some("2:40")),
            ("x=1&d=2:4a&y=2", Some("2:4a")),
            ("d=4a+b%20c%2B", Some("4a b c+")),
            ("d=", Some("")),
            ("d", Some("")),
            ("d=%E2%82%AC", Some("€")),
            (r"d=4a\nb", Some("4a\nb")),
            (r"d=4a\\nb", Some(r"4a\nb")),
            (r"d=4a\\\nb", Some(r"4a\\nb")),
            (r"d=4a\\\\nb", Some(r"4a\\\nb")),
            (r"d=\n\n\\n\\n", Some("\n\n\\n\\n")),
            (r"d=\\", Some(r"\\")),
            (r"d=\r\t\N", Some(r"\r\t\N")),
            ("d=1&d=2", None),
            ("", None),
            ("D=1", None),
            ("2:4a", None),
        ] {
            assert_eq!(form_payload(form).as_deref(), payload, "{form}");
        }
    }
}
