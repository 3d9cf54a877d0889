//! The limits of the edge, and why it could not open its port.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::time::Duration;

/// Where the edge listens, what it routes, and every limit it keeps.
#[derive(Clone, Debug)]
pub struct Config {
    /// The public address. Default `127.0.0.1:3000`; port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// The prefix of the paths that belong to the engine, with its slash at the end. Default `/socket.io/`.
    pub engine_path: String,
    /// How many workers must be ready before `/ready` says so for the first time. Later one is enough. Default 1.
    pub workers_asked: NonZero<u32>,
    /// How many connections the kernel completes before they are accepted. Default 4096; with tokio's own 128 a burst of 500 clients loses
    /// seconds to repeated SYNs. Bounded by `net.core.somaxconn`.
    pub backlog: u32,
    /// How many clients may be connected to the edge itself: relayed connections and tunnels, not those handed over. One more is closed at
    /// once. Default 65,536; each may cost up to `head_bytes_max` while its first request is read, then about 20 KiB while it is relayed.
    pub connections_max: NonZero<u32>,
    /// The largest request head; a larger one gets a 431. Default 16 KiB, sane 8 to 60 KiB: a handed-over head travels in one packet.
    pub head_bytes_max: NonZero<u32>,
    /// How long a client may take to send its first request head; then it gets a 408. Default 10 s.
    pub head_time_max: Duration,
    /// How long a kept-alive client may take from one request to the end of the next head; then it is closed. Default 75 s, longer than the
    /// 60 s for which nginx keeps its connections to us, so that it never sends a request into a closing one.
    pub idle_time_max: Duration,
    /// How long a request without a session waits for a worker when none is ready, as after a crash of the only one; then it gets a 503.
    /// Default 2 s.
    pub worker_wait_max: Duration,
    /// How many requests may wait so; one more gets its 503 at once. Default 4096.
    pub waiters_max: u32,
    /// How many connections may come back from dead workers at once and wait to be assigned anew; one more is closed. Default 8192, two dead
    /// workers' full queues. Each holds a descriptor and its bytes read.
    pub returned_max: NonZero<u32>,
    /// How long a graceful end waits for requests under way. Default 10 s.
    pub drain_time_max: Duration,
    /// The limits towards the workers.
    pub relay: sockeye_relay::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3000),
            engine_path: "/socket.io/".to_owned(),
            workers_asked: NonZero::<u32>::MIN,
            backlog: 4096,
            connections_max: const { NonZero::new(65_536).expect("not zero") },
            head_bytes_max: const { NonZero::new(16 * 1024).expect("not zero") },
            head_time_max: Duration::from_secs(10),
            idle_time_max: Duration::from_secs(75),
            worker_wait_max: Duration::from_secs(2),
            waiters_max: 4096,
            returned_max: const { NonZero::new(8192).expect("not zero") },
            drain_time_max: Duration::from_secs(10),
            relay: sockeye_relay::Config::default(),
        }
    }
}

/// Why the public port could not be opened; each message is one line that a person can act on.
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
}

impl BindError {
    pub(crate) fn new(address: SocketAddr, source: io::Error) -> Self {
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
