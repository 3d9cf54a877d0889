//! What a file says at the moment, and how it comes to say something else while clients are connected.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use sockeye_edge::{Config, Control};
use sockeye_settings::Settled;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::tenant::Recipe;
use crate::{backplane, board, exit, plan, settings};

/// What a house is asked to become.
pub(crate) struct Change {
    /// What the edge is told.
    pub(crate) edge: Config,
    /// What runs behind it.
    pub(crate) recipes: Vec<Recipe>,
    /// Whether it could be done; if not, nothing was.
    pub(crate) reply: oneshot::Sender<anyhow::Result<()>>,
}

/// How a file is read.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    /// Its path.
    pub(crate) file: PathBuf,
    /// Which variables its apps get beside the usual.
    pub(crate) profile: Option<String>,
    /// Whether workers log every change of state.
    pub(crate) verbose: bool,
}

/// A file that runs.
pub(crate) struct Standing {
    reader: Reader,
    control: Control,
    /// What is in force. Held while another takes its place, so that two do not cross.
    settled: Mutex<Settled>,
    house: mpsc::Sender<Change>,
}

impl Standing {
    /// The file from which a house was started.
    pub(crate) fn new(
        reader: Reader,
        control: Control,
        settled: Settled,
        house: mpsc::Sender<Change>,
    ) -> Self {
        Self { reader, control, settled: Mutex::new(settled), house }
    }

    /// Reads the file again and applies it. No connection is closed; where it cannot be, all is as it was.
    pub(crate) async fn apply(&self) -> anyhow::Result<String> {
        let mut standing = self.settled.lock().await;
        let reader = self.reader.clone();
        // It reads files and may ask the resolver: off the threads that serve clients.
        let (settled, recipes) = tokio::task::spawn_blocking(move || reader.read())
            .await
            .context("the change was broken off")??;
        keeps(&standing, &settled)?;
        let (reply, answer) = oneshot::channel();
        let change = Change { edge: settled.edge.clone(), recipes, reply };
        let gone = || anyhow!("it is about to end");
        self.house.send(change).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())??;
        *standing = settled;
        Ok(format!("applied {}", self.path().display()))
    }

    /// The edge that runs.
    pub(crate) fn control(&self) -> &Control {
        &self.control
    }

    /// The file's path.
    pub(crate) fn path(&self) -> &Path {
        &self.reader.file
    }
}

impl Reader {
    /// What the file says, and what runs for it, as far as that can be told beforehand.
    pub(crate) fn read(&self) -> anyhow::Result<(Settled, Vec<Recipe>)> {
        let settled = settings::read_and_look(&self.file, self.profile.as_deref())?;
        for (group, url) in board::directories(&settled.edge) {
            let check = || (backplane::at_hand()?.check)(&url);
            check().with_context(|| format!("upstream.{group}.directory"))?;
        }
        let whole = std::path::absolute(&self.file).context("there is no current directory")?;
        let base = whole.parent().unwrap_or(Path::new("/"));
        let (_, recipes) = plan::recipes(&settled, base, self.profile.as_deref(), self.verbose)?;
        recipes.iter().try_for_each(Recipe::check)?;
        Ok((settled, recipes))
    }
}

/// What only a start can change is told, and not left out.
fn keeps(standing: &Settled, settled: &Settled) -> anyhow::Result<()> {
    let changed = [
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
        match standing.apply().await {
            Ok(done) => exit::say(&done),
            Err(error) => {
                exit::complain_lines(exit::FAILED, &format!("{error:#}"));
                exit::complain(exit::FAILED, "nothing was changed: what ran before goes on");
            }
        }
    }
}
