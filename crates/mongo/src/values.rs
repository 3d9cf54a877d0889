//! JSON with placeholders turned into BSON with the binary parts inline, and back, as the official driver and `JSON.stringify` do it.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use sockeye_cluster::wire::{ATTACHMENTS_MAX, DEPTH_MAX};
use thiserror::Error;

/// BSON that is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum NoJson {
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX}")]
    Depth,
    /// More binary parts than [`ATTACHMENTS_MAX`].
    #[error("more than {ATTACHMENTS_MAX} binary parts")]
    Attachments,
}

/// Turns JSON text into BSON; each placeholder becomes its binary part.
///
/// # Errors
///
/// Fails on text that is no JSON or nests too deep.
pub(crate) fn from_json(text: &[u8], parts: &[Bytes]) -> Result<Bson, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Seed(parts).deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Writes a document as JSON text, and takes its binary parts out.
///
/// # Errors
///
/// Fails past [`DEPTH_MAX`] and [`ATTACHMENTS_MAX`].
pub(crate) fn to_json(document: &Document) -> Result<(Vec<u8>, Vec<Bytes>), NoJson> {
    let mut writer = Writer::default();
    writer.map(document, 0)?;
    Ok((writer.text, writer.parts))
}

/// Reads a value, with the parts that its placeholders stand for.
#[derive(Clone, Copy)]
struct Seed<'p>(&'p [Bytes]);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Bson;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Bson, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Bson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Bson, E> {
        Ok(Bson::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Bson, E> {
        Ok(Bson::Boolean(value))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Bson, E> {
        Ok(i64::try_from(number).map_or(Bson::Double(rounded(i128::from(number))), integer))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Bson, E> {
        Ok(integer(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Bson, E> {
        Ok(Bson::Double(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Bson, E> {
        Ok(Bson::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Bson, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Bson::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Bson, A::Error> {
        let mut document = Document::new();
        while let Some(key) = access.next_key::<Key<'de>>()? {
            if key.0.contains('\0') {
                return Err(serde::de::Error::custom("a key of BSON holds no NUL"));
            }
            document.insert(key.0, access.next_value_seed(self)?);
        }
        let part = placeholder(&document).and_then(|index| self.0.get(index));
        Ok(match part {
            Some(part) => Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: part.to_vec() }),
            None => Bson::Document(document),
        })
    }
}

struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|key| Self(Cow::Owned(key)))
    }
}

/// A whole number as the official driver writes one of JavaScript's: 32 bits, else a float; beyond what a float can hold, 64 bits.
fn integer(number: i64) -> Bson {
    match i32::try_from(number) {
        Ok(small) => Bson::Int32(small),
        Err(_) if number.unsigned_abs() <= SAFE_INTEGER_MAX => Bson::Double(rounded(i128::from(number))),
        Err(_) => Bson::Int64(number),
    }
}

#[expect(clippy::cast_precision_loss, reason = "larger numbers are rounded as JavaScript rounds them")]
const fn rounded(number: i128) -> f64 {
    number as f64
}

/// JavaScript's `Number.MAX_SAFE_INTEGER`.
const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;

/// The index in `{"_placeholder":true,"num":k}`.
fn placeholder(document: &Document) -> Option<usize> {
    let (mark, index) = (document.get("_placeholder")?, document.get("num")?);
    match (mark, index, document.len()) {
        (Bson::Boolean(true), Bson::Int32(index), 2) => usize::try_from(*index).ok(),
        _ => None,
    }
}

#[derive(Default)]
struct Writer {
    text: Vec<u8>,
    parts: Vec<Bytes>,
}

impl Writer {
    fn value(&mut self, value: &Bson, depth: usize) -> Result<(), NoJson> {
        match value {
            Bson::Null | Bson::Undefined => self.text.extend_from_slice(b"null"),
            Bson::Boolean(value) => self.display(value),
            Bson::Int32(number) => self.display(number),
            Bson::Int64(number) => self.display(number),
            Bson::Double(number) => self.float(*number),
            Bson::String(text) | Bson::Symbol(text) => self.string(text),
            Bson::Array(items) => self.array(items, depth)?,
            Bson::Document(document) => self.map(document, depth)?,
            Bson::Binary(binary) => self.part(&binary.bytes)?,
            Bson::ObjectId(id) => self.string(&id.to_hex()),
            Bson::DateTime(date) => match date.try_to_rfc3339_string() {
                Ok(date) => self.string(&date),
                Err(_) => self.text.extend_from_slice(b"null"),
            },
            // What no event of JavaScript holds: as the driver shows it.
            Bson::RegularExpression(_)
            | Bson::JavaScriptCode(_)
            | Bson::JavaScriptCodeWithScope(_)
            | Bson::Timestamp(_)
            | Bson::Decimal128(_)
            | Bson::MaxKey
            | Bson::MinKey
            | Bson::DbPointer(_) => self.string(&value.to_string()),
        }
        Ok(())
    }

    fn array(&mut self, items: &[Bson], depth: usize) -> Result<(), NoJson> {
        descend(depth)?;
        self.text.push(b'[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.text.push(b',');
            }
            self.value(item, depth + 1)?;
        }
        self.text.push(b']');
        Ok(())
    }

    fn map(&mut self, document: &Document, depth: usize) -> Result<(), NoJson> {
        descend(depth)?;
        self.text.push(b'{');
        for (index, (key, value)) in document.iter().enumerate() {
            if index > 0 {
                self.text.push(b',');
            }
            self.string(key);
            self.text.push(b':');
            self.value(value, depth + 1)?;
        }
        self.text.push(b'}');
        Ok(())
    }

    fn part(&mut self, bytes: &[u8]) -> Result<(), NoJson> {
        let index = self.parts.len();
        if index == ATTACHMENTS_MAX {
            return Err(NoJson::Attachments);
        }
        self.parts.push(Bytes::copy_from_slice(bytes));
        self.display(format_args!("{{\"_placeholder\":true,\"num\":{index}}}"));
        Ok(())
    }

    /// As `JSON.stringify`: a float that is whole has no point, and what is no number is null.
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and small")]
    fn float(&mut self, number: f64) {
        if number.fract() == 0.0 && number.abs() <= rounded(SAFE_INTEGER_MAX as i128) {
            return self.display(number as i64);
        }
        match serde_json::Number::from_f64(number) {
            Some(number) => self.display(number),
            None => self.text.extend_from_slice(b"null"),
        }
    }

    fn string(&mut self, text: &str) {
        serde_json::to_writer(&mut self.text, text)
            .expect("a vector takes every write, and text is always JSON");
    }

    fn display(&mut self, value: impl fmt::Display) {
        use std::io::Write as _;
        write!(self.text, "{value}").expect("a vector takes every write");
    }
}

const fn descend(depth: usize) -> Result<(), NoJson> {
    if depth >= DEPTH_MAX { Err(NoJson::Depth) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::oid::ObjectId;
    use mongodb::bson::{DateTime, doc};

    use super::*;

    #[test]
    fn values_are_written_as_the_official_driver_does() {
        let bytes = |bytes: &[u8]| Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() };
        for (json, parts, value) in [
            (r#"{"z":1,"a":[true,null,"é"]}"#, &[][..], doc! {"z": 1, "a": [true, null, "é"]}),
            (r#"{"n":[2147483647,2147483648,-2.5]}"#, &[], doc! {"n": [i32::MAX, 2_147_483_648.0, -2.5]}),
            (r#"{"n":9007199254740993}"#, &[], doc! {"n": 9_007_199_254_740_993_i64}),
            (r#"{"b":{"_placeholder":true,"num":0}}"#, &[&b"\x00\xff"[..]], doc! {"b": bytes(b"\x00\xff")}),
            (r#"{"b":{"_placeholder":true,"num":1}}"#, &[], doc! {"b": {"_placeholder": true, "num": 1}}),
        ] {
            let parts: Vec<_> = parts.iter().map(|part| Bytes::from_static(part)).collect();
            assert_eq!(from_json(json.as_bytes(), &parts).unwrap(), Bson::Document(value.clone()), "{json}");
            let (text, taken) = to_json(&value).unwrap();
            assert_eq!((std::str::from_utf8(&text).unwrap(), taken), (json, parts));
        }
    }

    #[test]
    fn what_json_has_not_is_read_as_javascript_writes_it() {
        let id = ObjectId::from_bytes([7; 12]);
        for (value, json) in [
            (Bson::ObjectId(id), r#""070707070707070707070707""#),
            (Bson::DateTime(DateTime::from_millis(0)), r#""1970-01-01T00:00:00Z""#),
            (Bson::Double(f64::NAN), "null"),
            (Bson::Double(3e9), "3000000000"),
            (Bson::Double(-0.0), "0"),
            (Bson::Undefined, "null"),
        ] {
            let (text, _) = to_json(&doc! {"v": value}).unwrap();
            assert_eq!(std::str::from_utf8(&text).unwrap(), format!("{{\"v\":{json}}}"));
        }
    }

    #[test]
    fn what_is_too_deep_or_no_json_is_refused() {
        for json in ["", "{", "[1,]", "{\"a\\u0000b\":1}", "{} {}", &"[".repeat(200)] {
            assert!(from_json(json.as_bytes(), &[]).is_err(), "{json:.20}");
        }
        let deep = (0..DEPTH_MAX).fold(doc! {}, |inner, _| doc! {"d": inner});
        assert_eq!(to_json(&deep), Err(NoJson::Depth));
        let many: Vec<_> = (0..=ATTACHMENTS_MAX)
            .map(|_| Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: vec![] }))
            .collect();
        assert_eq!(to_json(&doc! {"m": many}), Err(NoJson::Attachments));
    }
}
