//! The door for nodes of other machines: a TCP port on which only those are let in who know the secret, or have a certificate.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::socket::Socket;
use crate::trust::NodeTrust;

/// How long a connection may take to show that it is a node's; then it is closed.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);

/// How many connections may be about to show it; more are closed at once.
pub const HANDSHAKES_MAX: usize = 256;

/// A port for nodes. Nobody else hears more from it than what shows that it is one.
#[derive(Debug)]
pub struct NodeListener {
    listener: TcpListener,
    trust: NodeTrust,
    handshakes: JoinSet<Option<(Socket, SocketAddr)>>,
    refused: AtomicU64,
}

impl NodeListener {
    /// Takes a port that is listened to.
    pub fn new(listener: TcpListener, trust: impl Into<NodeTrust>) -> Self {
        Self { listener, trust: trust.into(), handshakes: JoinSet::new(), refused: AtomicU64::new(0) }
    }

    /// The next connection of a node. Requests on it are believed about their client.
    ///
    /// # Errors
    ///
    /// Fails where the system has no descriptor left, say; it may be called again.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn accept(&mut self) -> io::Result<(Socket, SocketAddr)> {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => {
                    let (stream, peer) = accepted?;
                    if self.handshakes.len() >= HANDSHAKES_MAX {
                        self.refused.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    self.handshakes.spawn(let_in(stream, peer, self.trust.clone()));
                }
                Some(done) = self.handshakes.join_next() => match done {
                    Ok(Some(node)) => return Ok(node),
                    Ok(None) | Err(_) => drop(self.refused.fetch_add(1, Ordering::Relaxed)),
                }
            }
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// As the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// How many connections were not let in.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

async fn let_in(stream: TcpStream, peer: SocketAddr, trust: NodeTrust) -> Option<(Socket, SocketAddr)> {
    // Fails only for a socket that is gone.
    drop(stream.set_nodelay(true));
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, trust.accept(stream)).await {
        Ok(Ok(socket)) => Some((socket, peer)),
        Ok(Err(error)) => {
            tracing::warn!(%peer, %error, "a connection to the node link was refused");
            None
        }
        Err(_) => {
            tracing::debug!(%peer, "a connection to the node link said nothing in time");
            None
        }
    }
}
