//! Placeholders: `{"_placeholder":true,"num":k}` stands where the k-th attachment belongs.
//!
//! This file only checks that every placeholder has its attachment; putting bytes into values is done where
//! the values are built.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Counts the placeholders in a raw JSON payload, each of which names one of `attachments` attachments.
///
/// Placeholders within a placeholder are checked too, where the official parser would not look at them.
///
/// # Errors
///
/// A placeholder names no attachment, or the payload is no JSON or nests deeper than 128: close the engine session.
pub fn check(data: &str, attachments: u32) -> Result<u32, PlaceholderError> {
    let mut count = 0;
    let mut json = serde_json::Deserializer::from_str(data);
    let found = Item { attachments, count: &mut count }.deserialize(&mut json);
    found.and_then(|_| json.end()).map_err(|_| PlaceholderError)?;
    Ok(count)
}

/// A placeholder names no attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("illegal attachments")]
pub struct PlaceholderError;

/// Any JSON value.
struct Item<'c> {
    attachments: u32,
    count: &'c mut u32,
}

/// What a value can mean to the object around it.
#[derive(Clone, Copy)]
enum Seen {
    True,
    Number(Option<u64>),
    Else,
}

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = Seen;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Seen, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Item<'_> {
    type Value = Seen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON with placeholders of known attachments")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Seen, E> {
        Ok(if value { Seen::True } else { Seen::Else })
    }

    fn visit_u64<E>(self, value: u64) -> Result<Seen, E> {
        Ok(Seen::Number(Some(value)))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Seen, E> {
        Ok(Seen::Number(None))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Seen, E> {
        // 1.0 and 1e0 are 1 in JavaScript, and so is -0.0 a 0.
        let whole = value.fract() == 0.0 && (0.0..f64::from(u32::MAX)).contains(&value);
        Ok(Seen::Number(whole.then_some(value as u64)))
    }

    fn visit_str<E>(self, _: &str) -> Result<Seen, E> {
        Ok(Seen::Else)
    }

    fn visit_unit<E>(self) -> Result<Seen, E> {
        Ok(Seen::Else)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Seen, A::Error> {
        while items.next_element_seed(Item { attachments: self.attachments, count: self.count })?.is_some() {}
        Ok(Seen::Else)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Seen, A::Error> {
        // As in JavaScript, the last of equal keys counts.
        let (mut is_placeholder, mut num) = (false, None);
        while let Some(key) = entries.next_key::<Key<'_>>()? {
            let item = Item { attachments: self.attachments, count: self.count };
            match (&*key.0, entries.next_value_seed(item)?) {
                ("_placeholder", seen) => is_placeholder = matches!(seen, Seen::True),
                ("num", Seen::Number(number)) => num = number,
                ("num", Seen::True | Seen::Else) => num = None,
                _ => {}
            }
        }
        if is_placeholder {
            if num.is_none_or(|num| num >= u64::from(self.attachments)) {
                return Err(A::Error::custom("a placeholder names no attachment"));
            }
            *self.count = self.count.saturating_add(1);
        }
        Ok(Seen::Else)
    }
}

/// A key, borrowed unless it has escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_counted_wherever_they_stand() {
        for (data, attachments, count) in [
            (r#"["a",{"_placeholder":true,"num":0}]"#, 1, 1),
            (r#"["a",{"num":1,"_placeholder":true},{"b":[{"_placeholder":true,"num":0}]}]"#, 2, 2),
            (r#"["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#, 1, 2),
            (r#"["a",{"_placeholder":true,"num":0,"x":null}]"#, 1, 1),
            (r#"["a",{"_placeholder":true,"num":1e0}]"#, 2, 1),
            (r#"["a",{"_placeholder":true,"num":-0}]"#, 1, 1),
            (r#"["a",{"\u005fplaceholder":true,"num":0}]"#, 1, 1),
            (r#"["a",{"_placeholder":false,"num":9}]"#, 1, 0),
            (r#"["a",{"_placeholder":1,"num":9}]"#, 1, 0),
            (r#"["a",{"_placeholder":true,"_placeholder":false,"num":9}]"#, 1, 0),
            (r#"["a",{"num":9},"_placeholder",{"Placeholder":true,"num":9}]"#, 1, 0),
            (r#"["a",{"_placeholder":true,"num":9,"num":0}]"#, 1, 1),
            ("[]", 3, 0),
        ] {
            assert_eq!(check(data, attachments), Ok(count), "{data}");
        }
    }

    #[test]
    fn a_placeholder_without_its_attachment_is_an_error() {
        for (data, attachments) in [
            (r#"["a",{"_placeholder":true,"num":1}]"#, 1),
            (r#"["a",{"_placeholder":true,"num":0}]"#, 0),
            (r#"["a",{"_placeholder":true,"num":-1}]"#, 1),
            (r#"["a",{"_placeholder":true,"num":0.5}]"#, 1),
            (r#"["a",{"_placeholder":true,"num":"0"}]"#, 1),
            (r#"["a",{"_placeholder":true,"num":"splice"}]"#, 1),
            (r#"["a",{"_placeholder":true,"num":null}]"#, 1),
            (r#"["a",{"_placeholder":true,"num":99999999999999999999}]"#, 1),
            (r#"["a",{"_placeholder":true}]"#, 1),
            (r#"["a",{"_placeholder":true,"num":0,"num":[]}]"#, 1),
            ("[", 1),
            ("[]]", 1),
            ("", 1),
        ] {
            assert_eq!(check(data, attachments), Err(PlaceholderError), "{data}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(check(&deep, 1), Err(PlaceholderError));
    }
}
