//! How nodes of other machines reach this one: the settings of the port for them, and the port.

use sockeye_relay::{NodeListener, NodeTrust};
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket};

/// How many ports a worker may try.
const WORKER_PORTS: u16 = 256;

/// Connections of nodes that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// How nodes of other machines reach this one, so that no balancer has to be sticky.
///
/// The port is for nodes only. With a secret whoever does not know it gets not a byte, and requests are not encrypted, so it belongs on a network of
/// one's own. With certificates ([`NodeTls`](crate::NodeTls)) it is TLS, and both ends show theirs.
#[derive(Clone, Debug)]
pub struct NodeLink {
    /// Where this node listens for others. Port 0 is one that the system picks. Workers of a supervisor share the setting: each takes the first
    /// port from this one on that is free, of 256.
    pub listen: SocketAddr,
    /// Where others reach it, if that is another address. Needed where `listen` is `0.0.0.0` or `[::]`. Port 0: that of `listen`.
    pub advertise: Option<SocketAddr>,
    /// How the nodes know each other: by a [`Secret`](crate::Secret) or by certificates; the same way on all.
    pub trust: NodeTrust,
}

impl NodeLink {
    /// Listens, and knows how others reach it.
    ///
    /// # Errors
    /// The address cannot be had, or others cannot reach it.
    pub(crate) fn bind(&self, of_many: bool) -> io::Result<(NodeListener, SocketAddr)> {
        let mut listen = self.listen;
        let mut bound = listen_on(listen);
        for _ in 1..WORKER_PORTS {
            let taken = bound.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
            let Some(next) = listen.port().checked_add(1).filter(|_| of_many && taken) else { break };
            listen.set_port(next);
            bound = listen_on(listen);
        }
        let listener = bound.map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot listen on node_link.listen {}: {error}", self.listen),
            )
        })?;
        let bound = listener.local_addr()?;
        let mut reached = self.advertise.unwrap_or(bound);
        if reached.port() == 0 {
            reached.set_port(bound.port());
        }
        if reached.ip().is_unspecified() {
            let text = format!(
                "other nodes cannot reach {reached}: set node_link.advertise to this machine's address"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if let NodeTrust::Tls(tls) = &self.trust
            && let Some(error) = tls.unfit()
        {
            tracing::warn!(error, "other nodes will not take this node's certificate");
        }
        Ok((NodeListener::new(listener, self.trust.clone()), reached))
    }
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
