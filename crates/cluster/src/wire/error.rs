//! What can be wrong with a message on the wire, and the limits that a message must keep.

use thiserror::Error;

/// How deep arrays and maps may nest in msgpack, and in JSON that is turned into msgpack; deeper ones are refused.
pub const DEPTH_MAX: usize = 128;

/// How many binary parts one message may have; one with more is refused. (Stock clients take 10 an event; an answer
/// to `fetchSockets` may hold the data of many sockets.)
pub const ATTACHMENTS_MAX: usize = 4096;

/// A message from the network that is none: the receiver counts it and skips it.
#[derive(Debug, Error)]
pub enum Malformed {
    /// The text is no JSON, or not of the envelope's shape.
    #[error("expected a ClusterAdapter envelope: {0}")]
    Json(#[from] serde_json::Error),
    /// The number of the message's kind is none of 1 to 13.
    #[error("expected a message type of 1 to 13, got {0}")]
    Type(u64),
    /// A field that this kind of message needs is absent.
    #[error("a message of type {number} needs the field `{field}`")]
    Missing {
        /// The official number of the kind.
        number: u8,
        /// The field.
        field: &'static str,
    },
    /// The packet of a broadcast is no event.
    #[error("expected an event packet (type 2 with an array), got type {0}")]
    NotAnEvent(u64),
    /// A value that has to be a JSON array is none.
    #[error("expected an array in `{0}`")]
    NotAnArray(&'static str),
    /// The msgpack ends in the middle of a value, or a length is larger than what follows.
    #[error("msgpack ends early at byte {0}")]
    Truncated(usize),
    /// Bytes follow the value.
    #[error("{0} bytes follow the msgpack value")]
    Trailing(usize),
    /// Nested deeper than [`DEPTH_MAX`](crate::wire::DEPTH_MAX).
    #[error("nested deeper than {DEPTH_MAX}")]
    Depth,
    /// More binary parts than [`ATTACHMENTS_MAX`](crate::wire::ATTACHMENTS_MAX).
    #[error("more than {ATTACHMENTS_MAX} binary parts")]
    Attachments,
    /// A marker byte or extension type that no known encoder writes.
    #[error("unknown msgpack marker {0:#04x}")]
    Marker(u8),
    /// Text that is neither JSON nor base64.
    #[error("expected JSON or base64")]
    Base64,
    /// A map has a key that is neither text nor a whole number.
    #[error("expected a text key in a msgpack map")]
    Key,
}

/// A message of ours that cannot be written: the caller made a packet that is no JSON.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// The packet's text is no JSON, or nested deeper than [`DEPTH_MAX`](crate::wire::DEPTH_MAX).
    #[error("expected JSON text in the packet: {0}")]
    Json(#[from] serde_json::Error),
    /// More binary parts than [`ATTACHMENTS_MAX`](crate::wire::ATTACHMENTS_MAX).
    #[error("expected at most {ATTACHMENTS_MAX} binary parts, got {0}")]
    Attachments(usize),
}
