//! What there is of one worker at the moment: its process, its links, and the tasks that listen to it. Decides nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use sockeye_link::plain::{self, Listen, Sids};
use sockeye_link::{Arrival, Handover, Ready};
use tokio::net::unix::OwnedWriteHalf;
use tokio::task::AbortHandle;

use crate::process::Process;
use crate::spec::StopSignal;

/// One worker.
#[derive(Default)]
pub(crate) struct Slot {
    /// Counts the processes of this slot, to know late words of an earlier one.
    pub(crate) generation: u64,
    pub(crate) process: Option<Process>,
    /// The process is being made.
    pub(crate) spawning: bool,
    pub(crate) tag: String,
    pub(crate) handover: Option<Handover>,
    /// It said Hello before the thread that made it said so.
    pub(crate) early: Option<Arrival>,
    /// What it said when it said that it serves.
    pub(crate) ready: Option<Ready>,
    /// Its private TCP port.
    pub(crate) port: Option<u16>,
    /// Where it may say `READY=1`.
    pub(crate) notify: Option<PathBuf>,
    /// On which a Node app hears.
    pub(crate) channel: Option<OwnedWriteHalf>,
    /// Its processes on the plain link, by a number of ours.
    pub(crate) talks: BTreeMap<u64, Talk>,
    /// Sessions, by its own word.
    pub(crate) sessions: u32,
    /// How the last process ended.
    pub(crate) status: Option<ExitStatus>,
    /// What ends with the process.
    pub(crate) tasks: Vec<AbortHandle>,
}

/// A process on the plain link, and the addresses for which it listens.
pub(crate) struct Talk {
    pub(crate) tag: String,
    pub(crate) worker: plain::Worker,
    pub(crate) listens: BTreeMap<u32, Heard>,
    pub(crate) sessions: u32,
}

/// One listen of a process.
pub(crate) struct Heard {
    pub(crate) listen: Listen,
    pub(crate) path: PathBuf,
    pub(crate) sids: Option<Sids>,
}

impl Slot {
    /// Asks the process to end by signal; who can hear it is told before.
    pub(crate) fn terminate(&self, signal: StopSignal, with_message: bool) {
        for talk in self.talks.values() {
            talk.worker.stop();
        }
        if let (true, Some(channel)) = (with_message, &self.channel) {
            // A channel that is full or gone leaves the signal.
            let _ = channel.try_write(b"\"shutdown\"\n");
        }
        if let Some(process) = &self.process {
            process.signal(signal.signal());
        }
    }

    /// Tells whoever can hear it to let its sessions go.
    pub(crate) fn drain(&self, within: Duration) {
        if let Some(handover) = &self.handover {
            handover.drain(within);
        }
        for talk in self.talks.values() {
            talk.worker.drain(within);
        }
    }

    /// The process is gone: nothing that belonged to it stays.
    pub(crate) fn clear(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
        if let Some(path) = self.notify.take() {
            remove(&path);
        }
        (self.handover, self.early, self.ready, self.channel) = (None, None, None, None);
        (self.port, self.sessions) = (None, 0);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A file that may be gone already.
pub(crate) fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}
