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
use sockeye_proto::sid::Tag;
use sockeye_relay::NodeListener;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
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

/// Takes a place among the nodes of a backplane, if there is to be one, and waits until all know of it. `given`: its tag, where it has one already;
/// `of_many`: it is one of several workers with the same settings.
///
/// # Errors
/// The port or the socket cannot be had, there is no backplane, it cannot be reached, or another node has the tag.
pub(crate) async fn join(config: &Config, given: Option<Tag>, of_many: bool) -> io::Result<Option<Linked>> {
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
    let (listener, reached) = config.node_link.as_ref().map(|link| link.bind(of_many)).transpose()?.unzip();
    if socket.is_none() && reached.is_none() {
        return Ok(None);
    }
    let near = socket.as_ref().map(|socket| (&*socket.place, &*socket.path));
    let joined = Nodes::join(Arc::clone(adapter), near, reached, given).await;
    let nodes = joined.map_err(|error| {
        io::Error::other(format!("cannot find other nodes on {}: {error}", adapter.place()))
    })?;
    nodes.settled().await;
    if nodes.is_taken() {
        let text = format!("another node of the cluster has the tag {}", nodes.tag());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
    }
    Ok(Some(Linked { listener, socket, nodes }))
}

impl Linked {
    /// Lets the server know the others, and takes their requests for as long as the result is kept.
    pub(crate) fn begin(self, listening: &Listening) -> JoinSet<()> {
        // Set once.
        drop(listening.site.core.nodes.set(self.nodes.clone()));
        let core = Arc::downgrade(&listening.site.core);
        self.nodes
            .tell(move || core.upgrade().map_or(0, |core| core.counters.sessions.load(Ordering::Relaxed)));
        let listening = listening.clone();
        let mut links = JoinSet::new();
        links.spawn(async move { self.accept(&listening).await });
        links
    }

    /// Takes other nodes' requests.
    async fn accept(self, listening: &Listening) {
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
