//! One app that runs: its workers, who of them serves as the edge is told, and what makes them restart.
//!
//! Shared by whoever keeps apps: a keeper has one, the house in the foreground several. Absent: who asks for something, and who is answered.

mod front;
mod health;
mod recipe;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{anyhow, bail};
use sockeye_supervisor::{Event, Line, RuntimeDir, Status as Stage, StopSignal, Supervisor, WorkerView};

use crate::board::Board;

use front::Front;
use health::{Due, Health};
pub(crate) use recipe::{Bundled, Recipe, cores};

/// An app with its workers.
pub(crate) struct Tenant {
    recipe: Recipe,
    supervisor: Supervisor,
    front: Option<Front>,
    health: Health,
    /// What marks its processes.
    mark: String,
    /// What makes copies of a Node.js app one server lies here, where it is one.
    preload: PathBuf,
    /// A change is put off until the reload that is under way has ended.
    behind: bool,
}

/// What came next.
pub(crate) enum Turn {
    /// Something happened to a worker: [`Tenant::take`] wants to know.
    Event(Event),
    /// Workers were restarted, and why.
    Restarts(String),
}

impl Tenant {
    /// Starts an app. `group` is its group on the board; `on_line` gets what its workers write.
    pub(crate) fn open(
        recipe: Recipe,
        mark: String,
        directory: RuntimeDir,
        (board, group): (&Arc<Board>, &str),
        on_line: impl Fn(&Line<'_>) + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let preload = directory.path().join("preload");
        let config = recipe.settle(&mark, &preload)?;
        let launch = &recipe.launch;
        let front = match launch.is_cluster() {
            true => Some(Front::open(Arc::clone(board), group, launch, recipe.led)?),
            false => None,
        };
        let health = Health::new(launch, Instant::now(), SystemTime::now())?;
        let supervisor = Supervisor::start(config, directory, on_line)?;
        Ok(Self { recipe, supervisor, front, health, mark, preload, behind: false })
    }

    /// Waits for what comes next, and carries everything on meanwhile: call it again and again. `None` once all ended.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Option<Turn> {
        loop {
            let front = self.front.as_ref().and_then(Front::poll_timeout);
            let due = [self.health.poll_timeout(Instant::now(), SystemTime::now()), front]
                .into_iter()
                .flatten()
                .min();
            tokio::select! {
                event = self.supervisor.next() => return event.map(Turn::Event),
                () = self.health.changed() => {}
                () = sleep_until(due) => if let Some(why) = self.look_after() {
                    return Some(Turn::Restarts(why));
                },
            }
        }
    }

    /// Passes on what happened; what a person should hear of it is returned.
    pub(crate) fn take(&mut self, event: Event) -> Option<String> {
        let mut trouble = None;
        if let Event::Reloaded { complete } = &event {
            self.told_of_reload(None);
            if !complete {
                trouble = Some(RELOAD_FAILED.to_owned());
            }
            if std::mem::take(&mut self.behind) {
                self.catch_up();
            }
        }
        if let Event::NotStarted { error, .. } = &event {
            trouble = Some(format!("cannot start: {error}"));
        }
        let told = self.front.as_mut().and_then(|front| front.handle_event(event));
        told.or(trouble)
    }

    /// From here on workers are started so.
    pub(crate) fn change(&mut self, recipe: Recipe) -> anyhow::Result<()> {
        let config = recipe.settle(&self.mark, &self.preload)?;
        let is_other = self.recipe.launch != recipe.launch;
        let health =
            is_other.then(|| Health::new(&recipe.launch, Instant::now(), SystemTime::now())).transpose()?;
        if let Some(front) = &mut self.front {
            front.change(&recipe.launch, recipe.led)?;
        }
        if let Some(health) = health {
            self.health = health;
        }
        self.recipe = recipe;
        self.supervisor.change(config);
        Ok(())
    }

    /// The same, and those that run become so: fresh processes, one after the other, where anything but their number is another.
    pub(crate) fn become_like(&mut self, recipe: Recipe) -> anyhow::Result<()> {
        if self.recipe == recipe {
            return Ok(());
        }
        self.recipe.can_become(&recipe)?;
        let fresh = self.recipe.is_replaced_by(&recipe);
        self.change(recipe)?;
        if self.supervisor.is_reloading() {
            self.behind = true;
        } else if fresh {
            self.catch_up();
        } else {
            self.level();
        }
        Ok(())
    }

    fn catch_up(&mut self) {
        self.level();
        // Nothing is under way: it has just ended, or was asked for above.
        let _ = self.reload();
    }

    fn level(&mut self) {
        if self.front.is_some() {
            let drain = self.recipe.launch.spec.drain.duration();
            let _ = self.supervisor.scale(self.recipe.count(), drain);
        }
    }

