//! How a client's connection stands, for whoever wants to watch it.

use crate::cause::Closed;
use sockeye_proto::engine::Transport;
use std::time::Duration;

/// How the connection stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// What the client is doing.
    pub phase: Phase,
    /// What the server said when it greeted, until the next try.
    pub greeting: Option<Greeting>,
    /// By what the packets go, once the server has greeted.
    pub transport: Option<Transport>,
    /// Whether the connection moved from polling to a WebSocket.
    pub upgrade: Upgrade,
    /// Connections that were opened.
    pub connections: u64,
    /// Tries since the last connection.
    pub attempts: u32,
    /// How the last connection, or try, ended.
    pub last_end: Option<Closed>,
    /// Events that were dropped since nobody took them ([`Excess::DropOldest`](crate::Excess::DropOldest)).
    pub dropped: u64,
}

/// What a client is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Opening a connection.
    #[default]
    Connecting,
    /// The server has greeted.
    Open,
    /// Waiting for the next try.
    Waiting,
    /// Closed, or it gave up: nothing will change any more.
    Over,
}

/// What the server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The session's id: the client's secret.
    pub sid: String,
    /// The transports that the server offers to move to.
    pub upgrades: Vec<String>,
    /// Between pings.
    pub ping_interval: Duration,
    /// For the answer to a ping.
    pub ping_timeout: Duration,
}

/// Whether a connection moved from polling to a WebSocket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Upgrade {
    /// Not yet, or there was nothing to move.
    #[default]
    Pending,
    /// It moved.
    Done,
    /// It will not, and why.
    Failed(String),
}
