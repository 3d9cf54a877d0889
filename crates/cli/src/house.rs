//! The house: one public port, and the workers behind it.
//!
//! One loop wires the supervisor to the edge and ends both. Absent: what to run (`plan.rs`), what is said of it
//! (`screen.rs`), and every decision about a worker (the supervisor's) or a connection (the edge's).

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use sockeye::{Guest, Server};
use sockeye_edge::config::{Group, Members};
use sockeye_edge::{Control, Proxy};
use sockeye_settings::Settled;
use sockeye_supervisor::{Line, RuntimeDir, Stream, Supervisor};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use crate::admin::{self, Admin, Clients};
use crate::cluster::Cluster;
use crate::crew::Crew;
use crate::plan::Plan;
use crate::screen::{Screen, headline};
use crate::standing::{self, Standing};
use crate::{log, ports, runtime};

/// The parent directory of the runtime directory.
const RUNTIME_DIR_VARIABLE: &str = "SOCKEYE_RUNTIME_DIR";

/// Signals this close together are one wish: `timeout` and shells signal a program and its group.
const SAME_ASK: Duration = Duration::from_millis(500);

/// How long answers under way may take once the last worker is gone.
const EDGE_END_WAIT: Duration = Duration::from_millis(500);

/// Runs until Ctrl-C or SIGTERM.
pub(crate) fn run(plan: &Plan, verbose: bool) -> anyhow::Result<()> {
    let mut edge = sockeye_edge::Config::listen(plan.listen);
    let mut group = Group::new(Group::WORKERS, Members::Workers { ready_min: plan.instances });
    group.foreign_sids = plan.cluster.is_one();
    edge.groups = vec![group];
    begin(verbose)?.block_on(async { Box::pin(House::open(plan, edge, verbose)?.serve(plan.drain)).await })
}

/// The same as a file says, which may say something else later.
pub(crate) fn run_file(plan: &Plan, file: &Path, settled: Settled, verbose: bool) -> anyhow::Result<()> {
    begin(verbose)?.block_on(async {
        let hangups = standing::hangups()?;
        let admin = Admin::open(file, &settled.admin)?;
        let house = House::open(plan, settled.edge.clone(), verbose)?;
        say(io::stdout(), &format!("admin     {}", admin.at()));
        let standing = Arc::new(Standing::new(file, house.control.clone(), settled));
        // These end with this function.
        let mut beside = JoinSet::new();
        let guest = Box::pin(visit(&house.mesh, &plan.cluster)).await?;
        let clients = Clients::new(&guest).context("cannot speak to the workers' clients")?;
        beside.spawn(admin::serve(admin, Arc::clone(&standing), Some(clients)));
        beside.spawn(standing::heed(standing, hangups));
        let ended = Box::pin(house.serve(plan.drain)).await;
        beside.shutdown().await;
        guest.leave().await;
        ended
    })
}

/// Joins the workers as a guest, so that operators can speak to their clients.
async fn visit(mesh: &Path, cluster: &Cluster) -> anyhow::Result<Guest> {
    let adapter = cluster.adapter().await?;
    let config = sockeye::Config { mesh_dir: Some(mesh.to_owned()), adapter, ..sockeye::Config::default() };
    Server::new(config).visit().await.context("cannot join the workers")
}

fn begin(verbose: bool) -> anyhow::Result<Runtime> {
    log::start(verbose)?;
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    runtime::build(threads).context("cannot start threads")
}

/// The edge and the workers.
struct House {
    supervisor: Supervisor,
    control: Control,
    /// Where the workers meet.
    mesh: PathBuf,
    crew: Crew,
    screen: Screen,
    edge: JoinHandle<()>,
    /// Sending, or dropping, closes the public port.
    close_edge: Option<oneshot::Sender<()>>,
    interrupts: Signal,
    terminations: Signal,
}

impl House {
    /// Opens the public port first: where it cannot be had nothing is started.
    fn open(plan: &Plan, edge: sockeye_edge::Config, verbose: bool) -> anyhow::Result<Self> {
        let interrupts = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
        let terminations = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let proxy = Proxy::bind(edge).map_err(|error| anyhow!(ports::public(&error)))?;
        if let Some(workers) = plan.ports {
            ports::try_workers(workers, plan.instances.get()).map_err(|line| anyhow!(line))?;
        }
        let directory = runtime_dir()?;
        let mesh = directory.mesh();
        say(io::stdout(), &headline(plan));
        let supervisor = Supervisor::start(workers(plan, verbose)?, directory, pass_on)?;
        let (close_edge, closed) = oneshot::channel();
        Ok(Self {
            supervisor,
            control: proxy.control(),
            mesh,
            crew: Crew::new(proxy.control(), plan.instances.get()),
            screen: Screen::new(plan, proxy.local_addr().unwrap_or(plan.listen)),
            // Ends with the house: `finish` waits for it.
            edge: tokio::spawn(proxy.run(async {
                let _ = closed.await;
            })),
            close_edge: Some(close_edge),
            interrupts,
            terminations,
        })
    }

