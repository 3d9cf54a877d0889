//! One app of the house, in a task of its own: it tells a person what happens, does what the house orders, and says what the house has to know.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use sockeye::{Guest, Server};
use sockeye_supervisor::log::Logs;
use sockeye_supervisor::{Event, Line, RuntimeDir, Status, Stream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::admin::{Clients, Ways};
use crate::board::Board;
use crate::cluster::Cluster;
use crate::exit;
use crate::screen::Screen;
use crate::tenant::{Recipe, Tenant, Turn};

/// How often each bundled worker may fail before any was ever ready.
const ATTEMPTS_MAX: u32 = 3;

/// How many orders may wait; one more is refused.
const ORDERS_MAX: usize = 16;

/// The parent directory of the runtime directory.
const RUNTIME_DIR_VARIABLE: &str = "SOCKEYE_RUNTIME_DIR";

/// What the house wants.
#[derive(Debug)]
pub(super) enum Order {
    /// All shall end, and may take so long to let their clients go.
    Stop(Duration),
    /// All shall end at once.
    Kill,
    /// It shall run so from here on.
    Become(Box<Recipe>),
}

/// What the house has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// All workers serve at the same time, for the first time.
    Ready,
    /// No worker runs, and none is started again; whether any failed.
    Idle(bool),
    /// Nothing is left of it.
    Ended,
}

/// An app that the house has.
pub(super) struct Room {
    orders: mpsc::Sender<Order>,
    pub(super) recipe: Recipe,
    pub(super) ready: bool,
    pub(super) idle: bool,
    pub(super) leaving: bool,
}

/// What all rooms share.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) board: Arc<Board>,
    pub(super) words: mpsc::Sender<(String, Word)>,
    /// The ways to the apps' workers and clients, where operators may come.
    pub(super) ways: Option<Ways>,
    pub(super) cluster: Cluster,
    /// Where a person is told to look, where nothing but the bundled chat runs.
    pub(super) shown: Option<SocketAddr>,
}

impl Room {
    /// Starts an app; its task is one of `tasks`, and ends when it has ended.
    pub(super) fn open(recipe: Recipe, common: &Common, tasks: &mut JoinSet<()>) -> anyhow::Result<Self> {
        let name = recipe.launch.name.clone();
        let directory = runtime_dir()?;
        let mark = directory.path().to_string_lossy().into_owned();
        let mesh = directory.mesh();
        let prefix = if common.shown.is_some() { String::new() } else { format!("{name} ") };
        let log = &recipe.launch.spec.log;
        // In the foreground lines are on the terminal; a file is for whoever names one.
        let files = log.files && (log.out.is_some() || log.error.is_some());
        let logs = match files {
            true => Some(
                Logs::open(&name, log.clone(), recipe.launch.directory()).context("cannot keep log files")?,
            ),
            false => None,
        };
        let before = prefix.clone();
        let on_line = move |line: &Line<'_>| {
            if let Some(logs) = &logs {
                logs.handle_line(line);
            }
            match line.stream {
                Stream::Out => say(io::stdout(), &format!("{before}{line}")),
                Stream::Error => say(io::stderr(), &format!("{before}{line}")),
            }
        };
        let screen = Screen::new(&recipe, prefix, common.shown);
        let tenant = Tenant::open(recipe.clone(), mark, directory, (&common.board, &name), on_line)
            .with_context(|| name.clone())?;
        let (orders, heard) = mpsc::channel(ORDERS_MAX);
        let task = Task { name, tenant, screen, common: common.clone(), failures: 0, ever_ready: false };
        tasks.spawn(Box::pin(task.live(heard, mesh)));
        Ok(Self { orders, recipe, ready: false, idle: false, leaving: false })
    }

    /// Orders something. Whoever has ended hears nothing, which is all that could be asked of it.
    pub(super) fn order(&self, order: Order) {
        if let Err(mpsc::error::TrySendError::Full(order)) = self.orders.try_send(order) {
            tracing::error!(?order, "an app does not do what it is told");
        }
    }
}

struct Task {
    name: String,
    tenant: Tenant,
    screen: Screen,
    common: Common,
    /// Ends before any worker was ready; none is counted after.
    failures: u32,
    ever_ready: bool,
}

