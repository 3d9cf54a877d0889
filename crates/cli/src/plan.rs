//! What is settled: every question that the flags, or a file, left open is answered here, and what they cannot mean together is
//! refused. What is run for it is a `Recipe`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use sockeye_edge::config::{Group, Members};
use sockeye_settings as settings;
use sockeye_settings::Settled;
use sockeye_supervisor::{AppSpec, Instances, Launch, PROFILE_VARIABLE, Ports, Span};

use crate::cluster::{Cluster, Said};
use crate::daemon::registry::in_order;
use crate::flags::{App, UpFlags};
use crate::tenant::{Bundled, Recipe, cores};
use crate::{apps, backplane, board, recovery};

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
    /// How long clients may be away and go on; `None`: the environment says.
    pub(crate) recovery: Option<Duration>,
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
            recovery: flags.recovery,
            cluster: Cluster::default(),
        })
    }
}

impl Plan {
    /// The group of the workers.
    pub(crate) fn group(&self) -> Group {
        let mut group = Group::new(Group::WORKERS, Members::Workers { ready_min: self.instances });
        group.foreign_sids = self.cluster.is_one();
        group
    }

    /// The workers.
    pub(crate) fn recipe(&self, verbose: bool) -> Recipe {
        let spec = AppSpec {
            instances: Some(Instances::Exactly(self.instances)),
            threads: Some(self.threads),
            ..AppSpec::default()
        };
        let launch = Launch { name: Group::WORKERS.to_owned(), spec, cwd: here(), env: apps::environment() };
        let mut environment = self.cluster.environment();
        environment.extend(recovery::environment(self.recovery));
        let bundled = Bundled { app: self.app.name(), ports: self.ports, environment, verbose };
        Recipe { bundled: Some(bundled), ..Recipe::new(launch, None) }.led(true)
    }
}

/// The apps of a file, in the order in which they start, and what the bundled ones share with other machines. `base` is the directory from which their paths count.
pub(crate) fn recipes(
    settled: &Settled,
    base: &Path,
    profile: Option<&str>,
    verbose: bool,
) -> anyhow::Result<(Cluster, Vec<Recipe>)> {
    let told = &settled.cluster;
    let cluster = match settled.apps.iter().any(|app| app.bundled.is_some()) {
        true => cluster(&Said::of_file(told)).context("cluster")?,
        false => Cluster::default(),
    };
    let mut env = apps::environment();
    if let Some(profile) = profile {
        env.insert(PROFILE_VARIABLE.to_owned(), profile.to_owned());
    }
    let launch = |app: &settings::App| {
        let mut spec = app.spec.clone();
        if app.bundled.is_some() && !app.says_drain {
            spec.drain = Span::from_secs(0);
        }
        Launch { name: app.name.clone(), spec, cwd: base.to_owned(), env: env.clone() }
    };
    let ordered = in_order(settled.apps.iter().map(launch).collect()).map_err(|error| anyhow!(error))?;
    let recipe = |launch: Launch| {
        let app = settled.apps.iter().find(|app| app.name == launch.name).expect("it was made of one");
        let known = |name: &&String| settled.apps.iter().any(|other| other.name == **name);
        if let Some(stranger) = launch.spec.after.iter().find(|name| !known(name)) {
            bail!("app.{}.after: there is no app {stranger}: add it, or leave it out", app.name);
        }
        let led = board::leads_to(&settled.edge, &app.name);
        let bundled = match app.bundled {
            Some(bundled) => {
                let recovery =
                    recovery::settle(app.recovery, |name| launch.environment().get(name).cloned())?;
                let environment = cluster.environment().into_iter();
                Some(Bundled {
                    app: name_of(bundled),
                    ports: worker_ports(app, launch.instances(cores()))?,
                    environment: environment.chain(recovery::environment(recovery)).collect(),
                    verbose,
                })
            }
            None => None,
        };
        Ok(Recipe { bundled, ..Recipe::new(launch, None) }.led(led))
    };
    let recipes: anyhow::Result<_> = ordered.into_iter().map(recipe).collect();
    Ok((cluster, recipes?))
}

/// What is shared with other machines. An address of a backplane is looked at by who has its client.
pub(crate) fn cluster(said: &Said<'_>) -> anyhow::Result<Cluster> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let check = |url: &str| (backplane::at_hand()?.check)(url);
    Ok(Cluster::settle(said, variable, check)?)
}

fn worker_ports(app: &settings::App, instances: NonZeroU32) -> Result<Option<Ports>, PlanError> {
    let Some(first) = app.worker_ports else { return Ok(None) };
    if u32::from(first) + instances.get() - 1 > u32::from(u16::MAX) {
        return Err(PlanError::NoRoom { first: first.into(), instances: instances.get() });
    }
    Ok(Some(Ports { host: IpAddr::V4(Ipv4Addr::LOCALHOST), first }))
}

const fn name_of(bundled: settings::Bundled) -> &'static str {
    match bundled {
        settings::Bundled::Chat => App::Chat.name(),
        settings::Bundled::Contract => App::Contract.name(),
        settings::Bundled::Features => App::Features.name(),
    }
}

fn here() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"))
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
