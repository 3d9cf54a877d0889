//! A client's connection, as it travels from process to process.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;

/// One client's connection on its way to the process that will serve it.
pub struct Connection {
    /// The socket, in no reactor, non-blocking.
    pub stream: TcpStream,
    /// The client's address, as the accepting side saw it.
    pub peer: SocketAddr,
    /// Every byte that was read from the socket so far: the worker reads these first.
    pub read: Bytes,
}

impl Connection {
    /// Takes a stream out of its reactor, which must happen before it is passed on.
    ///
    /// # Errors
    /// When the stream cannot be deregistered.
    pub fn from_tokio(stream: tokio::net::TcpStream, peer: SocketAddr, read: Bytes) -> io::Result<Self> {
        Ok(Self { stream: stream.into_std()?, peer, read })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("read", &self.read.len())
            .finish_non_exhaustive()
    }
}
