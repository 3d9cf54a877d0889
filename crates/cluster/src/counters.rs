//! What a channel of an adapter counts: the same for each of them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::adapter::{AdapterError, Arrival, ChannelStats, Published};

/// [`ChannelStats`] in the making.
#[derive(Debug, Default)]
pub struct Counters {
    published: AtomicU64,
    unpublished: AtomicU64,
    received: AtomicU64,
    malformed: AtomicU64,
    disconnects: AtomicU64,
    gaps: AtomicU64,
}

impl Counters {
    /// Counts what became of a batch.
    pub fn sent(&self, results: &[Result<Published, AdapterError>]) {
        let published = results.iter().filter(|result| result.is_ok()).count();
        self.published.fetch_add(published as u64, Relaxed);
        self.unpublished.fetch_add((results.len() - published) as u64, Relaxed);
    }

    /// Counts what is handed to the inbox.
    pub fn arrived(&self, arrival: &Arrival) {
        match arrival {
            Arrival::Message { .. } => self.received(),
            Arrival::Malformed => self.malformed(),
            Arrival::Resumed { whole } => {
                if !whole {
                    self.gap();
                }
            }
        }
    }

    /// Counts a message that came in.
    pub fn received(&self) {
        self.received.fetch_add(1, Relaxed);
    }

    /// Counts what was not understood.
    pub fn malformed(&self) {
        self.malformed.fetch_add(1, Relaxed);
    }

    /// Counts a lost connection.
    pub fn lost(&self) {
        self.disconnects.fetch_add(1, Relaxed);
    }

    /// Counts that what was published meanwhile is lost.
    pub fn gap(&self) {
        self.gaps.fetch_add(1, Relaxed);
    }

    /// What was counted so far.
    pub fn stats(&self) -> ChannelStats {
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
