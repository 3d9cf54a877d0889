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
        let (json, attachments) = encoded(&(upload(), Bytes::from_static(b"z"), vec![upload()]));
        assert_eq!(
            json,
            concat!(
                r#"{"name":"f","body":{"_placeholder":true,"num":0}},{"_placeholder":true,"num":1},"#,
                r#"[{"name":"f","body":{"_placeholder":true,"num":2}}]"#
            )
        );
        assert_eq!(attachments, ["xy", "z", "xy"]);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let map = std::collections::HashMap::from([((1, 2), 3)]);
        assert!(map.append_to(&mut Vec::new(), &mut Vec::new()).is_err());
    }

    #[test]
    fn arguments_that_came_go_out_as_they_came() {
        let args = Args::new(&b"1, {\"a\":2}"[..], vec![Bytes::from_static(b"x")]);
        assert_eq!(encoded(&args), ("1, {\"a\":2}".to_owned(), vec![Bytes::from_static(b"x")]));
    }

    fn check(payload: &(impl Payload + ?Sized), json: &str) {
        assert_eq!(encoded(payload).0, json);
    }

    fn encoded(payload: &(impl Payload + ?Sized)) -> (String, Vec<Bytes>) {
        let (mut json, mut attachments) = (Vec::new(), Vec::new());
        payload.append_to(&mut json, &mut attachments).unwrap();
        (String::from_utf8(json).unwrap(), attachments)
    }
}
