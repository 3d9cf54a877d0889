//! Where an upstream listens, and the connect.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::secret::Secret;
use crate::socket::Socket;

/// Names the place where an upstream listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix stream socket.
    Unix(PathBuf),
    /// The port of a node of ours, with a [`Secret`] of the configuration.
    Node(SocketAddr),
}

impl Address {
    /// Connects within `limit`.
    pub(crate) async fn connect(&self, limit: Duration, secret: Option<&Secret>) -> io::Result<Socket> {
        match tokio::time::timeout(limit, self.dial(secret)).await {
            Ok(connected) => connected,
            Err(_elapsed) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no connection to {self} within {limit:?}"),
            )),
        }
    }

    async fn dial(&self, secret: Option<&Secret>) -> io::Result<Socket> {
        match self {
            Self::Tcp(address) => dial_tcp(*address).await.map(Socket::Tcp),
            Self::Node(address) => {
                let no_secret = || io::Error::new(io::ErrorKind::InvalidInput, "there is no node_secret");
                let secret = secret.ok_or_else(no_secret)?;
                let mut stream = dial_tcp(*address).await?;
                let met = secret.dial(&mut stream).await;
                met.map_err(|error| io::Error::new(error.kind(), format!("the node at {address}: {error}")))?;
                Ok(Socket::Tcp(stream))
            }
            #[cfg(unix)]
            Self::Unix(path) => dial_unix(path).await,
            #[cfg(not(unix))]
            Self::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

async fn dial_tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects to a Unix socket; where the listener's backlog is full the kernel answers `EAGAIN` and offers nothing to wait for, so this asks
/// again at growing intervals until the caller's limit cuts it off.
#[cfg(unix)]
async fn dial_unix(path: &std::path::Path) -> io::Result<Socket> {
    let mut pause = Duration::from_millis(1);
    loop {
        match tokio::net::UnixStream::connect(path).await {
            Ok(stream) => return Ok(Socket::Unix(stream)),
            Err(full) if full.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(BACKLOG_PAUSE_MAX);
            }
            Err(error) => return Err(error),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) | Self::Node(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The longest pause between two tries at a listener whose backlog is full.
#[cfg(unix)]
const BACKLOG_PAUSE_MAX: Duration = Duration::from_millis(50);
