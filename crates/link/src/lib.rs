//! What a parent and its worker say to each other: ready, connection (descriptor, peer and the bytes read so far),
//! receipt, load, drain.
//!
//! The link is one `SOCK_SEQPACKET` Unix socket a worker, and one message is one packet (`message.rs` holds the
//! table). The parent [`Listener`] accepts workers; each becomes a [`Handover`] (the door to that worker) and its
//! [`Reports`]. The worker's end is [`Parent`], and [`Reporter`] for whoever counts.
//!
//! A connection that was passed is kept by the parent until the worker's receipt. If the worker goes first, it comes
//! back as [`Report::Returned`], unharmed, since the worker has not run it.
//!
//! Absent on purpose: who gets which connection (the edge), when a worker is started or killed (the supervisor), and
//! any connection that belongs to nobody yet: the parent reads no byte of one that it passed.

mod config;
mod message;
mod packet;
mod parent;
mod reports;
mod window;
mod worker;

pub use config::{Config, HEAD_BYTES_MAX};
pub use message::{Assign, Hello, Load, Ready};
pub use parent::{Arrival, Handover, Listener};
pub use reports::{Report, Reports};
pub use window::Stats;
pub use worker::{Event, Parent, Reporter};

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;

/// The variable that holds the path of the parent's socket.
pub const LINK_VARIABLE: &str = "SOCKEYE_LINK";

/// The variable that holds the worker's instance number.
pub const WORKER_VARIABLE: &str = "SOCKEYE_WORKER";

/// Counts the version of the messages; both ends must speak the same.
pub const VERSION: u32 = 1;

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
