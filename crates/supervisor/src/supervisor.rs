//! The driver: waits for processes, links and time, feeds the fleet, does what it says. No decisions.
//!
//! Tasks: one that accepts on the link, one a worker that hears its reports, one a process that awaits its end. Threads:
//! one that starts processes, two a process that read its output (a slow reader of logs holds up that worker, never the
//! runtime). All end with the [`Supervisor`], and so do all processes.

use std::collections::VecDeque;
use std::future;
use std::io;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use sockeye_link::{
    Arrival, Assign, Handover, LINK_VARIABLE, Listener, Ready, Report, Reports, WORKER_VARIABLE,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{debug, error, warn};

use crate::config::Config;
use crate::event::{Event, StartError, Stats};
use crate::fleet::{Fleet, FleetOutput};
use crate::lines::{Line, Stream, read_lines};
use crate::process::{Process, Spawner};
use crate::runtime_dir::RuntimeDir;
use crate::worker::{Output, Worker};

/// How many inputs may wait for [`Supervisor::next`]; whoever has more waits.
const INPUTS_MAX: usize = 64;

/// How long to wait before accepting again when the system refuses (out of descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long, after the last process ended, its last lines and connections may take to arrive: a process that left its
/// group can hold the pipe open for ever.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// The stack of a thread that reads lines.
const READER_STACK_BYTES: usize = 128 << 10;

/// All workers of one run. Dropping it kills them.
pub struct Supervisor {
    config: Config,
    fleet: Fleet,
    slots: Vec<Slot>,
    events: VecDeque<Event>,
    inputs: mpsc::Receiver<Input>,
    sender: mpsc::Sender<Input>,
    on_line: LineListener,
    /// Whatever still can send lines or connections.
    lingering: usize,
    stage: Stage,
    tasks: JoinSet<()>,
    spawner: Spawner,
    directory: RuntimeDir,
}

type LineListener = Arc<dyn Fn(&Line<'_>) + Send + Sync>;

/// What there is of one worker at the moment.
#[derive(Default)]
struct Slot {
    /// Counts the processes of this slot, to know late words of an earlier one.
    generation: u64,
    process: Option<Process>,
    tag: String,
    handover: Option<Handover>,
    /// The process is being made.
    spawning: bool,
    /// It said Hello before the thread that made it said so.
    early: Option<Arrival>,
    /// What it said when it said that it serves.
    ready: Option<Ready>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    Lingering { until: Instant },
    Over,
}

/// What tasks and threads tell the driver.
enum Input {
    Spawned(u32, u64, io::Result<Process>),
    Arrived(Arrival),
    Report(u32, u64, Report),
    LinkEnded(u32, u64),
    Exited(u32, u64),
    LinesEnded,
}

impl Supervisor {
    /// Starts all workers; `on_line` gets each line they write, on threads of its own.
    ///
    /// # Errors
    /// When the ports do not suffice or the directory cannot hold the link's socket.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(
        config: Config,
        directory: RuntimeDir,
        on_line: impl Fn(&Line<'_>) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let instances = config.instances.get();
        if let Some(ports) = config.ports.filter(|ports| ports.of(instances - 1).is_none()) {
            return Err(StartError::Ports { first: ports.first, instances });
        }
        let path = directory.link();
        let listener = Listener::bind_with(&path, config.link.clone())
            .map_err(|error| StartError::Link { path: path.clone(), error })?;
        let spawner = Spawner::new(instances as usize).map_err(StartError::Thread)?;
        let (sender, inputs) = mpsc::channel(INPUTS_MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, sender.clone()));
        let mut fleet = Fleet::new(config.instances, &config.timing);
        fleet.handle_start(Instant::now());
        Ok(Self {
            config,
            fleet,
            slots: (0..instances).map(|_| Slot::default()).collect(),
            events: VecDeque::new(),
            inputs,
            sender,
            on_line: Arc::new(on_line),
            lingering: 0,
            stage: Stage::Running,
            tasks,
            spawner,
            directory,
        })
    }

    /// Waits for what happens next, and carries everything on meanwhile: call it again and again. `None` after
    /// [`Event::Stopped`].
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(output) = self.fleet.poll_output() {
                self.act(output);
            }
            self.conclude();
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let due = match self.stage {
                Stage::Running => self.fleet.poll_timeout(),
                Stage::Lingering { until } => Some(until),
                Stage::Over => return None,
            };
            tokio::select! {
                Some(input) = self.inputs.recv() => self.hear(input),
                () = sleep_until(due) => self.fleet.handle_timeout(Instant::now()),
                Some(ended) = self.tasks.join_next() => if let Err(panic) = ended {
                    error!(%panic, "a task of the supervisor failed");
                },
            }
        }
    }

    /// Ends all workers: each may take `within` to let its sessions go, or ends at once if that is zero. Called again
    /// it shortens, never prolongs.
    pub fn stop(&mut self, within: Duration) {
        self.fleet.handle_stop(within, Instant::now());
    }

    /// Kills all workers.
    pub fn kill(&mut self) {
        self.fleet.handle_kill();
    }

    /// Where the workers meet.
    #[must_use]
    pub fn directory(&self) -> &RuntimeDir {
        &self.directory
    }

    /// Counters over all workers.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.fleet.stats()
    }

    fn act(&mut self, output: FleetOutput) {
        let (instance, output) = match output {
            FleetOutput::Worker(instance, output) => (instance, output),
            FleetOutput::AllReady => return self.events.push_back(Event::AllReady),
            FleetOutput::AllStopped => {
                return self.stage = Stage::Lingering { until: Instant::now() + LINGER_TIMEOUT };
            }
        };
        let slot = &self.slots[instance as usize];
        match output {
            Output::Spawn => self.spawn(instance),
            Output::Drain(within) => {
                if let Some(handover) = &slot.handover {
                    handover.drain(within);
                }
            }
            Output::Ready => self.ready(instance),
            Output::Stop => {
                if let Some(handover) = &slot.handover {
                    handover.stop();
                }
            }
            Output::Terminate => {
                if let Some(process) = &slot.process {
                    process.terminate();
                }
            }
            Output::Kill => {
                if let Some(process) = &slot.process {
                    self.events.push_back(Event::Killed { instance, pid: process.id() });
                    process.kill();
                }
            }
            Output::RestartingIn(delay) => self.events.push_back(Event::RestartingIn { instance, delay }),
            Output::Stopped => {}
        }
    }

    fn hear(&mut self, input: Input) {
        let now = Instant::now();
        match input {
            Input::Spawned(instance, generation, result) => self.spawned(instance, generation, result, now),
            Input::Arrived(arrival) => self.arrived(arrival),
            Input::Report(instance, generation, report) => {
                let is_current = self.slots[instance as usize].generation == generation;
                self.reported(instance, is_current, report, now);
            }
            Input::LinkEnded(instance, generation) => {
                self.lingering -= 1;
                if self.slots[instance as usize].generation == generation {
                    self.slots[instance as usize].handover = None;
                    self.fleet.handle_worker(instance, |worker| worker.handle_link_ended(now));
                }
            }
            Input::Exited(instance, generation) => {
                if self.slots[instance as usize].generation == generation {
                    self.exited(instance, now);
                }
            }
            Input::LinesEnded => self.lingering -= 1,
        }
    }

    fn spawn(&mut self, instance: u32) {
        let slot = &mut self.slots[instance as usize];
        slot.generation += 1;
        slot.spawning = true;
        slot.tag = (self.config.tag)();
        let (generation, sender) = (slot.generation, self.sender.clone());
        let asked = self.spawner.spawn(self.command(instance), move |result| {
            // Whoever is not heard has a supervisor that is gone: then the process is dropped, and with that killed.
            let _ = sender.blocking_send(Input::Spawned(instance, generation, result));
        });
        if let Err(error) = asked {
            self.slots[instance as usize].spawning = false;
            self.not_spawned(instance, error, Instant::now());
        }
    }

    fn command(&self, instance: u32) -> Command {
        let mut command = Command::new(&self.config.program);
        command
            .args(&self.config.arguments)
            .envs(self.config.environment.iter().map(|(name, value)| (name, value)));
        command.env(LINK_VARIABLE, self.directory.link()).env(WORKER_VARIABLE, instance.to_string());
        command.env("NODE_APP_INSTANCE", instance.to_string());
        if let Some(threads) = self.config.threads {
            command.env("SOCKEYE_THREADS", threads.to_string());
        }
        if let Some(port) = self.port(instance) {
            command.env("PORT", port.to_string());
        }
        command
    }

    fn spawned(&mut self, instance: u32, generation: u64, result: io::Result<Process>, now: Instant) {
        self.slots[instance as usize].spawning = false;
        let result = result.and_then(|mut process| process.ended().map(|ended| (process, ended)));
        let (mut process, ended) = match result {
            Ok(parts) => parts,
            Err(error) => return self.not_spawned(instance, error, now),
        };
        self.events.push_back(Event::Started { instance, pid: process.id() });
        let sender = self.sender.clone();
        self.tasks.spawn(async move {
            ended.wait().await;
            let _ = sender.send(Input::Exited(instance, generation)).await;
        });
        let (output, errors) = process.output();
        self.listen(instance, Stream::Out, output);
        self.listen(instance, Stream::Error, errors);
        let slot = &mut self.slots[instance as usize];
        slot.process = Some(process);
        let early = slot.early.take();
        self.fleet.handle_worker(instance, |worker| worker.handle_spawned(now));
        if let Some(arrival) = early {
            self.arrived(arrival);
        }
    }

    fn not_spawned(&mut self, instance: u32, error: io::Error, now: Instant) {
        self.events.push_back(Event::NotStarted { instance, error });
        self.fleet.handle_worker(instance, |worker| worker.handle_spawn_failed(now));
    }

    /// Reads what a process writes, on a thread that ends with the pipe.
    fn listen(&mut self, instance: u32, stream: Stream, pipe: Option<impl io::Read + Send + 'static>) {
        let Some(pipe) = pipe else { return };
        let (on_line, sender) = (Arc::clone(&self.on_line), self.sender.clone());
        let bytes_max = self.config.line_bytes_max;
        let name = format!("sockeye-log-{instance}");
        let thread = thread::Builder::new().name(name).stack_size(READER_STACK_BYTES).spawn(move || {
            read_lines(pipe, bytes_max, |text| on_line(&Line { instance, stream, text }));
            let _ = sender.blocking_send(Input::LinesEnded);
        });
        match thread {
            Ok(_) => self.lingering += 1,
            Err(error) => warn!(instance, %error, "no thread to read a worker's output: it is lost"),
        }
    }

    /// A process said Hello: if it is the one we started (or of its group), it gets its task.
    fn arrived(&mut self, arrival: Arrival) {
        let instance = arrival.instance;
        let Some(slot) = self.slots.get_mut(instance as usize) else {
            return warn!(
                pid = arrival.pid,
                instance, "a process says that it is a worker which we do not have"
            );
        };
        if slot.spawning {
            slot.early = Some(arrival);
            return;
        }
        let is_ours = slot.process.as_ref().is_some_and(|process| process.leads(arrival.pid));
        if !is_ours || slot.handover.is_some() {
            return warn!(pid = arrival.pid, instance, "a process says that it is a worker which it is not");
        }
        let assign = Assign {
            tag: slot.tag.clone(),
            mesh_dir: self.directory.mesh(),
            http_path: self.directory.http(&slot.tag),
            host: self.config.ports.map(|ports| ports.host),
            port: self.config.ports.and_then(|ports| ports.of(instance)),
            threads: self.config.threads,
        };
        let (handover, reports) = arrival.assign(assign);
        slot.handover = Some(handover);
        self.fleet.handle_worker(instance, Worker::handle_linked);
        self.lingering += 1;
        self.tasks.spawn(report(instance, slot.generation, reports, self.sender.clone()));
    }

    fn reported(&mut self, instance: u32, is_current: bool, report: Report, now: Instant) {
        let event = match report {
            // Connections come back whichever process had them.
            Report::Returned(connection) => Event::Returned(connection),
            Report::Ready(_) | Report::Load(_) | Report::Draining | Report::Bye if !is_current => return,
            Report::Ready(ready) => {
                self.slots[instance as usize].ready = Some(ready);
                return self.fleet.handle_worker(instance, |worker| worker.handle_ready(now));
            }
            Report::Load(load) => {
                self.fleet.handle_worker(instance, |worker| worker.handle_load(load.sessions, now));
                Event::Load { instance, load }
            }
            Report::Draining => Event::Draining { instance },
            Report::Bye => return debug!(instance, "a worker says good-bye"),
        };
        self.events.push_back(event);
    }

    fn ready(&mut self, instance: u32) {
        let slot = &mut self.slots[instance as usize];
        if let (Some(handover), Some(Ready { tag, http, port })) = (slot.handover.clone(), slot.ready.take())
        {
            self.events.push_back(Event::Ready { instance, tag, http, port, handover });
        }
    }

    fn exited(&mut self, instance: u32, now: Instant) {
        let slot = &mut self.slots[instance as usize];
        let Some(mut process) = slot.process.take() else { return };
        slot.handover = None;
        slot.early = None;
        slot.ready = None;
        self.directory.forget(&slot.tag);
        match process.reap() {
            Ok(status) => self.events.push_back(Event::Died { instance, pid: process.id(), status }),
            Err(error) => warn!(instance, %error, "a worker ended, nobody knows how"),
        }
        self.fleet.handle_worker(instance, |worker| worker.handle_exited(now));
    }

    /// Ends the run once nothing more can arrive.
    fn conclude(&mut self) {
        let Stage::Lingering { until } = self.stage else { return };
        if self.lingering > 0 && Instant::now() < until {
            return;
        }
        self.tasks.abort_all();
        if let Err(error) = self.directory.remove() {
            warn!(path = %self.directory.path().display(), %error, "the runtime directory is left behind");
        }
        self.stage = Stage::Over;
        self.events.push_back(Event::Stopped);
    }

    fn port(&self, instance: u32) -> Option<u16> {
        self.config.ports.and_then(|ports| ports.of(instance))
    }
}

/// The task that accepts processes on the link.
async fn accept(listener: Listener, sender: mpsc::Sender<Input>) {
    loop {
        match listener.accept().await {
            Ok(arrival) => {
                if sender.send(Input::Arrived(arrival)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                warn!(%error, "cannot accept workers");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The task that hears one worker.
async fn report(instance: u32, generation: u64, mut reports: Reports, sender: mpsc::Sender<Input>) {
    while let Some(report) = reports.next().await {
        if sender.send(Input::Report(instance, generation, report)).await.is_err() {
            return;
        }
    }
    let _ = sender.send(Input::LinkEnded(instance, generation)).await;
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => future::pending().await,
    }
}
