//! The house: an edge, and the apps behind it, none or several, in the foreground.
//!
//! One loop opens the apps in their order, does what is applied, and ends all. Absent: what to run (`plan.rs`), one app (`room.rs`, and `tenant`), what is said
//! of it (`screen.rs`), and every decision about a worker (the supervisor's) or a connection (the edge's).

mod follower;
mod room;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use sockeye_edge::Proxy;
use sockeye_edge::config::{Config, Members};
use sockeye_settings::Settled;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::admin::{self, Admin, Ways};
use crate::board::{Board, directories};
use crate::cluster::{self, Cluster, Said};
use crate::plan::{self, Plan};
use crate::screen::headline;
use crate::standing::{self, Change, Standing};
use crate::tenant::Recipe;
use crate::{backplane, exit, log, ports, runtime};

use follower::Followers;
use room::{Common, Order, Room, Word};

/// Signals this close together are one wish: `timeout` and shells signal a program and its group.
const SAME_ASK: Duration = Duration::from_millis(500);

/// How long answers under way may take once the last worker is gone.
const EDGE_END_WAIT: Duration = Duration::from_millis(500);

/// How many words of apps may wait; whoever has more waits.
const WORDS_MAX: usize = 64;

/// How many changes may wait; whoever has more waits.
const CHANGES_MAX: usize = 4;

/// Runs the bundled app until Ctrl-C or SIGTERM.
pub(crate) fn run(plan: &Plan, verbose: bool) -> anyhow::Result<()> {
    begin(verbose)?.block_on(async {
        let mut edge = Config::listen(plan.listen);
        edge.groups = vec![plan.group()];
        let (proxy, ends) = (bind(&edge, ports::public)?, Ends::new()?);
        if let Some(workers) = plan.ports {
            ports::try_workers(workers, plan.instances.get()).map_err(|line| anyhow!(line))?;
        }
        exit::say(&headline(plan));
        let shown = Some(proxy.local_addr().unwrap_or(plan.listen));
        let mut house = House::new(proxy, edge, (ends, shown), plan.cluster.clone());
        house.drain = plan.drain;
        house.open(vec![plan.recipe(verbose)])?;
        Box::pin(house.serve()).await
    })
}

/// Runs what a file says, which may say something else later.
pub(crate) fn run_file(
    file: &Path,
    settled: Settled,
    profile: Option<&str>,
    verbose: bool,
) -> anyhow::Result<()> {
    let whole = std::path::absolute(file).context("there is no current directory")?;
    let base = whole.parent().unwrap_or(Path::new("/"));
    let (cluster, recipes) = plan::recipes(&settled, base, profile, verbose)?;
    recipes.iter().try_for_each(Recipe::check)?;
    let mut edge = settled.edge.clone();
    if directories(&edge).next().is_some() {
        edge.relay.node_trust = cluster::trust_of(&Said::of_file(&settled.cluster)).context("cluster")?;
    }
    begin(verbose)?.block_on(async {
        let (ends, hangups) = (Ends::new()?, standing::hangups()?);
        let proxy = bind(&edge, ToString::to_string)?;
        for recipe in &recipes {
            if let Some(workers) = recipe.bundled.as_ref().and_then(|bundled| bundled.ports) {
                ports::try_workers(workers, recipe.count().get()).map_err(|line| anyhow!(line))?;
            }
        }
        exit::say(&format!("sockeye {}: {}", env!("CARGO_PKG_VERSION"), file.display()));
        for (name, at) in proxy.addresses() {
            exit::say(&format!("{name:10} listens at {at}"));
        }
        let admin = Admin::open(file, &settled.admin)?;
        exit::say(&format!("{:10} listens at {}", "admin", admin.at()));
        let mut house = House::new(proxy, edge, (ends, None), cluster);
        let ways = Ways::default();
        house.common.ways = Some(ways.clone());
        let (changes, heard) = mpsc::channel(CHANGES_MAX);
        house.changes = Some(heard);
        let control = house.common.board.control().clone();
        let reader = standing::Reader { file: file.to_owned(), profile: profile.map(str::to_owned), verbose };
        let standing = Arc::new(Standing::new(reader, control, settled, changes));
        // These end with this function.
        let mut beside = JoinSet::new();
        house.open(recipes)?;
        beside.spawn(admin::serve(admin, Arc::clone(&standing), ways));
        beside.spawn(standing::heed(standing, hangups));
        let ended = Box::pin(house.serve()).await;
        beside.shutdown().await;
        ended
    })
}

fn begin(verbose: bool) -> anyhow::Result<Runtime> {
    backplane::keep();
    log::start(verbose)?;
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    runtime::build(threads).context("cannot start threads")
}

