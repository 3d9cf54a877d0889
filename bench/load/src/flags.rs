//! The command line.

use std::net::{IpAddr, SocketAddr};

use clap::{Parser, ValueEnum};

/// Drives a server of the benchmark contract and prints one JSON line.
#[derive(Parser)]
pub(crate) struct Flags {
    /// What to do.
    #[arg(value_enum)]
    pub(crate) scenario: Scenario,
    /// Address of the server.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: IpAddr,
    /// Port of the server; of several nodes each gets every so-manieth client, so that the members of a room are on all.
    #[arg(long, default_value = "3000", value_delimiter = ',')]
    port: Vec<u16>,
    /// Polling: after its first request each client asks at this port, where its session is not.
    #[arg(long)]
    pub(crate) wrong_port: Option<u16>,
    /// Clients at once [default: by scenario].
    #[arg(long)]
    clients: Option<usize>,
    /// Messages a sender has under way at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    in_flight: u16,
    /// Bytes of the string in each message.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(16..=32768))]
    payload: u16,
    /// Members of each room.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    room_size: u16,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    /// Seconds before them that are not.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) warmup: f64,
    /// Sends this many messages instead of measuring by time, without a warm-up.
    #[arg(long)]
    pub(crate) count: Option<u64>,
    /// Messages a second over all senders; without it each sends as soon as it is answered.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Sleeps when nothing has arrived, instead of asking again: the server then pays for waking the load.
    #[arg(long)]
    pub(crate) sleep: bool,
    /// Encrypts every connection; the server's certificate is not checked.
    #[arg(long)]
    pub(crate) tls: bool,
    /// A process whose CPU time and memory are the server's; may be given more than once.
    #[arg(long)]
    pub(crate) server_pid: Vec<u32>,
}

impl Flags {
    /// Where the client of this number connects.
    pub(crate) fn address(&self, number: usize) -> SocketAddr {
        let port = self.port.get(number % self.port.len().max(1)).copied().unwrap_or_default();
        SocketAddr::new(self.host, port)
    }

    /// Where it asks once it has a session.
    pub(crate) fn later_address(&self, number: usize) -> SocketAddr {
        self.wrong_port.map_or_else(|| self.address(number), |port| SocketAddr::new(self.host, port))
    }

    pub(crate) fn clients(&self) -> usize {
        self.clients.unwrap_or(match self.scenario {
            Scenario::Echo | Scenario::Ack | Scenario::Polling | Scenario::Http => 64,
            Scenario::UnknownSid | Scenario::NotFound => 1,
            Scenario::Fanout | Scenario::Rooms => 1000,
            Scenario::ConnectWs | Scenario::ConnectPollingUpgrade => 16,
            Scenario::Idle => 10_000,
        })
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.into()
    }

    pub(crate) fn payload(&self) -> usize {
        self.payload.into()
    }

    pub(crate) fn room_size(&self) -> usize {
        self.room_size.into()
    }
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Scenario {
    /// Each client sends `echo` and waits for it.
    Echo,
    /// Each client sends `echo-ack` and waits for the ack.
    Ack,
    /// One client sends `broadcast` to all; deliveries are counted.
    Fanout,
    /// One client of each room sends to it; deliveries are counted.
    Rooms,
    /// Echo over polling: a GET that waits, and a POST.
    Polling,
    /// Clients that connect by WebSocket and leave.
    ConnectWs,
    /// Clients that connect by polling, upgrade, are answered one echo, and leave.
    ConnectPollingUpgrade,
    /// Connections that do nothing; the server's memory is measured.
    Idle,
    /// `GET /health`, each client one after the other on a connection that stays.
    Http,
    /// Requests with a session id that nobody has, each another one; answered by 400.
    UnknownSid,
    /// Requests for what is not there; answered by 404.
    NotFound,
}

impl Scenario {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Ack => "ack",
            Self::Fanout => "fanout",
            Self::Rooms => "rooms",
            Self::Polling => "polling",
            Self::ConnectWs => "connect-ws",
            Self::ConnectPollingUpgrade => "connect-polling-upgrade",
            Self::Idle => "idle",
            Self::Http => "http",
            Self::UnknownSid => "unknown-sid",
            Self::NotFound => "not-found",
        }
    }
}
