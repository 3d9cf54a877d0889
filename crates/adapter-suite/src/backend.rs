//! A backplane under test.

use std::sync::Arc;
use std::time::Duration;

use sockeye_cluster::Nsp;
use sockeye_cluster::adapter::{Adapter, BoxFuture};

/// How long a check waits for what has to come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A backplane under test.
pub trait Backend: Sync {
    /// An adapter as one more server would have it, with connections of its own.
    fn adapter(&self) -> BoxFuture<'_, Arc<dyn Adapter>>;

    /// Puts something that is no message where the servers of a namespace hear it. `false`: the test cannot do so, and nothing is checked.
    fn scribble<'a>(&'a self, nsp: &'a Nsp) -> BoxFuture<'a, bool> {
        let _ = nsp;
        Box::pin(std::future::ready(false))
    }

    /// Breaks every connection to the backplane, as its restart does, and ends when it takes connections again. `false`: the test cannot do so, and
    /// nothing is checked.
    fn interrupt(&self) -> BoxFuture<'_, bool> {
        Box::pin(std::future::ready(false))
    }
}
