//! A way to close a server from elsewhere.

use tokio::sync::watch;

/// Closes a server. Cheap to clone.
///
/// ```
/// use sockeye::{Config, Server};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let io = Server::new(Config::default());
/// let handle = io.handle();
/// let listening = tokio::spawn(io.listen("127.0.0.1:0"));
/// handle.close();
/// listening.await??; // returns once every session has ended
/// # Ok::<_, std::io::Error>(()) })?;
/// # Ok::<_, std::io::Error>(())
/// ```
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
