//! Those who answer: which they are, which one is chosen, and when one is not.

use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use sockeye_proto::Tag;

use super::endpoint::Endpoint;

/// Servers that can stand for each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Sites and listeners name it so.
    pub name: String,
    /// Who they are.
    pub members: Members,
    /// The prefix of the paths that belong to the engine, with its slash at the end. Default `/socket.io/`. Empty: of any path, a request whose query has
    /// `EIO` and `transport`; for programs that choose their path themselves, and only where the servers are not workers.
    pub engine_path: String,
    /// Whether the workers know nodes of other machines: a request whose sid names none of these workers goes to any of them then, which carries
    /// it on or refuses it. Default off: it is refused here.
    pub foreign_sids: bool,
    /// What names the server of a request, tried in this order; where none does, `algorithm` chooses. Default: the sid.
    pub affinity: Vec<Affinity>,
    /// Who gets a session that nothing names a server for. Default: least connections.
    pub algorithm: Algorithm,
    /// How it is known who serves.
    pub health: Health,
    /// How a server's sessions go when it drains, and after new ones came.
    pub drain: Drain,
    /// Who waits when nobody can take a session.
    pub queue: Queue,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Says the client's address in a PROXY header: one connection to the server for each of the client's. Default off.
    pub send_proxy: Option<super::ProxyVersion>,
}

impl Group {
    /// The name of the group of this machine's workers.
    pub const WORKERS: &'static str = "workers";

    /// The workers that are made known by [`Control`](crate::Control).
    #[must_use]
    pub fn workers() -> Self {
        Self::new(Self::WORKERS, Members::Workers { ready_min: NonZero::<u32>::MIN })
    }

    /// A group with the defaults.
    #[must_use]
    pub fn new(name: &str, members: Members) -> Self {
        Self {
            name: name.to_owned(),
            engine_path: "/socket.io/".to_owned(),
            foreign_sids: false,
            affinity: vec![Affinity::Sid],
            algorithm: Algorithm::default(),
            health: Health::of(&members),
            drain: Drain::default(),
            queue: Queue::default(),
            timeouts: Timeouts::default(),
            send_proxy: None,
            members,
        }
    }
}

/// Who the servers of a group are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members {
    /// Workers of a supervisor, made known by [`Control::add`](crate::Control::add).
    Workers {
        /// How many must be ready before `/ready` says so for the first time. Later one is enough. Default 1.
        ready_min: NonZero<u32>,
    },
    /// These.
    Static(Vec<Server>),
    /// What a name resolves to, asked again and again.
    Dns {
        /// The name; behind an `@` the address of a name server, where it is not the system's: `web.service.consul@127.0.0.1:8600`.
        name: String,
        /// Which records.
        record: DnsRecord,
        /// The pause between two questions; a shorter time to live of the answer counts. Default 10 s.
        every: Duration,
    },
    /// A file with a server a line (`ADDRESS [weight=N] [route=NAME] [drain]`), read again when it changes.
    File(PathBuf),
    /// Who registers at the admin listener, for as long as its lease lasts.
    Registered {
        /// How long a registration lasts that is not repeated. Default 15 s.
        lease: Duration,
    },
    /// The nodes that the cluster's own directory names.
    Directory {
        /// The address of the backplane.
        adapter: String,
    },
}

/// Which records of a name are servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsRecord {
    /// A and AAAA, each at this port.
    Address(u16),
    /// SRV, which have ports and weights.
    Service,
}

/// One server of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Names it in cookies (`app01`), logs and metrics. Default: its address.
    pub name: String,
    /// Where it listens.
    pub at: Endpoint,
    /// Its share beside the others. Default 1.
    pub weight: NonZero<u16>,
    /// How many sessions it may have; more go elsewhere or wait. Default none.
    pub sessions_max: Option<NonZero<u32>>,
    /// What its sids begin with. Default none: whose a session is, is learnt from the answers to handshakes. It is learnt all the same, and counts where it is
    /// known; the tag tells of sessions that this edge has not seen begin.
    pub tag: Option<Tag>,
    /// What the operator wants of it.
    pub state: ServerState,
}

/// What an operator wants of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerState {
    /// It takes part.
    #[default]
    Up,
    /// It is about to be replaced: it takes part, and gets a new session where nobody else takes one. A client that is moved is moved to where it can stay.
    Waning,
    /// It gets no new session, and those it has end or move at the pace of [`Drain`].
    Drain,
    /// It gets nothing.
    Maintenance,
}

/// What names the server of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// The sid in the query: by its tag for servers of ours, else as learnt from the handshake's answer.
    Sid,
    /// A cookie.
    Cookie(Cookie),
    /// The client's address, hashed; behind trusted proxies the one that `ForwardedFor` would take.
    Address {
        /// `ip_hash` of nginx: three octets of IPv4, all of IPv6. Else the whole address.
        three_octets: bool,
        /// No server gets more than this share of the mean, in percent (125); what is beyond goes to the next on the ring. 0: no bound.
        bound_percent: u16,
    },
    /// The right-most address of `X-Forwarded-For` that is no trusted proxy's, hashed.
    ForwardedFor,
    /// A header's value, hashed.
    Header(String),
}

