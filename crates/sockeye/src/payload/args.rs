//! The arguments of an event or an ack as they came from the wire.

use super::decode::FromArgs;
use bytes::Bytes;

/// Arguments that nobody has looked into yet: the JSON array and the binary attachments.
///
/// It is a [`Payload`](super::Payload): `socket.emit("echo", event.args())` sends on what came, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// The elements of the array, without its brackets and without the event's name.
    json: Bytes,
    attachments: Vec<Bytes>,
}

impl Args {
    /// Takes the elements of a JSON array that was checked on arrival.
    pub(crate) fn new(json: Bytes, attachments: Vec<Bytes>) -> Self {
        Self { json, attachments }
    }

    /// Reads the arguments as a type: a tuple takes as many arguments as it has fields, anything else the first one.
    ///
    /// # Errors
    /// The arguments are not of that type; the message says where.
    pub fn data<T: FromArgs>(&self) -> Result<T, serde_json::Error> {
        T::from_args(&self.json, &self.attachments)
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
        Ok(Self { json: Bytes::copy_from_slice(json), attachments: attachments.to_vec() })
    }
}
