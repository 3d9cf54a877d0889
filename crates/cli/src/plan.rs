//! What is settled: every question that the flags left open is answered here, and what they cannot mean together is
//! refused. Pure: the number of cores is told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use sockeye_edge::Config;
use sockeye_edge::config::Endpoint;
use sockeye_settings as settings;
use sockeye_supervisor::Ports;

use crate::cluster::Cluster;
use crate::flags::{App, UpFlags};

/// What `up` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The public address.
    pub(crate) listen: SocketAddr,
    /// How many workers.
    pub(crate) instances: NonZeroU32,
    /// Threads of each.
    pub(crate) threads: NonZeroUsize,
    /// Their own ports.
    pub(crate) ports: Option<Ports>,
    /// What they serve.
    pub(crate) app: App,
    /// How long clients may stay at the end.
    pub(crate) drain: Duration,
    /// What the workers share with other machines.
    pub(crate) cluster: Cluster,
}

/// What flags cannot mean together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlanError {
    /// Nothing to count up from.
    #[error("--worker-ports needs its first port when --port is 0, such as --worker-ports 3001")]
    NoFirstPort,
    /// Beyond the last port.
    #[error(
        "--worker-ports {first} leaves no room for {instances} ports up to 65535: choose a lower first port"
    )]
    NoRoom {
        /// The first port.
        first: u32,
        /// How many are needed.
        instances: u32,
    },
    /// One of them is the public one.
    #[error(
        "--worker-ports {first} with {instances} workers takes the public port {port} too: choose another first port"
    )]
    Overlap {
        /// The first port.
        first: u16,
        /// How many are needed.
        instances: u32,
        /// The public port.
        port: u16,
    },
}

impl Plan {
    /// Settles what was typed, for a machine with that many cores.
    pub(crate) fn settle(flags: &UpFlags, cores: NonZeroUsize) -> Result<Self, PlanError> {
        let instances = flags.instances.on(cores);
        let share = cores.get() / instances.get() as usize;
        let threads = flags.threads.unwrap_or(NonZeroUsize::new(share).unwrap_or(NonZeroUsize::MIN));
        Ok(Self {
            listen: SocketAddr::new(flags.host, flags.port),
            instances,
            threads,
            ports: flags.worker_ports.map(|first| ports(first, flags, instances)).transpose()?,
            app: flags.app,
            drain: flags.drain,
            cluster: Cluster::default(),
        })
    }
}

impl Plan {
    /// Settles an app of a file.
    pub(crate) fn of_app(app: &settings::App, edge: &Config, cores: NonZeroUsize) -> Result<Self, PlanError> {
        let instances = app.spec.instances.map_or(NonZeroU32::MIN, |instances| instances.on(cores));
        let share = cores.get() / instances.get() as usize;
        let tcp = edge.listeners.iter().find_map(|listener| match listener.at {
            Endpoint::Tcp(address) => Some(address),
            Endpoint::Unix(_) => None,
        });
        let listen = tcp.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));
        let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let last = |first: u16| u32::from(first) + instances.get() - 1;
        if let Some(first) = app.worker_ports.filter(|first| last(*first) > u32::from(u16::MAX)) {
            return Err(PlanError::NoRoom { first: first.into(), instances: instances.get() });
        }
        Ok(Self {
            listen,
            instances,
            threads: app.spec.threads.unwrap_or(NonZeroUsize::new(share).unwrap_or(NonZeroUsize::MIN)),
            ports: app.worker_ports.map(|first| Ports { host, first }),
            cluster: Cluster::default(),
            app: match app.bundled {
                Some(settings::Bundled::Chat) | None => App::Chat,
                Some(settings::Bundled::Contract) => App::Contract,
                Some(settings::Bundled::Features) => App::Features,
            },
            drain: if app.says_drain { app.spec.drain.duration() } else { Duration::ZERO },
        })
    }
}

/// The address to open in a browser on this machine.
pub(crate) fn url(listening: SocketAddr) -> String {
    let host = match listening.ip() {
        host if !host.is_unspecified() => host,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    format!("http://{}/", SocketAddr::new(host, listening.port()))
}

fn ports(first: Option<u16>, flags: &UpFlags, instances: NonZeroU32) -> Result<Ports, PlanError> {
    let (port, instances) = (flags.port, instances.get());
    let first = match first {
        Some(first) => u32::from(first),
        None if port == 0 => return Err(PlanError::NoFirstPort),
        None => u32::from(port) + 1,
    };
    let last = first.saturating_add(instances - 1);
    let Some(first) = u16::try_from(first).ok().filter(|_| last <= u32::from(u16::MAX)) else {
        return Err(PlanError::NoRoom { first, instances });
    };
    if (u32::from(first)..=last).contains(&u32::from(port)) {
        return Err(PlanError::Overlap { first, instances, port });
    }
    Ok(Ports { host: flags.host, first })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_and_threads_share_the_cores() {
        let rows: [(usize, &[&str], (u32, usize)); 10] = [
            (8, &[], (8, 1)),
            (8, &["-i", "max"], (8, 1)),
            (8, &["-i", "-1"], (7, 1)),
            (1, &["-i", "-1"], (1, 1)),
            (4, &["-i", "-9"], (1, 4)),
            (8, &["-i", "2"], (2, 4)),
            (8, &["-i", "3"], (3, 2)),
            (2, &["-i", "8"], (8, 1)),
            (8, &["-i", "2", "--threads", "1"], (2, 1)),
            (2, &["-i", "1", "--threads", "16"], (1, 16)),
        ];
        for (cores, typed, expected) in rows {
            let plan = settle(cores, typed).unwrap();
            assert_eq!((plan.instances.get(), plan.threads.get()), expected, "{cores} cores, {typed:?}");
        }
    }

    #[test]
    fn workers_ports_follow_the_public_one_or_begin_where_they_are_told() {
        type Row<'a> = (&'a [&'a str], Result<Option<u16>, PlanError>);
        let rows: [Row<'_>; 9] = [
            (&[], Ok(None)),
            (&["--worker-ports"], Ok(Some(3001))),
            (&["--worker-ports", "--port", "4000"], Ok(Some(4001))),
            (&["--worker-ports", "5000", "--port", "0"], Ok(Some(5000))),
            (&["--worker-ports", "--port", "0"], Err(PlanError::NoFirstPort)),
            (&["--worker-ports", "65535"], Err(PlanError::NoRoom { first: 65_535, instances: 2 })),
            (&["--worker-ports", "--port", "65535"], Err(PlanError::NoRoom { first: 65_536, instances: 2 })),
            (&["--worker-ports", "2999"], Err(PlanError::Overlap { first: 2999, instances: 2, port: 3000 })),
            (&["--worker-ports", "2998"], Ok(Some(2998))),
        ];
        for (typed, expected) in rows {
            let first = settle(2, typed).map(|plan| plan.ports.map(|ports| ports.first));
            assert_eq!(first, expected, "{typed:?}");
        }
    }

    #[test]
    fn the_address_shown_is_one_that_opens() {
        for (listening, shown) in [
            ("127.0.0.1:3000", "http://127.0.0.1:3000/"),
            ("0.0.0.0:80", "http://127.0.0.1:80/"),
            ("[::]:3000", "http://[::1]:3000/"),
            ("192.0.2.1:3000", "http://192.0.2.1:3000/"),
        ] {
            assert_eq!(url(listening.parse().unwrap()), shown);
        }
    }

    fn settle(cores: usize, typed: &[&str]) -> Result<Plan, PlanError> {
        Plan::settle(&UpFlags::typed(typed), NonZeroUsize::new(cores).unwrap())
    }
}
