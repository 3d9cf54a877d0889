//! What a parent hears of one worker, and what comes back from it.

use std::sync::Arc;

use crate::Connection;
use crate::message::{Load, Ready};
use crate::parent::{Door, State};

/// One thing heard of a worker.
#[derive(Debug)]
pub enum Report {
    /// It serves.
    Ready(Ready),
    /// How much it has to do; only the latest is kept until it is read.
    Load(Load),
    /// It lets its sessions go and takes no more.
    Draining,
    /// A connection that the worker did not receipt: pass it to another.
    Returned(Connection),
    /// It ends of its own will.
    Bye,
}

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
            {
                let mut state = self.door.state.lock();
                if let Some(report) = state.poll_report() {
                    return Some(report);
                }
                if state.gone {
                    return None;
                }
            }
            self.door.reports.notified().await;
        }
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        let mut state = self.door.state.lock();
        state.abandoned = true;
        let abandoned = state.handle_gone();
        drop(state);
        drop(abandoned);
        self.door.sender.notify_one();
    }
}

impl State {
    fn poll_report(&mut self) -> Option<Report> {
        if let Some(ready) = self.ready.take() {
            return Some(Report::Ready(ready));
        }
        if std::mem::take(&mut self.draining) {
            return Some(Report::Draining);
        }
        if let Some(load) = self.load.take() {
            return Some(Report::Load(load));
        }
        if let Some(connection) = self.window.poll_returned() {
            return Some(Report::Returned(connection));
        }
        std::mem::take(&mut self.bye).then_some(Report::Bye)
    }
}
