//! The keepers' lives: begun, ended, mourned, begun again, and brought back after a boot.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use sockeye_supervisor::proc::Identity;
use tracing::warn;

use super::keepers::{self, Ended};
use super::registry::in_order;
use super::steps::{KEEPER_TIMEOUT, patiently};
use super::{Daemon, store};
use crate::keeper::words::{Question as ToKeeper, Status};
use crate::talk;

/// The pause before a dead keeper's successor, which doubles with each death in a row.
const AGAIN_MIN: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(10);

/// A keeper that lived this long has no deaths behind it.
const AGAIN_RESET: Duration = Duration::from_secs(30);

/// How long a keeper that has given its last answer may take to be gone. One that takes longer stays in the list, and the command says so.
const END_TIMEOUT: Duration = Duration::from_secs(10);

impl Daemon {
    /// Starts an app's keeper.
    pub(super) async fn launch(&mut self, key: u32) -> anyhow::Result<()> {
        let app = self.registry.app(key).context("it is in the list")?.clone();
        let started = keepers::start(&app, &self.places, self.ended.0.clone()).await;
        if let Some(app) = self.registry.app_mut(key) {
            app.keeper = started.as_ref().ok().copied();
            app.wanted = started.is_ok();
        }
        self.again.remove(&key);
        self.deaths.entry(key).or_insert((0, Instant::now())).1 = Instant::now();
        self.save()?;
        started.map(|_| ())
    }

    /// Ends an app's keeper.
    pub(super) async fn end(&mut self, key: u32) -> anyhow::Result<Status> {
        self.again.remove(&key);
        let Some(app) = self.registry.app_mut(key) else { bail!("it is not in the list") };
        app.wanted = false;
        let keeper = app.keeper;
        self.save()?;
        let Some(keeper) = keeper else {
            keepers::sweep(&self.places.keeper(key));
            return Ok(Status::ended(Identity { pid: 0, start: 0 }, None));
        };
        let socket = self.places.keeper(key);
        let mut outcome = patiently(&socket, &ToKeeper::Stop { place: None }).await;
        if outcome.as_ref().is_err_and(talk::is_late) {
            // As a worker that does not hear its signal: the app is to end.
            keepers::kill(keeper);
            let trouble = format!(
                "its keeper did not answer within {KEEPER_TIMEOUT:?} and was killed, its workers with it"
            );
            outcome = Ok(Status::ended(keeper, Some(trouble)));
        }
        if outcome.is_err() {
            keepers::sweep(&socket);
        }
        // Its last answer is given a moment before it is gone.
        if !keepers::ended(keeper, END_TIMEOUT).await {
            bail!("its keeper does not end within {END_TIMEOUT:?}: kill -9 {}, and say it again", keeper.pid);
        }
        // Of a keeper that was killed something may be left.
        keepers::sweep(&socket);
        if let Some(app) = self.registry.app_mut(key) {
            app.keeper = None;
        }
        self.save()?;
        outcome
    }

    /// A keeper ended: if nobody asked for that, another one follows.
    pub(super) fn mourn(&mut self, ended: Ended) -> anyhow::Result<()> {
        let Some(app) = self.registry.app_mut(ended.key).filter(|app| app.keeper == Some(ended.keeper))
        else {
            return Ok(());
        };
        app.keeper = None;
        let (name, wanted) = (app.launch.name.clone(), app.wanted);
        keepers::sweep(&self.places.keeper(ended.key));
        if wanted {
            let (count, since) = self.deaths.entry(ended.key).or_insert((0, Instant::now()));
            if since.elapsed() >= AGAIN_RESET {
                *count = 0;
            }
            let delay = AGAIN_MIN.saturating_mul(2_u32.saturating_pow(*count)).min(AGAIN_MAX);
            *count += 1;
            warn!(app = name, ?delay, "a keeper died, and its workers with it: it gets another");
            self.again.insert(ended.key, Instant::now() + delay);
        }
        self.save()
    }

    pub(super) async fn start_again(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        let due: Vec<_> = self.again.iter().filter(|(_, at)| **at <= now).map(|(key, _)| *key).collect();
        for key in due {
            self.again.remove(&key);
            let Some(app) = self.registry.app(key).cloned() else { continue };
            let started = keepers::start(&app, &self.places, self.ended.0.clone()).await;
            if let Err(error) = &started {
                warn!(app = app.launch.name, error = format!("{error:#}"), "it cannot be started again");
                self.again.insert(key, Instant::now() + AGAIN_MAX);
            }
            self.deaths.entry(key).or_insert((0, now)).1 = now;
            if let Some(app) = self.registry.app_mut(key) {
                app.keeper = started.ok();
            }
            self.save()?;
        }
        Ok(())
    }

    /// Waits until all of these serve.
    pub(super) async fn await_all(&self, names: &[String]) -> anyhow::Result<()> {
        for name in names {
            let app = self.registry.named(name).with_context(|| format!("after: there is no app {name}"))?;
            let status =
                self.ask(app.key, &ToKeeper::Settle).await.with_context(|| format!("after: {name}"))?;
            if !status.workers.iter().all(|worker| worker.status == "online") {
                bail!("after: {name} does not serve");
            }
        }
        Ok(())
    }

    /// Runs what `save` wrote down and does not run.
    pub(super) async fn resurrect(&mut self) -> anyhow::Result<()> {
        let saved = store::read(&self.places.saved())?;
        let wanted = saved.apps.iter().filter(|app| app.wanted).map(|app| app.launch.clone()).collect();
        for launch in in_order(wanted).map_err(|error| anyhow!(error))? {
            let Some(app) = saved.named(&launch.name) else { continue };
            if self.registry.named(&app.launch.name).is_some_and(|app| app.keeper.is_some()) {
                continue;
            }
            let (name, after) = (launch.name.clone(), launch.spec.after.clone());
            let key = self.registry.put(launch, app.instances);
            let outcome = match self.await_all(&after).await {
                Ok(()) => self.launch(key).await,
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                warn!(app = name, error = format!("{error:#}"), "it cannot be brought back");
            }
        }
        Ok(())
    }
}
