//! `sockeye keep`: one process an app. It holds what the app's workers need: their pipes and exit statuses, their log files, and for an app of several
//! instances the public address and the clients that are relayed. It outlives the daemon, which only counts its keepers.
//!
//! One loop wires the supervisor to the edge and answers questions. Absent: ids and names of apps (the daemon's), every decision about a worker (the supervisor's).

mod orphans;
pub(crate) mod words;

use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use sockeye_edge::config::{self, Group, Site};
use sockeye_edge::{Control, Proxy};
use sockeye_supervisor::log::Logs;
use sockeye_supervisor::proc::Identity;
use sockeye_supervisor::{Event, Launch, RuntimeDir};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::board::Board;
use crate::rest::Rest;
use crate::talk::{self, Asked, Reply};
pub(crate) use crate::tenant::cores;
use crate::tenant::{RELOAD_FAILED, Recipe, Tenant, Turn};
use crate::{log, runtime};

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

fn say(line: &str) {
    // Whoever started it may be gone.
    let _ = writeln!(io::stdout(), "{}", line.replace('\n', " "));
}

/// The app.
struct Keeper {
    task: Task,
    tenant: Tenant,
    edge: Edge,
    logs: Arc<Logs>,
    orphans: Orphans,
    questions: mpsc::Receiver<Asked<Question>>,
    waiting: Vec<(Awaited, Reply)>,
    terminations: Signal,
    interrupts: Signal,
    children: Signal,
    trouble: Option<String>,
    rest: Rest,
}

