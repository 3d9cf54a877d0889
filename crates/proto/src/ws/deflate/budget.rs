//! A bound on what all connections together keep for compression.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that are left for compressors and inflaters that outlive a message.
#[derive(Debug)]
pub struct Budget {
    left: AtomicUsize,
}

/// A part of a budget; it goes back when this is dropped.
#[derive(Debug)]
pub struct Lease {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// A budget of this many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(bytes) })
    }

    /// Takes `bytes`, if they are left.
    #[must_use]
    pub fn lease(self: &Arc<Self>, bytes: usize) -> Option<Lease> {
        // Relaxed: the number guards nothing but itself.
        let taken =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        taken.is_ok().then(|| Lease { budget: Arc::clone(self), bytes })
    }

    /// Bytes that are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_missing_until_it_is_dropped() {
        let budget = Budget::new(10);
        let lease = budget.lease(7);
        assert!(lease.is_some() && budget.lease(4).is_none());
        assert_eq!(budget.left(), 3);
        drop(lease);
        assert_eq!(budget.left(), 10);
    }
}
