//! What the edge is told: where it listens, what goes where, who answers there, and every limit it keeps.
//!
//! Plain values, settled elsewhere from a file, flags or by hand. Absent: text, files, and anything that happens.

mod bind_error;
mod endpoint;
mod error;
mod fault;
mod group;
mod limits;
mod listener;
mod site;
mod tls_error;

use std::net::SocketAddr;
use std::path::PathBuf;

pub use bind_error::BindError;
pub use endpoint::{Cidr, CidrError, Endpoint};
pub use error::ConfigError;
pub use fault::GroupFault;
pub(crate) use fault::HEARTBEAT;
pub use group::{
    Affinity, Algorithm, Check, Cookie, CookieMode, DnsRecord, Drain, Group, Health, Members, Probe, Queue,
    SameSite, Server, ServerState, Timeouts,
};
pub use limits::Limits;
pub use listener::{Certificate, Http, Listener, ProxyVersion, Redirect, RedirectStatus, Serves, Tls};
pub use site::{Does, Site};
pub use tls_error::TlsError;

/// All that an edge does. One value replaces another while the edge runs ([`Control::apply`](crate::Control)).
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where clients come in. Default: one, plain HTTP on `127.0.0.1:3000`. None is allowed: addresses can be opened later.
    pub listeners: Vec<Listener>,
    /// What is asked for and what answers: the first that matches. Default: everything goes to the first group. A request that none matches gets a 404.
    pub sites: Vec<Site>,
    /// Who answers. Default: one, named `workers`, of the workers that are made known by [`Control`](crate::Control).
    pub groups: Vec<Group>,
    /// The proxies before this one whose `X-Forwarded-*` and `Forwarded` are believed and added to. From anybody else these headers are replaced.
    /// Default: none.
    pub trust: Vec<Cidr>,
    /// Where each request is noted, and how. Default: nowhere.
    pub access_log: Option<AccessLog>,
    /// Every limit that is not a group's own.
    pub limits: Limits,
    /// The limits towards upstreams.
    pub relay: sockeye_relay::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self::workers(Listener::default())
    }
}

impl Config {
    /// Everything that comes in at one place goes to the workers of this machine.
    #[must_use]
    pub fn workers(listener: Listener) -> Self {
        Self {
            listeners: vec![listener],
            sites: vec![Site::everything(Group::WORKERS)],
            groups: vec![Group::workers()],
            trust: Vec::new(),
            access_log: None,
            limits: Limits::default(),
            relay: sockeye_relay::Config::default(),
        }
    }

    /// The same, at a TCP address.
    #[must_use]
    pub fn listen(address: SocketAddr) -> Self {
        Self::workers(Listener { at: Endpoint::Tcp(address), ..Listener::default() })
    }
}

/// A line for each request that was answered, and for each connection that was handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// The file it is appended to; none: standard output.
    pub path: Option<PathBuf>,
    /// How a line reads.
    pub format: LogFormat,
}

/// How a line of the access log reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Apache's combined format, then the forwarded address, sid (its tag alone), transport and upstream.
    #[default]
    Combined,
    /// One JSON object a line.
    Json,
}
