//! What is to be examined, and why it cannot be.

use serde_json::Value;
use sockeye_client::Tls;
use std::time::Duration;

/// What to examine, and how thoroughly.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address that clients are given.
    pub url: String,
    /// The path that they are given. Default `/socket.io/`.
    pub path: String,
    /// Sessions that are opened, one after the other. Default 20.
    pub connects: u32,
    /// How long idle connections are held. Default 30 s: longer than the 25 s between two pings.
    pub hold: Duration,
    /// What one client says, to see who hears of it.
    pub broadcast: Option<Broadcast>,
    /// The origin of the page, where it is another one than the server's.
    pub origin: Option<String>,
    /// The port that should send people to HTTPS. Default 80.
    pub http_port: u16,
    /// Whom to trust.
    pub tls: Tls,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            url: String::new(),
            path: "/socket.io/".to_owned(),
            connects: 20,
            hold: Duration::from_secs(30),
            broadcast: None,
            origin: None,
            http_port: 80,
            tls: Tls::default(),
        }
    }
}

/// An event that an app answers by another one to everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broadcast {
    /// What a client says.
    pub event: String,
    /// What it says with it.
    pub data: Value,
    /// What all clients hear then.
    pub expect: String,
}

/// Nothing could be examined.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// The address, the path or the trust makes no sense.
    #[error(transparent)]
    Config(#[from] sockeye_client::ConfigError),
    /// Nobody answers.
    #[error(transparent)]
    Http(#[from] sockeye_client::http::HttpError),
    /// Not in time.
    #[error("expected an answer of {0} within 5 s, got none")]
    Silent(String),
}
