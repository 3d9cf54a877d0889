//! Writes JSON down as msgpack, value by value.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Appends JSON text; each placeholder object becomes its binary part.
///
/// # Errors
///
/// Fails on text that is no JSON or nests too deep; then nothing is appended.
pub(super) fn push_json(
    text: &[u8],
    attachments: &[Bytes],
    out: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    let value: Value<'_> = serde_json::from_slice(text)?;
    write(out, &value, attachments);
    Ok(())
}

/// Appends JSON text without binary parts; `None`: it is none.
pub(super) fn push_value(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let value: Value<'_> = serde_json::from_slice(text).ok()?;
    write(out, &value, &[]);
    Some(())
}

fn write(out: &mut Vec<u8>, value: &Value<'_>, attachments: &[Bytes]) {
    match value {
        Value::Null => out.push(0xc0),
        Value::Bool(value) => push_bool(*value, out),
        Value::Unsigned(number) => push_unsigned(*number, out),
        Value::Negative(number) => write_negative(out, *number),
        Value::Float(number) => {
            out.push(0xcb);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Text(text) => push_text(text, out),
        Value::Array(items) => {
            push_array(items.len(), out);
            for item in items {
                write(out, item, attachments);
            }
        }
        Value::Map(entries) => {
            if let Some(part) = placeholder(entries).and_then(|index| attachments.get(index)) {
                write_length(out, part.len(), [None, Some((0xc4, 0xff)), Some((0xc5, 0xffff))], 0xc6);
                out.extend_from_slice(part);
                return;
            }
            push_map(entries.len(), out);
            for (key, item) in entries {
                push_text(key, out);
                write(out, item, attachments);
            }
        }
    }
}

/// The index in `{"_placeholder":true,"num":k}`.
fn placeholder(entries: &[(Cow<'_, str>, Value<'_>)]) -> Option<usize> {
    let [a, b] = entries else { return None };
    let (mark, number) = if a.0 == "_placeholder" { (a, b) } else { (b, a) };
    match (&*mark.0, &mark.1, &*number.0, &number.1) {
        ("_placeholder", Value::Bool(true), "num", Value::Unsigned(index)) => usize::try_from(*index).ok(),
        _ => None,
    }
}

/// Appends a number in its shortest form.
#[expect(clippy::cast_possible_truncation, reason = "each arm is chosen by the number's range")]
pub fn push_unsigned(number: u64, out: &mut Vec<u8>) {
    match number {
        0..=0x7f => out.push(number as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, number as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(number as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&(number as u32).to_be_bytes());
        }
        _ => {
            out.push(0xcf);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

pub(super) fn write_negative(out: &mut Vec<u8>, number: i64) {
    if number >= -0x20 {
        out.push(number.to_be_bytes()[7]);
    } else if let Ok(number) = i8::try_from(number) {
        out.extend_from_slice(&[0xd0, number.to_be_bytes()[0]]);
    } else if let Ok(number) = i16::try_from(number) {
        out.push(0xd1);
        out.extend_from_slice(&number.to_be_bytes());
    } else if let Ok(number) = i32::try_from(number) {
        out.push(0xd2);
        out.extend_from_slice(&number.to_be_bytes());
    } else {
        out.push(0xd3);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

/// Appends what stands before the entries of a map, each a text and a value.
pub fn push_map(entries: usize, out: &mut Vec<u8>) {
    write_length(out, entries, [Some((0x80, 15)), None, Some((0xde, 0xffff))], 0xdf);
}

/// Appends what stands before the items of an array.
pub fn push_array(items: usize, out: &mut Vec<u8>) {
    write_length(out, items, [Some((0x90, 15)), None, Some((0xdc, 0xffff))], 0xdd);
}

/// Appends true or false.
pub fn push_bool(value: bool, out: &mut Vec<u8>) {
    out.push(if value { 0xc3 } else { 0xc2 });
}

/// Appends text.
pub fn push_text(text: &str, out: &mut Vec<u8>) {
    write_length(out, text.len(), [Some((0xa0, 31)), Some((0xd9, 0xff)), Some((0xda, 0xffff))], 0xdb);
    out.extend_from_slice(text.as_bytes());
}

/// Writes the shortest marker for a length: inside the marker, in 1 byte, in 2 bytes (each `(marker, longest)`, where
/// the kind has it), else in 4.
#[expect(clippy::cast_possible_truncation, reason = "each form is chosen by the longest length it holds")]
fn write_length(out: &mut Vec<u8>, length: usize, forms: [Option<(u8, usize)>; 3], longest: u8) {
    let fits = |form: Option<(u8, usize)>| form.filter(|(_, max)| length <= *max).map(|(marker, _)| marker);
    if let Some(marker) = fits(forms[0]) {
        out.push(marker | length as u8);
    } else if let Some(marker) = fits(forms[1]) {
        out.extend_from_slice(&[marker, length as u8]);
    } else if let Some(marker) = fits(forms[2]) {
        out.push(marker);
        out.extend_from_slice(&(length as u16).to_be_bytes());
    } else {
        // A message is shorter than a frame, and a frame than 4 GiB.
        out.push(longest);
        out.extend_from_slice(&(length as u32).to_be_bytes());
    }
}

/// A JSON value that keeps the order of its keys: msgpack wants to know how many there are before the first.
enum Value<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Negative(i64),
    Float(f64),
    Text(Cow<'a, str>),
    Array(Vec<Self>),
    Map(Vec<(Cow<'a, str>, Self)>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(Value::Unsigned(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(u64::try_from(number).map_or(Value::Negative(number), Value::Unsigned))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value<'de>, E> {
        Ok(Value::Float(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value<'de>, A::Error> {
        let mut entries = Vec::new();
        while let Some((Key(key), item)) = access.next_entry()? {
            entries.push((key, item));
        }
        Ok(Value::Map(entries))
    }
}

/// A key of a map, borrowed where it has no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Text(text) => Ok(Self(text)),
            Value::Null
            | Value::Bool(_)
            | Value::Unsigned(_)
            | Value::Negative(_)
            | Value::Float(_)
            | Value::Array(_)
            | Value::Map(_) => Err(serde::de::Error::custom("expected a key")),
        }
    }
}
