//! How the binary frames of a message stand on a WebSocket. Text is the same for every client.

use sockeye_proto::engine::{Protocol, Query, packet, v3};
use sockeye_proto::ws::Opcode;

/// What the version and the `b64` of a client make of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Framing {
    /// v4: as they are.
    #[default]
    Plain,
    /// v4 with `b64`: text, `b` and base64.
    Base64,
    /// v3: behind the byte of their type.
    Typed,
    /// v3 with `b64`: text, `b4` and base64.
    TypedBase64,
}

impl Framing {
    /// How many ways there are beside the plain one.
    pub(crate) const OTHERS: usize = 3;

    /// What the request for a WebSocket asks for.
    pub(crate) fn of(query: &Query) -> Self {
        match (query.protocol, query.b64) {
            (Protocol::V4, false) => Self::Plain,
            (Protocol::V4, true) => Self::Base64,
            (Protocol::V3, false) => Self::Typed,
            (Protocol::V3, true) => Self::TypedBase64,
        }
    }

    /// The place among the others; the plain one has none.
    pub(crate) fn index(self) -> Option<usize> {
        match self {
            Self::Plain => None,
            Self::Base64 => Some(0),
            Self::Typed => Some(1),
            Self::TypedBase64 => Some(2),
        }
    }

    /// Appends the payload of a binary frame; what kind of frame it becomes.
    pub(crate) fn encode(self, bytes: &[u8], out: &mut Vec<u8>) -> Opcode {
        match self {
            Self::Plain => {
                out.extend_from_slice(bytes);
                Opcode::Binary
            }
            Self::Typed => {
                out.push(v3::packet::MESSAGE);
                out.extend_from_slice(bytes);
                Opcode::Binary
            }
            Self::Base64 => {
                packet::encode_base64(bytes, out);
                Opcode::Text
            }
            Self::TypedBase64 => {
                v3::packet::encode_base64(bytes, out);
                Opcode::Text
            }
        }
    }
}
