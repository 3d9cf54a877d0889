//! Children that are no workers: processes whose own parent died became the keeper's. Once they end they are reaped.
//!
//! A process that is being made is not known yet, so a dead child counts as an orphan only when it was one a second ago.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitOptions, waitpid};
use sockeye_supervisor::WorkerView;
use sockeye_supervisor::proc::Identity;

/// How long a dead child is left to whoever may be about to reap it.
const PAUSE: Duration = Duration::from_secs(1);

/// The dead children that nobody reaped so far.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    seen: BTreeSet<u32>,
    due: Option<Instant>,
}

impl Orphans {
    /// A child died.
    pub(super) fn handle_child(&mut self, now: Instant) {
        self.due.get_or_insert(now + PAUSE);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn handle_timeout(&mut self, workers: &[WorkerView], now: Instant) {
        if self.due.take_if(|due| *due <= now).is_none() {
            return;
        }
        let known: BTreeSet<_> = workers.iter().filter_map(|worker| worker.pid).collect();
        let dead: BTreeSet<_> = dead_children().into_iter().filter(|pid| !known.contains(pid)).collect();
        for pid in dead.intersection(&self.seen) {
            if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
                // It is dead, so this does not wait.
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            }
        }
        self.seen = dead.difference(&self.seen).copied().collect();
        if !self.seen.is_empty() {
            self.due = Some(now + PAUSE);
        }
    }
}

fn dead_children() -> Vec<u32> {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let pids = children.flat_map(|list| list.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let pids = pids.filter_map(|pid| pid.parse().ok());
    pids.filter(|pid| Identity::of(*pid).is_some_and(|one| !one.is_alive())).collect()
}
