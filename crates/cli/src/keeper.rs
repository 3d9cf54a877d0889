//! `sockeye keep`: one process an app. It holds what the app's workers need: their pipes and exit statuses, their log files, and for an app of several
//! instances the public address and the clients that are relayed. It outlives the daemon, which only counts its keepers.
//!
//! One loop wires the supervisor to the edge and answers questions. Absent: ids and names of apps (the daemon's), every decision about a worker (the supervisor's).

mod front;
mod health;
mod orphans;
pub(crate) mod words;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use sockeye_supervisor::log::Logs;
use sockeye_supervisor::preload::{self, NODE_OPTIONS};
use sockeye_supervisor::proc::Identity;
use sockeye_supervisor::{Event, Launch, RuntimeDir, Status as Stage, Supervisor};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::places::KEEPER_VARIABLE;
use crate::talk::{self, Asked, Reply};
use crate::{log, runtime};

use front::Front;
use health::{Due, Health};
use orphans::Orphans;
use words::{Question, Status, Task, WorkerStatus};

/// How many questions may wait for the loop; whoever has more waits.
const QUESTIONS_MAX: usize = 16;

/// Reads its task from standard input, says on standard output that it begins, or why it cannot, and keeps the app until it is told to stop.
pub(crate) fn run() -> anyhow::Result<()> {
    log::start(false)?;
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let task: Task = serde_json::from_str(&text).context("expected a task on standard input")?;
    // A session of its own: no terminal's signal reaches it. It may be the leader of one already.
    let _ = rustix::process::setsid();
    // Processes that leave their group become its children.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    std::env::set_current_dir("/")?;
    let threads = if task.launch.is_cluster() { cores() } else { NonZeroUsize::MIN };
    let runtime = runtime::build(threads).context("cannot start threads")?;
    runtime.block_on(async {
        match Keeper::open(task).await {
            Ok(keeper) => {
                say("ok");
                Box::pin(keeper.serve()).await
            }
            Err(error) => {
                say(&format!("{error:#}"));
                Err(error)
            }
        }
    })
}

/// How many cores there are.
pub(crate) fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

fn say(line: &str) {
    // Whoever started it may be gone.
    let _ = writeln!(io::stdout(), "{}", line.replace('\n', " "));
}

/// The app.
struct Keeper {
    task: Task,
    supervisor: Supervisor,
    front: Option<Front>,
    logs: Arc<Logs>,
    health: Health,
    orphans: Orphans,
    questions: mpsc::Receiver<Asked<Question>>,
    waiting: Vec<(Awaited, Reply)>,
    terminations: Signal,
    interrupts: Signal,
    children: Signal,
    trouble: Option<String>,
    /// What makes copies of a Node.js app one server.
    preload: PathBuf,
}

/// What a question waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// Nothing is under way.
    Rest,
    /// The reload came to its end.
    Reload,
    /// All ended.
    End,
}

impl Keeper {
    async fn open(task: Task) -> anyhow::Result<Self> {
        let listener = talk::listen(&task.socket).context("cannot listen for questions")?;
        let (sender, questions) = mpsc::channel(QUESTIONS_MAX);
        // Ends with the receiver, which is this keeper's.
        tokio::spawn(talk::serve(listener, sender));
        let base = task.socket.parent().context("a socket lies in a directory")?;
        let directory = RuntimeDir::create_in(base).context("cannot keep sockets")?;
        let preload =
            preload::write(&directory.path().join("preload")).context("cannot write the preload")?;
        let config = settle(&task, &preload)?;
        let front = match task.launch.is_cluster() {
            true => Some(Front::open(&task.launch).await?),
            false => None,
        };
        let logs = Arc::new(
            Logs::open(&task.launch.name, task.launch.spec.log.clone(), task.logs.clone())
                .context("cannot keep log files")?,
        );
        let lines = Arc::clone(&logs);
        let supervisor = Supervisor::start(config, directory, move |line| lines.handle_line(line))?;
        Ok(Self {
            health: Health::new(&task.launch)?,
            orphans: Orphans::default(),
            supervisor,
            front,
            logs,
            questions,
            waiting: Vec::new(),
            terminations: signal(SignalKind::terminate())?,
            interrupts: signal(SignalKind::interrupt())?,
            children: signal(SignalKind::child())?,
            trouble: None,
            preload,
            task,
        })
    }

    async fn serve(mut self) -> anyhow::Result<()> {
        loop {
            let front = self.front.as_ref().and_then(Front::poll_timeout);
            let due = [self.health.poll_timeout(), self.orphans.poll_timeout(), front];
            let due = due.into_iter().flatten().min();
            tokio::select! {
                event = self.supervisor.next() => match event {
                    Some(event) => self.take(event),
                    None => break,
                },
                Some(asked) = self.questions.recv() => self.hear(asked),
                () = self.health.changed() => {}
                _ = self.terminations.recv() => self.supervisor.stop(Duration::ZERO),
                _ = self.interrupts.recv() => self.supervisor.stop(Duration::ZERO),
                _ = self.children.recv() => self.orphans.handle_child(Instant::now()),
                () = sleep_until(due) => self.look_after(),
            }
        }
        Box::pin(self.finish()).await;
        Ok(())
    }

