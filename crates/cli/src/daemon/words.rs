//! What the daemon is asked, and what it answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sockeye_supervisor::{Launch, StopSignal};

use crate::keeper::words::Status;

/// The daemon's first word on standard output: from here on questions are answered.
pub(crate) const AWAKE: &str = "ok";

/// What the daemon is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Question {
    /// Are you there? Answered at once.
    Ping,
    /// The same, answered in its turn: what was asked before is done.
    Turn,
    /// Run these, in this order; each waits for those it names in `after`.
    Start {
        /// What to run.
        launches: Vec<Launch>,
    },
    /// Run apps that are in the list.
    Resume {
        /// Which.
        targets: Vec<String>,
        /// The variables of the shell; absent: as before.
        env: Option<BTreeMap<String, String>>,
    },
    /// End apps, and leave them in the list.
    Stop {
        /// Which.
        targets: Vec<String>,
    },
    /// End apps, and forget them.
    Delete {
        /// Which.
        targets: Vec<String>,
    },
    /// Fresh processes: at once, or one after the other.
    Restart {
        /// Which.
        targets: Vec<String>,
        /// One after the other.
        reload: bool,
        /// Apps of process files that were named, as these say it now. They are among the targets.
        #[serde(default)]
        launches: Vec<Launch>,
        /// The variables of the shell; absent: as before.
        env: Option<BTreeMap<String, String>>,
    },
    /// Another number of instances.
    Scale {
        /// Which.
        target: String,
        /// `4`, `+1` or `-1`.
        number: String,
    },
    /// A signal to processes.
    Signal {
        /// Which.
        targets: Vec<String>,
        /// Which signal.
        signal: StopSignal,
    },
    /// Empty log files.
    Flush {
        /// Which.
        targets: Vec<String>,
    },
    /// End all apps and yourself.
    Kill,
    /// End yourself alone: a daemon of the service manager's takes all keepers on.
    Leave,
}

/// What was done, app by app.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Each app.
    pub(crate) apps: Vec<AppDone>,
}

/// What was done to an app.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AppDone {
    /// Its name.
    pub(crate) name: String,
    /// How it is.
    pub(crate) status: Option<Status>,
    /// What did not work.
    pub(crate) error: Option<String>,
    /// How its environment differs from before: `+NAME`, `-NAME`, `~NAME`.
    pub(crate) env: Vec<String>,
    /// How many processes heard a signal.
    pub(crate) heard: Option<usize>,
}

impl AppDone {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), status: None, error: None, env: Vec::new(), heard: None }
    }
}
