//! What a client is told before it begins.

use crate::tls::Tls;
use http::HeaderMap;
use sockeye_proto::engine::Transport;
use std::time::Duration;

pub use crate::machine::Reconnection;

/// How to connect, and what a client may hold.
///
/// ```
/// use sockeye_client::{Config, Transport};
///
/// let websocket_only = Config { transports: vec![Transport::WebSocket], ..Config::default() };
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// The path of the server. Default `/socket.io/`.
    pub path: String,
    /// The transports, the first of which opens the connection. Default: polling, then a WebSocket. With `[WebSocket]` alone no
    /// balancer needs sticky sessions; with `[Polling]` alone the client never moves.
    pub transports: Vec<Transport>,
    /// Whether to try the next transport where the first cannot open the connection. Default: no, as the official client.
    pub try_all_transports: bool,
    /// Whether to move from polling to a WebSocket. Default: yes.
    pub upgrade: bool,
    /// Pairs for the query of every request, beside those of the URL. Default: none.
    pub query: Vec<(String, String)>,
    /// Fields for the head of every request. Default: none.
    pub headers: HeaderMap,
    /// Whether cookies that the server (or a balancer) sets are sent back, on every later request and WebSocket of this client, also
    /// after it came back. Default: yes; without it cookie-sticky balancers split a polling session. See [`Limits::cookies_max`].
    pub cookies: bool,
    /// From the first request to the server's greeting, for each try. Default 20 s (the official `timeout`).
    pub connect_timeout: Duration,
    /// For answers, unless a call says another. Default 20 s; officially there is none.
    pub ack_timeout: Duration,
    /// How to come back; `None`: not at all, and a first try that fails is the last. Default: as the official client.
    pub reconnection: Option<Reconnection>,
    /// Whom to trust with `https:`. Default: the authorities that the system trusts.
    pub tls: Tls,
    /// What a client may hold.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: "/socket.io/".to_owned(),
            transports: vec![Transport::Polling, Transport::WebSocket],
            try_all_transports: false,
            upgrade: true,
            query: Vec::new(),
            headers: HeaderMap::new(),
            cookies: true,
            connect_timeout: Duration::from_secs(20),
            ack_timeout: Duration::from_secs(20),
            reconnection: Some(Reconnection::default()),
            tls: Tls::default(),
            limits: Limits::default(),
        }
    }
}

/// What a client may hold; the worst case in memory is about `outgoing_bytes_max + sockets_max × incoming_bytes_max + 2 × payload_max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of events that were emitted and not yet written; beyond, [`EmitError::Full`](crate::EmitError::Full) and nothing is sent.
    /// Default 16 MiB.
    pub outgoing_bytes_max: usize,
    /// Calls that the client's task has not yet seen; beyond, the same. Default 1024.
    pub outgoing_max: usize,
    /// Events of a namespace that wait for [`Socket::next`](crate::Socket::next); beyond, [`Limits::excess`]. Default 4096.
    pub incoming_max: usize,
    /// Bytes of the same. Default 16 MiB.
    pub incoming_bytes_max: usize,
    /// What happens where more comes than is taken. Default: the connection is closed.
    pub excess: Excess,
    /// Answers that are waited for; beyond, [`EmitError::Full`](crate::EmitError::Full). Default 4096.
    pub acks_max: usize,
    /// Bytes of one message or one poll's answer; beyond, the connection is closed. Default 16 MiB.
    pub payload_max: usize,
    /// Attachments of one packet, either way; beyond, the connection is closed or nothing is emitted. Default 10, as officially.
    pub attachments_max: u32,
    /// Namespaces of one client; beyond, [`JoinError`](crate::JoinError). Default 64.
    pub sockets_max: usize,
    /// Cookies that are kept, each of at most 4 KiB; beyond, new ones are passed over. Default 32.
    pub cookies_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            outgoing_bytes_max: 16 << 20,
            outgoing_max: 1024,
            incoming_max: 4096,
            incoming_bytes_max: 16 << 20,
            excess: Excess::default(),
            acks_max: 4096,
            payload_max: 16 << 20,
            attachments_max: 10,
            sockets_max: 64,
            cookies_max: 32,
        }
    }
}

/// What happens where more events come than a program takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Excess {
    /// The connection is closed with [`Cause::Overrun`](crate::Cause::Overrun), and the client comes back: nothing is lost unseen.
    #[default]
    Close,
    /// The oldest events are dropped and counted ([`Status::dropped`](crate::Status::dropped)): for programs that only emit, or
    /// want the latest.
    DropOldest,
}
