//! `sockeye daemon`: the registry of a user's apps. It gives out ids, starts a keeper for each app and another one when that dies, and writes the list down on
//! each change. It never sees a byte of an app's log or of a client; its death harms nobody, and the next one takes all keepers on.
//!
//! Questions that change something are answered one after the other, each in the order it came. Under a service manager it says that it is ready and ends, has its socket kept, and is started anew when it dies. Absent: the table of `list`, which whoever asks puts together from the
//! file and the keepers themselves.

mod control;
mod doing;
mod keepers;
mod lives;
pub(crate) mod registry;
mod steps;
pub(crate) mod store;
pub(crate) mod words;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use rustix::fs::{FlockOperation, flock};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::holder::{self, Holder};
use crate::keeper::words::{Question as ToKeeper, Status};
use crate::places::Places;
use crate::rest::Rest;
use crate::talk::{self, Asked};
use crate::{exit, log, notify, runtime};

use control::Control;
use keepers::Ended;
use registry::{Registry, Target};
use steps::{Step, take};
use words::{AWAKE, Done, Question};

/// How many keepers that ended may wait to be mourned.
const ENDED_MAX: usize = 64;

/// Runs until it is told to end. A second one ends at once.
pub(crate) fn run(resurrect: bool) -> anyhow::Result<ExitCode> {
    log::start(false)?;
    // Another file may be there when it is wanted.
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let places = holder::places()?;
    places.make()?;
    for path in [places.lock(), places.list_lock()] {
        let lock = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        let lock = hold(lock, &places).with_context(|| match Holder::alive(&places) {
            Some(holder) if holder.runtime != places.runtime => holder.lost(&places),
            Some(_) | None => "a daemon runs already: see sockeye ping".to_owned(),
        })?;
        // The kernel takes it with the process: who waits for it to be free knows that nothing of this daemon is left.
        std::mem::forget(lock);
    }
    let last = Holder::last(&places)
        .map_or_else(|| places.clone(), |holder| Places { runtime: holder.runtime, ..places.clone() });
    Holder::write(&places)?;
    let _ = rustix::process::setsid();
    std::env::set_current_dir("/")?;
    let runtime = runtime::build(std::num::NonZeroUsize::MIN).context("cannot start")?;
    runtime.block_on(async {
        // Ends with the runtime.
        tokio::spawn(notify::live());
        let control = Control::open(&places.daemon()).context("cannot listen for questions")?;
        let mut daemon = Daemon::open(places, &last).await?;
        // A daemon that follows one that died brings nothing back: what was stopped or deleted since the list was saved stays so.
        if resurrect && !control.was_kept {
            daemon.resurrect().await?;
        }
        notify::ready();
        say_awake()?;
        let path = daemon.places.daemon();
        let (questions, listening) = control.into_parts();
        let end = daemon.serve(questions).await?;
        if end == End::Again {
            info!(program = %program.display(), "begins anew");
            let error = control::begin_anew(&program, &listening);
            // A service manager starts another one then, and so does the next command.
            return Err(error).with_context(|| format!("cannot execute {}", program.display()));
        }
        notify::stopping();
        control::close(&path, end == End::ForGood);
        Ok(ExitCode::from(exit::OK))
    })
}

/// Why a daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// With all apps, or because another one takes its place.
    ForGood,
    /// By a signal.
    Told,
    /// To begin anew, by SIGHUP: with the file of the program as it is then.
    Again,
}

/// How long a daemon that was killed may take to let go of its lock: the kernel takes its memory first.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Takes the lock of the daemon, unless one lives.
fn hold(lock: File, places: &Places) -> anyhow::Result<File> {
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
        return Ok(lock);
    }
    let ask = |question| talk::ask::<_, Done>(&places.daemon(), &question, LOCK_TIMEOUT);
    // The daemon of a service takes the place of one that a command started: the apps do not notice.
    let goes = notify::is_heard() && ask(Question::Leave).is_ok();
    if !goes && ask(Question::Ping).is_ok() {
        bail!("it answers");
    }
    let (sender, held) = std::sync::mpsc::sync_channel(1);
    // Ends with the other daemon, or with this process.
    std::thread::spawn(move || sender.send(flock(&lock, FlockOperation::LockExclusive).map(|()| lock)));
    Ok(held.recv_timeout(LOCK_TIMEOUT)??)
}

