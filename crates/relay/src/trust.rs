//! How the nodes of a cluster know each other: by a secret, or by certificates.

use std::io;

use tokio::net::TcpStream;

use crate::secret::Secret;
use crate::socket::Socket;
use crate::tls::NodeTls;

/// How the nodes of a cluster know each other; the same on all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeTrust {
    /// By a secret that all know. What they say to each other can be read by whoever sits between them.
    Secret(Secret),
    /// By certificates of one authority, which both ends show. What they say to each other is encrypted.
    Tls(NodeTls),
}

impl NodeTrust {
    /// Makes sure that a connection that was dialled ends at a node, and shows that one is a node.
    pub(crate) async fn dial(&self, mut stream: TcpStream) -> io::Result<Socket> {
        match self {
            Self::Secret(secret) => secret.dial(&mut stream).await.map(|()| Socket::Tcp(stream)),
            // A handshake is large, and rare: whoever waits for it would carry it all the time.
            Self::Tls(tls) => Box::pin(tls.dial(stream)).await,
        }
    }

    /// The same for a connection that was accepted.
    pub(crate) async fn accept(&self, mut stream: TcpStream) -> io::Result<Socket> {
        match self {
            Self::Secret(secret) => secret.accept(&mut stream).await.map(|()| Socket::Tcp(stream)),
            Self::Tls(tls) => Box::pin(tls.accept(stream)).await,
        }
    }
}

impl From<Secret> for NodeTrust {
    fn from(secret: Secret) -> Self {
        Self::Secret(secret)
    }
}

impl From<NodeTls> for NodeTrust {
    fn from(tls: NodeTls) -> Self {
        Self::Tls(tls)
    }
}