impl Task {
    async fn live(mut self, mut orders: mpsc::Receiver<Order>, mesh: PathBuf) {
        // Ends with this task.
        let mut visits = JoinSet::new();
        let mut guest = None;
        if self.common.ways.is_some() {
            let cluster =
                if self.tenant.is_ours() { self.common.cluster.clone() } else { Cluster::default() };
            visits.spawn(Box::pin(visit(mesh, cluster)));
        }
        loop {
            tokio::select! {
                turn = self.tenant.next() => match turn {
                    Some(Turn::Event(event)) => self.take(event).await,
                    Some(Turn::Restarts(why)) => self.say(&format!("restarts: {why}")),
                    None => break,
                },
                Some(order) = orders.recv() => self.obey(order),
                Some(visited) = visits.join_next(), if !visits.is_empty() => match visited {
                    Ok(Ok(came)) => guest = self.welcome(came),
                    Ok(Err(error)) => self.complain(&format!("operators cannot speak to its clients: {error:#}")),
                    Err(_panicked) => {}
                },
            }
        }
        if let Some(ways) = &self.common.ways {
            ways.remove(&self.name);
        }
        if let Some(guest) = guest {
            guest.leave().await;
        }
        self.tenant.close();
        let _ = self.common.words.send((self.name, Word::Ended)).await;
    }

    async fn take(&mut self, event: Event) {
        if let Some(line) = self.screen.handle_event(&event) {
            exit::say(&line);
        }
        self.note(&event);
        let mut words = Vec::new();
        self.ever_ready |= matches!(&event, Event::Ready { .. } | Event::Serving { .. });
        let ended = matches!(&event, Event::GaveUp { .. } | Event::Died { .. });
        if matches!(&event, Event::AllReady) {
            words.push(Word::Ready);
        }
        if matches!(&event, Event::RestartingIn { .. }) && !self.ever_ready && self.tenant.is_ours() {
            self.failures += 1;
            if self.failures == ATTEMPTS_MAX.saturating_mul(self.tenant.count().get()) {
                words.push(Word::Idle(true));
            }
        }
        if let Some(trouble) = self.tenant.take(event) {
            self.complain(&trouble);
        }
        if ended {
            let over = |status| matches!(status, Status::Stopped | Status::Errored);
            let workers = self.tenant.view();
            if workers.iter().all(|worker| over(worker.status)) {
                words.push(Word::Idle(workers.iter().any(|worker| worker.status == Status::Errored)));
            }
        }
        for word in words {
            let _ = self.common.words.send((self.name.clone(), word)).await;
        }
    }

    /// Operators ask those workers for their numbers that have our library.
    fn note(&self, event: &Event) {
        let Some(workers) = self.common.ways.as_ref().map(Ways::workers) else { return };
        if let Event::Ready { instance, http, .. } = event {
            workers.serves(&self.name, *instance, http.clone());
        } else if let Event::Died { instance, .. } = event {
            workers.died(&self.name, *instance);
        } else if let Event::Gone { instance } = event {
            workers.remove(&self.name, *instance);
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Stop(within) => {
                self.screen.handle_stop();
                self.tenant.stop(within);
            }
            Order::Kill => self.tenant.kill(),
            Order::Become(recipe) => {
                if let Err(error) = self.tenant.become_like(*recipe) {
                    self.complain(&format!("it goes on as it was: {error:#}"));
                }
            }
        }
    }

    fn welcome(&self, guest: Guest) -> Option<Guest> {
        match (Clients::new(&guest), &self.common.ways) {
            (Ok(clients), Some(ways)) => ways.insert(&self.name, clients),
            (Err(error), _) => self.complain(&format!("operators cannot speak to its clients: {error:#}")),
            (Ok(_), None) => {}
        }
        Some(guest)
    }

    fn say(&self, line: &str) {
        exit::say(&format!("{} {line}", self.name));
    }

    fn complain(&self, line: &str) {
        exit::complain(exit::FAILED, &format!("{}: {line}", self.name));
    }
}

/// Joins the workers as a guest, so that operators can speak to their clients.
async fn visit(mesh: PathBuf, cluster: Cluster) -> anyhow::Result<Guest> {
    let adapter = cluster.adapter().await?;
    let config = sockeye::Config { mesh_dir: Some(mesh), adapter, ..sockeye::Config::default() };
    Server::new(config).visit().await.context("cannot join the workers")
}

fn runtime_dir() -> anyhow::Result<RuntimeDir> {
    let base = std::env::var_os(RUNTIME_DIR_VARIABLE).map(PathBuf::from);
    let made = base.as_deref().map_or_else(RuntimeDir::create, RuntimeDir::create_in);
    made.map_err(|error| {
        let base = base.as_deref().unwrap_or(std::path::Path::new("/tmp")).display();
        anyhow!("cannot keep sockets in {base} ({error}): set {RUNTIME_DIR_VARIABLE} to a directory of yours")
    })
}

/// Writes a line; whoever closed the other end does not want it, and the clients are not to suffer.
fn say(mut to: impl Write, line: &str) {
    let _ = writeln!(to, "{line}");
}
