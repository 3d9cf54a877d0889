//! The arguments of an event or an ack as they came from the wire.

use super::decode::FromArgs;
use super::raw::Raw;
use crate::socket::event::Args as WireArgs;
use bytes::Bytes;
use serde_json::value::RawValue;

/// Arguments that nobody has looked into yet: the JSON array and the binary attachments.
///
/// It is a [`Payload`](super::Payload): `socket.emit("echo", event.args())` sends on what came, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The elements of the array, without its brackets and without the event's name.
    json: Raw,
    attachments: Box<[Bytes]>,
}

impl Args {
    /// Takes the elements of a JSON array that was checked on arrival.
    #[must_use]
    pub fn new(json: &[u8], attachments: Vec<Bytes>) -> Self {
        Self { json: json.into(), attachments: attachments.into() }
    }

    /// The same, of text that need not be copied.
    #[must_use]
    pub fn of_vec(json: Vec<u8>, attachments: Vec<Bytes>) -> Self {
        Self { json: json.into(), attachments: attachments.into() }
    }

    /// Takes the elements of a JSON array as arguments, as they stand there.
    ///
    /// ```
    /// use sockeye_proto::payload::Args;
    ///
    /// assert_eq!(Args::from_json("[1, {\"a\": true}]")?.json(), b"1,{\"a\": true}");
    /// assert!(Args::from_json("{}").is_err());
    /// # Ok::<_, serde_json::Error>(())
    /// ```
    ///
    /// # Errors
    /// The text is no JSON array, or is nested deeper than 127 levels.
    pub fn from_json(array: &str) -> Result<Self, serde_json::Error> {
        let elements: Vec<&RawValue> = serde_json::from_str(array)?;
        // What is kept as text was not looked into.
        for element in &elements {
            serde_json::from_str::<serde_json::Value>(element.get())?;
        }
        let texts: Vec<&str> = elements.into_iter().map(RawValue::get).collect();
        Ok(Self::of_vec(texts.join(",").into_bytes(), Vec::new()))
    }

    /// Reads the arguments as a type: a tuple takes as many arguments as it has fields, anything else the first one.
    ///
    /// # Errors
    /// The arguments are not of that type; the message says where.
    pub fn data<T: FromArgs>(&self) -> Result<T, serde_json::Error> {
        T::from_args(&self.json, &self.attachments)
    }

    /// The arguments without the first `count` ones, for sending them on as they came.
    ///
    /// The binary parts stay all there, since placeholders name them by number.
    #[must_use]
    pub fn skip(&self, count: usize) -> Self {
        let text = std::str::from_utf8(&self.json).unwrap_or_default();
        let mut args = WireArgs::new(text);
        let gone = (0..count).all(|_| args.next_text().is_some());
        let mut json = Vec::with_capacity(text.len());
        while let Some(arg) = args.next_text().filter(|_| gone) {
            if !json.is_empty() {
                json.push(b',');
            }
            json.extend_from_slice(arg.as_bytes());
        }
        Self { json: json.into(), attachments: self.attachments.clone() }
    }

    /// The JSON of the first argument, if there is one.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        WireArgs::new(std::str::from_utf8(&self.json).ok()?).next_text()
    }

    /// The JSON of the arguments, separated by commas; binary parts are placeholders.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// The binary parts, in the order of their placeholders.
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }
}

impl FromArgs for Args {
    fn from_args(json: &[u8], attachments: &[Bytes]) -> Result<Self, serde_json::Error> {
        Ok(Self { json: json.into(), attachments: attachments.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_can_be_left_out_from_the_front() {
        let args = Args::new(&br#""room",{"a":[1,2]}, 3"#[..], vec![Bytes::from_static(b"x")]);
        let rows = [(0, r#""room",{"a":[1,2]},3"#), (1, r#"{"a":[1,2]},3"#), (2, "3"), (3, ""), (9, "")];
        for (count, json) in rows {
            assert_eq!(args.skip(count).json(), json.as_bytes(), "{count}");
        }
        assert_eq!(args.skip(1).attachments(), args.attachments());
    }
}
