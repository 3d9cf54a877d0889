//! What has to be open in a firewall or a security group for a file to work.

use std::fmt;
use std::net::IpAddr;

use sockeye_edge::config::{Endpoint, Listener, Members, Serves};

use crate::settle::Settled;

/// One port that has to be open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Into this machine, or out of it.
    pub inbound: bool,
    /// The address here, or the other side's.
    pub address: String,
    /// What for.
    pub purpose: String,
    /// From or to whom.
    pub whom: String,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.inbound { "in" } else { "out" };
        write!(f, "{way:3}  tcp  {:24} {:34} {}", self.address, self.purpose, self.whom)
    }
}

impl Settled {
    /// The ports that have to be open. What is reached over loopback or a Unix socket needs nothing.
    #[must_use]
    pub fn ports(&self) -> Vec<Port> {
        let mut ports: Vec<Port> = self.edge.listeners.iter().filter_map(listener).collect();
        for app in &self.apps {
            if let Some(first) = app.worker_ports {
                let address = format!("127.0.0.1:{first} and on");
                ports.push(inbound(address, format!("workers of {}", app.name), "nobody: loopback"));
            }
        }
        if let Some(link) = &self.cluster.node_link {
            ports.extend(
                open(&Endpoint::Tcp(*link))
                    .map(|at| inbound(at, "node link".to_owned(), "the other machines of the cluster")),
            );
        }
        if let Some(admin) = &self.admin.address {
            ports.extend(open(admin).map(|at| {
                inbound(at, "admin listener".to_owned(), "operators and the metrics collector alone")
            }));
        }
        for group in &self.edge.groups {
            let to = |address: String| outbound(address, format!("upstream {}", group.name));
            match &group.members {
                Members::Static(servers) => {
                    ports.extend(servers.iter().filter_map(|server| open(&server.at)).map(to))
                }
                Members::Dns { name, .. } => ports.push(to(format!("what {name} resolves to"))),
                Members::File(path) => ports.push(to(format!("the servers of {}", path.display()))),
                Members::Registered { .. } => ports.push(to("who registers".to_owned())),
                Members::Directory { .. } => ports.push(to("the cluster's nodes".to_owned())),
                Members::Workers { .. } => {}
            }
        }
        if let Some(adapter) = self.cluster.adapter.as_deref().and_then(backplane) {
            ports.push(outbound(adapter, "backplane".to_owned()));
        }
        ports
    }
}

fn listener(listener: &Listener) -> Option<Port> {
    let at = open(&listener.at)?;
    let (what, whom) = match (&listener.serves, &listener.tls) {
        (Serves::Http(http), _) if http.redirect.is_some() => ("redirect".to_owned(), "clients"),
        (Serves::Http(_), None) => ("HTTP and WebSocket".to_owned(), "clients"),
        (Serves::Http(_), Some(_)) => ("HTTPS and secure WebSocket".to_owned(), "clients"),
        (Serves::Tcp { group, .. }, None) => (format!("TCP to {group}"), "clients"),
        (Serves::Tcp { group, .. }, Some(_)) => (format!("TLS, then TCP to {group}"), "clients"),
    };
    let whom = match &listener.proxy_from[..] {
        [] => whom.to_owned(),
        ranges => ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    Some(Port { inbound: true, address: at, purpose: format!("{}: {what}", listener.name), whom })
}

/// The address, where another machine can reach it.
fn open(at: &Endpoint) -> Option<String> {
    match at {
        Endpoint::Tcp(address) if !is_loopback(address.ip()) => Some(address.to_string()),
        Endpoint::Tcp(_) | Endpoint::Unix(_) => None,
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// The backplane's addresses, without names and passwords.
fn backplane(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    (!hosts.starts_with("127.") && !hosts.starts_with("localhost")).then(|| hosts.to_owned())
}

fn inbound(address: String, purpose: String, whom: &str) -> Port {
    Port { inbound: true, address, purpose, whom: whom.to_owned() }
}

fn outbound(address: String, purpose: String) -> Port {
    Port { inbound: false, address, purpose, whom: String::new() }
}