    /// Fresh processes, one after the other. Tells whether [`Event::Reloaded`] will say when it is done; else all are restarted.
    pub(crate) fn reload(&mut self) -> anyhow::Result<bool> {
        if self.front.is_none() {
            // It has a port of its own, which only one process can have.
            self.supervisor.restart(None);
            return Ok(false);
        }
        let last = self.view().iter().map(|worker| worker.instance).max();
        self.supervisor.reload(self.recipe.launch.spec.drain.duration())?;
        self.told_of_reload(last.map(|last| last + 1));
        Ok(true)
    }

    fn told_of_reload(&mut self, fresh_from: Option<u32>) {
        if let Some(front) = &mut self.front {
            front.handle_reload(fresh_from);
        }
    }

    /// So many workers.
    pub(crate) fn scale(&mut self, instances: u32) -> anyhow::Result<()> {
        if self.front.is_none() {
            bail!(
                "it was started without -i, so it has no port that several could share: delete it, and start it with -i {instances}"
            );
        }
        let instances =
            NonZeroU32::new(instances).ok_or_else(|| anyhow!("expected at least one instance"))?;
        self.supervisor.scale(instances, self.recipe.launch.spec.drain.duration())?;
        self.recipe.instances = Some(instances.get());
        Ok(())
    }

    /// Fresh processes at once.
    pub(crate) fn restart(&mut self, instance: Option<u32>) {
        self.supervisor.restart(instance);
    }

    /// Ends one worker, and leaves it stopped.
    pub(crate) fn stop_one(&mut self, instance: u32) {
        self.supervisor.stop_one(instance);
    }

    /// Ends all: no new client, and those who are there may stay for a while.
    pub(crate) fn stop(&mut self, within: Duration) {
        self.told_of_reload(None);
        if let Some(front) = self.front.as_mut().filter(|_| !within.is_zero()) {
            front.drain_all();
        }
        self.supervisor.stop(within);
    }

    /// Kills all.
    pub(crate) fn kill(&mut self) {
        self.supervisor.kill();
    }

    /// Signals the groups of workers: how many heard it.
    pub(crate) fn signal(&self, instance: u32, signal: StopSignal) -> usize {
        self.supervisor.signal(Some(instance), signal)
    }

    /// Writes to the standard input of a worker.
    pub(crate) fn write(&mut self, instance: u32, bytes: &[u8]) -> std::io::Result<usize> {
        self.supervisor.write(instance, bytes)
    }

    /// Resident memory of a process, and its share of a processor in percent.
    pub(crate) fn usage(&mut self, pid: Option<u32>) -> (u64, f64) {
        self.health.usage(pid)
    }

    /// Whether it is an application that this program has in it.
    pub(crate) fn is_ours(&self) -> bool {
        self.recipe.bundled.is_some()
    }

    /// How many workers there shall be.
    pub(crate) fn count(&self) -> NonZeroU32 {
        self.recipe.count()
    }

    /// Each worker at this moment.
    pub(crate) fn view(&self) -> Vec<WorkerView> {
        self.supervisor.view()
    }

    /// Whether workers start or end.
    pub(crate) fn is_under_way(&self) -> bool {
        let is_moving = |stage| matches!(stage, Stage::Launching | Stage::Stopping);
        self.supervisor.is_reloading() || self.view().iter().any(|worker| is_moving(worker.status))
    }

    /// The public addresses that are open for it alone.
    pub(crate) fn listening(&self) -> Vec<SocketAddr> {
        self.front.as_ref().map(|front| front.listening().to_vec()).unwrap_or_default()
    }

    /// All ended: nothing is left of it at the edge, and no process that had left its group.
    pub(crate) fn close(mut self) -> usize {
        if let Some(front) = &mut self.front {
            front.close();
        }
        sockeye_supervisor::proc::kill_marked(crate::places::KEEPER_VARIABLE, &self.mark)
    }

    /// What is due by the clock.
    fn look_after(&mut self) -> Option<String> {
        let mut told = None;
        for instance in
            self.front.as_mut().map(|front| front.handle_timeout(Instant::now())).unwrap_or_default()
        {
            self.supervisor.left_alone(instance);
        }
        let views = self.supervisor.view();
        for due in self.health.handle_timeout(&views, Instant::now(), SystemTime::now()) {
            match due {
                Due::Restart { instance, why } => {
                    self.supervisor.restart(instance);
                    told = Some(why);
                }
                Due::Cron => {
                    if self.reload().is_err() {
                        tracing::info!("a restart by the clock is left out: another is under way");
                    }
                }
            }
        }
        told
    }
}

/// What is said of a reload that was broken off.
pub(crate) const RELOAD_FAILED: &str =
    "the successor of a worker did not come to serve: the others go on as they were, see its log";

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
