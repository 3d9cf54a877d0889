//! Answers of polling, made small for clients that ask for it: `httpCompression` of the official server.
//!
//! A body is compressed whole. A short one costs less than handing it to another thread; a long one is handed over, so that the
//! thread that serves other clients is never held up.

use bytes::Bytes;
use http::HeaderMap;
use http::header::ACCEPT_ENCODING;
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

    /// Makes the body small if it is worth it and the client whose request this is reads it.
    ///
    /// # Cancel safety
    /// Work that was handed over is finished and thrown away.
    pub(crate) async fn compress(&self, body: Bytes, request: &HeaderMap) -> (Bytes, Option<Encoding>) {
        let plain = |body| (body, None);
        if self.config.is_none_or(|config| body.len() < config.threshold) {
            return plain(body);
        }
        let Some(encoding) = preferred(request) else { return plain(body) };
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

/// The encoding that a client prefers.
pub(crate) fn preferred(request: &HeaderMap) -> Option<Encoding> {
    let mut lines = request.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    let first = lines.next()?;
    match lines.next() {
        None => Encoding::preferred(first),
        Some(second) => {
            let all: Vec<_> = [first, second].into_iter().chain(lines).collect();
            Encoding::preferred(&all.join(","))
        }
    }
}
