//! Why an address could not be opened.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::endpoint::Endpoint;

/// Why an address could not be opened; each message is one line that a person can act on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program listens there.
    #[error("{0} is in use by another program: stop that one, or choose another port")]
    InUse(SocketAddr),
    /// The system reserves the port.
    #[error("no right to listen on {0}: choose a port from 1024 up, or grant CAP_NET_BIND_SERVICE")]
    Denied(SocketAddr),
    /// The address is not one of this machine.
    #[error("{0} is no address of this machine: choose one of its own, or 0.0.0.0 for all")]
    NoSuchAddress(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A Unix socket: somebody listens there, the path is no socket's, or its directory is missing or closed to us.
    #[error("cannot listen on unix:{}: {source}", path.display())]
    Unix {
        /// The path asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl BindError {
    pub(crate) fn new(at: &Endpoint, source: io::Error) -> Self {
        let address = match at {
            Endpoint::Tcp(address) => *address,
            Endpoint::Unix(path) => return Self::Unix { path: path.clone(), source },
        };
        if source.kind() == io::ErrorKind::AddrInUse {
            Self::InUse(address)
        } else if source.kind() == io::ErrorKind::PermissionDenied {
            Self::Denied(address)
        } else if source.kind() == io::ErrorKind::AddrNotAvailable {
            Self::NoSuchAddress(address)
        } else {
            Self::Other { address, source }
        }
    }
}
