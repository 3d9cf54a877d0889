//! The first frame on every connection of a mesh: who dialled (`docs/mesh.md`, "Hello").

use std::num::NonZeroU32;

use serde::Deserialize;
use sockeye_proto::sid::Tag;
use thiserror::Error;

use super::board::BOARD_BYTES_MAX;
use crate::address::Address;
use crate::name::Uid;
use crate::peers::Peer;
use crate::places::{Place, Places};

/// The version of the mesh that this crate speaks.
pub const MESH_VERSION: u64 = 1;

/// The longest hello, in bytes; a connection that opens with a longer frame is closed.
pub const HELLO_BYTES_MAX: usize = 4096;

/// The longest offset in a hello, in bytes; of a longer one only the sender's own place is said.
const SEEN_BYTES_MAX: usize = 3000;

/// Who a member of the mesh is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The tag of its sids, and the name of its socket.
    pub tag: Tag,
    /// How it signs its messages.
    pub uid: Uid,
    /// Where it takes relayed requests, if it does.
    pub http: Option<Address>,
    /// Whether it is there to speak and to ask only: it has no clients, and no handlers for what servers say to each other.
    pub guest: bool,
    /// What it has seen of the events of all, if it keeps sessions.
    pub seen: Option<Places>,
    /// Bytes of the board that shows which rooms it hears, if it has one.
    pub board: Option<NonZeroU32>,
}

/// A first frame that is no hello: the connection is closed.
#[derive(Debug, Error)]
pub enum NoHello {
    /// Longer than [`HELLO_BYTES_MAX`].
    #[error("expected a hello of at most {HELLO_BYTES_MAX} bytes, got {0}")]
    TooLong(usize),
    /// Not JSON, or not of the hello's shape.
    #[error("expected a hello: {0}")]
    Shape(#[from] serde_json::Error),
    /// Another version of the mesh.
    #[error("expected mesh version {MESH_VERSION}, got {0}")]
    Version(u64),
    /// The tag is none.
    #[error("expected a tag of 6 characters, got `{0}`")]
    Tag(String),
}

impl Hello {
    /// Reads a hello from the payload of a frame.
    ///
    /// # Errors
    ///
    /// Fails when the payload is no hello of [`MESH_VERSION`]. An address, an offset or a board that cannot be read counts as absent.
    pub fn decode(payload: &[u8]) -> Result<Self, NoHello> {
        if payload.len() > HELLO_BYTES_MAX {
            return Err(NoHello::TooLong(payload.len()));
        }
        let wire: WireHello = serde_json::from_slice(payload)?;
        if wire.mesh != MESH_VERSION {
            return Err(NoHello::Version(wire.mesh));
        }
        let tag = wire.tag.parse().map_err(|_| NoHello::Tag(wire.tag))?;
        let http = wire.http.and_then(|text| text.parse().ok());
        let seen = wire.seen.and_then(|text| text.parse().ok());
        let board =
            wire.board.and_then(|bytes| u32::try_from(bytes).ok()).filter(|bytes| *bytes <= BOARD_BYTES_MAX);
        let board = board.and_then(NonZeroU32::new);
        Ok(Self { tag, uid: wire.uid, http, guest: wire.guest, seen, board })
    }

    /// Writes the hello as the payload of a frame.
    pub fn encode(&self) -> String {
        let mut hello = serde_json::json!({
            "mesh": MESH_VERSION,
            "tag": self.tag.to_string(),
            "uid": self.uid.as_str(),
        });
        if let Some(http) = &self.http {
            hello["http"] = http.to_string().into();
        }
        if self.guest {
            hello["guest"] = true.into();
        }
        if let Some(seen) = &self.seen {
            let all = seen.to_string();
            // Of so many members each newcomer hears by their own hellos.
            let own = || Place { tag: self.tag, number: seen.number(self.tag) }.to_string();
            hello["seen"] = if all.len() <= SEEN_BYTES_MAX { all } else { own() }.into();
        }
        if let Some(board) = self.board {
            hello["board"] = board.get().into();
        }
        hello.to_string()
    }

    /// The member as a peer of the cluster.
    pub fn peer(&self) -> Peer {
        Peer { uid: self.uid.clone(), tag: Some(self.tag), http: self.http.clone(), guest: self.guest }
    }
}

#[derive(Deserialize)]
struct WireHello {
    mesh: u64,
    tag: String,
    uid: Uid,
    http: Option<String>,
    #[serde(default)]
    guest: bool,
    seen: Option<String>,
    board: Option<u64>,
}
