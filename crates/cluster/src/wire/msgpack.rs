//! JSON with placeholders to msgpack with the binary parts inline, and back.
//!
//! Written as `@msgpack/msgpack` and `notepack.io` write (shortest integers, every other number a float64); read in all
//! their dialects, which the reader beside this file knows. Nothing here knows of envelopes.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::error::{ATTACHMENTS_MAX, EncodeError, Malformed};
use super::reader::Reader;

/// Turns JSON text into msgpack; each placeholder object becomes its binary part.
///
/// An object that looks like a placeholder but names no part is the user's own and stays a map.
///
/// # Errors
///
/// Fails on text that is no JSON or nests too deep, and on too many parts.
pub fn from_json(text: &[u8], attachments: &[Bytes]) -> Result<Vec<u8>, EncodeError> {
    if attachments.len() > ATTACHMENTS_MAX {
        return Err(EncodeError::Attachments(attachments.len()));
    }
    let value: Value<'_> = serde_json::from_slice(text)?;
    let binary: usize = attachments.iter().map(|part| part.len() + 5).sum();
    let mut out = Vec::with_capacity(text.len() + binary);
    write(&mut out, &value, attachments);
    Ok(out)
}

/// Turns one msgpack value into JSON text and the binary parts that its placeholders stand for.
///
/// Reads like JavaScript's `JSON.stringify` of what the official decoders return: `undefined` is left out of maps and
/// null in arrays, dates are ISO text, numbers that JSON has no word for are null.
///
/// # Errors
///
/// Fails on bytes that end early or go on, nest deeper than [`DEPTH_MAX`](super::DEPTH_MAX), hold more than
/// [`ATTACHMENTS_MAX`] parts or hold what no known encoder writes. Never takes memory on the word of a length.
pub fn to_json(bytes: &Bytes) -> Result<(Vec<u8>, Vec<Bytes>), Malformed> {
    let mut reader = Reader::new(bytes);
    reader.value(0)?;
    reader.finish()
}

fn write(out: &mut Vec<u8>, value: &Value<'_>, attachments: &[Bytes]) {
    match value {
        Value::Null => out.push(0xc0),
        Value::Bool(false) => out.push(0xc2),
        Value::Bool(true) => out.push(0xc3),
        Value::Unsigned(number) => write_unsigned(out, *number),
        Value::Negative(number) => write_negative(out, *number),
        Value::Float(number) => {
            out.push(0xcb);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Text(text) => write_text(out, text),
        Value::Array(items) => {
            write_length(out, items.len(), [Some((0x90, 15)), None, Some((0xdc, 0xffff))], 0xdd);
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
            write_length(out, entries.len(), [Some((0x80, 15)), None, Some((0xde, 0xffff))], 0xdf);
            for (key, item) in entries {
                write_text(out, key);
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

#[expect(clippy::cast_possible_truncation, reason = "each arm is chosen by the number's range")]
fn write_unsigned(out: &mut Vec<u8>, number: u64) {
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

fn write_negative(out: &mut Vec<u8>, number: i64) {
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

fn write_text(out: &mut Vec<u8>, text: &str) {
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
