//! How many connections to one address there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The number.
#[derive(Debug, Default)]
pub(crate) struct Tally(Arc<AtomicU64>);

/// Counts one connection for as long as it is there.
#[derive(Debug)]
pub(crate) struct Open(Arc<AtomicU64>);

impl Tally {
    /// Counts a connection that was made.
    pub(crate) fn count(&self) -> Open {
        self.0.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(&self.0))
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
