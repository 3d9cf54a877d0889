//! A way to close a server from elsewhere.

use tokio::sync::watch;

/// Closes a server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle(watch::Sender<bool>);

impl Handle {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Closes the server: it takes no more clients, its sockets hear `server shutting down`, and `listen` returns.
    pub fn close(&self) {
        self.0.send_replace(true);
    }

    /// Waits until the server is to close.
    pub(crate) async fn closed(&self) {
        // The sender is this handle's own, so the wait cannot fail.
        drop(self.0.subscribe().wait_for(|closed| *closed).await);
    }
}
