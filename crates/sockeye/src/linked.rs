//! A server's place among those of other machines: they know it before its first client comes, and their requests come to its port.
//!
//! Who owns which sids is known by [`Nodes`]; where a request belongs is decided in `route`.

use crate::caller::{Caller, Way};
use crate::listen::Listening;
use crate::node_link::NodeLink;
use crate::nodes::Nodes;
use bytes::Bytes;
use sockeye_cluster::adapter::Adapter;
use sockeye_relay::NodeListener;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a failing `accept` (no descriptor left) waits before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A node's place among those of other machines.
pub(crate) struct Linked {
    listener: NodeListener,
    pub(crate) nodes: Nodes,
}

/// Takes a place among the nodes of a backplane, if there is to be one, and waits until all know of it.
///
/// # Errors
/// The port cannot be had, there is no backplane, or it cannot be reached.
pub(crate) async fn join(
    link: Option<&NodeLink>,
    adapter: Option<&Arc<dyn Adapter>>,
) -> io::Result<Option<Linked>> {
    let Some(link) = link else { return Ok(None) };
    let Some(adapter) = adapter else {
        let text = "node_link needs an adapter: nodes find each other on a backplane";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    };
    let (listener, reached) = link.bind()?;
    let joined = Nodes::join(Arc::clone(adapter), reached).await;
    let nodes = joined.map_err(|error| {
        io::Error::other(format!("cannot find other nodes on {}: {error}", adapter.place()))
    })?;
    nodes.settled().await;
    Ok(Some(Linked { listener, nodes }))
}

impl Linked {
    /// Takes other nodes' requests. Ends with the server.
    pub(crate) async fn accept(mut self, listening: &Listening) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            match accepted {
                Ok((socket, peer)) => {
                    listening.spawn(
                        &mut connections,
                        socket,
                        Bytes::new(),
                        Caller { peer, way: Way::Private },
                    );
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed on the node link");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}
