//! `sockeye daemon`: the registry of a user's apps. It gives out ids, starts a keeper for each app and another one when that dies, and writes the list down on
//! each change. It never sees a byte of an app's log or of a client; its death harms nobody, and the next one takes all keepers on.
//!
//! Questions that change something are answered one after the other, each in the order it came. Absent: the table of `list`, which whoever asks puts together from the
//! file and the keepers themselves.

mod keepers;
pub(crate) mod registry;
pub(crate) mod store;
pub(crate) mod words;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use sockeye_supervisor::Launch;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::keeper;
use crate::keeper::words::{Question as ToKeeper, Status};
use crate::places::Places;
use crate::rest::Rest;
use crate::talk::{self, Asked};
use crate::{log, notify, runtime};

use keepers::Ended;
use registry::{Registry, Target, difference, in_order, scaled};
use words::{AppDone, Done, Question};

/// How many questions may wait.
const QUESTIONS_MAX: usize = 64;

/// How long a keeper may take to do what it is asked: all its workers may have to start, drain and end.
const DO_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// The pause before a dead keeper's successor, which doubles with each death in a row.
const AGAIN_MIN: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(10);

/// A keeper that lived this long has no deaths behind it.
const AGAIN_RESET: Duration = Duration::from_secs(30);

/// Runs until it is told to end. A second one ends at once.
pub(crate) fn run(resurrect: bool) -> anyhow::Result<()> {
    log::start(false)?;
    let places = Places::of_environment()?;
    places.make()?;
    let lock = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(places.lock())?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!("a daemon runs already: see sockeye ping");
    }
    let _ = rustix::process::setsid();
    std::env::set_current_dir("/")?;
    let runtime = runtime::build(std::num::NonZeroUsize::MIN).context("cannot start")?;
    runtime.block_on(async {
        let listener = talk::listen(&places.daemon()).context("cannot listen for questions")?;
        let mut daemon = Daemon::open(places).await?;
        if resurrect {
            daemon.resurrect().await?;
        }
        notify::ready();
        daemon.serve(listener).await
    })
}

struct Daemon {
    places: Places,
    registry: Registry,
    ended: (mpsc::Sender<Ended>, mpsc::Receiver<Ended>),
    /// Deaths in a row and the last start, by key.
    deaths: BTreeMap<u32, (u32, Instant)>,
    /// Keepers to be started again.
    again: BTreeMap<u32, Instant>,
}

impl Daemon {
    /// Reads the list and takes all keepers on. Of a list from before a boot nothing runs.
    async fn open(places: Places) -> anyhow::Result<Self> {
        let mut registry = store::read(&places.list())?;
        let boot = store::boot();
        if registry.boot != boot {
            registry.apps.iter_mut().for_each(|app| (app.keeper, app.wanted) = (None, false));
            registry.boot = boot;
        }
        let ended = mpsc::channel(QUESTIONS_MAX);
        let mut daemon = Self { places, registry, ended, deaths: BTreeMap::new(), again: BTreeMap::new() };
        for app in daemon.registry.apps.clone() {
            let adopted = keepers::adopt(&app, &daemon.places, daemon.ended.0.clone()).await;
            match adopted {
                Some(keeper) => info!(app = app.launch.name, pid = keeper.pid, "adopted"),
                None => {
                    keepers::sweep(&daemon.places.keeper(app.key));
                    if app.wanted {
                        warn!(app = app.launch.name, "its keeper is dead: it gets another");
                        daemon.again.insert(app.key, Instant::now());
                    }
                }
            }
            if let Some(app) = daemon.registry.app_mut(app.key) {
                app.keeper = adopted;
            }
        }
        daemon.save()?;
        Ok(daemon)
    }

