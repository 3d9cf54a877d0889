//! The ids in an array of remote sockets.

use serde::Deserialize;

#[derive(Deserialize)]
struct Socket {
    id: String,
}

/// The ids; none where it is no such array.
pub(crate) fn ids_in(sockets: &[u8]) -> Vec<String> {
    let sockets: Vec<Socket> = serde_json::from_slice(sockets).unwrap_or_default();
    sockets.into_iter().map(|socket| socket.id).collect()
}
