//! What both sides hold to.

use super::window::Window;

/// The side of a connection that one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Answers handshakes.
    Server,
    /// Asks for them.
    Client,
}

/// What a handshake agreed upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Agreement {
    /// The server compresses each message on its own.
    pub server_no_context_takeover: bool,
    /// The client compresses each message on its own.
    pub client_no_context_takeover: bool,
    /// How far back the server refers at most.
    pub server_max_window_bits: Window,
    /// How far back the client refers at most.
    pub client_max_window_bits: Window,
}

/// Bytes that one inflater holds, whatever the window (counted with zlib-rs 0.6).
pub const INFLATER_BYTES: usize = 47 << 10;

/// Bytes that one compressor with this window holds: 246 KiB for the smallest, 372 KiB for the largest.
#[must_use]
pub const fn compressor_bytes(window: Window) -> usize {
    (244 << 10) + (4 << window.compressor_bits())
}

impl Agreement {
    /// The window under which a frame of the server may be shared with others; `None` where this connection wants a
    /// [`Deflater`](super::Deflater) of its own.
    #[must_use]
    pub fn shared_window(&self) -> Option<Window> {
        self.server_no_context_takeover.then_some(self.server_max_window_bits)
    }

    /// Bytes that one side of this connection keeps between messages, at most.
    #[must_use]
    pub fn context_bytes(&self, role: Role) -> usize {
        let (inflates_alone, compresses_alone, window) = match role {
            Role::Server => (
                self.client_no_context_takeover,
                self.server_no_context_takeover,
                self.server_max_window_bits,
            ),
            Role::Client => (
                self.server_no_context_takeover,
                self.client_no_context_takeover,
                self.client_max_window_bits,
            ),
        };
        let inflater = if inflates_alone { 0 } else { INFLATER_BYTES };
        inflater + if compresses_alone { 0 } else { compressor_bytes(window) }
    }
}
