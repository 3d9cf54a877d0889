//! What a keeper is asked, and what it says of its workers.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sockeye_supervisor::proc::Identity;
use sockeye_supervisor::{Launch, StopSignal};

/// What a keeper is told when it starts, on its standard input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    /// What it runs.
    pub(crate) launch: Launch,
    /// Where it listens; also what marks its processes.
    pub(crate) socket: PathBuf,
    /// Where log files lie.
    pub(crate) logs: PathBuf,
    /// How many workers, where that was changed by `scale`.
    pub(crate) instances: Option<u32>,
}

/// What a keeper is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Question {
    /// How are you?
    Status,
    /// The same, once nothing is under way.
    Settle,
    /// End one worker, or all and yourself.
    Stop {
        /// Which worker.
        place: Option<u32>,
    },
    /// Fresh processes at once.
    Restart {
        /// Which worker.
        place: Option<u32>,
        /// What it runs from here on.
        launch: Option<Box<Launch>>,
    },
    /// Fresh processes, one after the other.
    Reload {
        /// What it runs from here on.
        launch: Option<Box<Launch>>,
    },
    /// So many workers.
    Scale {
        /// The number.
        instances: u32,
    },
    /// Signal the groups of workers.
    Signal {
        /// Which worker.
        place: Option<u32>,
        /// Which signal.
        signal: StopSignal,
    },
    /// Empty the log files.
    Flush,
    /// Write to a worker's standard input.
    Input {
        /// Which worker.
        place: u32,
        /// What.
        text: String,
    },
}

/// How a keeper is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Who it is.
    pub(crate) keeper: Identity,
    /// Its workers.
    pub(crate) workers: Vec<WorkerStatus>,
    /// The public addresses that it holds.
    pub(crate) listening: Vec<SocketAddr>,
    /// Clients whose connections run through it.
    pub(crate) relayed: u64,
    /// The last thing that did not work.
    pub(crate) trouble: Option<String>,
}

impl Status {
    /// Of a keeper that is gone.
    pub(crate) fn ended(keeper: Identity, trouble: Option<String>) -> Self {
        Self { keeper, workers: Vec::new(), listening: Vec::new(), relayed: 0, trouble }
    }
}

/// How a worker is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WorkerStatus {
    /// `NODE_APP_INSTANCE`.
    pub(crate) place: u32,
    /// Its process.
    pub(crate) pid: Option<u32>,
    /// One of pm2's words.
    pub(crate) status: String,
    /// Since when its process exists, in milliseconds.
    pub(crate) uptime: Option<u64>,
    /// How often it was started again.
    pub(crate) restarts: u64,
    /// How often it failed in a row.
    pub(crate) unstable_restarts: u32,
    /// Resident memory, in bytes.
    pub(crate) memory: u64,
    /// Share of a processor since the last question, in percent.
    pub(crate) cpu: f64,
    /// Sessions, by its own word.
    pub(crate) sessions: u32,
    /// Its own port.
    pub(crate) port: Option<u16>,
    /// How its last process ended.
    pub(crate) exit: Option<String>,
}