/// Says that questions are answered, and nothing more: whoever started it sees the end of standard output then, and no process of later inherits it.
fn say_awake() -> anyhow::Result<()> {
    // Whoever started it may be gone.
    let _ = writeln!(io::stdout(), "{AWAKE}");
    let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    Ok(())
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
    /// Reads the list and takes all keepers on. Of a list from before a boot nothing runs. `last` is where the last daemon had its sockets.
    async fn open(places: Places, last: &Places) -> anyhow::Result<Self> {
        let mut registry = store::read(&places.list())?;
        let boot = store::boot();
        if registry.boot != boot {
            registry.apps.iter_mut().for_each(|app| (app.keeper, app.wanted) = (None, false));
            registry.boot = boot;
        }
        let ended = mpsc::channel(ENDED_MAX);
        let mut daemon = Self { places, registry, ended, deaths: BTreeMap::new(), again: BTreeMap::new() };
        for app in daemon.registry.apps.clone() {
            let adopted = keepers::adopt(&app, &daemon.places, daemon.ended.0.clone()).await;
            match adopted {
                Some(keeper) => info!(app = app.launch.name, pid = keeper.pid, "adopted"),
                None => {
                    // One that lives and cannot be reached would go on beside the next.
                    if let Some(keeper) = app.keeper {
                        keepers::kill(keeper);
                        keepers::ended(keeper, LOCK_TIMEOUT).await;
                    }
                    keepers::sweep(&last.keeper(app.key));
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

    async fn serve(mut self, mut questions: mpsc::Receiver<Asked<Question>>) -> anyhow::Result<End> {
        let mut terminations = signal(SignalKind::terminate())?;
        let mut interrupts = signal(SignalKind::interrupt())?;
        let mut hangups = signal(SignalKind::hangup())?;
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
                    let is_end = matches!(question, Question::Kill | Question::Leave);
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
                        return Ok(End::ForGood);
                    }
                }
                Some(ended) = self.ended.1.recv() => self.mourn(ended)?,
                () = sleep_until(due) => self.start_again().await?,
                _ = terminations.recv() => return Ok(End::Told),
                _ = interrupts.recv() => return Ok(End::Told),
                _ = hangups.recv() => return Ok(End::Again),
            }
            rest.handle_work(Instant::now());
        }
    }

    async fn hear(&mut self, question: Question) -> anyhow::Result<Vec<Step>> {
        match question {
            Question::Ping | Question::Turn | Question::Leave => Ok(Vec::new()),
            Question::Start { launches } => self.start(launches).await,
            Question::Resume { targets, env } => self.resume(&targets, env.as_ref()).await,
            Question::Stop { targets } => self.stop(&targets).await,
            Question::Delete { targets } => self.delete(&targets).await,
            Question::Restart { targets, reload, launches, env } => {
                self.revise(launches, reload).await?;
                self.restart(&targets, reload, env.as_ref()).await
            }
            Question::Scale { target, number } => self.scale(&target, &number).await,
            Question::Signal { targets, signal } => {
                let word = |place| ToKeeper::Signal { place, signal };
                self.tell::<usize>(&targets, word, |done, heard| done.heard = Some(heard)).await
            }
            Question::Flush { targets } => self.flush(&targets).await,
            Question::Kill => {
                let done = self.stop(&["all".to_owned()]).await;
                info!("ends");
                done
            }
        }
    }

    async fn ask(&self, key: u32, question: &ToKeeper) -> anyhow::Result<Status> {
        if self.registry.app(key).is_some_and(|app| app.keeper.is_none()) {
            bail!("it does not run");
        }
        let keeper = self.registry.app(key).and_then(|app| app.keeper);
        let answer = steps::patiently(&self.places.keeper(key), question).await;
        answer.map_err(|error| steps::explained(error, keeper))
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

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
