//! What a supervisor tells its user.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use sockeye_link::{Connection, Handover, Load};

use crate::asking::Asking;
use crate::worker::{Status, WorkerStats};

/// One thing that happened.
#[derive(Debug)]
pub enum Event {
    /// A process runs.
    Started {
        /// Which worker.
        instance: u32,
        /// Its process id, which is its process group too.
        pid: u32,
    },
    /// A process could not be made; [`Event::RestartingIn`] follows.
    NotStarted {
        /// Which worker.
        instance: u32,
        /// Why not.
        error: io::Error,
    },
    /// A worker serves, by its own word.
    Ready {
        /// Which worker.
        instance: u32,
        /// The tag of its session ids.
        tag: String,
        /// The Unix socket on which it takes relayed requests.
        http: PathBuf,
        /// Its own TCP port, if it has one.
        port: Option<u16>,
        /// The public address that its program asked for.
        asked: Option<SocketAddr>,
        /// The door through which it takes connections.
        handover: Handover,
    },
    /// A process serves, as something else than our link says: it takes no connections, but requests at its port if it has one.
    Serving {
        /// Which worker.
        instance: u32,
        /// The port of the loopback that it was given.
        port: Option<u16>,
    },
    /// A process without our link wants a public address: answer it.
    Asks {
        /// Which worker.
        instance: u32,
        /// The question.
        asking: Asking,
    },
    /// What comes in at a public address can be brought to a process.
    PlainReady {
        /// Which worker.
        instance: u32,
        /// The tag of this process.
        tag: String,
        /// The public address; all of both families if absent.
        host: Option<IpAddr>,
        /// The public port.
        port: u16,
        /// Its Unix socket.
        path: PathBuf,
        /// Whether its session ids begin with its tag.
        tagged: bool,
    },
    /// How many sessions a process on the plain link has.
    PlainLoad {
        /// Which worker.
        instance: u32,
        /// The tag of the process.
        tag: String,
        /// The number.
        sessions: u32,
        /// How many ever began there, where it counts them.
        arrived: Option<u64>,
    },
    /// Nobody listens at that Unix socket any more.
    PlainGone {
        /// The tag of the process.
        tag: String,
        /// What was its Unix socket.
        path: PathBuf,
    },
    /// A program cannot run several times behind one address.
    Unfit {
        /// Which worker.
        instance: u32,
        /// Why, for people.
        reason: String,
    },
    /// All workers serve at the same time, for the first time.
    AllReady,
    /// A worker failed too often in a row, and is not started again.
    GaveUp {
        /// Which worker.
        instance: u32,
    },
    /// A worker was replaced or scaled away.
    Gone {
        /// Which worker.
        instance: u32,
    },
    /// The reload came to its end.
    Reloaded {
        /// Whether all were replaced; else the rest goes on as it was.
        complete: bool,
    },
    /// A worker's word on what it has to do.
    Load {
        /// Which worker.
        instance: u32,
        /// The latest figures.
        load: Load,
    },
    /// A worker lets its sessions go and takes no more.
    Draining {
        /// Which worker.
        instance: u32,
        /// The time that it has, where it does not see to its sessions itself.
        within: Option<Duration>,
    },
    /// A connection that a worker was passed and never took on: pass it to another.
    Returned(Connection),
    /// A worker was killed: it was not ready in time, it did not end in time, or [`Supervisor::kill`](crate::Supervisor)
    /// said so. [`Event::Died`] follows.
    Killed {
        /// Which worker.
        instance: u32,
        /// Its process id.
        pid: u32,
    },
    /// A process ended and is reaped; nothing is left of its group.
    Died {
        /// Which worker.
        instance: u32,
        /// What its process id was.
        pid: u32,
        /// How it ended.
        status: ExitStatus,
    },
    /// A worker will be started again.
    RestartingIn {
        /// Which worker.
        instance: u32,
        /// After this time.
        delay: Duration,
    },
    /// No process and no file is left. The last event.
    Stopped,
}

/// Why nothing was started: the caller's to mend.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The last worker's port would be beyond 65535.
    #[error("expected room for {instances} ports from {first} on, up to 65535")]
    Ports {
        /// The first port asked for.
        first: u16,
        /// How many are needed.
        instances: u32,
    },
    /// The socket for the workers could not be made.
    #[error("cannot listen for workers at {path}: {error}")]
    Link {
        /// Where.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The thread that starts processes could not be made.
    #[error("cannot make a thread: {0}")]
    Thread(io::Error),
}

/// Counters of all workers since the start, and how many are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Processes that were to be started, the first time included.
    pub starts: u64,
    /// Processes that were to be started again.
    pub restarts: u64,
    /// Processes that were killed because they were not ready in time.
    pub overdue: u64,
    /// Workers that serve.
    pub ready: u32,
}

impl Stats {
    /// Adds what one worker counted.
    pub(crate) fn add(&mut self, one: WorkerStats) {
        self.starts += one.starts;
        self.restarts += one.restarts;
        self.overdue += one.overdue;
    }
}

/// One worker at a moment.
#[derive(Debug, Clone)]
pub struct WorkerView {
    /// Its number, which no other of the run ever has.
    pub instance: u32,
    /// Its place (`NODE_APP_INSTANCE`).
    pub place: u32,
    /// Its process.
    pub pid: Option<u32>,
    /// What a person is told.
    pub status: Status,
    /// Since when the process exists.
    pub uptime: Option<Duration>,
    /// How often it was started again.
    pub restarts: u64,
    /// How often it failed in a row.
    pub unstable: u32,
    /// How many sessions it has, by its own word.
    pub sessions: u32,
    /// Its own TCP port.
    pub port: Option<u16>,
    /// How its last process ended.
    pub exit: Option<ExitStatus>,
}
