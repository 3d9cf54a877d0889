//! The settings of a server.

use crate::admin;
use crate::compression::HttpCompression;
use crate::cookie::Cookie;
use crate::cors::Cors;
use crate::deflate::DeflateConfig;
use crate::node_link::NodeLink;
use crate::node_sockets::NodeSockets;
use crate::recovery::Recovery;
use sockeye_cluster::adapter::Adapter;
use sockeye_cluster::recovery::Config as Store;
use sockeye_proto::engine::Transport;
use sockeye_proto::socket::Parser;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a [`Server`](crate::Server) can be told. Names and defaults are the official ones where there are any.
///
/// ```
/// use sockeye::{Config, Server};
/// use std::time::Duration;
///
/// let config = Config { ping_interval: Duration::from_secs(10), max_payload: 100_000, ..Config::default() };
/// let io = Server::new(config);
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// The path that Socket.IO answers on, and everything that begins like it. Default `/socket.io/`. It always begins with a
    /// slash, and ends with one unless `add_trailing_slash` is off.
    pub path: String,
    /// Whether `path` ends with a slash; if not, `GET /socket.io?EIO=4…` is answered as well. Default `true`.
    pub add_trailing_slash: bool,
    /// Which transports are served; others are answered by `Transport unknown`. Default both.
    pub transports: Vec<Transport>,
    /// A cookie with the session's id, for balancers. Default none.
    pub cookie: Option<Cookie>,
    /// From a pong to the next ping. Default 25 s. A proxy in between must wait longer than this and `ping_timeout` together.
    pub ping_interval: Duration,
    /// From a ping to the end of a session whose client is silent. Default 20 s.
    pub ping_timeout: Duration,
    /// From the opening of a probing WebSocket to its end when the client did not complete the upgrade. Default 10 s.
    pub upgrade_timeout: Duration,
    /// From the opening of a session to its end when the client entered no namespace. Default 45 s.
    pub connect_timeout: Duration,
    /// Bytes of one message or one POST from a client (the official `maxHttpBufferSize`); more is answered by 413, or by close
    /// code 1009. Default 1,000,000. A connection buffers at most this much of an unfinished message.
    pub max_payload: u32,
    /// Binary attachments of one packet, in and out. Default 10: stock clients refuse more.
    pub attachments_max: u32,
    /// Whether polling clients are offered to move to a WebSocket. Default `true`.
    pub allow_upgrades: bool,
    /// Whether clients of Engine.IO v3 are served as well, socket.io-client 2 among them (the official `allowEIO3`). A request
    /// without `EIO=4` is one of v3 then. Default `false`.
    pub allow_eio3: bool,
    /// Whether a namespace that a client brought to life ends with its last socket. Default `false`, as officially: it stays.
    pub cleanup_empty_child_namespaces: bool,
    /// How many namespaces clients may bring to life; beyond it they hear `Invalid namespace`. Each costs some 100 bytes for
    /// each of `threads`. Default 100,000.
    pub child_namespaces_max: u32,
    /// Namespaces that one client may be in or on its way into. A further one is refused: `too many namespaces`. Default 256.
    pub namespaces_per_client_max: NonZeroUsize,
    /// Names of namespaces, of all clients, that functions ([`dynamic_namespace_if`](crate::Server::dynamic_namespace_if)) may be asked
    /// about at a time. A further client is refused: `too many namespaces`. Default 10,000.
    pub searches_max: u32,
    /// How packets are written (the official `parser`); clients must have the same. Default text.
    pub parser: Parser,
    /// Whether clients whose connection broke go on where they were (the official `connectionStateRecovery`). Default: no.
    pub connection_state_recovery: Option<Recovery>,
    /// The backplane that joins this server with others, also with those in Node.js (the official `adapter`). Each namespace is opened on
    /// it before the server listens; a namespace that a client brings to life, when it begins. What is said here is done here at once; a
    /// server under a supervisor speaks by its backplane alone, not by the mesh of its machine. Default none.
    pub adapter: Option<Arc<dyn Adapter>>,
    /// A directory in which servers of one machine find each other and share events without a backplane (`docs/mesh.md`). It is made
    /// where it is not there, and has to be this user's alone (mode 700); short, since sockets lie in it (107 bytes with their
    /// names). Under a supervisor that one's directory counts. Default none.
    pub mesh_dir: Option<PathBuf>,
    /// Where servers of this machine that share `adapter` carry requests to each other, so that a request may come to any. Default [`NodeSockets::User`]: they find each other with nothing to set.
    pub node_sockets: NodeSockets,
    /// How nodes of other machines reach this one, so that a request may come to any: it is carried to the node that has its session. Needs
    /// `adapter`, where nodes find each other. Default none.
    pub node_link: Option<Box<NodeLink>>,
    /// Bytes of one namespace that may wait to be published; a message beyond is delivered here only, counted
    /// ([`Stats::backplanes`](crate::Stats::backplanes), `refused`) and told ([`Server::on_backplane`](crate::Server::on_backplane)). Default 16 MiB.
    pub backplane_bytes_max: u32,
    /// How long [`emit_with_ack`](crate::Socket::emit_with_ack) waits for an answer. Default 10 s.
    pub ack_timeout: Duration,
    /// Which other origins may use the server from a browser. Default none.
    pub cors: Option<Cors>,
    /// How answers of polling are compressed, for clients that accept gzip or deflate. Default: from 1024 bytes on, as the official
    /// server; `None`: never. Bodies over 32 KiB are compressed on tokio's blocking threads, at most 8 at a time; a body that comes
    /// while all are busy goes out as it is.
    pub http_compression: Option<HttpCompression>,
    /// How messages on WebSockets are compressed, for clients that offer permessage-deflate. Default `None`: not at all. With
    /// [`DeflateConfig::default`] a connection keeps nothing between messages, a thread that compresses 372 KiB. Messages over 256 KiB go
    /// out as they are, since compressing one holds up whoever shares the thread.
    pub per_message_deflate: Option<DeflateConfig>,
    /// Bytes that may wait for one client. When more comes volatile messages are dropped; any other does what `mailbox_excess` says.
    /// Default 16 MiB; messages are shared, so a broadcast counts once in memory and in each mailbox.
    pub mailbox_bytes_max: u32,
    /// What happens to a client that does not take its mail, at `mailbox_bytes_max`. Default: its connection is closed. Another
    /// word for one socket: [`Socket::set_mailbox_excess`](crate::Socket::set_mailbox_excess).
    pub mailbox_excess: MailboxExcess,
    /// Events of one socket that may wait while a handler works. At this number the client is read no further. While a handler
    /// waits for an ack of this very client reading goes on, up to four times as many; then the connection closes.
    /// Default 64.
    pub events_waiting_max: NonZeroUsize,
    /// Events of one socket in a second, with a second's worth at once. Default: no limit.
    pub events_per_second: Option<NonZeroU32>,
    /// What happens to a client whose events come faster than `events_per_second`. Default: it is read later.
    pub events_excess: EventsExcess,
    /// Sessions that may live at a time; a handshake beyond gets 503. Default: no limit but that of open files.
    pub sessions_max: Option<NonZeroU32>,
    /// Sessions of one address (IPv6: of one network of 64 bits); a handshake beyond gets 429. Many people share one address behind a
    /// company's or a mobile network's NAT. Default: no limit.
    pub sessions_per_address_max: Option<NonZeroU32>,
    /// Handshakes in a second, with a second's worth at once; one beyond gets 429, and stock clients try again later. Default: no limit.
    pub handshakes_per_second: Option<NonZeroU32>,
    /// The same for each address.
    pub handshakes_per_second_per_address: Option<NonZeroU32>,
    /// Addresses that the two limits of addresses remember, about 50 bytes each. When all of them are busy, further ones go without
    /// these two limits. Default 65,536.
    pub addresses_max: NonZeroUsize,
    /// HTTP connections of a listener at a time: heads that are being read, polls, kept-alive ones. One beyond is closed at once. A
    /// WebSocket is a session and counts there. Default: no limit but that of open files.
    pub connections_max: Option<NonZeroUsize>,
    /// How long before the end of a credential ([`Socket::expire_at`](crate::Socket::expire_at)) the hook
    /// [`on_expiring`](crate::Definition::on_expiring) is called. Default 30 s.
    pub expiry_notice: Duration,
    /// Bytes of a request head; more is answered by 431. Default 16 KiB.
    pub head_bytes_max: u32,
    /// From the opening of a connection to the end of its first request head, and from an answer to the end of the next one: how long
    /// an idle connection is kept. Default 10 s.
    pub head_timeout: Duration,
    /// How long [`Server::allow_request`](crate::Server::allow_request) may think about a request; then it is refused as forbidden.
    /// Default 10 s.
    pub allow_request_timeout: Duration,
    /// From the head of a POST to the end of its body; a slower client is answered by 408 and loses its session. Default 60 s.
    pub body_timeout: Duration,
    /// A directory with the official client bundle (`socket.io.js`, …), served below `path`. Default: looked for in
    /// `node_modules/socket.io-client/dist` of the working directory; where there is none a small client of our own is served.
    pub client_dir: Option<PathBuf>,
    /// Whether a client is served at all (the official `serveClient`). Default `true`.
    pub serve_client: bool,
    /// Where `GET /metrics` is answered in the text format of Prometheus, on a listener of its own; keep it away from the public.
    /// Default: nowhere. Under a supervisor each worker would need a port: `sockeye up FILE` has all their numbers on its admin listener, without this; or use
    /// [`Handle::metrics_text`](crate::Handle::metrics_text).
    pub metrics: Option<SocketAddr>,
    /// Where programs that are no servers emit, disconnect and ask for sockets over HTTP ([`admin`](crate::admin)), on a listener of its own. The
    /// server refuses to start without a token. Not used under a supervisor. Default: nowhere.
    pub admin: Option<Box<admin::Config>>,
    /// Threads that will run the server: how many shards the index of rooms has. Default: the machine's cores.
    pub threads: NonZeroUsize,
}

