//! What a tenant runs, settled: a program of somebody's, or this very program with an application that it has in it.

use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use sockeye_supervisor::preload::{self, NODE_OPTIONS};
use sockeye_supervisor::{AppSpec, Config, Instances, Launch, Ports, ReadyBy, Timing};

use crate::log;
use crate::places::KEEPER_VARIABLE;

/// What is run, and how many times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// What was said of it.
    pub(crate) launch: Launch,
    /// How many workers, where that was changed while it ran.
    pub(crate) instances: Option<u32>,
    /// Whether clients are led to it by what was written.
    pub(crate) led: bool,
    /// An application of ours in place of a command.
    pub(crate) bundled: Option<Bundled>,
}

/// An application that this program has in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bundled {
    /// Its name on the command line of a worker.
    pub(crate) app: &'static str,
    /// TCP ports of its workers.
    pub(crate) ports: Option<Ports>,
    /// What its workers share with other machines.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// Whether they log every change of state.
    pub(crate) verbose: bool,
}

impl Recipe {
    /// A program, as it was said.
    pub(crate) fn new(launch: Launch, instances: Option<u32>) -> Self {
        Self { launch, instances, led: false, bundled: None }
    }

    /// The same behind what was written: whoever is led somewhere is one of several, if only of one.
    pub(crate) fn led(mut self, led: bool) -> Self {
        if led {
            self.launch.spec.instances.get_or_insert(Instances::Exactly(NonZeroU32::MIN));
        }
        Self { led, ..self }
    }

    /// What runs it on this machine, as the supervisor is told. `mark` is what finds its processes wherever they go, `preload` where JavaScript may be written.
    pub(crate) fn settle(&self, mark: &str, preload: &Path) -> anyhow::Result<Config> {
        let mut config = match &self.bundled {
            Some(bundled) => self.settle_bundled(bundled)?,
            None => self.settle_program(preload)?,
        };
        if let Some(instances) = self.instances.and_then(NonZeroU32::new) {
            config.instances = instances;
        }
        config.environment.push((KEEPER_VARIABLE.into(), mark.into()));
        Ok(config)
    }

    /// Looks whether it could be settled, and does nothing.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.bundled.is_none() {
            self.launch.settle(cores()).with_context(|| format!("app.{}", self.launch.name))?;
            self.launch.spec.user.as_deref().map(account).transpose()?;
        }
        Ok(())
    }

    /// Whether processes that run by it are replaced where another takes its place: not where only their number is another.
    pub(crate) fn is_replaced_by(&self, next: &Self) -> bool {
        let same = Self { launch: self.launch.clone(), ..next.clone() };
        let mut spec = next.launch.spec.clone();
        spec.instances = self.launch.spec.instances;
        *self != same || self.launch.spec != spec
    }

    /// Looks whether what runs by it can come to run by another, and does nothing.
    pub(crate) fn can_become(&self, next: &Self) -> anyhow::Result<()> {
        if self.is_replaced_by(next) && self.bundled.as_ref().is_some_and(|bundled| bundled.ports.is_some()) {
            bail!(
                "workers with ports of their own (worker_ports) are not replaced while they run: stop and start anew"
            );
        }
        Ok(())
    }

    /// How many workers there shall be.
    pub(crate) fn count(&self) -> NonZeroU32 {
        let changed = self.instances.and_then(NonZeroU32::new);
        changed.unwrap_or_else(|| self.launch.instances(cores()))
    }

    fn settle_program(&self, preload: &Path) -> anyhow::Result<Config> {
        let mut config = self.launch.settle(cores())?;
        // This very program, whatever lies at its path by then.
        config.tether = Some("/proc/self/exe".into());
        if self.launch.takes_preload() {
            if !preload.exists() {
                preload::write(preload).context("cannot write the preload")?;
            }
            let users = self.launch.environment().remove(NODE_OPTIONS).map(OsString::from);
            let script = preload::script(preload);
            config.environment.push((NODE_OPTIONS.into(), preload::node_options(&script, users.as_deref())));
        }
        if self.led && !self.launch.is_preloaded() {
            // Whoever tells us nothing of its sockets has to listen where it is told.
            config.private_ports = true;
        }
        if let Some(user) = &self.launch.spec.user {
            config.user = Some(account(user)?);
        }
        Ok(config)
    }

    fn settle_bundled(&self, bundled: &Bundled) -> anyhow::Result<Config> {
        let spec = &self.launch.spec;
        let mut launch = self.launch.clone();
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        launch.spec.command = program.to_string_lossy().into_owned();
        launch.spec.interpreter = Some("none".to_owned());
        launch.spec.args = vec!["worker".to_owned(), bundled.app.to_owned()];
        let mut config = launch.settle(cores())?;
        config.environment.extend(bundled.environment.iter().cloned());
        if bundled.verbose && !launch.env.contains_key(log::LOG_VARIABLE) {
            config.environment.push((log::LOG_VARIABLE.into(), log::VERBOSE.into()));
        }
        (config.ports, config.private_ports, config.input) = (bundled.ports, false, false);
        config.ready = ReadyBy::Link;
        // They end by their link, with their last words said; what a person says of it is another matter.
        let usual = AppSpec::default();
        if spec.kill_timeout == usual.kill_timeout {
            config.timing.kill_timeout = Timing::default().kill_timeout;
        }
        if spec.stop_signal == usual.stop_signal {
            config.stop_signal = sockeye_supervisor::StopSignal::TERM;
        }
        if spec.max_restarts == usual.max_restarts {
            config.policy.max_restarts = None;
        }
        Ok(config)
    }
}

/// How many cores there are.
pub(crate) fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// The numbers of a user, from the system's list.
fn account(name: &str) -> anyhow::Result<(u32, u32)> {
    let list = std::fs::read_to_string("/etc/passwd").context("user: cannot read /etc/passwd")?;
    // passwd(5): name, password, user, group, …
    let find = |line: &str| {
        let mut fields = line.split(':');
        let is_asked = fields.next() == Some(name);
        let user = fields.nth(1)?.parse().ok()?;
        is_asked.then_some((user, fields.next()?.parse().ok()?))
    };
    list.lines().find_map(find).ok_or_else(|| anyhow!("user: there is no {name} in /etc/passwd"))
}
