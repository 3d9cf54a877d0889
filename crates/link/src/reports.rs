//! The reading side of a parent's link to one worker.

use std::sync::Arc;

use crate::door::{Door, Report};

/// The reading side of one link. Dropping it ends the link, and with it the worker.
pub struct Reports {
    door: Arc<Door>,
}

impl Reports {
    pub(crate) fn new(door: Arc<Door>) -> Self {
        Self { door }
    }

    /// Waits for the next report; `None` once the worker is gone and everything came back.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Report> {
        loop {
            match self.door.poll_report() {
                Ok(Some(report)) => return Some(report),
                Ok(None) => self.door.reports.notified().await,
                Err(()) => return None,
            }
        }
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        self.door.abandon();
    }
}
