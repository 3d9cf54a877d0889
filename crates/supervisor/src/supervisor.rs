//! The driver: waits for processes, links and time, feeds the fleet, does what it says. No decisions.
//!
//! Tasks: one that accepts on the link, one a worker that hears its reports, one a process that awaits its end. Threads:
//! one that starts processes, two a process that read its output (a slow reader of logs holds up that worker, never the
//! runtime). All end with the [`Supervisor`], and so do all processes.

mod start;
mod talks;

use std::collections::{BTreeMap, VecDeque};
use std::future;
use std::io;
use std::num::NonZeroU32;
use std::process::ExitStatus;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use sockeye_link::{Arrival, Assign, Listener, Ready, Report, Reports, plain};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{debug, error, warn};

use crate::config::Config;
use crate::event::{Event, StartError, Stats, WorkerView};
use crate::fleet::{Busy, Fleet, FleetOutput};
use crate::lines::{Line, Stream, read_lines};
use crate::process::{Process, Spawner};
use crate::runtime_dir::RuntimeDir;
use crate::slot::Slot;
use crate::spec::StopSignal;
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
    slots: BTreeMap<u32, Slot>,
    /// Numbers the processes on the plain link.
    talks: u64,
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
    /// It serves, as something else than a link says.
    Serves(u32, u64),
    Called(plain::Arrival),
    Said(u32, u64, u64, Option<plain::Event>),
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
        let called = directory.plain();
        let caller = plain::Listener::bind(&called)
            .map_err(|error| StartError::Link { path: called.clone(), error })?;
        let listener = Listener::bind_with(&path, config.link.clone())
            .map_err(|error| StartError::Link { path: path.clone(), error })?;
        let spawner = Spawner::new(instances as usize).map_err(StartError::Thread)?;
        let (sender, inputs) = mpsc::channel(INPUTS_MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, sender.clone()));
        tasks.spawn(answer(caller, sender.clone()));
        let mut fleet = Fleet::new(config.instances, &config.timing, &config.policy);
        fleet.handle_start(Instant::now());
        Ok(Self {
            config,
            fleet,
            slots: BTreeMap::new(),
            talks: 0,
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
                Some(ended) = self.tasks.join_next() => if let Err(panic) = ended && panic.is_panic() {
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
        self.fleet.handle_kill(Instant::now());
    }

    /// Replaces each worker by a fresh process, one after the other; [`Event::Reloaded`] follows.
    ///
    /// # Errors
    /// When a reload is under way.
    pub fn reload(&mut self, drain: Duration) -> Result<(), Busy> {
        self.fleet.handle_reload(drain, Instant::now())
    }

    /// Changes how many workers there are; whoever leaves may take `drain` for it.
    ///
    /// # Errors
    /// When a reload is under way.
    pub fn scale(&mut self, instances: NonZeroU32, drain: Duration) -> Result<(), Busy> {
        self.fleet.handle_scale(instances, drain, Instant::now())
    }

    /// Ends the process of each worker, or of one, and starts a fresh one at once. A worker that is stopped starts.
    pub fn restart(&mut self, instance: Option<u32>) {
        let now = Instant::now();
        match instance {
            None => self.fleet.handle_restart(now),
            Some(instance) => self.fleet.handle_worker(instance, now, |worker| worker.handle_restart(now)),
        }
    }

    /// Ends one worker, and leaves it stopped.
    pub fn stop_one(&mut self, instance: u32) {
        let now = Instant::now();
        self.fleet.handle_worker(instance, now, |worker| worker.handle_stop(Duration::ZERO, now));
    }

    /// Whoever brings clients to a worker that drains sees that nobody is left there: it need not wait for the end of its time, unless it has sessions by its own
    /// word. One that takes connections over our link knows by itself.
    pub fn left_alone(&mut self, instance: u32) {
        let now = Instant::now();
        let is_empty = |slot: &Slot| slot.handover.is_none() && slot.sessions == 0;
        if self.slots.get(&instance).is_some_and(is_empty) {
            self.fleet.handle_worker(instance, now, |worker| worker.handle_load(0, now));
        }
    }

    /// Signals the group of each worker, or of one: how many heard it.
    pub fn signal(&self, instance: Option<u32>, signal: StopSignal) -> usize {
        let asked = self.slots.iter().filter(|(slot, _)| instance.is_none_or(|instance| instance == **slot));
        let running = asked.filter_map(|(_, slot)| slot.process.as_ref());
        running.map(|process| process.signal(signal.signal())).count()
    }

    /// Writes to the standard input of a worker as much as it takes at once.
    ///
    /// # Errors
    /// When it has none, does not run, or does not read.
    pub fn write(&mut self, instance: u32, bytes: &[u8]) -> io::Result<usize> {
        let process = self.slots.get_mut(&instance).and_then(|slot| slot.process.as_mut());
        process.ok_or_else(|| io::Error::other("it does not run"))?.write(bytes)
    }

    /// From their next start on workers are started so.
    pub fn change(&mut self, config: Config) {
        self.fleet.change(&config.timing, &config.policy);
        self.config = config;
    }

    /// Each worker at this moment, by its number.
    #[must_use]
    pub fn view(&self) -> Vec<WorkerView> {
        let view = |(instance, place, worker): (u32, u32, &Worker)| {
            let slot = self.slots.get(&instance);
            WorkerView {
                instance,
                place,
                pid: slot.and_then(|slot| slot.process.as_ref()).map(Process::id),
                status: worker.status(),
                uptime: worker.spawned().map(|spawned| spawned.elapsed()),
                restarts: worker.stats().restarts,
                unstable: worker.unstable(),
                sessions: slot.map_or(0, |slot| slot.sessions),
                port: slot.and_then(|slot| slot.port),
                exit: slot.and_then(|slot| slot.status),
            }
        };
        self.fleet.workers().map(view).collect()
    }

    /// Whether a reload is under way.
    #[must_use]
    pub fn is_reloading(&self) -> bool {
        self.fleet.is_reloading()
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
            FleetOutput::Gone(instance) => {
                self.slots.remove(&instance);
                return self.events.push_back(Event::Gone { instance });
            }
            FleetOutput::Reloaded(complete) => return self.events.push_back(Event::Reloaded { complete }),
            FleetOutput::AllStopped => {
                return self.stage = Stage::Lingering { until: Instant::now() + LINGER_TIMEOUT };
            }
        };
        let slot = self.slots.entry(instance).or_default();
        match output {
            Output::Spawn => self.spawn(instance),
            Output::Drain(within) => {
                slot.drain(within);
                if slot.handover.is_none() {
                    // Over our link it says so itself.
                    self.events.push_back(Event::Draining { instance, within: Some(within) });
                }
            }
            Output::Ready => self.ready(instance),
            Output::Stop => {
                if let Some(handover) = &slot.handover {
                    handover.stop();
                }
            }
            Output::Terminate => slot.terminate(self.config.stop_signal, self.config.shutdown_with_message),
            Output::Kill => {
                if let Some(process) = &slot.process {
                    self.events.push_back(Event::Killed { instance, pid: process.id() });
                    process.kill();
                }
            }
            Output::RestartingIn(delay) => self.events.push_back(Event::RestartingIn { instance, delay }),
            Output::GaveUp => self.events.push_back(Event::GaveUp { instance }),
            Output::Stopped => {}
        }
    }

    fn hear(&mut self, input: Input) {
        let now = Instant::now();
        match input {
            Input::Spawned(instance, generation, result) => self.spawned(instance, generation, result, now),
            Input::Arrived(arrival) => self.arrived(arrival, now),
            Input::Report(instance, generation, report) => {
                let is_current = self.current(instance, generation).is_some();
                self.reported(instance, is_current, report, now);
            }
            Input::LinkEnded(instance, generation) => {
                self.lingering -= 1;
                if let Some(slot) = self.current(instance, generation) {
                    slot.handover = None;
                    self.fleet.handle_worker(instance, now, |worker| worker.handle_link_ended(now));
                }
            }
            Input::Exited(instance, generation) => {
                if self.current(instance, generation).is_some() {
                    self.exited(instance, now);
                }
            }
            Input::LinesEnded => self.lingering -= 1,
            Input::Serves(instance, generation) => {
                if self.current(instance, generation).is_some() {
                    self.fleet.handle_worker(instance, now, |worker| worker.handle_ready(now));
                }
            }
            Input::Called(arrival) => self.called(arrival),
            Input::Said(instance, generation, talk, event) => {
                self.said(instance, generation, talk, event, now);
            }
        }
    }

    fn current(&mut self, instance: u32, generation: u64) -> Option<&mut Slot> {
        self.slots.get_mut(&instance).filter(|slot| slot.generation == generation)
    }

    /// Reads what a process writes, on a thread that ends with the pipe.
    fn listen(&mut self, instance: u32, stream: Stream, pipe: Option<impl io::Read + Send + 'static>) {
        let Some(pipe) = pipe else { return };
        let (on_line, sender) = (Arc::clone(&self.on_line), self.sender.clone());
        let bytes_max = self.config.line_bytes_max;
        let place = self.fleet.place(instance).unwrap_or(instance);
        let name = format!("sockeye-log-{instance}");
        let thread = thread::Builder::new().name(name).stack_size(READER_STACK_BYTES).spawn(move || {
            read_lines(pipe, bytes_max, |text, more| on_line(&Line { instance, place, stream, text, more }));
            let _ = sender.blocking_send(Input::LinesEnded);
        });
        match thread {
            Ok(_) => self.lingering += 1,
            Err(error) => warn!(instance, %error, "no thread to read a worker's output: it is lost"),
        }
    }

    /// A process said Hello: if it is the one we started (or of its group), it gets its task.
    fn arrived(&mut self, arrival: Arrival, now: Instant) {
        let instance = arrival.instance;
        let port = self.config.ports.and(self.slots.get(&instance).and_then(|slot| slot.port));
        let Some(slot) = self.slots.get_mut(&instance) else {
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
            port,
            threads: self.config.threads,
        };
        let (handover, reports) = arrival.assign(assign);
        slot.handover = Some(handover);
        let generation = slot.generation;
        self.fleet.handle_worker(instance, now, Worker::handle_linked);
        self.lingering += 1;
        self.tasks.spawn(report(instance, generation, reports, self.sender.clone()));
    }

    fn reported(&mut self, instance: u32, is_current: bool, report: Report, now: Instant) {
        let event = match report {
            // Connections come back whichever process had them.
            Report::Returned(connection) => Event::Returned(connection),
            Report::Ready(_) | Report::Load(_) | Report::Draining | Report::Bye if !is_current => return,
            Report::Ready(ready) => {
                if let Some(slot) = self.slots.get_mut(&instance) {
                    slot.ready = Some(ready);
                }
                return self.fleet.handle_worker(instance, now, |worker| worker.handle_ready(now));
            }
            Report::Load(load) => {
                if let Some(slot) = self.slots.get_mut(&instance) {
                    slot.sessions = load.sessions;
                }
                self.fleet.handle_worker(instance, now, |worker| worker.handle_load(load.sessions, now));
                Event::Load { instance, load }
            }
            Report::Draining => Event::Draining { instance, within: None },
            Report::Bye => return debug!(instance, "a worker says good-bye"),
        };
        self.events.push_back(event);
    }

    fn ready(&mut self, instance: u32) {
        let Some(slot) = self.slots.get_mut(&instance) else { return };
        let event = match (slot.handover.clone(), slot.ready.take()) {
            (Some(handover), Some(Ready { tag, http, port, asked })) => {
                Event::Ready { instance, tag, http, port, asked, handover }
            }
            (_, _) => Event::Serving { instance, port: slot.port },
        };
        self.events.push_back(event);
    }

    fn exited(&mut self, instance: u32, now: Instant) {
        let Some(slot) = self.slots.get_mut(&instance) else { return };
        let Some(mut process) = slot.process.take() else { return };
        slot.clear();
        self.directory.forget(&slot.tag);
        let reaped = process.reap();
        let code = reaped.as_ref().ok().and_then(ExitStatus::code);
        match reaped {
            Ok(status) => {
                slot.status = Some(status);
                self.events.push_back(Event::Died { instance, pid: process.id(), status });
            }
            Err(error) => warn!(instance, %error, "a worker ended, nobody knows how"),
        }
        self.fleet.handle_worker(instance, now, |worker| worker.handle_exited(code, now));
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

/// The task that accepts processes on the plain link.
async fn answer(listener: plain::Listener, sender: mpsc::Sender<Input>) {
    loop {
        match listener.accept().await {
            Ok(arrival) => {
                if sender.send(Input::Called(arrival)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                warn!(%error, "cannot accept workers on the plain link");
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
