//! What can be wrong with msgpack from the network.

/// How deep arrays and maps may nest; deeper ones are refused.
pub const DEPTH_MAX: usize = 128;

/// Bytes that are no msgpack, or none that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The msgpack ends in the middle of a value, or a length is larger than what follows.
    #[error("msgpack ends early at byte {0}")]
    Truncated(usize),
    /// Bytes follow the value.
    #[error("{0} bytes follow the msgpack value")]
    Trailing(usize),
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX}")]
    Depth,
    /// More binary parts than the limit.
    #[error("more than {0} binary parts")]
    Attachments(usize),
    /// A marker byte or extension type that no known encoder writes.
    #[error("unknown msgpack marker {0:#04x}")]
    Marker(u8),
    /// A map has a key that is neither text nor a whole number.
    #[error("expected a text key in a msgpack map")]
    Key,
}