/// Opens the public addresses first: where they cannot be had nothing is started.
fn bind(edge: &Config, say: fn(&sockeye_edge::config::ConfigError) -> String) -> anyhow::Result<Proxy> {
    Proxy::bind(edge.clone()).map_err(|error| anyhow!(say(&error)))
}

/// The edge and the apps.
struct House {
    common: Common,
    edge: JoinHandle<()>,
    /// Sending, or dropping, closes the public addresses.
    close_edge: Option<oneshot::Sender<()>>,
    /// What shall run, in the order in which it starts.
    wanted: Vec<Recipe>,
    rooms: BTreeMap<String, Room>,
    tasks: JoinSet<()>,
    words: mpsc::Receiver<(String, Word)>,
    changes: Option<mpsc::Receiver<Change>>,
    followers: Followers,
    /// How long clients of the bundled app may stay at the end.
    drain: Duration,
    /// Whether servers that others started are behind the edge.
    has_others: bool,
    ends: Ends,
    stopping: Option<Instant>,
    failure: Option<&'static str>,
}

impl House {
    fn new(
        proxy: Proxy,
        edge: Config,
        (ends, shown): (Ends, Option<std::net::SocketAddr>),
        cluster: Cluster,
    ) -> Self {
        let (sender, words) = mpsc::channel(WORDS_MAX);
        let has_others = has_others(&edge);
        let mut followers = Followers::new(proxy.control(), edge.relay.node_trust.is_some());
        followers.follow(&edge);
        let board = Arc::new(Board::new(proxy.control(), edge));
        let (close_edge, closed) = oneshot::channel();
        Self {
            common: Common { board, words: sender, ways: None, cluster, shown },
            // Ends with the house: `finish` waits for it.
            edge: tokio::spawn(proxy.run(async {
                let _ = closed.await;
            })),
            close_edge: Some(close_edge),
            wanted: Vec::new(),
            rooms: BTreeMap::new(),
            tasks: JoinSet::new(),
            words,
            changes: None,
            followers,
            drain: Duration::ZERO,
            has_others,
            ends,
            stopping: None,
            failure: None,
        }
    }

    /// Starts what waits for nobody; the others follow.
    fn open(&mut self, recipes: Vec<Recipe>) -> anyhow::Result<()> {
        self.wanted = recipes;
        self.tidy()
    }

    async fn serve(mut self) -> anyhow::Result<()> {
        loop {
            if self.stopping.is_some() && self.rooms.is_empty() {
                break;
            }
            tokio::select! {
                Some((name, word)) = self.words.recv() => self.heed(&name, word),
                Some(change) = next(&mut self.changes) => self.change(change),
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => if let Err(panic) = ended && panic.is_panic() {
                    bail!("the task of an app failed: {panic}");
                },
                () = self.ends.asked() => self.end(),
                ended = &mut self.edge, if self.close_edge.is_some() => {
                    bail!("the public addresses were given up: {ended:?}");
                }
            }
        }
        let failure = self.failure;
        self.finish().await?;
        failure.map_or(Ok(()), |failure| Err(anyhow!(failure)))
    }

