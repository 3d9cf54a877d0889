//! What a server's handlers saw, in order, for the test to wait for.

use super::within;
use std::fmt::Debug;
use tokio::sync::mpsc;

/// Entries of a log that may wait to be read.
const ENTRIES_MAX: usize = 100_000;

/// The handlers' end of a log.
#[derive(Debug)]
pub(crate) struct Log<T>(mpsc::Sender<T>);

impl<T: Debug> Log<T> {
    pub(crate) fn new() -> (Self, mpsc::Receiver<T>) {
        let (sender, receiver) = mpsc::channel(ENTRIES_MAX);
        (Self(sender), receiver)
    }

    pub(crate) fn add(&self, entry: T) {
        self.0.try_send(entry).expect("the test reads its log");
    }
}

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Waits for the next entry.
pub(crate) async fn heard<T>(log: &mut mpsc::Receiver<T>) -> T {
    within(log.recv()).await.expect("a handler says something")
}
