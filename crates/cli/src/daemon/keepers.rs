//! Keepers as the daemon has them: started, adopted, asked, mourned.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use sockeye_supervisor::proc::{Identity, kill_marked};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::process::Command;
use tokio::sync::mpsc;

use super::registry::App;
use crate::apps::THRIFT;
use crate::keeper::words::{Question, Status, Task};
use crate::places::{KEEPER_VARIABLE, Places};
use crate::{notify, talk};

/// How long a keeper may take to open its port and begin.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a keeper may take to say how it is.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// A keeper that ended: of which app, and who it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) key: u32,
    pub(super) keeper: Identity,
}

/// Starts a keeper. What a dead one left is swept before. `ended` hears of its end.
pub(super) async fn start(
    app: &App,
    places: &Places,
    ended: mpsc::Sender<Ended>,
) -> anyhow::Result<Identity> {
    let socket = places.keeper(app.key);
    sweep(&socket);
    let task = Task {
        launch: app.launch.clone(),
        socket,
        logs: places.logs(),
        instances: app.launch.is_cluster().then_some(app.instances),
    };
    let log = std::fs::OpenOptions::new().append(true).create(true).open(places.own_log())?;
    let mut command = Command::new("/proc/self/exe");
    notify::VARIABLES.iter().for_each(|name| _ = command.env_remove(name));
    let mut child = command
        .arg("keep")
        .env(THRIFT.0, THRIFT.1)
        .env_remove(KEEPER_VARIABLE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("cannot start a keeper")?;
    let mut stdin = child.stdin.take().context("it is piped")?;
    let stdout = child.stdout.take().context("it is piped")?;
    stdin.write_all(&serde_json::to_vec(&task)?).await?;
    drop(stdin);
    let mut word = String::new();
    let heard = tokio::time::timeout(START_TIMEOUT, BufReader::new(stdout).read_line(&mut word)).await;
    let keeper = child.id().and_then(Identity::of);
    match (heard, word.trim(), keeper) {
        (Ok(Ok(_)), "ok", Some(keeper)) => {
            let key = app.key;
            // Ends with the keeper; a daemon that ends before leaves it to the next.
            tokio::spawn(async move {
                let _ = child.wait().await;
                let _ = ended.send(Ended { key, keeper }).await;
            });
            Ok(keeper)
        }
        (Err(_), ..) => {
            let _ = child.kill().await;
            bail!("it did not begin within {START_TIMEOUT:?}")
        }
        (Ok(_), word, _) => {
            let _ = child.wait().await;
            if word.is_empty() {
                bail!("its keeper ended: see {}", places.own_log().display())
            }
            Err(anyhow!("{word}"))
        }
    }
}

/// Takes a keeper on that an earlier daemon started, if it lives and says so itself.
pub(super) async fn adopt(app: &App, places: &Places, ended: mpsc::Sender<Ended>) -> Option<Identity> {
    let keeper = app.keeper?;
    let descriptor = descriptor(keeper)?;
    let status: Status =
        talk::ask_async(&places.keeper(app.key), &Question::Status, STATUS_TIMEOUT).await.ok()?;
    if status.keeper != keeper {
        return None;
    }
    let key = app.key;
    let descriptor = watched(descriptor).ok()?;
    // Ends with the keeper.
    tokio::spawn(async move {
        let _ = descriptor.readable().await;
        // A daemon that began anew is its parent, and nobody else reaps it.
        let _ = waitid(WaitId::PidFd(descriptor.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        let _ = ended.send(Ended { key, keeper }).await;
    });
    Some(keeper)
}

/// Waits until it has ended: whether it did within that time.
pub(super) async fn ended(keeper: Identity, within: Duration) -> bool {
    // Whoever has no descriptor is dead.
    let Some(descriptor) = descriptor(keeper).and_then(|descriptor| watched(descriptor).ok()) else {
        return !keeper.is_alive();
    };
    tokio::time::timeout(within, descriptor.readable()).await.is_ok()
}

/// Ends it at once; its workers end by their link and by the kernel's death signal.
pub(super) fn kill(keeper: Identity) {
    if let Some(descriptor) = descriptor(keeper) {
        // It may have ended this moment.
        let _ = pidfd_send_signal(descriptor, Signal::KILL);
    }
}

/// What stands for this very process, unless it has ended.
fn descriptor(keeper: Identity) -> Option<OwnedFd> {
    let pid = i32::try_from(keeper.pid).ok().and_then(Pid::from_raw)?;
    let descriptor = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // Its number may have been given away before the descriptor was there.
    keeper.is_alive().then_some(descriptor)
}

/// It can be read once the process has ended.
#[expect(deprecated, reason = "its replacement is an unsafe fn; an OwnedFd keeps all that it asks for")]
fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

/// Kills whatever a dead keeper left, and removes its socket.
pub(super) fn sweep(socket: &PathBuf) {
    let left = kill_marked(KEEPER_VARIABLE, &socket.to_string_lossy());
    if left > 0 {
        tracing::warn!(left, socket = %socket.display(), "processes of a dead keeper were killed");
    }
    let _ = std::fs::remove_file(socket);
}
