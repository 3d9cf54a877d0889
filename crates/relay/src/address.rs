//! Where an upstream listens, and the connect.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};

use crate::socket::Socket;
use crate::trust::NodeTrust;

/// Names the place where an upstream listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix stream socket.
    Unix(PathBuf),
    /// The port of a node of ours, with a [`NodeTrust`] of the configuration.
    Node(SocketAddr),
}

impl Address {
    /// Connects within `limit`.
    pub(crate) async fn connect(&self, limit: Duration, trust: Option<&NodeTrust>) -> io::Result<Socket> {
        match tokio::time::timeout(limit, self.dial(trust)).await {
            Ok(connected) => connected,
            Err(_elapsed) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no connection to {self} within {limit:?}"),
            )),
        }
    }

    async fn dial(&self, trust: Option<&NodeTrust>) -> io::Result<Socket> {
        match self {
            Self::Tcp(address) => dial_tcp(*address).await.map(Socket::Tcp),
            Self::Node(address) => {
                let no_trust = || io::Error::new(io::ErrorKind::InvalidInput, "there is no node_trust");
                let trust = trust.ok_or_else(no_trust)?;
                let stream = dial_tcp(*address).await?;
                let met = trust.dial(stream).await;
                met.map_err(|error| io::Error::new(error.kind(), format!("the node at {address}: {error}")))
            }
            #[cfg(unix)]
            Self::Unix(path) => dial_unix(path).await,
            #[cfg(not(unix))]
            Self::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

async fn dial_tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = match TcpStream::connect(address).await {
        // All ports of one source address are in use towards this one: on the loopback there are more source addresses.
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            dial_from_another(address, error).await?
        }
        connected => connected?,
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects from another address of the loopback, 127.0.0.2 and on.
async fn dial_from_another(address: SocketAddr, mut error: io::Error) -> io::Result<TcpStream> {
    let SocketAddr::V4(target) = address else { return Err(error) };
    if !target.ip().is_loopback() {
        return Err(error);
    }
    for last in 2..=LOOPBACK_SOURCES {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0)))?;
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(another) => error = another,
        }
        if error.kind() != io::ErrorKind::AddrNotAvailable {
            break;
        }
    }
    Err(error)
}

/// How many source addresses are tried on the loopback: some 28,000 connections each to one port.
const LOOPBACK_SOURCES: u8 = 8;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_loopback_is_reached_from_several_addresses() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let full = || io::Error::from(io::ErrorKind::AddrNotAvailable);
        let stream = dial_from_another(address, full()).await.unwrap();
        assert_eq!(stream.local_addr().unwrap().ip().to_string(), "127.0.0.2");
        assert!(dial_from_another("192.0.2.1:80".parse().unwrap(), full()).await.is_err(), "not elsewhere");
    }
}
