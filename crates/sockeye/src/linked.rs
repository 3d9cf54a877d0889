//! A server's place among the others of a backplane: they know it before its first client comes, and their requests come to its socket or its
//! port.
//!
//! Who owns which sids is known by [`Nodes`]; where a request belongs is decided in `route`.

use crate::caller::{Caller, Way};
use crate::config::Config;
use crate::listen::Listening;
use crate::node_socket::{self, NodeSocket};
use crate::nodes::Nodes;
use bytes::Bytes;
use sockeye_relay::NodeListener;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a failing `accept` (no descriptor left) waits before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A node's place among the others of a backplane.
pub(crate) struct Linked {
    listener: Option<NodeListener>,
    socket: Option<NodeSocket>,
    pub(crate) nodes: Nodes,
}

/// Takes a place among the nodes of a backplane, if there is to be one, and waits until all know of it.
///
/// # Errors
/// The port or the socket cannot be had, there is no backplane, or it cannot be reached.
pub(crate) async fn join(config: &Config) -> io::Result<Option<Linked>> {
    let Some(adapter) = &config.adapter else {
        return match config.node_link {
            None => Ok(None),
            Some(_) => {
                let text = "node_link needs an adapter: nodes find each other on a backplane";
                Err(io::Error::new(io::ErrorKind::InvalidInput, text))
            }
        };
    };
    let socket = node_socket::bind(&config.node_sockets)?;
    let (listener, reached) = config.node_link.as_ref().map(|link| link.bind()).transpose()?.unzip();
    if socket.is_none() && reached.is_none() {
        return Ok(None);
    }
    let near = socket.as_ref().map(|socket| (&*socket.place, &*socket.path));
    let joined = Nodes::join(Arc::clone(adapter), near, reached).await;
    let nodes = joined.map_err(|error| {
        io::Error::other(format!("cannot find other nodes on {}: {error}", adapter.place()))
    })?;
    nodes.settled().await;
    Ok(Some(Linked { listener, socket, nodes }))
}

impl Linked {
    /// Takes other nodes' requests. Ends with the server.
    pub(crate) async fn accept(self, listening: &Listening) {
        let near = async {
            match &self.socket {
                Some(socket) => socket.accept(listening).await,
                None => pending().await,
            }
        };
        let far = async {
            match self.listener {
                Some(listener) => Self::accept_far(listener, listening).await,
                None => pending().await,
            }
        };
        tokio::join!(near, far);
    }

    async fn accept_far(mut listener: NodeListener, listening: &Listening) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
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
