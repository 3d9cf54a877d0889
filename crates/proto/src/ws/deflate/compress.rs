//! Payloads made small: RFC 7692 §7.2.1.

use std::fmt;

use flate2::{Compress, Compression, FlushCompress};

use super::TAIL;
use super::window::Window;

/// A compressor that refers back to earlier messages: one connection's, where context takeover is agreed upon.
///
/// It holds [`compressor_bytes`](super::agreement::compressor_bytes).
pub struct Deflater {
    stream: Compress,
}

/// Compresses each message on its own; the result serves every connection with that window.
///
/// It keeps one stream for each window that it met, reset between messages, since making one costs as much as compressing
/// a few hundred bytes: at most 2.2 MiB, and 372 KiB where all clients have the usual window. One a thread is enough.
#[derive(Debug, Default)]
pub struct Compressor {
    streams: Vec<(Window, Deflater)>,
}

impl Compressor {
    /// A compressor that met no window yet and holds nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { streams: Vec::new() }
    }

    /// Appends the compressed payload of one message to `out`.
    pub fn deflate(&mut self, payload: &[u8], window: Window, out: &mut Vec<u8>) {
        let at = self.streams.iter().position(|(other, _)| *other == window).unwrap_or_else(|| {
            self.streams.push((window, Deflater::new(window)));
            self.streams.len() - 1
        });
        let deflater = &mut self.streams[at].1;
        deflater.deflate(payload, out);
        deflater.stream.reset();
    }
}

impl Deflater {
    /// A compressor that refers back at most as far as `window`.
    #[must_use]
    pub fn new(window: Window) -> Self {
        Self {
            stream: Compress::new_with_window_bits(Compression::new(LEVEL), false, window.compressor_bits()),
        }
    }

    /// Appends the compressed payload of the connection's next message to `out`. It must be sent.
    pub fn deflate(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        if payload.is_empty() {
            // §7.2.3.6. The stream stands at a byte's border, and has nothing to flush.
            return out.push(0);
        }
        let mut rest = payload;
        // Room for text as it commonly is; the rest comes with doubling.
        let mut room = payload.len() / 4 + ROOM_MIN;
        loop {
            out.reserve(room);
            let before = self.stream.total_in();
            let status = self.stream.compress_vec(rest, out, FlushCompress::Sync);
            status.expect("a stream that is never finished takes any input");
            rest = &rest[(self.stream.total_in() - before) as usize..];
            // zlib: all is flushed when room is left.
            if rest.is_empty() && out.len() < out.capacity() {
                break;
            }
            room = out.len().max(ROOM_MIN);
        }
        debug_assert!(out.ends_with(&TAIL), "a flush ends in an empty block");
        out.truncate(out.len() - TAIL.len());
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").finish_non_exhaustive()
    }
}

/// zlib's default, and the official server's.
const LEVEL: u32 = 6;

/// Never flush into less: zlib writes the end of a flush again if that did not fit.
const ROOM_MIN: usize = 64;
