//! The array of an EVENT: its name, and its arguments as raw JSON.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::length_of_value;

/// Names that are no events: they mean something to the libraries themselves.
pub const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// An event's name and arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The name, without its quotes; borrowed unless it has escapes. A number stands as it was written.
    pub name: Cow<'a, str>,
    /// The raw JSON of the arguments, joined by commas, without brackets: `1,{"a":2}`; empty where there are none.
    pub args: &'a str,
}

impl<'a> Event<'a> {
    /// Splits the array that [`super::Packet::decode`] admitted, without a look at the arguments.
    ///
    /// Of text that is no JSON array it makes an error or a wrong event, never a panic.
    ///
    /// # Errors
    ///
    /// The array is empty or absent, or its first item is neither a number nor a string that may name an event.
    pub fn split(array: &'a str) -> Result<Self, EventError> {
        let items = items(array).ok_or(EventError::NotAnArray)?;
        let (name, rest) = match items.as_bytes() {
            [b'"', text @ ..] => {
                let (len, escaped) = string_len(text).ok_or(EventError::Unnamed)?;
                let (literal, rest) = items.split_at(len + 2);
                let name = if escaped {
                    Cow::Owned(serde_json::from_str(literal).map_err(|_| EventError::Unnamed)?)
                } else {
                    Cow::Borrowed(&literal[1..len + 1])
                };
                (name, rest)
            }
            [b'-' | b'0'..=b'9', ..] => {
                let (number, _) = items.split_once(',').unwrap_or((items, ""));
                (Cow::Borrowed(trim_end(number)), &items[number.len()..])
            }
            _ => return Err(EventError::Unnamed),
        };
        if is_reserved(&name) {
            return Err(EventError::Reserved);
        }
        let rest = trim_start(rest);
        let args = trim_start(rest.strip_prefix(',').unwrap_or(rest));
        Ok(Self { name, args })
    }

    /// The arguments one by one.
    #[must_use]
    pub fn args(&self) -> Args<'a> {
        Args::new(self.args)
    }
}

/// Raw JSON items that stand between commas, one by one; it ends early where they are no JSON.
#[derive(Clone, Debug)]
pub struct Args<'a> {
    rest: &'a str,
}

impl<'a> Args<'a> {
    /// Reads the items of an array whose brackets are gone, such as [`Event::args`].
    #[must_use]
    pub fn new(items: &'a str) -> Self {
        Self { rest: trim_start(items) }
    }

    /// Reads the items of an array, such as the data of an ACK.
    #[must_use]
    pub fn of_array(array: &'a str) -> Self {
        Self::new(items(array).unwrap_or(""))
    }

    /// The text of the next item: what [`Iterator::next`] would find, without a look into it.
    pub fn next_text(&mut self) -> Option<&'a str> {
        // What nests deep is read by the other way.
        let Some(length) = length_of_value(self.rest) else { return self.next().map(RawValue::get) };
        let (item, rest) = self.rest.split_at(length);
        self.go_on(rest);
        Some(item)
    }

    /// Stands before what comes after an item.
    fn go_on(&mut self, rest: &'a str) {
        self.rest = trim_start(trim_start(rest).strip_prefix(',').unwrap_or(""));
    }
}

impl<'a> Iterator for Args<'a> {
    type Item = &'a RawValue;

    fn next(&mut self) -> Option<&'a RawValue> {
        let mut json = serde_json::Deserializer::from_str(self.rest);
        let Ok(item) = <&RawValue>::deserialize(&mut json) else {
            self.rest = "";
            return None;
        };
        self.go_on(&self.rest[item.get().len()..]);
        Some(item)
    }
}

/// An array that is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// No brackets.
    #[error("expected an array")]
    NotAnArray,
    /// Nothing first that could be a name.
    #[error("expected a string or a number first")]
    Unnamed,
    /// One of [`RESERVED`].
    #[error("the event name is reserved")]
    Reserved,
}

/// Whether a name is one of [`RESERVED`].
fn is_reserved(name: &str) -> bool {
    // Nearly every name is told from them by its first letter and its length.
    matches!(name.as_bytes(), [b'c' | b'd' | b'n' | b'r', ..]) && RESERVED.contains(&name)
}

/// What stands between the brackets of an array.
fn items(array: &str) -> Option<&str> {
    let items = trim_end(trim_start(array)).strip_prefix('[')?.strip_suffix(']')?;
    Some(trim_end(trim_start(items)))
}

