//! Watches which nodes a backplane has, for a balancer before them: it is known to them, and nobody asks it for anything.
//!
//! Absent: carrying requests. Who does takes them to [`Neighbour::at`], with the sids of its tag, and new sessions to any.

use crate::nearby::Neighbour;
use crate::node_socket;
use crate::node_sockets::NodeSockets;
use crate::nodes::Nodes;
use sockeye_cluster::adapter::Adapter;
use std::fmt;
use std::io;
use std::sync::Arc;

/// The nodes of a backplane, as they come and go.
///
/// ```no_run
/// # async fn example(adapter: std::sync::Arc<dyn sockeye::Adapter>) -> std::io::Result<()> {
/// let mut observer = sockeye::Observer::join(adapter, &sockeye::NodeSockets::User).await?;
/// loop {
///     for node in observer.nodes() {
///         println!("{} at {:?}", node.tag, node.at);
///     }
///     observer.changed().await;
/// }
/// # }
/// ```
pub struct Observer {
    nodes: Nodes,
}

impl Observer {
    /// Joins the nodes of a backplane. `sockets` is what they were told of sockets, so that those of this machine are reached by theirs.
    ///
    /// # Errors
    /// The backplane cannot be reached, or the directory of the sockets is not this user's.
    pub async fn join(adapter: Arc<dyn Adapter>, sockets: &NodeSockets) -> io::Result<Self> {
        let place = node_socket::place_of(sockets)?;
        let found = Nodes::watch(Arc::clone(&adapter), place).await;
        let told = |error| io::Error::other(format!("cannot find the nodes on {}: {error}", adapter.place()));
        let nodes = found.map_err(told)?;
        nodes.settled().await;
        Ok(Self { nodes })
    }

    /// Those that can be reached, at this moment, by their tags.
    pub fn nodes(&self) -> Vec<Neighbour> {
        self.nodes.neighbours()
    }

    /// Waits until a node has come, gone, or has another address or another number of sessions; a change since [`Observer::nodes`] counts too.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn changed(&mut self) {
        self.nodes.changed().await;
    }

    /// Says goodbye.
    pub async fn leave(self) {
        self.nodes.leave().await;
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("nodes", &self.nodes()).finish_non_exhaustive()
    }
}
