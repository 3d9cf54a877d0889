//! What a channel counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sockeye_cluster::adapter::{AdapterError, ChannelStats, Published};

/// [`ChannelStats`] in the making.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    published: AtomicU64,
    unpublished: AtomicU64,
    received: AtomicU64,
    malformed: AtomicU64,
    disconnects: AtomicU64,
    gaps: AtomicU64,
}

impl Counters {
    /// Counts what became of a batch.
    pub(crate) fn sent(&self, results: &[Result<Published, AdapterError>]) {
        let published = results.iter().filter(|result| result.is_ok()).count();
        self.published.fetch_add(published as u64, Relaxed);
        self.unpublished.fetch_add((results.len() - published) as u64, Relaxed);
    }

    pub(crate) fn received(&self) {
        self.received.fetch_add(1, Relaxed);
    }

    pub(crate) fn malformed(&self) {
        self.malformed.fetch_add(1, Relaxed);
    }

    pub(crate) fn lost(&self) {
        self.disconnects.fetch_add(1, Relaxed);
    }

    pub(crate) fn gap(&self) {
        self.gaps.fetch_add(1, Relaxed);
    }

    pub(crate) fn stats(&self) -> ChannelStats {
        ChannelStats {
            published: self.published.load(Relaxed),
            unpublished: self.unpublished.load(Relaxed),
            received: self.received.load(Relaxed),
            malformed: self.malformed.load(Relaxed),
            disconnects: self.disconnects.load(Relaxed),
            gaps: self.gaps.load(Relaxed),
        }
    }
}
