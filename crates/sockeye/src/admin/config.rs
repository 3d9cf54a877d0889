//! How the admin API is served.

use sockeye_relay::Secret;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How the admin API is served.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to listen on. Requests are not encrypted: keep it on this machine, or behind something that encrypts. Default
    /// `127.0.0.1:3900`.
    pub listen: SocketAddr,
    /// What whoever asks has to show: `Authorization: Bearer …`. Default none, with which no server starts.
    pub token: Option<Secret>,
    /// Bytes of a body; more is answered by 413. Default 1,000,000.
    pub body_bytes_max: usize,
    /// How long a body may take to come; then 408. Default 10 s.
    pub body_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 3900)),
            token: None,
            body_bytes_max: 1_000_000,
            body_timeout: Duration::from_secs(10),
        }
    }
}
