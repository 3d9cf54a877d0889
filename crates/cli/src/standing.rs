//! What a file says at the moment, and how it comes to say something else while clients are connected.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, anyhow, bail};
use sockeye_edge::Control;
use sockeye_settings::Settled;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{exit, settings, unsupported};

/// A file that runs.
pub(crate) struct Standing {
    path: PathBuf,
    control: Control,
    /// What is in force. Held while another takes its place, so that two do not cross.
    settled: Mutex<Settled>,
}

impl Standing {
    /// The file from which an edge was started.
    pub(crate) fn new(path: &Path, control: Control, settled: Settled) -> Self {
        Self { path: path.to_owned(), control, settled: Mutex::new(settled) }
    }

    /// Reads the file again and applies it. No connection is closed; where it cannot be, all is as it was.
    ///
    /// It blocks: it reads files and may ask the resolver.
    pub(crate) fn apply(&self) -> anyhow::Result<String> {
        let mut standing = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = settings::read(&self.path).and_then(unsupported::refuse)?;
        keeps(&standing, &settled)?;
        self.control.apply(settled.edge.clone()).map_err(|error| anyhow!("{error}"))?;
        *standing = settled;
        Ok(format!("applied {}", self.path.display()))
    }

    /// The edge that runs.
    pub(crate) fn control(&self) -> &Control {
        &self.control
    }

    /// The file's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// What only a start can change is told, and not left out.
fn keeps(standing: &Settled, settled: &Settled) -> anyhow::Result<()> {
    let changed = [
        ("app", standing.apps != settled.apps),
        ("admin", standing.admin != settled.admin),
        ("cluster", standing.cluster != settled.cluster),
        ("limits of servers (connect_timeout to buffer_size)", standing.edge.relay != settled.edge.relay),
        ("limits.returned", standing.edge.limits.returned_max != settled.edge.limits.returned_max),
    ];
    let changed: Vec<&str> = changed.iter().filter(|(_, changed)| *changed).map(|(what, _)| *what).collect();
    if changed.is_empty() {
        return Ok(());
    }
    bail!("{} cannot change while it runs: put it back, or stop and start anew", changed.join(", "))
}

/// SIGHUP, from the moment on at which it would end the process.
pub(crate) fn hangups() -> anyhow::Result<Signal> {
    signal(SignalKind::hangup()).context("cannot listen for SIGHUP")
}

/// Applies the file at each SIGHUP, for as long as it is polled.
pub(crate) async fn heed(standing: Arc<Standing>, mut hangups: Signal) {
    while hangups.recv().await.is_some() {
        match apply(Arc::clone(&standing)).await {
            Ok(done) => exit::say(&done),
            Err(error) => {
                exit::complain_lines(exit::FAILED, &format!("{error:#}"));
                exit::complain(exit::FAILED, "nothing was changed: what ran before goes on");
            }
        }
    }
}

/// [`Standing::apply`], off the threads that serve clients.
pub(crate) async fn apply(standing: Arc<Standing>) -> anyhow::Result<String> {
    tokio::task::spawn_blocking(move || standing.apply()).await.context("the change was broken off")?
}
