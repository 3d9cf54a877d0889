//! What users say and hear, from `proto`, and why something is not said.

use sockeye_cluster::Packet;

pub use sockeye_proto::payload::{Args, FromArgs, Payload};

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

/// The first argument, or null, as it goes to other nodes.
pub(crate) fn first(args: &Args) -> Packet {
    Packet::binary(args.first().unwrap_or("null").to_owned(), args.attachments().to_vec())
}
