//! `sockeye start`: runs scripts, programs, process files, and apps of the list.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use sockeye_supervisor::{
    AppSpec, Instances, Launch, PROFILE_VARIABLE, ReadyBy, Size, Span, StopSignal, name_of,
};

use crate::apps::{self, Pm2, Shape};
use crate::daemon::store;
use crate::daemon::words::{Done, Question};
use crate::holder;
use crate::places::Places;
use crate::{processes, settings};

/// What was typed; flags and defaults are pm2's, where pm2 has them.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// A script, a program, a process file (.toml, .json, .yaml, .config.js), or a name, an id or `all` of the list
    #[arg(value_name = "WHAT", required = true)]
    what: Vec<String>,
    /// The app's name [default: that of its script]
    #[arg(long, short)]
    name: Option<String>,
    /// The app's namespace
    #[arg(long, visible_alias = "ns", value_name = "NAME")]
    namespace: Option<String>,
    /// Use the variables of this profile of the process file
    #[arg(long, value_name = "PROFILE")]
    env: Option<String>,
    /// Where it runs [default: here]
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// What runs the script; `none` for nothing [default: by its ending]
    #[arg(long, value_name = "PROGRAM")]
    interpreter: Option<String>,
    /// Arguments of the interpreter, separated by spaces
    #[arg(long, visible_aliases = ["node-args", "interpreter_args"], value_name = "ARGS", allow_hyphen_values = true)]
    interpreter_args: Option<String>,
    /// Several workers behind one public port: a number, `max` for one a core, -1 for one less
    #[arg(long, short, value_name = "N", allow_hyphen_values = true, value_parser = instances)]
    instances: Option<Instances>,
    /// The public port [default: PORT, else the app's own]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// The address of the public port [default: the app's own, or 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    host: Option<IpAddr>,
    /// Threads of each worker of ours [default: cores divided by workers]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Restart when files change: here, or at PATH
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true, default_missing_value = ".")]
    watch: Vec<PathBuf>,
    /// Names and paths that are not watched
    #[arg(long, value_name = "PATTERN", num_args = 1.., value_delimiter = ' ')]
    ignore_watch: Vec<String>,
    /// Restart a process that uses more memory, such as 300M
    #[arg(long, value_name = "SIZE")]
    max_memory_restart: Option<Size>,
    /// Restart at moments, such as '0 3 * * *', by the clock of TZ or else of the system
    #[arg(long, visible_alias = "cron-restart", value_name = "CRON")]
    cron: Option<String>,
    /// Do not start a process again that ended
    #[arg(long)]
    no_autorestart: bool,
    /// Exit codes after which it is not started again
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    stop_exit_codes: Vec<i32>,
    /// A pause before each restart that does not grow, in milliseconds or as 2s
    #[arg(long, value_name = "TIME")]
    restart_delay: Option<Span>,
    /// The pause before the first restart, which doubles with each failure in a row [default: 100ms]
    #[arg(long, visible_alias = "exp-backoff-restart-delay", value_name = "TIME")]
    backoff: Option<Span>,
    /// So many failures in a row, and it is given up [default: 16]
    #[arg(long, value_name = "N")]
    max_restarts: Option<NonZeroU32>,
    /// Whoever ends earlier has failed [default: 1s]
    #[arg(long, value_name = "TIME")]
    min_uptime: Option<Span>,
    /// What says that it serves: auto, started, link, notify, ipc, port, port:NUMBER or http:/PATH
    #[arg(long, value_name = "WHAT")]
    ready: Option<ReadyBy>,
    /// The same as --ready ipc: process.send('ready')
    #[arg(long)]
    wait_ready: bool,
    /// How long it may take to serve [default: 30s]
    #[arg(long, visible_alias = "ready-timeout", value_name = "TIME")]
    listen_timeout: Option<Span>,
    /// From the signal to end to SIGKILL [default: 1600]
    #[arg(long, value_name = "TIME")]
    kill_timeout: Option<Span>,
    /// What asks it to end [default: SIGINT]
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<StopSignal>,
    /// Say `shutdown` to a Node app before the signal
    #[arg(long)]
    shutdown_with_message: bool,
    /// How long clients may take to leave a worker that is reloaded or scaled away [default: 10s]
    #[arg(long, value_name = "TIME")]
    drain: Option<Span>,
    /// The user that runs it; for root only
    #[arg(long, visible_alias = "uid", value_name = "NAME")]
    user: Option<String>,
    /// Apps that have to serve before
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    after: Vec<String>,
    /// The file of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The file of standard error
    #[arg(long, short, value_name = "FILE")]
    error: Option<PathBuf>,
    /// Begin each line of the log files with its time
    #[arg(long)]
    time: bool,
    /// Write the log files as JSON
    #[arg(long)]
    log_json: bool,
    /// Put a log file away at this size [default: 10M]
    #[arg(long, value_name = "SIZE")]
    log_max_size: Option<Size>,
    /// Put a log file away at this age [default: 1d]
    #[arg(long, value_name = "TIME")]
    log_max_age: Option<Span>,
    /// How many old log files are kept [default: 10]
    #[arg(long, value_name = "N")]
    log_keep: Option<u32>,
    /// Of a process file, only these apps
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Start anew what runs already under that name
    #[arg(long, short, hide = true)]
    force: bool,
    /// Of `up`, which runs in the foreground
    #[arg(long, hide = true)]
    no_daemon: bool,
    #[command(flatten)]
    pm2: Pm2,
    #[command(flatten)]
    shape: Shape,
    /// The app's arguments
    #[arg(last = true)]
    args: Vec<String>,
}

