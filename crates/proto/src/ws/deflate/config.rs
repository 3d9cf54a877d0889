//! What a side wants of compression.

use super::window::Window;

/// The settings of permessage-deflate, those of the official server's `perMessageDeflate` under their names.
///
/// Zlib's level (6) and memory level (8) are the official defaults and cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateConfig {
    /// Whether each message of the server is compressed on its own, so that one compressed frame serves all recipients of a
    /// window size. `Some(true)`: always (the default). `None`: where the client asks for it, else the server keeps one
    /// compressor a connection, of [`compressor_bytes`](super::agreement::compressor_bytes). `Some(false)`: never; an
    /// offer that demands it is declined.
    pub server_no_context_takeover: Option<bool>,
    /// Whether clients are told to compress each message on its own. Default `true`, so that no connection keeps an
    /// inflater, which is [`INFLATER_BYTES`](super::agreement::INFLATER_BYTES), between messages. (The official
    /// default is `false`: better compression of many small messages from a client.)
    pub client_no_context_takeover: bool,
    /// The server's window. Default: what the client offers. Smaller windows save little memory and compress less.
    pub server_max_window_bits: Limit,
    /// The client's window. Default: what the client offers. It changes no memory here.
    pub client_max_window_bits: Limit,
    /// Messages shorter than this many bytes go out as they are. Default 1024.
    pub threshold: usize,
    /// Bytes that the compressors and inflaters of all connections may keep between messages, in all; connections beyond
    /// are told that both sides compress each message on its own. Default 64 MiB. Means something only where one of the
    /// two `no_context_takeover` is off.
    pub context_bytes_max: usize,
}

/// What may be agreed upon about a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Limit {
    /// What the client offers. (Official: the option is not set.)
    #[default]
    AsOffered,
    /// No limit. An offer that demands one of the server is declined, one of the client is ignored. (Official: `false`.)
    Refused,
    /// This or smaller; an offer that does not allow it is declined. (Official: a number.)
    To(Window),
}

impl DeflateConfig {
    /// What the official server and client do unless told otherwise: contexts are taken over wherever the peer lets them.
    pub const OFFICIAL: Self = Self {
        server_no_context_takeover: None,
        client_no_context_takeover: false,
        server_max_window_bits: Limit::AsOffered,
        client_max_window_bits: Limit::AsOffered,
        threshold: 1024,
        context_bytes_max: 64 << 20,
    };
}

impl Default for DeflateConfig {
    fn default() -> Self {
        Self { server_no_context_takeover: Some(true), client_no_context_takeover: true, ..Self::OFFICIAL }
    }
}