/// A cookie that names the server. Where the server sets it, attributes that are set here replace the server's, and the others stay as it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// Default `SERVERID`.
    pub name: String,
    /// Who sets it.
    pub mode: CookieMode,
    /// Default `/`.
    pub path: Option<String>,
    /// Default none.
    pub domain: Option<String>,
    /// How long a browser keeps it (`Max-Age` and `Expires`). Default: until it is closed.
    pub expires: Option<Duration>,
    /// Default true.
    pub http_only: Option<bool>,
    /// Default: where the client came by TLS.
    pub secure: Option<bool>,
    /// Default none.
    pub same_site: Option<SameSite>,
    /// Default false.
    pub partitioned: Option<bool>,
}

impl Default for Cookie {
    fn default() -> Self {
        Self {
            name: "SERVERID".to_owned(),
            mode: CookieMode::Insert,
            path: None,
            domain: None,
            expires: None,
            http_only: None,
            secure: None,
            same_site: None,
            partitioned: None,
        }
    }
}

/// Who sets the cookie that names the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieMode {
    /// The edge does, when a session begins or its server changes. The servers do not see it.
    Insert,
    /// The server does, and the edge puts the server's name before its value: `io=app01~value`; the servers see the value alone.
    Prefix,
    /// The server does, and the edge replaces the value by the server's name.
    Rewrite,
}

/// Whether a browser sends the cookie along from pages of other sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Never.
    Strict,
    /// When it navigates.
    Lax,
    /// Always; browsers ask for `Secure` then.
    None,
}

/// Who gets a session that nothing names a server for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// The one with the fewest sessions for its weight, counted when they are assigned.
    #[default]
    LeastConnections,
    /// Each in turn, by weight.
    RoundRobin,
    /// Anybody, by weight.
    Random,
    /// The better of two at random.
    TwoChoices,
}

/// How it is known who serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What is asked of each server. Workers say by themselves whether they serve.
    pub check: Check,
    /// The pause between two questions. Default 2 s.
    pub interval: Duration,
    /// How long an answer may take. Default 1 s.
    pub timeout: Duration,
    /// How many good answers bring a server back. Default 2.
    pub rise: NonZero<u16>,
    /// How many bad ones take it out. Default 3. A refused connection of a client's request takes it out at once.
    pub fall: NonZero<u16>,
    /// How long a server that came back gets less than its share, growing evenly. Default 0.
    pub slow_start: Duration,
}

impl Health {
    /// The default for such members: nodes of ours answer `HEAD /health`, of other programs nothing is known but that they listen.
    #[must_use]
    pub fn of(members: &Members) -> Self {
        let check = match members {
            Members::Directory { .. } => Check::Http(Probe::default()),
            Members::Workers { .. }
            | Members::Static(_)
            | Members::Dns { .. }
            | Members::File(_)
            | Members::Registered { .. } => Check::default(),
        };
        Self { check, ..Self::default() }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            check: Check::default(),
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            rise: const { NonZero::new(2).expect("not zero") },
            fall: const { NonZero::new(3).expect("not zero") },
            slow_start: Duration::ZERO,
        }
    }
}

/// What is asked of a server to know whether it serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// Nothing.
    Off,
    /// A connection.
    #[default]
    Connect,
    /// A request.
    Http(Probe),
}

/// A request that a healthy server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Default `HEAD`.
    pub method: String,
    /// Default `/health`.
    pub path: String,
    /// The lowest and highest status of a good answer. Default 200 to 399.
    pub status: (u16, u16),
}

impl Default for Probe {
    fn default() -> Self {
        Self { method: "HEAD".to_owned(), path: "/health".to_owned(), status: (200, 399) }
    }
}

/// How live sessions leave a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drain {
    /// How many sessions a second are moved off a server that drains; 0, the default: they stay until they end.
    pub pace: u32,
    /// Whether, after a server came, the excess of the others over the mean is moved at the same pace. Default off.
    pub rebalance: bool,
}

/// Who waits when nobody can take a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// How long a request without a session waits for a server when none is ready, as after a crash of the only one; then it gets a 503.
    /// Default 2 s.
    pub wait_max: Duration,
    /// How many requests may wait so; one more gets its 503 at once. Default 4096.
    pub waiters_max: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Self { wait_max: Duration::from_secs(2), waiters_max: 4096 }
    }
}

/// How long things may take between the edge and a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// How long a tunnel may be silent; none, the default: longer than the heartbeat that the handshake told. A shorter one is refused.
    pub tunnel: Option<Duration>,
    /// The heartbeat of servers whose handshakes the edge does not see (pingInterval + pingTimeout); none: as seen, 45 s until then.
    pub heartbeat: Option<Duration>,
}
