//! The task that writes the sessions of a namespace down where its backplane keeps them.

use super::Hub;
use super::kept::Job;
use super::meshed::pace;
use futures_util::future::join_all;
use sockeye_cluster::Pid;
use sockeye_cluster::adapter::{AdapterError, Channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Sessions that are written down at once.
const SAVED_AT_ONCE: usize = 64;

/// How long the saver waits for a backplane that cannot be reached.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How long leaving waits for the last sessions to be written down.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

impl Hub {
    /// Begins to write sessions down, if they are kept on a backplane. Must be called once, within a tokio runtime.
    pub(crate) fn keep_sessions(self: &Arc<Self>) {
        if let Some(kept) = self.kept().filter(|kept| kept.ledger.is_some() || self.branch().is_some()) {
            // Ends with the namespace, whose end rings the bell.
            tokio::spawn(run(Arc::downgrade(self), Arc::clone(&kept.bell)));
        }
    }

    /// Waits until all sessions are written down, for as long as [`FLUSH_TIMEOUT`].
    pub(crate) async fn flush_sessions(&self) {
        let Some(kept) = self.kept() else { return };
        if tokio::time::timeout(FLUSH_TIMEOUT, kept.all_settled()).await.is_err() {
            tracing::warn!(nsp = %self.nsp(), "the last sessions could not be written down in time");
        }
    }
}

async fn run(hub: Weak<Hub>, bell: Arc<tokio::sync::Notify>) {
    loop {
        bell.notified().await;
        loop {
            let Some(hub) = hub.upgrade() else { return };
            match round(&hub).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(nsp = %hub.nsp(), %error, "sessions cannot be written down");
                    drop(hub);
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }
}

/// Writes some down. `false`: nothing waits.
async fn round(hub: &Hub) -> Result<bool, AdapterError> {
    if let Some((kept, placed)) = hub.placed() {
        let next = || kept.next(|member| hub.rooms().rooms_of(member.id));
        let mut some = false;
        for (pid, job) in std::iter::from_fn(next).take(SAVED_AT_ONCE) {
            hub.save_placed(placed, &pid, &job);
            kept.done(&pid, None);
            some = true;
        }
        pace(placed.0).await;
        return Ok(some);
    }
    let (Some(kept), Some(branch)) = (hub.kept(), hub.branch()) else { return Ok(false) };
    let Some(channel) = branch.channel() else {
        // A namespace that clients brought to life does not wait for its channel.
        drop(tokio::time::timeout(RETRY_PAUSE, branch.opened()).await);
        return Ok(true);
    };
    let next = || kept.next(|member| hub.rooms().rooms_of(member.id));
    let jobs: Vec<_> = std::iter::from_fn(next).take(SAVED_AT_ONCE).collect();
    if jobs.is_empty() {
        return Ok(false);
    }
    let channel = &channel;
    let done = join_all(jobs.into_iter().map(|(pid, job)| async move {
        let outcome = save(channel, &pid, &job).await;
        // What is refused would be refused again.
        let again = matches!(outcome, Err(AdapterError::Unreachable(_))).then_some(job);
        kept.done(&pid, again);
        outcome
    }));
    done.await.into_iter().collect::<Result<Vec<()>, _>>().map(|_| true)
}

async fn save(channel: &Arc<dyn Channel>, pid: &Pid, job: &Job) -> Result<(), AdapterError> {
    let Some(sessions) = channel.sessions() else { return Ok(()) };
    match job {
        Job::Save { session, keep, .. } => {
            let mut session = session.clone();
            if session.start.is_none() {
                // It had met no event: there was none since.
                session.start = channel.began();
            }
            sessions.save(&session, *keep).await
        }
        Job::Forget => {
            sessions.forget(pid).await;
            Ok(())
        }
    }
}
