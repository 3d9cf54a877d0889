//! How nodes of other machines reach this one: the settings of the port for them, and the port.

use sockeye_relay::{NodeListener, Secret};
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket};

/// How many ports a worker may try.
const WORKER_PORTS: u16 = 256;

/// Connections of nodes that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// How nodes of other machines reach this one, so that no balancer has to be sticky.
///
/// The port is for nodes only: whoever does not know the secret gets not a byte. Requests on it are not encrypted, so it belongs on a
/// network of one's own.
#[derive(Clone, Debug)]
pub struct NodeLink {
    /// Where this node listens for others. Port 0 is one that the system picks. Workers of a supervisor share the setting: each takes the first
    /// port from this one on that is free, of 256.
    pub listen: SocketAddr,
    /// Where others reach it, if that is another address. Needed where `listen` is `0.0.0.0` or `[::]`. Port 0: that of `listen`.
    pub advertise: Option<SocketAddr>,
    /// What all nodes of the cluster know.
    pub secret: Secret,
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
        Ok((NodeListener::new(listener, self.secret.clone()), reached))
    }
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
