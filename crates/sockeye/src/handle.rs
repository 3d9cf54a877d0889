//! A way to a server from elsewhere: to close it, and to ask how it is.

use crate::core::Core;
use crate::metrics;
use crate::stats::Stats;
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use tokio::sync::watch;

/// Closes a server, and tells its numbers. Cheap to clone.
///
/// ```
/// use sockeye::{Config, Server};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let io = Server::new(Config::default());
/// let handle = io.handle();
/// let listening = tokio::spawn(io.listen("127.0.0.1:0"));
/// println!("{} sessions", handle.stats().sessions);
/// handle.close();
/// listening.await??; // returns once every session has ended
/// # Ok::<_, std::io::Error>(()) })?;
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Handle {
    closed: watch::Sender<bool>,
    /// Set when the server starts. Weak: whoever watches a server does not keep it.
    core: Arc<OnceLock<Weak<Core>>>,
}

impl Handle {
    pub(crate) fn new() -> Self {
        Self { closed: watch::Sender::new(false), core: Arc::default() }
    }

    /// Closes the server: it takes no more clients, its sockets hear `server shutting down`, and `listen` returns.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// The server in numbers; all zero before it starts and after it is gone.
    pub fn stats(&self) -> Stats {
        self.core().map(|core| core.stats()).unwrap_or_default()
    }

    /// The same in the text format of Prometheus, for a route of one's own. [`Config::metrics`](crate::Config::metrics)
    /// serves it on a port of its own.
    pub fn metrics_text(&self) -> String {
        metrics::text(&self.stats())
    }

    /// The server, if it has started and is not gone.
    pub(crate) fn core(&self) -> Option<Arc<Core>> {
        self.core.get()?.upgrade()
    }

    /// The server has started.
    pub(crate) fn start(&self, core: &Arc<Core>) {
        // A server starts once.
        drop(self.core.set(Arc::downgrade(core)));
    }

    /// Waits until the server is to close.
    pub(crate) async fn closed(&self) {
        // The sender is this handle's own, so the wait cannot fail.
        drop(self.closed.subscribe().wait_for(|closed| *closed).await);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("closed", &*self.closed.borrow()).finish_non_exhaustive()
    }
}
