//! From values to the JSON arguments of a packet and its attachments.

use super::Args;
use super::shape::Shape;
use bytes::Bytes;
use serde::ser::Serialize;
use serde_json::ser::Formatter;
use std::io;

/// Something that can be said: any [`Serialize`] type (a tuple is several arguments, `()` none), or [`Args`] as they came.
///
/// Bytes become binary attachments: use [`Bytes`], also deep inside of structs (a `Vec<u8>` is an array of numbers to serde).
pub trait Payload {
    /// Appends the arguments as JSON, separated by commas, and collects the attachments.
    ///
    /// # Errors
    /// The value refuses to be serialized.
    fn append_to(&self, json: &mut Vec<u8>, attachments: &mut Vec<Bytes>) -> Result<(), serde_json::Error>;
}

/// Why nothing was sent. The caller is to blame.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    /// The value refuses to be JSON.
    #[error("expected a value that serializes to JSON: {0}")]
    Payload(#[from] serde_json::Error),
    /// The name is one of the protocol's own.
    #[error("\"{0}\" is a reserved event name")]
    ReservedName(String),
    /// Stock clients refuse a packet with more (socket.io-parser 4.2.6).
    #[error("expected at most {max} binary attachments in one packet, got {count}")]
    TooManyAttachments {
        /// How many there were.
        count: usize,
        /// How many may be.
        max: usize,
    },
}

/// Arguments on their way out.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    /// The arguments, separated by commas, without brackets.
    pub(crate) json: Vec<u8>,
    /// The binary parts.
    pub(crate) attachments: Vec<Bytes>,
}

impl Encoded {
    /// Appends a payload, with no more than `attachments_max` attachments.
    pub(crate) fn append(
        &mut self,
        payload: &(impl Payload + ?Sized),
        attachments_max: u32,
    ) -> Result<(), EmitError> {
        payload.append_to(&mut self.json, &mut self.attachments)?;
        let (count, max) = (self.attachments.len(), attachments_max as usize);
        if count > max {
            return Err(EmitError::TooManyAttachments { count, max });
        }
        Ok(())
    }
}

impl<T: Serialize + ?Sized> Payload for T {
    fn append_to(&self, json: &mut Vec<u8>, attachments: &mut Vec<Bytes>) -> Result<(), serde_json::Error> {
        let shape = Shape::of(self);
        if shape == Shape::Nothing {
            return Ok(());
        }
        let start = json.len();
        self.serialize(&mut serde_json::Serializer::with_formatter(&mut *json, Collect { attachments }))?;
        if shape == Shape::Several {
            // The array's elements are the arguments.
            json.remove(start);
            json.pop();
        }
        Ok(())
    }
}

impl Payload for &Args {
    fn append_to(&self, json: &mut Vec<u8>, attachments: &mut Vec<Bytes>) -> Result<(), serde_json::Error> {
        (**self).append_to(json, attachments)
    }
}

impl Payload for Args {
    fn append_to(&self, json: &mut Vec<u8>, attachments: &mut Vec<Bytes>) -> Result<(), serde_json::Error> {
        json.extend_from_slice(self.json());
        attachments.extend_from_slice(self.attachments());
        Ok(())
    }
}

/// Writes bytes as placeholders. Socket.IO v5, "Packet encoding": binary attachments.
struct Collect<'a> {
    attachments: &'a mut Vec<Bytes>,
}

impl Formatter for Collect<'_> {
    fn write_byte_array<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: &[u8]) -> io::Result<()> {
        write!(writer, r#"{{"_placeholder":true,"num":{}}}"#, self.attachments.len())?;
        self.attachments.push(Bytes::copy_from_slice(value));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_tuple_is_several_arguments_and_anything_else_is_one() {
        check(&(), "");
        check(&"a", r#""a""#);
        check(&("a", 1), r#""a",1"#);
        check(&(vec![1, 2],), "[1,2]");
        check(&vec![1, 2], "[1,2]");
        check(&[1, 2][..], "[1,2]");
        check(&None::<u8>, "null");
        check(&Some(("a", 1)), r#""a",1"#);
        check(&json!({"msg": "hi"}), r#"{"msg":"hi"}"#);
        check(&json!(["a"]), r#"["a"]"#);
    }

    #[test]
    fn bytes_become_placeholders_wherever_they_stand() {
        #[derive(serde::Serialize)]
        struct Upload {
            name: &'static str,
            body: Bytes,
        }
        let upload = || Upload { name: "f", body: Bytes::from_static(b"xy") };
        let encoded = encoded(&(upload(), Bytes::from_static(b"z"), vec![upload()]), 10).unwrap();
        assert_eq!(
            String::from_utf8(encoded.json).unwrap(),
            concat!(
                r#"{"name":"f","body":{"_placeholder":true,"num":0}},{"_placeholder":true,"num":1},"#,
                r#"[{"name":"f","body":{"_placeholder":true,"num":2}}]"#
            )
        );
        assert_eq!(encoded.attachments, ["xy", "z", "xy"]);
    }

    #[test]
    fn what_cannot_be_sent_says_why() {
        let bytes = || Bytes::from_static(b"x");
        let error = encoded(&[bytes(), bytes(), bytes()][..], 2).unwrap_err();
        assert_eq!(error.to_string(), "expected at most 2 binary attachments in one packet, got 3");
        let map = std::collections::HashMap::from([((1, 2), 3)]);
        assert!(matches!(encoded(&map, 2), Err(EmitError::Payload(_))));
    }

    #[test]
    fn arguments_that_came_go_out_as_they_came() {
        let args = Args::new(Bytes::from_static(b"1, {\"a\":2}"), vec![Bytes::from_static(b"x")]);
        let encoded = encoded(&args, 1).unwrap();
        assert_eq!(encoded.json, b"1, {\"a\":2}");
        assert_eq!(encoded.attachments, ["x"]);
    }

    fn encoded(payload: &(impl Payload + ?Sized), attachments_max: u32) -> Result<Encoded, EmitError> {
        let mut encoded = Encoded::default();
        encoded.append(payload, attachments_max)?;
        Ok(encoded)
    }

    fn check(payload: &(impl Payload + ?Sized), json: &str) {
        let encoded = encoded(payload, 10).unwrap();
        assert_eq!(String::from_utf8(encoded.json).unwrap(), json);
    }
}