    /// One app has something to say.
    fn heed(&mut self, name: &str, word: Word) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        match word {
            Word::Ready => (room.ready, room.idle) = (true, false),
            Word::Idle(failed) => {
                room.idle = true;
                self.rest(failed);
            }
            Word::Ended => {
                self.rooms.remove(name);
            }
        }
        if self.stopping.is_none()
            && let Err(error) = self.tidy()
        {
            exit::complain(exit::FAILED, &format!("{error:#}"));
        }
    }

    /// Where nobody runs any more, and nobody else is served, there is nothing to stay for.
    fn rest(&mut self, failed: bool) {
        let idle = |room: &Room| room.idle && !room.leaving;
        let all = self.rooms.values().all(idle) && self.rooms.len() == self.wanted.len();
        if !all || self.has_others || self.stopping.is_some() {
            return;
        }
        if failed {
            self.failure =
                Some("no worker became ready, and each was tried several times: their own words are above");
        }
        self.stop();
    }

    /// What shall run comes to run: the rest leaves, others become like it or are opened.
    fn tidy(&mut self) -> anyhow::Result<()> {
        for (name, room) in &mut self.rooms {
            let recipe = self.wanted.iter().find(|recipe| recipe.launch.name == *name);
            match recipe {
                // Whether it is one of several, and whose program it is, cannot change in a process that runs.
                Some(recipe)
                    if recipe.launch.is_cluster() == room.recipe.launch.is_cluster()
                        && recipe.bundled.is_some() == room.recipe.bundled.is_some() =>
                {
                    if room.recipe != *recipe && !room.leaving {
                        room.recipe = recipe.clone();
                        room.order(Order::Become(Box::new(recipe.clone())));
                    }
                }
                Some(_) | None if room.leaving => {}
                Some(_) | None => {
                    room.leaving = true;
                    room.order(Order::Stop(room.recipe.launch.spec.drain.duration()));
                }
            }
        }
        let serves =
            |rooms: &BTreeMap<String, Room>, name: &String| rooms.get(name).is_some_and(|room| room.ready);
        for recipe in &self.wanted {
            let name = &recipe.launch.name;
            let waits = recipe.launch.spec.after.iter().any(|name| !serves(&self.rooms, name));
            if !waits && !self.rooms.contains_key(name) {
                let room = Room::open(recipe.clone(), &self.common, &mut self.tasks)?;
                self.rooms.insert(name.clone(), room);
            }
        }
        Ok(())
    }

    /// Something else was written.
    fn change(&mut self, change: Change) {
        let Change { edge, recipes, reply } = change;
        let outcome = match self.stopping {
            Some(_) => Err(anyhow!("it is about to end")),
            // First what changes nothing.
            None => self
                .can_become(&recipes)
                .and_then(|()| self.common.board.apply(edge.clone()).map_err(|error| anyhow!("{error}"))),
        };
        let outcome = outcome.and_then(|()| {
            let others = has_others(&edge);
            self.followers.follow(&edge);
            (self.has_others, self.wanted) = (others, recipes);
            self.tidy()
        });
        // Whoever asked may be gone.
        let _ = reply.send(outcome);
    }

    /// Whether what runs can come to run by these.
    fn can_become(&self, recipes: &[Recipe]) -> anyhow::Result<()> {
        recipes.iter().try_for_each(|next| {
            let name = &next.launch.name;
            let room = self.rooms.get(name).filter(|room| !room.leaving);
            room.map_or(Ok(()), |room| room.recipe.can_become(next)).with_context(|| format!("app.{name}"))
        })
    }

    /// Ctrl-C, or SIGTERM.
    fn end(&mut self) {
        match self.stopping {
            Some(since) if since.elapsed() < SAME_ASK => {}
            Some(_) => {
                self.failure = Some("killed before all was closed in order");
                self.rooms.values().for_each(|room| room.order(Order::Kill));
            }
            None => self.stop(),
        }
    }

    /// Takes no new client, and lets those who are there stay for a while.
    fn stop(&mut self) {
        self.stopping = Some(Instant::now());
        let drain = |room: &Room| match room.recipe.bundled {
            Some(_) if self.common.shown.is_some() => self.drain,
            Some(_) => room.recipe.launch.spec.drain.duration(),
            None => Duration::ZERO,
        };
        let longest = self.rooms.values().map(drain).max().unwrap_or_default();
        if longest.is_zero() {
            exit::say(if self.rooms.is_empty() { "stopping (Ctrl-C again: at once)" } else { "stopping" });
            self.close_edge = None;
        } else {
            exit::say(&format!("stopping within {longest:?} (Ctrl-C again: at once)"));
        }
        self.rooms.values().for_each(|room| room.order(Order::Stop(drain(room))));
    }

    /// No worker is left: what is under way at the edge is what others answer, or its own answers.
    async fn finish(mut self) -> anyhow::Result<()> {
        self.close_edge = None;
        self.followers.leave().await;
        if self.has_others {
            tokio::select! {
                ended = &mut self.edge => ended.context("the edge was given up")?,
                () = self.ends.again(self.stopping) => {
                    self.edge.abort();
                    bail!("killed before all was closed in order");
                }
            }
        } else if tokio::time::timeout(EDGE_END_WAIT, &mut self.edge).await.is_err() {
            self.edge.abort();
        }
        exit::say("stopped");
        Ok(())
    }
}

/// Whether servers that others started are behind an edge.
fn has_others(edge: &Config) -> bool {
    edge.groups.is_empty()
        || edge.groups.iter().any(|group| !matches!(group.members, Members::Workers { .. }))
}

async fn next(changes: &mut Option<mpsc::Receiver<Change>>) -> Option<Change> {
    match changes {
        Some(changes) => changes.recv().await,
        None => std::future::pending().await,
    }
}

/// Ctrl-C and SIGTERM.
struct Ends {
    interrupts: Signal,
    terminations: Signal,
}

impl Ends {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            interrupts: signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?,
            terminations: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
        })
    }

    /// Waits for one of them. Cancel-safe.
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupts.recv() => {}
            _ = self.terminations.recv() => {}
        }
    }

    /// Waits for one that is no echo of the last.
    async fn again(&mut self, since: Option<Instant>) {
        loop {
            self.asked().await;
            if since.is_none_or(|since| since.elapsed() >= SAME_ASK) {
                return;
            }
        }
    }
}