/// The edge before this app alone.
struct Edge {
    control: Control,
    task: JoinHandle<()>,
    /// Dropping it ends the edge.
    close: oneshot::Sender<()>,
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
        let recipe = Recipe::new(task.launch.clone(), task.instances);
        let (edge, board) = Edge::open()?;
        let logs = Arc::new(
            Logs::open(&task.launch.name, task.launch.spec.log.clone(), task.logs.clone())
                .context("cannot keep log files")?,
        );
        let lines = Arc::clone(&logs);
        let mark = task.socket.to_string_lossy().into_owned();
        let on_line = move |line: &sockeye_supervisor::Line<'_>| lines.handle_line(line);
        let tenant = Tenant::open(recipe, mark, directory, (&board, Group::WORKERS), on_line)?;
        tokio::task::yield_now().await;
        Ok(Self {
            tenant,
            edge,
            orphans: Orphans::default(),
            logs,
            questions,
            waiting: Vec::new(),
            terminations: signal(SignalKind::terminate())?,
            interrupts: signal(SignalKind::interrupt())?,
            children: signal(SignalKind::child())?,
            trouble: None,
            rest: Rest::new(Instant::now()),
            task,
        })
    }

    async fn serve(mut self) -> anyhow::Result<()> {
        loop {
            let due = self.orphans.poll_timeout();
            tokio::select! {
                () = sleep_until(self.rest.poll_timeout()) => {
                    if self.rest.handle_timeout(Instant::now()) {
                        sockeye_sys::release_unmodified_pages();
                    }
                    continue;
                }
                turn = self.tenant.next() => match turn {
                    Some(Turn::Event(event)) => self.take(event),
                    Some(Turn::Restarts(why)) => self.note(why),
                    None => break,
                },
                Some(asked) = self.questions.recv() => self.hear(asked),
                _ = self.terminations.recv() => self.tenant.stop(Duration::ZERO),
                _ = self.interrupts.recv() => self.tenant.stop(Duration::ZERO),
                _ = self.children.recv() => self.orphans.handle_child(Instant::now()),
                () = sleep_until(due) => self.orphans.handle_timeout(&self.tenant.view(), Instant::now()),
            }
            self.rest.handle_work(Instant::now());
        }
        Box::pin(self.finish()).await;
        Ok(())
    }

    fn take(&mut self, event: Event) {
        let reloaded = if let Event::Reloaded { complete } = &event { Some(*complete) } else { None };
        if let Some(trouble) = self.tenant.take(event) {
            tracing::warn!(trouble, app = self.task.launch.name);
            self.trouble = Some(trouble);
        }
        if let Some(complete) = reloaded {
            let (reloads, others) =
                self.waiting.drain(..).partition(|(awaited, _)| *awaited == Awaited::Reload);
            self.waiting = others;
            let reloads: Vec<(Awaited, Reply)> = reloads;
            for (_, reply) in reloads {
                if complete { reply.answer(&self.status()) } else { reply.refuse(RELOAD_FAILED) }
            }
        }
        self.answer_the_rested();
    }

    /// Workers were restarted, and why.
    fn note(&mut self, why: String) {
        tracing::info!(app = self.task.launch.name, why, "restarts");
        self.trouble = Some(why);
    }

    fn hear(&mut self, Asked { question, reply }: Asked<Question>) {
        if matches!(question, Question::Restart { .. } | Question::Reload { .. } | Question::Scale { .. }) {
            // What did not work is tried again, and told again if it does not work then.
            self.trouble = None;
        }
        let outcome = match question {
            Question::Status => return reply.answer(&self.status()),
            Question::Settle => Ok(Awaited::Rest),
            Question::Stop { place: None } => {
                self.tenant.stop(Duration::ZERO);
                Ok(Awaited::End)
            }
            Question::Stop { place: Some(place) } => self.each(place, Tenant::stop_one),
            Question::Restart { place, launch } => self.change(launch).and_then(|()| match place {
                None => {
                    self.tenant.restart(None);
                    Ok(Awaited::Rest)
                }
                Some(place) => self.each(place, |tenant, instance| tenant.restart(Some(instance))),
            }),
            Question::Reload { launch } => self.change(launch).and_then(|()| self.reload()),
            Question::Scale { instances } => self.scale(instances),
            Question::Signal { place, signal } => {
                let instances = self.instances_at(place);
                let heard: usize =
                    instances.iter().map(|instance| self.tenant.signal(*instance, signal)).sum();
                return reply.answer(&heard);
            }
            Question::Input { place, text } => return reply_to(reply, self.write(place, text.as_bytes())),
            Question::Flush => {
                self.logs.flush(self.tenant.view().iter().map(|worker| worker.place));
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
        self.tenant.change(Recipe::new(task.launch.clone(), task.instances))?;
        self.task = task;
        Ok(())
    }

    fn reload(&mut self) -> anyhow::Result<Awaited> {
        Ok(if self.tenant.reload()? { Awaited::Reload } else { Awaited::Rest })
    }

    fn scale(&mut self, instances: u32) -> anyhow::Result<Awaited> {
        self.tenant.scale(instances)?;
        self.task.instances = Some(instances);
        Ok(Awaited::Rest)
    }

    fn write(&mut self, place: u32, bytes: &[u8]) -> anyhow::Result<()> {
        let instance =
            self.instances_at(Some(place)).pop().ok_or_else(|| anyhow!("there is no instance {place}"))?;
        let written = self.tenant.write(instance, bytes).context("it does not read its standard input")?;
        if written < bytes.len() {
            bail!("it does not read its standard input: {written} of {} bytes were taken", bytes.len());
        }
        Ok(())
    }

    fn each(&mut self, place: u32, what: impl Fn(&mut Tenant, u32)) -> anyhow::Result<Awaited> {
        let instances = self.instances_at(Some(place));
        if instances.is_empty() {
            bail!("there is no instance {place}");
        }
        for instance in instances {
            what(&mut self.tenant, instance);
        }
        Ok(Awaited::Rest)
    }

    fn instances_at(&self, place: Option<u32>) -> Vec<u32> {
        let workers = self.tenant.view();
        let there = workers.iter().filter(|worker| place.is_none_or(|place| worker.place == place));
        there.map(|worker| worker.instance).collect()
    }

    fn answer_the_rested(&mut self) {
        if self.waiting.is_empty() || self.tenant.is_under_way() {
            return;
        }
        let status = self.status();
        let (rested, waiting) = self.waiting.drain(..).partition(|(awaited, _)| *awaited == Awaited::Rest);
        self.waiting = waiting;
        let rested: Vec<(Awaited, Reply)> = rested;
        rested.into_iter().for_each(|(_, reply)| reply.answer(&status));
    }

    fn status(&mut self) -> Status {
        let views = self.tenant.view();
        let mut workers: Vec<_> = views
            .iter()
            .map(|view| {
                let (memory, cpu) = self.tenant.usage(view.pid);
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
            listening: self.tenant.listening(),
            relayed: self.edge.control.stats().open,
            trouble: self.trouble.clone(),
        }
    }

    async fn finish(mut self) {
        let status = self.status();
        self.edge.close().await;
        // Whoever left its group and its session is still marked.
        let left = self.tenant.close();
        if left > 0 {
            tracing::info!(left, "processes that had left their group were killed");
        }
        let _ = std::fs::remove_file(&self.task.socket);
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

impl Edge {
    /// An edge without addresses, and where the app says who serves.
    fn open() -> anyhow::Result<(Self, Arc<Board>)> {
        let mut config = config::Config::default();
        config.listeners.clear();
        config.groups = vec![Group::workers()];
        config.sites = vec![Site::everything(Group::WORKERS)];
        let proxy = Proxy::bind(config.clone())?;
        let control = proxy.control();
        let board = Arc::new(Board::new(control.clone(), config));
        let (close, closed) = oneshot::channel::<()>();
        // Ends with `close`, which is this value's.
        let task = tokio::spawn(proxy.run(async {
            let _ = closed.await;
        }));
        Ok((Self { control, task, close }, board))
    }

    /// No worker is left: what is under way can only be the edge's own answers.
    async fn close(self) {
        let Self { mut task, close, .. } = self;
        drop(close);
        if tokio::time::timeout(EDGE_END_WAIT, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// How long answers under way may take once the last worker is gone.
const EDGE_END_WAIT: Duration = Duration::from_millis(500);

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
