//! The task that holds a mesh together: it accepts, dials, keeps the time, tells who comes and goes, and owns the other tasks.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use sockeye_cluster::mesh::Conn;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError, JoinSet};

use super::door::{self, Door};
use super::machines::Machines;
use super::shared::{Kept, Shared};
use super::turn::Chore;
use super::{incoming, outgoing};
use crate::accepting::pause_after;

/// How long a node that leaves tries to send what it has published.
pub(super) const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// How far a mesh has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not everyone who was there is connected.
    Joining,
    /// Whoever was there knows this node.
    Settled,
    /// It has said goodbye.
    Left,
}

/// Runs the mesh until it leaves. A panic of one connection's task is logged and ends that connection only.
pub(super) async fn run(shared: Arc<Shared>, mut door: Door, phase: watch::Sender<Phase>) {
    let mut tasks = Tasks::default();
    while tasks.work_off(&shared, &phase) {
        let due = shared.due();
        tokio::select! {
            accepted = door.accept() => tasks.take(&shared, accepted).await,
            () = shared.bell.notified() => {}
            () = until(due) => { shared.turn(Machines::timeout); }
            Some(ended) = tasks.readers.join_next() => tasks.reap(ended),
            Some(ended) = tasks.writers.join_next() => report(ended),
        }
    }
    // The readers go last: with its connection to us a member is gone, and what waits for it is given up.
    door.shut();
    let flushed = async { while tasks.writers.join_next().await.is_some() {} };
    if tokio::time::timeout(LEAVE_TIMEOUT, flushed).await.is_err() {
        tracing::warn!("a member of the mesh did not take all that was published before the end");
    }
    phase.send_replace(Phase::Left);
}

#[derive(Default)]
struct Tasks {
    readers: JoinSet<()>,
    writers: JoinSet<()>,
    /// The readers by the name of their connection.
    doors: BTreeMap<Conn, AbortHandle>,
}

impl Tasks {
    /// Does what has piled up; `false`: the mesh is to end.
    fn work_off(&mut self, shared: &Arc<Shared>, phase: &watch::Sender<Phase>) -> bool {
        while let Some(chore) = shared.next_chore() {
            match chore {
                Chore::Dial(tag) => {
                    self.writers.spawn(outgoing::run(Arc::clone(shared), tag));
                }
                Chore::Close(conn) => {
                    if let Some(reader) = self.doors.remove(&conn) {
                        reader.abort();
                    }
                }
                Chore::Unlink(tag) => {
                    // What cannot be removed is refused again, by whoever comes next.
                    let removed = door::remove(&door::socket_path(&shared.dir, tag));
                    tracing::debug!(member = %tag, ?removed, "a mesh socket that nobody listens on");
                    drop(door::remove(&door::board_path(&shared.dir, tag)));
                }
                Chore::Settled => {
                    phase.send_replace(Phase::Settled);
                }
                Chore::Tell(output) => (shared.sink)(output),
                Chore::Report(missed) => shared.report(missed),
                Chore::Greet(tag) => shared.keep(Kept::Greeted(tag)),
                Chore::Leave => return false,
            }
        }
        true
    }

    async fn take(&mut self, shared: &Arc<Shared>, accepted: io::Result<UnixStream>) {
        match accepted {
            Ok(stream) => {
                let (conn, _) = shared.turn(Machines::accepted);
                let reader = self.readers.spawn(incoming::run(Arc::clone(shared), conn, stream));
                self.doors.insert(conn, reader);
            }
            Err(error) => pause_after(error, "mesh").await,
        }
    }

    fn reap(&mut self, ended: Result<(), JoinError>) {
        self.doors.retain(|_, reader| !reader.is_finished());
        report(ended);
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a task of the mesh panicked");
    }
}

async fn until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