/// Starts what was named, and shows the list.
pub(crate) fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    if flags.no_daemon {
        bail!(
            "--no-daemon: sockeye up FILE runs a process file in the foreground; start runs in the background"
        );
    }
    let places = holder::places()?;
    let outcome = start(flags, &places);
    Ok(apps::conclude(&places, flags.shape, outcome))
}

fn start(flags: &Flags, places: &Places) -> anyhow::Result<Done> {
    let cwd = std::env::current_dir().context("cannot tell where this is")?;
    let mut env = apps::environment();
    if let Some(profile) = &flags.env {
        env.insert(PROFILE_VARIABLE.to_owned(), profile.clone());
    }
    let registry = store::read(&places.list())?;
    let (mut launches, mut listed) = (Vec::new(), Vec::new());
    for what in &flags.what {
        let path = cwd.join(what);
        if processes::is_process_file(&path) {
            let said = of_file(&path, flags.env.as_deref(), &flags.only, &env)?;
            let runs =
                |launch: &&Launch| registry.named(&launch.name).is_some_and(|app| app.keeper.is_some());
            if let Some(launch) = said.iter().find(runs).filter(|_| !flags.force) {
                bail!(
                    "{} runs already: sockeye reload {what} takes on what the file says now, without a gap, and sockeye restart {what} at once",
                    launch.name
                );
            }
            launches.extend(said);
        } else if registry.select(std::slice::from_ref(what)).is_ok_and(|_| !path.is_file()) {
            listed.push(what.clone());
        } else {
            launches.push(flags.launch(what, &cwd, &env)?);
        }
    }
    if launches.is_empty() && listed.is_empty() {
        match flags.only.is_empty() {
            true => bail!("the process file has no app: name one"),
            false => bail!("--only {} leaves no app of the process file", flags.only.join(",")),
        }
    }
    if let (Some(name), flags) = (listed.first(), flags.of_new_apps())
        && !flags.is_empty()
    {
        bail!(
            "{name} is in the list, and starts as it was said there: {} cannot be said of it now; sockeye delete {name}, then start its script with all flags",
            flags.join(", ")
        );
    }
    let mut done = Done::default();
    if !launches.is_empty() {
        // A port, an interpreter, a word that is wrong is told before a daemon is bothered.
        for launch in &launches {
            launch.settle(crate::tenant::cores()).with_context(|| launch.name.clone())?;
        }
        if flags.force {
            let runs = |name: &str| registry.named(name).is_some_and(|app| app.keeper.is_some());
            let targets: Vec<_> = launches
                .iter()
                .filter(|launch| runs(&launch.name))
                .map(|launch| launch.name.clone())
                .collect();
            if !targets.is_empty() {
                apps::ask(places, &Question::Stop { targets })?;
            }
        }
        done.apps.extend(apps::ask(places, &Question::Start { launches })?.apps);
    }
    if !listed.is_empty() {
        done.apps.extend(apps::ask(places, &Question::Resume { targets: listed, env: Some(env) })?.apps);
    }
    Ok(done)
}

/// The apps of a process file, all or these alone.
pub(super) fn of_file(
    path: &Path,
    profile: Option<&str>,
    only: &[String],
    env: &BTreeMap<String, String>,
) -> anyhow::Result<Vec<Launch>> {
    let cwd = path.parent().unwrap_or(Path::new("/"));
    let specs = settings::programs(path, profile)?.into_iter();
    let asked = specs.filter(|(name, _)| only.is_empty() || only.contains(name));
    let launch = |(name, spec)| Launch { name, spec, cwd: cwd.to_owned(), env: env.clone() };
    Ok(asked.map(|app| launch(app).with_logs_from_its_directory()).collect())
}

/// How many, where 0 is one a core, as with pm2.
fn instances(text: &str) -> Result<Instances, String> {
    if text == "0" { Ok(Instances::Max) } else { text.parse() }
}

