//! The limits of one link, each with its name, default and outcome.

use std::num::NonZeroUsize;

/// The limits of the parent's end of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How many connections may be at a worker without its receipt. Default 128, sane 16 to 150: the kernel takes about
    /// 167 small packets before the socket is full, and each holds one descriptor here. The next ones wait in the queue.
    pub window: NonZeroUsize,
    /// How many connections may wait behind the window. Default 4096; each holds a descriptor. The next one is given
    /// back to whoever passed it.
    pub queue: usize,
    /// How many bytes (read from the clients so far) may wait in the queue. Default 16 MiB, which is also the
    /// worst-case memory a worker costs. A connection that would exceed it is given back.
    pub queue_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        const WINDOW: NonZeroUsize = NonZeroUsize::new(128).expect("128 is not zero");
        Self { window: WINDOW, queue: 4096, queue_bytes_max: 16 << 20 }
    }
}

/// The most bytes already read that can travel with a connection; one with more is given back.
///
/// One packet must fit the socket's send buffer (212,992 bytes by default, of which the kernel's book-keeping takes a
/// part) and the worker's receive buffer, which is made to hold exactly this.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
