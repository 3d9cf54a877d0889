//! Answers of polling, made small for clients that ask for it: `httpCompression` of the official server.
//!
//! A body is compressed whole. A short one costs less than handing it to another thread; a long one is handed over, so that the
//! thread that serves other clients is never held up.

use bytes::Bytes;
use sockeye_proto::http::encoding::Encoding;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// How answers of polling are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpCompression {
    /// Bodies shorter than this many bytes go out as they are. Default 1024; below that there is little to win.
    pub threshold: usize,
}

impl Default for HttpCompression {
    fn default() -> Self {
        Self { threshold: 1024 }
    }
}

/// Bytes of the longest body that is compressed where it is answered: 0.2 to 0.3 ms of work.
const INLINE_BYTES_MAX: usize = 32 << 10;

/// Long bodies that may be compressed at the same time; others go out as they are. Each holds at most a mailbox, twice.
const LONG_AT_ONCE_MAX: usize = 8;

/// Compresses bodies, within its bounds.
#[derive(Debug)]
pub(crate) struct Press {
    config: Option<HttpCompression>,
    long: Arc<Semaphore>,
}

impl Press {
    pub(crate) fn new(config: Option<HttpCompression>) -> Self {
        Self { config, long: Arc::new(Semaphore::new(LONG_AT_ONCE_MAX)) }
    }

    /// The encoding that a client prefers, by the values of its `Accept-Encoding`; `None` also where nothing is compressed.
    pub(crate) fn preferred<'a>(&self, lines: impl Iterator<Item = &'a [u8]>) -> Option<Encoding> {
        self.config.and_then(|_| preferred(lines))
    }

    /// Makes the body small if it is worth it and the client whose request this is reads it.
    ///
    /// # Cancel safety
    /// Work that was handed over is finished and thrown away.
    pub(crate) async fn compress(
        &self,
        body: Bytes,
        preferred: Option<Encoding>,
    ) -> (Bytes, Option<Encoding>) {
        let plain = |body| (body, None);
        if self.config.is_none_or(|config| body.len() < config.threshold) {
            return plain(body);
        }
        let Some(encoding) = preferred else { return plain(body) };
        if body.len() <= INLINE_BYTES_MAX {
            return (encoding.compress(&body).into(), Some(encoding));
        }
        let Ok(permit) = Arc::clone(&self.long).try_acquire_owned() else { return plain(body) };
        let copy = body.clone();
        let work = tokio::task::spawn_blocking(move || {
            let small = encoding.compress(&copy);
            drop(permit);
            small
        });
        match work.await {
            Ok(small) => (small.into(), Some(encoding)),
            // The runtime ends.
            Err(_) => plain(body),
        }
    }
}

/// The encoding that a client prefers, by the values of its `Accept-Encoding`.
pub(crate) fn preferred<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Encoding> {
    let mut lines = lines.filter_map(|line| std::str::from_utf8(line).ok());
    let first = lines.next()?;
    match lines.next() {
        None => Encoding::preferred(first),
        Some(second) => {
            let all: Vec<_> = [first, second].into_iter().chain(lines).collect();
            Encoding::preferred(&all.join(","))
        }
    }
}