impl Config {
    /// What a namespace keeps for clients that come back.
    pub(crate) fn recovery_store(&self) -> Option<Store> {
        let recovery = self.connection_state_recovery?;
        let half = usize::try_from(self.mailbox_bytes_max / 2).unwrap_or(usize::MAX);
        Some(Store {
            max_disconnection_duration: recovery.max_disconnection_duration,
            // A ping that is answered at the last moment, one that is not, and the one refresh that another packet brings.
            detection_time: self.ping_interval.saturating_add(self.ping_timeout.saturating_mul(3)),
            packets_max: recovery.packets_max,
            packet_bytes_max: recovery.packet_bytes_max,
            sessions_max: recovery.sessions_max,
            data_bytes_max: recovery.data_bytes_max,
            missed_bytes_max: recovery.missed_bytes_max.min(half),
            copy_bytes_max: recovery.copy_bytes_max,
            ..Store::default()
        })
    }
}

/// What happens to a client whose events come too fast.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum EventsExcess {
    /// It is read no further until its rate is kept, so TCP slows it down; a POST is answered later. Nothing is lost. Acks wait as well.
    #[default]
    Pause,
    /// Its connection is closed (`forced server close`).
    Close,
}

/// What happens when more mail waits for a client than [`Config::mailbox_bytes_max`] allows.
/// Messages of a key replace each other before that, under either: [`Unicast::coalesce`](crate::Unicast::coalesce).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum MailboxExcess {
    /// Its connection is closed (`transport close`), and the limit `mailbox_bytes_max` is counted.
    #[default]
    Close,
    /// The events that wait longest are dropped until an eighth of the mailbox is free, and counted (`mail_dropped_oldest`). What
    /// is left comes in order. Answers to the client, events that want an ack and packets of the protocol stay; those with a key
    /// go last. Where nothing is left to drop the connection is closed as by `Close`.
    DropOldest,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: "/socket.io/".to_owned(),
            add_trailing_slash: true,
            transports: vec![Transport::Polling, Transport::WebSocket],
            cookie: None,
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(45),
            max_payload: 1_000_000,
            attachments_max: 10,
            allow_upgrades: true,
            allow_eio3: false,
            cleanup_empty_child_namespaces: false,
            child_namespaces_max: 100_000,
            namespaces_per_client_max: const { NonZeroUsize::new(256).unwrap() },
            searches_max: 10_000,
            parser: Parser::Text,
            connection_state_recovery: None,
            adapter: None,
            mesh_dir: None,
            node_sockets: NodeSockets::User,
            node_link: None,
            backplane_bytes_max: 16 << 20,
            ack_timeout: Duration::from_secs(10),
            cors: None,
            per_message_deflate: None,
            http_compression: Some(HttpCompression::default()),
            mailbox_bytes_max: 16 << 20,
            mailbox_excess: MailboxExcess::default(),
            events_waiting_max: const { NonZeroUsize::new(64).unwrap() },
            events_per_second: None,
            events_excess: EventsExcess::default(),
            sessions_max: None,
            sessions_per_address_max: None,
            handshakes_per_second: None,
            handshakes_per_second_per_address: None,
            addresses_max: const { NonZeroUsize::new(65_536).unwrap() },
            connections_max: None,
            expiry_notice: Duration::from_secs(30),
            head_bytes_max: 16 << 10,
            head_timeout: Duration::from_secs(10),
            allow_request_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            client_dir: None,
            serve_client: true,
            metrics: None,
            admin: None,
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}