    async fn serve(mut self, listener: tokio::net::UnixListener) -> anyhow::Result<()> {
        let (sender, mut questions) = mpsc::channel::<Asked<Question>>(QUESTIONS_MAX);
        // Ends with the receiver, which is this function's.
        tokio::spawn(talk::serve(listener, sender));
        let mut terminations = signal(SignalKind::terminate())?;
        let mut interrupts = signal(SignalKind::interrupt())?;
        let mut rest = Rest::new(Instant::now());
        loop {
            let due = self.again.values().min().copied();
            tokio::select! {
                () = sleep_until(rest.poll_timeout()) => {
                    if rest.handle_timeout(Instant::now()) {
                        sockeye_sys::release_unmodified_pages();
                    }
                    continue;
                }
                Some(Asked { question, reply }) = questions.recv() => {
                    let is_end = matches!(question, Question::Kill);
                    let steps = Box::pin(self.hear(question)).await;
                    // What keepers take their time for is nobody else's business; ends with the last answer.
                    tokio::spawn(async move {
                        match steps {
                            Ok(steps) => reply.answer(&take(steps).await),
                            Err(error) => reply.refuse(format!("{error:#}")),
                        }
                    });
                    if is_end {
                        // The task that writes the answer is to come to it.
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        break;
                    }
                }
                Some(ended) = self.ended.1.recv() => self.mourn(ended)?,
                () = sleep_until(due) => self.start_again().await?,
                _ = terminations.recv() => break,
                _ = interrupts.recv() => break,
            }
            rest.handle_work(Instant::now());
        }
        let _ = std::fs::remove_file(self.places.daemon());
        Ok(())
    }

    async fn hear(&mut self, question: Question) -> anyhow::Result<Vec<Step>> {
        match question {
            Question::Ping => Ok(Vec::new()),
            Question::Start { launches } => self.start(launches).await,
            Question::Resume { targets, env } => self.resume(&targets, env.as_ref()).await,
            Question::Stop { targets } => self.stop(&targets).await,
            Question::Delete { targets } => self.delete(&targets).await,
            Question::Restart { targets, reload, env } => self.restart(&targets, reload, env.as_ref()).await,
            Question::Scale { target, number } => self.scale(&target, &number).await,
            Question::Signal { targets, signal } => {
                let word = |place| ToKeeper::Signal { place, signal };
                self.tell::<usize>(&targets, word, |done, heard| done.heard = Some(heard)).await
            }
            Question::Flush { targets } => self.tell::<()>(&targets, |_| ToKeeper::Flush, |_, ()| {}).await,
            Question::Kill => {
                let done = self.stop(&["all".to_owned()]).await;
                info!("ends");
                done
            }
        }
    }

    async fn start(&mut self, launches: Vec<Launch>) -> anyhow::Result<Vec<Step>> {
        let launches = in_order(launches).map_err(|error| anyhow!(error))?;
        for launch in &launches {
            launch.settle(keeper::cores()).with_context(|| launch.name.clone())?;
            if self.registry.named(&launch.name).is_some_and(|app| app.keeper.is_some()) {
                bail!(
                    "{} runs already: sockeye restart {0} starts it anew, sockeye reload {0} without a gap; --name gives this one another name",
                    launch.name
                );
            }
            for name in &launch.spec.after {
                let is_there =
                    launches.iter().any(|other| other.name == *name) || self.registry.named(name).is_some();
                if !is_there {
                    bail!("{}: after: there is no app {name}", launch.name);
                }
            }
        }
        let mut steps = Vec::new();
        for launch in launches {
            let (name, after) = (launch.name.clone(), launch.spec.after.clone());
            let instances = launch.instances(keeper::cores()).get();
            let key = self.registry.put(launch, instances);
            let outcome = match self.await_all(&after).await {
                Ok(()) => self.launch(key).await,
                Err(error) => Err(error),
            };
            steps.push(self.step(key, &name, outcome.map(|()| ToKeeper::Settle)));
        }
        Ok(steps)
    }