// By bytes: each event passes here, nearly always without white space, and `str::trim_matches` reads characters.
fn trim_start(mut text: &str) -> &str {
    while let [b' ' | b'\t' | b'\n' | b'\r', ..] = text.as_bytes() {
        text = &text[1..];
    }
    text
}

fn trim_end(mut text: &str) -> &str {
    while let [.., b' ' | b'\t' | b'\n' | b'\r'] = text.as_bytes() {
        text = &text[..text.len() - 1];
    }
    text
}

/// Bytes of a name that are looked at one by one; of a longer one the rest is searched.
const NAME_SHORT: usize = 24;

/// The length of a string literal whose opening quote is gone, and whether it has escapes.
fn string_len(text: &[u8]) -> Option<(usize, bool)> {
    let mut len = text.iter().take(NAME_SHORT).take_while(|byte| !matches!(byte, b'"' | b'\\')).count();
    if text.get(len) == Some(&b'"') {
        return Some((len, false));
    }
    let mut escaped = false;
    loop {
        len += memchr::memchr2(b'"', b'\\', text.get(len..)?)?;
        if text[len] == b'"' {
            return Some((len, escaped));
        }
        escaped = true;
        len += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_split_into_name_and_raw_arguments() {
        for (array, name, items) in [
            (r#"["a"]"#, "a", &[][..]),
            (r#"["a",1]"#, "a", &["1"]),
            (r#"["a",1,{"b":[2,3]},"x,y",null]"#, "a", &["1", r#"{"b":[2,3]}"#, r#""x,y""#, "null"]),
            (" [ \"a\" , 1 ,\t2\n] ", "a", &["1", "2"]),
            (r#"["€",[]]"#, "€", &["[]"]),
            (r#"["",""]"#, "", &[r#""""#]),
            (r#"["a\"b\\",1]"#, "a\"b\\", &["1"]),
            (r#"["\u20ac"]"#, "€", &[]),
            (r#"["a]",1]"#, "a]", &["1"]),
            (r#"["a","]"]"#, "a", &[r#""]""#]),
            ("[7]", "7", &[]),
            ("[-1.5 ,true]", "-1.5", &["true"]),
        ] {
            let event = Event::split(array).unwrap();
            assert_eq!(event.name, name, "{array}");
            let args: Vec<&str> = event.args().map(RawValue::get).collect();
            assert_eq!(args, items, "{array}");
        }
    }

    #[test]
    fn a_plain_name_is_borrowed() {
        assert!(matches!(Event::split(r#"["plain","x\n"]"#).unwrap().name, Cow::Borrowed("plain")));
        assert_eq!(Event::split(r#"["a", 1,  2 ]"#).unwrap().args, "1,  2");
    }

    #[test]
    fn other_arrays_are_no_events() {
        for (array, error) in [
            ("", EventError::NotAnArray),
            ("{}", EventError::NotAnArray),
            ("[", EventError::NotAnArray),
            ("]", EventError::NotAnArray),
            ("[\"a\"", EventError::NotAnArray),
            ("[]", EventError::Unnamed),
            ("[ ]", EventError::Unnamed),
            ("[null]", EventError::Unnamed),
            ("[{}]", EventError::Unnamed),
            ("[\"]", EventError::Unnamed),
            ("[\"a\\]", EventError::Unnamed),
            (r#"["a\"]"#, EventError::Unnamed),
            (r#"["\x"]"#, EventError::Unnamed),
            (r#"["connect"]"#, EventError::Reserved),
            (r#"["connect_error"]"#, EventError::Reserved),
            (r#"["disconnect"]"#, EventError::Reserved),
            (r#"["disconnecting"]"#, EventError::Reserved),
            (r#"["newListener"]"#, EventError::Reserved),
            (r#"["remove\u004cistener"]"#, EventError::Reserved),
        ] {
            assert_eq!(Event::split(array), Err(error), "{array}");
        }
    }

    #[test]
    fn arguments_end_where_they_are_no_json() {
        for (array, count) in
            [("[1,2]", 2), ("[1 2]", 1), ("[1,]", 1), ("[]", 0), ("", 0), ("[nul]", 0), ("[1,nul]", 1)]
        {
            assert_eq!(Args::of_array(array).count(), count, "{array}");
        }
    }
}