    fn take(&mut self, event: Event) {
        if let Event::Reloaded { complete } = event {
            let failed =
                "the successor of a worker did not come to serve: the others go on as they were, see its log";
            if !complete {
                self.trouble = Some(failed.to_owned());
            }
            let (reloads, others) =
                self.waiting.drain(..).partition(|(awaited, _)| *awaited == Awaited::Reload);
            self.waiting = others;
            let reloads: Vec<(Awaited, Reply)> = reloads;
            for (_, reply) in reloads {
                if complete { reply.answer(&self.status()) } else { reply.refuse(failed) }
            }
        }
        if let Event::NotStarted { error, .. } = &event {
            self.trouble = Some(format!("cannot start: {error}"));
        }
        if let Some(front) = &mut self.front
            && let Some(trouble) = front.handle_event(event)
        {
            tracing::warn!(trouble, app = self.task.launch.name);
            self.trouble = Some(trouble);
        }
        self.answer_the_rested();
    }

    fn hear(&mut self, Asked { question, reply }: Asked<Question>) {
        let outcome = match question {
            Question::Status => return reply.answer(&self.status()),
            Question::Settle => Ok(Awaited::Rest),
            Question::Stop { place: None } => {
                self.supervisor.stop(Duration::ZERO);
                Ok(Awaited::End)
            }
            Question::Stop { place: Some(place) } => self.each(place, Supervisor::stop_one),
            Question::Restart { place, launch } => self.change(launch).and_then(|()| match place {
                None => {
                    self.supervisor.restart(None);
                    Ok(Awaited::Rest)
                }
                Some(place) => self.each(place, |supervisor, instance| supervisor.restart(Some(instance))),
            }),
            Question::Reload { launch } => self.change(launch).and_then(|()| self.reload()),
            Question::Scale { instances } => self.scale(instances),
            Question::Signal { place, signal } => {
                let instances = self.instances_at(place);
                let heard: usize =
                    instances.iter().map(|instance| self.supervisor.signal(Some(*instance), signal)).sum();
                return reply.answer(&heard);
            }
            Question::Input { place, text } => return reply_to(reply, self.write(place, text.as_bytes())),
            Question::Flush => {
                self.logs.flush();
                return reply.answer(&());
            }
        };
        match outcome {
            Ok(awaited) => self.waiting.push((awaited, reply)),
            Err(error) => reply.refuse(format!("{error:#}")),
        }
        self.answer_the_rested();
    }

    /// From here on workers are started so.
    fn change(&mut self, launch: Option<Box<Launch>>) -> anyhow::Result<()> {
        let Some(launch) = launch else { return Ok(()) };
        let task = Task { launch: *launch, ..self.task.clone() };
        let config = settle(&task, &self.preload)?;
        if let Some(front) = &mut self.front {
            front.change(&task.launch)?;
        }
        self.task = task;
        self.supervisor.change(config);
        Ok(())
    }

    fn reload(&mut self) -> anyhow::Result<Awaited> {
        if self.front.is_none() {
            // It has a port of its own, which only one process can have.
            self.supervisor.restart(None);
            return Ok(Awaited::Rest);
        }
        self.supervisor.reload(self.task.launch.spec.drain.duration())?;
        Ok(Awaited::Reload)
    }

    fn scale(&mut self, instances: u32) -> anyhow::Result<Awaited> {
        if self.front.is_none() {
            bail!(
                "it was started without -i, so it has no port that several could share: delete it, and start it with -i {instances}"
            );
        }
        let instances =
            NonZeroU32::new(instances).ok_or_else(|| anyhow!("expected at least one instance"))?;
        self.supervisor.scale(instances, self.task.launch.spec.drain.duration())?;
        self.task.instances = Some(instances.get());
        Ok(Awaited::Rest)
    }

    fn write(&mut self, place: u32, bytes: &[u8]) -> anyhow::Result<()> {
        let instance =
            self.instances_at(Some(place)).pop().ok_or_else(|| anyhow!("there is no instance {place}"))?;
        let written =
            self.supervisor.write(instance, bytes).context("it does not read its standard input")?;
        if written < bytes.len() {
            bail!("it does not read its standard input: {written} of {} bytes were taken", bytes.len());
        }
        Ok(())
    }

    fn each(&mut self, place: u32, what: impl Fn(&mut Supervisor, u32)) -> anyhow::Result<Awaited> {
        let instances = self.instances_at(Some(place));
        if instances.is_empty() {
            bail!("there is no instance {place}");
        }
        for instance in instances {
            what(&mut self.supervisor, instance);
        }
        Ok(Awaited::Rest)
    }