    /// Waits until all of these serve.
    async fn await_all(&self, names: &[String]) -> anyhow::Result<()> {
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

    async fn resume(
        &mut self,
        words: &[String],
        env: Option<&BTreeMap<String, String>>,
    ) -> anyhow::Result<Vec<Step>> {
        let mut steps = Vec::new();
        for Target { key, place } in self.select(words)? {
            let name = self.name(key);
            let is_running = self.registry.app(key).is_some_and(|app| app.keeper.is_some());
            let env = self.renew(key, env)?;
            let outcome = if is_running {
                let launch = self.registry.app(key).map(|app| Box::new(app.launch.clone()));
                Ok(ToKeeper::Restart { place, launch })
            } else {
                self.launch(key).await.map(|()| ToKeeper::Settle)
            };
            let mut step = self.step(key, &name, outcome);
            step.done.env = env;
            steps.push(step);
        }
        Ok(steps)
    }

    async fn restart(
        &mut self,
        words: &[String],
        reload: bool,
        env: Option<&BTreeMap<String, String>>,
    ) -> anyhow::Result<Vec<Step>> {
        let mut steps = Vec::new();
        for Target { key, place } in self.select(words)? {
            let name = self.name(key);
            let difference = self.renew(key, env)?;
            let outcome = match self.registry.app(key) {
                Some(app) if app.keeper.is_some() => {
                    let launch = Some(Box::new(app.launch.clone()));
                    match (reload, place) {
                        (true, None) => Ok(ToKeeper::Reload { launch }),
                        (true, Some(_)) => {
                            Err(anyhow!("a reload replaces all instances of an app: name {name}"))
                        }
                        (false, place) => Ok(ToKeeper::Restart { place, launch }),
                    }
                }
                Some(_) | None => self.launch(key).await.map(|()| ToKeeper::Settle),
            };
            let mut step = self.step(key, &name, outcome);
            step.done.env = difference;
            steps.push(step);
        }
        Ok(steps)
    }

    async fn stop(&mut self, words: &[String]) -> anyhow::Result<Vec<Step>> {
        let mut steps = Vec::new();
        for Target { key, place } in self.select(words)? {
            let name = self.name(key);
            let outcome = match place {
                Some(place) => self.ask(key, &ToKeeper::Stop { place: Some(place) }).await,
                None => self.end(key).await,
            };
            steps.push(one(&name, outcome));
        }
        Ok(steps)
    }

    async fn delete(&mut self, words: &[String]) -> anyhow::Result<Vec<Step>> {
        let mut steps = Vec::new();
        for Target { key, place } in self.select(words)? {
            let name = self.name(key);
            let outcome = match place {
                Some(_) => {
                    Err(anyhow!("that is one of several instances: sockeye scale {name} -1 takes one away"))
                }
                None => self.end(key).await,
            };
            if outcome.is_ok() {
                self.registry.remove(key);
                self.save()?;
            }
            steps.push(one(&name, outcome));
        }
        Ok(steps)
    }

    async fn scale(&mut self, word: &str, number: &str) -> anyhow::Result<Vec<Step>> {
        let mut steps = Vec::new();
        for Target { key, place } in self.select(&[word.to_owned()])? {
            let app = self.registry.app(key).context("it was selected")?;
            let (name, before) = (app.launch.name.clone(), app.instances);
            if place.is_some() {
                bail!("that is one of several instances: name {name}");
            }
            let instances = scaled(before, number).map_err(|error| anyhow!(error))?;
            if app.keeper.is_some() {
                let outcome = self.ask(key, &ToKeeper::Scale { instances }).await;
                if outcome.is_ok() {
                    self.registry.resize(key, instances);
                    self.save()?;
                }
                steps.push(one(&name, outcome));
            } else {
                bail!("{name} does not run: start it with -i {instances}");
            }
        }
        Ok(steps)
    }

    /// The same word to each; what comes back is noted.
    async fn tell<T: DeserializeOwned>(
        &self,
        words: &[String],
        question: impl Fn(Option<u32>) -> ToKeeper,
        note: impl Fn(&mut AppDone, T),
    ) -> anyhow::Result<Vec<Step>> {
        let mut steps = Vec::new();
        for Target { key, place } in self.select(words)? {
            let mut app = AppDone::new(&self.name(key));
            match talk::ask_async(&self.places.keeper(key), &question(place), DO_TIMEOUT).await {
                Ok(value) => note(&mut app, value),
                Err(_) if self.registry.app(key).is_some_and(|app| app.keeper.is_none()) => {
                    app.error = Some("it does not run".to_owned());
                }
                Err(error) => app.error = Some(format!("{error:#}")),
            }
            steps.push(Step { done: app, ask: None });
        }
        Ok(steps)
    }

    /// Starts an app's keeper.
    async fn launch(&mut self, key: u32) -> anyhow::Result<()> {
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

    /// What is left to do for an app.
    fn step(&self, key: u32, name: &str, outcome: anyhow::Result<ToKeeper>) -> Step {
        let mut done = AppDone::new(name);
        let ask = match outcome {
            Ok(question) => Some((self.places.keeper(key), question)),
            Err(error) => {
                done.error = Some(format!("{error:#}"));
                None
            }
        };
        Step { done, ask }
    }

    /// Ends an app's keeper.
    async fn end(&mut self, key: u32) -> anyhow::Result<Status> {
        self.again.remove(&key);
        let Some(app) = self.registry.app_mut(key) else { bail!("it is not in the list") };
        app.wanted = false;
        let keeper = app.keeper;
        self.save()?;
        let Some(keeper) = keeper else {
            keepers::sweep(&self.places.keeper(key));
            return Ok(Status {
                keeper: sockeye_supervisor::proc::Identity { pid: 0, start: 0 },
                workers: Vec::new(),
                listening: Vec::new(),
                relayed: 0,
                trouble: None,
            });
        };
        let outcome = self.ask(key, &ToKeeper::Stop { place: None }).await;
        if outcome.is_err() {
            keepers::sweep(&self.places.keeper(key));
        }
        // Its last answer is given a moment before it is gone.
        while keeper.is_alive() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if let Some(app) = self.registry.app_mut(key) {
            app.keeper = None;
        }
        self.save()?;
        outcome
    }

    /// A keeper ended: if nobody asked for that, another one follows.
    fn mourn(&mut self, ended: Ended) -> anyhow::Result<()> {
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

    async fn start_again(&mut self) -> anyhow::Result<()> {
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

    /// Runs what `save` wrote down and does not run.
    async fn resurrect(&mut self) -> anyhow::Result<()> {
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

    /// Takes the variables of a shell over, and says how they differ.
    fn renew(&mut self, key: u32, env: Option<&BTreeMap<String, String>>) -> anyhow::Result<Vec<String>> {
        let (Some(env), Some(app)) = (env, self.registry.app_mut(key)) else { return Ok(Vec::new()) };
        let mut env = env.clone();
        // `PORT=8080 sockeye start app.js` says it of the app, and nobody types it again: without it the app would come back at another address.
        for name in [sockeye_supervisor::PROFILE_VARIABLE, "PORT"] {
            if let (None, Some(kept)) = (env.get(name), app.launch.env.get(name)) {
                env.insert(name.to_owned(), kept.clone());
            }
        }
        let difference = difference(&app.launch.env, &env);
        app.launch.env = env;
        self.save()?;
        Ok(difference)
    }

    async fn ask(&self, key: u32, question: &ToKeeper) -> anyhow::Result<Status> {
        if self.registry.app(key).is_some_and(|app| app.keeper.is_none()) {
            bail!("it does not run");
        }
        talk::ask_async(&self.places.keeper(key), question, DO_TIMEOUT).await
    }

    fn select(&self, words: &[String]) -> anyhow::Result<Vec<Target>> {
        self.registry.select(words).map_err(|error| anyhow!(error))
    }

    fn name(&self, key: u32) -> String {
        self.registry.app(key).map(|app| app.launch.name.clone()).unwrap_or_default()
    }

    fn save(&self) -> anyhow::Result<()> {
        store::write(&self.places.list(), &self.registry)
    }
}

/// What was done to an app, and what its keeper is still to be asked.
struct Step {
    done: AppDone,
    ask: Option<(PathBuf, ToKeeper)>,
}

/// Asks the keepers, one after the other.
async fn take(steps: Vec<Step>) -> Done {
    let mut apps = Vec::new();
    for Step { mut done, ask } in steps {
        if let Some((socket, question)) = ask {
            match talk::ask_async(&socket, &question, DO_TIMEOUT).await {
                Ok(status) => done.status = Some(status),
                Err(error) => done.error = Some(format!("{error:#}")),
            }
        }
        apps.push(done);
    }
    Done { apps }
}

fn one(name: &str, outcome: anyhow::Result<Status>) -> Step {
    let mut done = AppDone::new(name);
    match outcome {
        Ok(status) => done.status = Some(status),
        Err(error) => done.error = Some(format!("{error:#}")),
    }
    Step { done, ask: None }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
