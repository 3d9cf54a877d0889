//! From the JSON arguments of a packet and its attachments to a type.
//!
//! A type that asks for a tuple gets all arguments; any other type gets the first one.

use super::binary::Attached;
use crate::socket::event::Args as WireArgs;
use bytes::Bytes;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::Error;

/// Something that can be heard: any [`DeserializeOwned`] type, or [`Args`](super::Args) as they came.
///
/// A tuple takes as many arguments as it has fields, any other type the first one. [`Bytes`] anywhere inside takes a binary
/// attachment.
pub trait FromArgs: Sized {
    /// Reads it from the elements of a JSON array, without brackets, and its attachments.
    ///
    /// # Errors
    /// The arguments are not of that type.
    fn from_args(json: &[u8], attachments: &[Bytes]) -> Result<Self, Error>;
}

impl<T: DeserializeOwned> FromArgs for T {
    fn from_args(json: &[u8], attachments: &[Bytes]) -> Result<Self, Error> {
        T::deserialize(Arguments { json, attachments })
    }
}

/// All arguments, as the outermost deserializer.
struct Arguments<'a> {
    json: &'a [u8],
    attachments: &'a [Bytes],
}

/// Types that are one argument: the JSON deserializer reads one value and leaves the rest.
macro_rules! first {
    ($($method:ident($($name:ident: $type:ty),*)),*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, Error> {
            if self.json.is_empty() {
                return Err(Error::custom("expected an argument, got none"));
            }
            let mut json = serde_json::Deserializer::from_slice(self.json);
            Attached::new(&mut json, self.attachments).$method($($name,)* visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Arguments<'de> {
    type Error = Error;

    first!(
        deserialize_bool(), deserialize_i8(), deserialize_i16(), deserialize_i32(), deserialize_i64(),
        deserialize_u8(), deserialize_u16(), deserialize_u32(), deserialize_u64(), deserialize_f32(),
        deserialize_f64(), deserialize_char(), deserialize_str(), deserialize_string(), deserialize_bytes(),
        deserialize_byte_buf(), deserialize_unit_struct(name: &'static str),
        deserialize_newtype_struct(name: &'static str), deserialize_seq(),
        deserialize_tuple_struct(name: &'static str, len: usize), deserialize_map(),
        deserialize_struct(name: &'static str, fields: &'static [&'static str]),
        deserialize_enum(name: &'static str, variants: &'static [&'static str]), deserialize_identifier()
    );

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.json.is_empty() {
            return visitor.visit_unit();
        }
        let mut json = serde_json::Deserializer::from_slice(self.json);
        Attached::new(&mut json, self.attachments).deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.json.is_empty() {
            return visitor.visit_none();
        }
        let mut json = serde_json::Deserializer::from_slice(self.json);
        Attached::new(&mut json, self.attachments).deserialize_option(visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        let text = std::str::from_utf8(self.json).map_err(Error::custom)?;
        visitor.visit_seq(OneByOne { items: WireArgs::new(text), attachments: self.attachments })
    }
}

/// Arguments for a tuple: as many as it asks for. What a client sends beyond is nobody's, as with a function of JavaScript.
struct OneByOne<'a> {
    items: WireArgs<'a>,
    attachments: &'a [Bytes],
}

impl<'de> SeqAccess<'de> for OneByOne<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let mut json = serde_json::Deserializer::from_str(item.get());
        seed.deserialize(Attached::new(&mut json, self.attachments)).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::{Value, json};
    use std::fmt::Debug;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Message {
        text: String,
        body: Option<Bytes>,
    }

    #[test]
    fn a_tuple_takes_all_arguments_and_anything_else_the_first() {
        check(r#""a",1"#, "a".to_owned());
        check(r#""a",1"#, ("a".to_owned(), 1));
        check(r#""a",1,{"b":[]}"#, ("a".to_owned(), 1));
        check("[1,2]", vec![1, 2]);
        check("[1,2]", (vec![1, 2],));
        check("", ());
        check("1", ());
        check("", None::<u8>);
        check("null", None::<u8>);
        check("5", Some(5));
        check(r#"{"text":"t"}"#, Message { text: "t".to_owned(), body: None });
        check(r#"{"a":[1,null]},2"#, json!({"a": [1, null]}));
        check("", Value::Null);
    }

    #[test]
    fn placeholders_become_the_bytes_they_stand_for() {
        let body = || Bytes::from_static(b"xy");
        let placeholder = r#"{"_placeholder":true,"num":0}"#;
        let read = |json: &str| Bytes::from_args(json.as_bytes(), &[body()]);
        assert_eq!(read(placeholder).unwrap(), body());
        assert_eq!(read(r#"{"num":0,"_placeholder":true}"#).unwrap(), body());
        assert!(read(r#"{"_placeholder":true,"num":1}"#).is_err());
        assert!(read(r#"{"_placeholder":true}"#).is_err());
        assert!(read("5").is_err());

        let json = format!(r#"{{"text":"t","body":{placeholder}}},[{placeholder}]"#);
        let message = Message { text: "t".to_owned(), body: Some(body()) };
        let both = <(Message, Vec<Bytes>)>::from_args(json.as_bytes(), &[body()]).unwrap();
        assert_eq!(both, (message, vec![body()]));
    }

    #[test]
    fn the_wrong_type_is_told() {
        let error = |json: &str| String::from_args(json.as_bytes(), &[]).unwrap_err().to_string();
        assert_eq!(error(""), "expected an argument, got none");
        assert!(error("5").starts_with("invalid type: integer `5`, expected a string"), "{}", error("5"));
        assert!(<(u8, u8)>::from_args(b"1", &[]).is_err());
    }

    fn check<T: DeserializeOwned + PartialEq + Debug>(json: &str, expected: T) {
        assert_eq!(T::from_args(json.as_bytes(), &[]).unwrap(), expected, "{json}");
        let attached = T::from_args(json.as_bytes(), &[Bytes::from_static(b"unused")]).unwrap();
        assert_eq!(attached, expected, "{json} with an attachment");
    }
}