    fn instances_at(&self, place: Option<u32>) -> Vec<u32> {
        let workers = self.supervisor.view();
        let there = workers.iter().filter(|worker| place.is_none_or(|place| worker.place == place));
        there.map(|worker| worker.instance).collect()
    }

    fn answer_the_rested(&mut self) {
        if self.waiting.is_empty() || self.is_under_way() {
            return;
        }
        let status = self.status();
        let (rested, waiting) = self.waiting.drain(..).partition(|(awaited, _)| *awaited == Awaited::Rest);
        self.waiting = waiting;
        let rested: Vec<(Awaited, Reply)> = rested;
        rested.into_iter().for_each(|(_, reply)| reply.answer(&status));
    }

    fn is_under_way(&self) -> bool {
        let is_moving = |stage| matches!(stage, Stage::Launching | Stage::Stopping);
        self.supervisor.is_reloading() || self.supervisor.view().iter().any(|worker| is_moving(worker.status))
    }

    /// What is due by the clock.
    fn look_after(&mut self) {
        let workers = self.supervisor.view();
        self.orphans.handle_timeout(&workers, Instant::now());
        for instance in
            self.front.as_mut().map(|front| front.handle_timeout(Instant::now())).unwrap_or_default()
        {
            self.supervisor.left_alone(instance);
        }
        for due in self.health.handle_timeout(&workers) {
            match due {
                Due::Restart { instance, why } => {
                    tracing::info!(app = self.task.launch.name, why, "restarts");
                    self.trouble = Some(why);
                    self.supervisor.restart(instance);
                }
                Due::Cron => {
                    if self.reload().is_err() {
                        tracing::info!("a restart by the clock is left out: another is under way");
                    }
                }
            }
        }
    }

    fn status(&mut self) -> Status {
        let views = self.supervisor.view();
        let mut workers: Vec<_> = views
            .iter()
            .map(|view| {
                let (memory, cpu) = self.health.usage(view.pid);
                WorkerStatus {
                    place: view.place,
                    pid: view.pid,
                    status: view.status.name().to_owned(),
                    uptime: view.uptime.map(|uptime| u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX)),
                    restarts: view.restarts,
                    unstable_restarts: view.unstable,
                    memory,
                    cpu,
                    sessions: view.sessions,
                    port: view.port,
                    exit: view.exit.map(|exit| exit.to_string()),
                }
            })
            .collect();
        // During a reload a place has two: the one that serves is what is asked for.
        workers.sort_by_key(|worker| (worker.place, worker.status != "online"));
        workers.dedup_by_key(|worker| worker.place);
        Status {
            keeper: Identity::of(std::process::id())
                .unwrap_or(Identity { pid: std::process::id(), start: 0 }),
            workers,
            listening: self.front.as_ref().map(Front::listening).unwrap_or_default(),
            relayed: self.front.as_ref().map_or(0, Front::open_connections),
            trouble: self.trouble.clone(),
        }
    }

    async fn finish(mut self) {
        if let Some(front) = self.front.take() {
            front.close().await;
        }
        // Whoever left its group and its session is still marked.
        let left =
            sockeye_supervisor::proc::kill_marked(KEEPER_VARIABLE, &self.task.socket.to_string_lossy());
        if left > 0 {
            tracing::info!(left, "processes that had left their group were killed");
        }
        let _ = std::fs::remove_file(&self.task.socket);
        let status = self.status();
        for (_, reply) in self.waiting.drain(..) {
            reply.answer(&status);
        }
        // The tasks that write the answers are to come to it.
        tokio::time::sleep(ANSWER_TIME).await;
    }
}

fn reply_to(reply: Reply, outcome: anyhow::Result<()>) {
    match outcome {
        Ok(()) => reply.answer(&()),
        Err(error) => reply.refuse(format!("{error:#}")),
    }
}

/// How long the last answers may take to be written.
const ANSWER_TIME: Duration = Duration::from_millis(20);

/// What the supervisor is told.
fn settle(task: &Task, preload: &Path) -> anyhow::Result<sockeye_supervisor::Config> {
    let mut config = task.launch.settle(cores())?;
    if let Some(instances) = task.instances.and_then(NonZeroU32::new) {
        config.instances = instances;
    }
    // This very program, whatever lies at its path by then.
    config.tether = Some("/proc/self/exe".into());
    config.environment.push((KEEPER_VARIABLE.into(), task.socket.clone().into()));
    if config.ipc && config.linked {
        let users = task.launch.environment().remove(NODE_OPTIONS).map(OsString::from);
        config.environment.push((NODE_OPTIONS.into(), preload::node_options(preload, users.as_deref())));
    }
    if let Some(user) = &task.launch.spec.user {
        config.user = Some(account(user)?);
    }
    Ok(config)
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

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
