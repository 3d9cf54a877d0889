//! How many arguments a value is: the outermost tuple is the list of them.
//!
//! Asks a value for its outermost shape by letting it begin to serialize; nothing of it is written.

use serde::ser::{Error, Impossible, Serialize, Serializer};
use std::fmt;

/// What a value is as arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `()`: no argument.
    Nothing,
    /// One argument.
    One,
    /// A tuple: an argument a field.
    Several,
}

impl Shape {
    /// Asks a value.
    pub(super) fn of<T: Serialize + ?Sized>(value: &T) -> Self {
        value.serialize(Ask).unwrap_or_else(|answer| answer.0)
    }
}

/// Answers by an error where serde wants a whole serializer in return.
#[derive(Debug)]
struct Answer(Shape);

struct Ask;

/// Values that are one argument.
macro_rules! one {
    ($($method:ident: $type:ty),*) => {$(
        fn $method(self, _: $type) -> Result<Shape, Answer> {
            Ok(Shape::One)
        }
    )*};
}

impl Serializer for Ask {
    type Ok = Shape;
    type Error = Answer;
    type SerializeSeq = Impossible<Shape, Answer>;
    type SerializeTuple = Impossible<Shape, Answer>;
    type SerializeTupleStruct = Impossible<Shape, Answer>;
    type SerializeTupleVariant = Impossible<Shape, Answer>;
    type SerializeMap = Impossible<Shape, Answer>;
    type SerializeStruct = Impossible<Shape, Answer>;
    type SerializeStructVariant = Impossible<Shape, Answer>;

    one!(
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_f32: f32,
        serialize_f64: f64, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8],
        serialize_i128: i128, serialize_u128: u128, serialize_unit_struct: &'static str
    );

    fn serialize_none(self) -> Result<Shape, Answer> {
        Ok(Shape::One)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Shape, Answer> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Shape, Answer> {
        Ok(Shape::Nothing)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<Shape, Answer> {
        Ok(Shape::One)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: &T,
    ) -> Result<Shape, Answer> {
        Ok(Shape::One)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Shape, Answer> {
        Ok(Shape::One)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Answer> {
        Err(Answer(Shape::One))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Answer> {
        Err(Answer(Shape::Several))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Answer> {
        Err(Answer(Shape::One))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Answer> {
        Err(Answer(Shape::One))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Answer> {
        Err(Answer(Shape::One))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, Answer> {
        Err(Answer(Shape::One))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Answer> {
        Err(Answer(Shape::One))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value begins to serialize")
    }
}

impl std::error::Error for Answer {}

impl Error for Answer {
    /// A value that fails at once fails again, with its message, when it is written.
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(Shape::One)
    }
}