    async fn serve(mut self, drain: Duration) -> anyhow::Result<()> {
        let mut failure = None;
        let mut stopping = None;
        loop {
            tokio::select! {
                event = self.supervisor.next() => {
                    let Some(event) = event else { break };
                    if let Some(line) = self.screen.handle_event(&event) {
                        say(io::stdout(), &line);
                    }
                    self.crew.handle_event(event);
                    if self.crew.is_hopeless() && failure.is_none() {
                        failure = Some("no worker became ready, and each was tried several times: their own words are above");
                        self.stop(Duration::ZERO);
                    }
                }
                () = asked_to_end(&mut self.interrupts, &mut self.terminations) => {
                    if stopping.is_some_and(|since: Instant| since.elapsed() < SAME_ASK) {
                        continue;
                    }
                    if stopping.is_some() {
                        failure = Some("killed before all was closed in order");
                        self.supervisor.kill();
                    } else {
                        stopping = Some(Instant::now());
                        self.stop(drain);
                    }
                }
                ended = &mut self.edge, if self.close_edge.is_some() => {
                    self.supervisor.kill();
                    bail!("the public port was given up: {ended:?}");
                }
            }
        }
        self.finish().await;
        failure.map_or(Ok(()), |failure| Err(anyhow!(failure)))
    }

    /// Takes no new client, and lets those who are there stay for a while.
    fn stop(&mut self, drain: Duration) {
        self.screen.handle_stop();
        if drain.is_zero() {
            say(io::stdout(), "stopping");
            self.close_edge = None;
        } else {
            say(io::stdout(), &format!("stopping within {drain:?} (Ctrl-C again: at once)"));
            self.crew.drain_all();
        }
        self.supervisor.stop(drain);
    }

    /// No worker is left: what is under way at the edge can only be its own answers.
    async fn finish(mut self) {
        self.close_edge = None;
        if tokio::time::timeout(EDGE_END_WAIT, &mut self.edge).await.is_err() {
            self.edge.abort();
        }
        say(io::stdout(), "stopped");
    }
}

/// Waits for Ctrl-C or SIGTERM.
async fn asked_to_end(interrupts: &mut Signal, terminations: &mut Signal) {
    tokio::select! {
        _ = interrupts.recv() => {}
        _ = terminations.recv() => {}
    }
}

/// The workers are this very program.
fn workers(plan: &Plan, verbose: bool) -> anyhow::Result<sockeye_supervisor::Config> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut config = sockeye_supervisor::Config::new(program);
    config.arguments = ["worker", plan.app.name()].map(Into::into).into();
    config.environment = plan.cluster.environment();
    if verbose && std::env::var_os(log::LOG_VARIABLE).is_none() {
        config.environment.push((log::LOG_VARIABLE.into(), log::VERBOSE.into()));
    }
    config.instances = plan.instances;
    config.threads = Some(plan.threads);
    config.ports = plan.ports;
    Ok(config)
}

fn runtime_dir() -> anyhow::Result<RuntimeDir> {
    let base = std::env::var_os(RUNTIME_DIR_VARIABLE).map(PathBuf::from);
    let made = base.as_deref().map_or_else(RuntimeDir::create, RuntimeDir::create_in);
    made.map_err(|error| {
        let base = base.as_deref().unwrap_or(Path::new("/tmp")).display();
        anyhow!("cannot keep sockets in {base} ({error}): set {RUNTIME_DIR_VARIABLE} to a directory of yours")
    })
}

/// Passes a worker's line on.
fn pass_on(line: &Line<'_>) {
    match line.stream {
        Stream::Out => say(io::stdout(), &line.to_string()),
        Stream::Error => say(io::stderr(), &line.to_string()),
    }
}

/// Writes a line; whoever closed the other end does not want it, and the clients are not to suffer.
fn say(mut to: impl Write, line: &str) {
    let _ = writeln!(to, "{line}");
}