impl Flags {
    /// The flags that were given and say something of an app that is not in the list yet.
    fn of_new_apps(&self) -> Vec<&'static str> {
        [
            ("--name", self.name.is_some()),
            ("--namespace", self.namespace.is_some()),
            ("--cwd", self.cwd.is_some()),
            ("--interpreter", self.interpreter.is_some()),
            ("--interpreter-args", self.interpreter_args.is_some()),
            ("--instances", self.instances.is_some()),
            ("--port", self.port.is_some()),
            ("--host", self.host.is_some()),
            ("--threads", self.threads.is_some()),
            ("--watch", !self.watch.is_empty()),
            ("--ignore-watch", !self.ignore_watch.is_empty()),
            ("--max-memory-restart", self.max_memory_restart.is_some()),
            ("--cron", self.cron.is_some()),
            ("--no-autorestart", self.no_autorestart),
            ("--stop-exit-codes", !self.stop_exit_codes.is_empty()),
            ("--restart-delay", self.restart_delay.is_some()),
            ("--backoff", self.backoff.is_some()),
            ("--max-restarts", self.max_restarts.is_some()),
            ("--min-uptime", self.min_uptime.is_some()),
            ("--ready", self.ready.is_some()),
            ("--wait-ready", self.wait_ready),
            ("--listen-timeout", self.listen_timeout.is_some()),
            ("--kill-timeout", self.kill_timeout.is_some()),
            ("--stop-signal", self.stop_signal.is_some()),
            ("--shutdown-with-message", self.shutdown_with_message),
            ("--drain", self.drain.is_some()),
            ("--user", self.user.is_some()),
            ("--after", !self.after.is_empty()),
            ("--output", self.output.is_some()),
            ("--error", self.error.is_some()),
            ("--time", self.time),
            ("--log-json", self.log_json),
            ("--log-max-size", self.log_max_size.is_some()),
            ("--log-max-age", self.log_max_age.is_some()),
            ("--log-keep", self.log_keep.is_some()),
            ("--only", !self.only.is_empty()),
            ("-- ARGS", !self.args.is_empty()),
        ]
        .into_iter()
        .filter_map(|(flag, given)| given.then_some(flag))
        .collect()
    }

    fn launch(&self, what: &str, cwd: &Path, env: &BTreeMap<String, String>) -> anyhow::Result<Launch> {
        if what == "all" {
            bail!("there is no app to start: name a script, a program or a process file");
        }
        let name = match &self.name {
            Some(_) if self.what.len() > 1 => {
                bail!("--name is for one app: start the others by a command of their own")
            }
            Some(name) => name.clone(),
            None => name_of(what),
        };
        if name.is_empty() || name == "all" || name.bytes().all(|byte| byte.is_ascii_digit()) {
            bail!("--name: expected a name that is neither a number nor all, got {name}");
        }
        Ok(Launch { name, spec: self.spec(what), cwd: cwd.to_owned(), env: env.clone() })
    }

    fn spec(&self, what: &str) -> AppSpec {
        let mut spec = AppSpec::new(what);
        spec.args.clone_from(&self.args);
        spec.cwd.clone_from(&self.cwd);
        spec.interpreter.clone_from(&self.interpreter);
        let words = self.interpreter_args.as_deref().unwrap_or_default().split_ascii_whitespace();
        spec.interpreter_args = words.map(str::to_owned).collect();
        (spec.instances, spec.port, spec.host, spec.threads) =
            (self.instances, self.port, self.host, self.threads);
        spec.watch.paths.clone_from(&self.watch);
        spec.watch.ignore.extend(self.ignore_watch.iter().cloned());
        (spec.max_memory, spec.cron) =
            (self.max_memory_restart, self.cron.clone().filter(|cron| cron != "0"));
        spec.autorestart = !self.no_autorestart;
        spec.stop_exit_codes.clone_from(&self.stop_exit_codes);
        spec.restart_delay = self.restart_delay;
        spec.shutdown_with_message = self.shutdown_with_message;
        spec.user.clone_from(&self.user);
        spec.after.clone_from(&self.after);
        (spec.log.out, spec.log.error) =
            (self.file(self.output.as_deref()), self.file(self.error.as_deref()));
        (spec.log.time, spec.log.json) = (self.time, self.log_json);
        let put = |to: &mut Span, from: Option<Span>| *to = from.unwrap_or(*to);
        put(&mut spec.backoff, self.backoff);
        put(&mut spec.min_uptime, self.min_uptime);
        put(&mut spec.ready_timeout, self.listen_timeout);
        put(&mut spec.kill_timeout, self.kill_timeout);
        put(&mut spec.drain, self.drain);
        put(&mut spec.log.max_age, self.log_max_age);
        spec.log.max_size = self.log_max_size.unwrap_or(spec.log.max_size);
        spec.log.keep = self.log_keep.unwrap_or(spec.log.keep);
        spec.max_restarts = self.max_restarts.unwrap_or(spec.max_restarts);
        spec.stop_signal = self.stop_signal.unwrap_or(spec.stop_signal);
        if self.wait_ready {
            spec.ready = ReadyBy::Ipc;
        }
        if let Some(ready) = &self.ready {
            spec.ready = ready.clone();
        }
        if let Some(namespace) = &self.namespace {
            spec.namespace.clone_from(namespace);
        }
        spec
    }

    /// A file is named from here, not from where apps keep theirs.
    fn file(&self, path: Option<&Path>) -> Option<PathBuf> {
        let path = path?;
        Some(std::env::current_dir().map_or_else(|_| path.to_owned(), |here| here.join(path)))
    }
}
