//! Questions to keepers: what is left to do for an app once the daemon has done its part, and how long an answer may take.
//!
//! A keeper that takes its time says how it is meanwhile; one that does not was stopped by a signal, or hangs. Nobody waits for that one.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use serde::de::DeserializeOwned;
use sockeye_supervisor::proc::Identity;

use super::words::{AppDone, Done};
use crate::keeper::words::{Question as ToKeeper, Status};
use crate::talk;

/// How long a keeper may take to do what it is asked: all its workers may have to start, drain and end.
const DO_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// How long it may take to say how it is, or to do what takes no time.
pub(super) const KEEPER_TIMEOUT: Duration = Duration::from_secs(10);

/// What was done to an app, and what its keeper is still to be asked.
pub(super) struct Step {
    pub(super) done: AppDone,
    pub(super) ask: Option<Ask>,
}

/// A question, and who is to answer it.
pub(super) struct Ask {
    pub(super) socket: PathBuf,
    pub(super) keeper: Option<Identity>,
    pub(super) question: ToKeeper,
}

/// Asks the keepers, one after the other.
pub(super) async fn take(steps: Vec<Step>) -> Done {
    let mut apps = Vec::new();
    for Step { mut done, ask } in steps {
        if let Some(Ask { socket, keeper, question }) = ask {
            match patiently(&socket, &question).await {
                Ok(status) => done.status = Some(status),
                Err(error) => done.error = Some(format!("{:#}", explained(error, keeper))),
            }
        }
        apps.push(done);
    }
    Done { apps }
}

/// Asks for what may take its time, as long as the keeper says how it is meanwhile.
pub(super) async fn patiently<T: DeserializeOwned>(socket: &Path, question: &ToKeeper) -> anyhow::Result<T> {
    let answer = talk::ask_async(socket, question, DO_TIMEOUT);
    attended(answer, || talk::ask_async::<_, Status>(socket, &ToKeeper::Status, KEEPER_TIMEOUT)).await
}

/// Awaits an answer, and looks at once and each [`KEEPER_TIMEOUT`] after whether who owes it is still there.
async fn attended<T, S, L>(
    answer: impl Future<Output = anyhow::Result<T>>,
    look: impl Fn() -> L,
) -> anyhow::Result<T>
where
    L: Future<Output = anyhow::Result<S>>,
{
    let silence = async {
        loop {
            match look().await {
                Err(error) if talk::is_late(&error) => return error,
                // Who refuses has just ended: so does the answer.
                Ok(_) | Err(_) => tokio::time::sleep(KEEPER_TIMEOUT).await,
            }
        }
    };
    tokio::select! {
        biased;
        answer = answer => answer,
        error = silence => Err(error),
    }
}

/// Says what to do about a keeper that does not answer.
pub(super) fn explained(error: anyhow::Error, keeper: Option<Identity>) -> anyhow::Error {
    match keeper {
        Some(Identity { pid, .. }) if talk::is_late(&error) => anyhow!(
            "its keeper, process {pid}, does not answer within {KEEPER_TIMEOUT:?}: if it was stopped, kill -CONT {pid} lets it go on; kill -9 {pid} has it and its workers replaced"
        ),
        Some(_) | None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_says_how_it_is_may_take_its_time() {
        let hour = Duration::from_secs(3600);
        let answer = || async move {
            tokio::time::sleep(hour).await;
            Ok(7)
        };
        assert_eq!(attended(answer(), || async { Ok(()) }).await.unwrap(), 7);
        let refuses = || async { Err::<(), _>(anyhow!("connection refused")) };
        assert_eq!(attended(answer(), refuses).await.unwrap(), 7, "the answer says it");
        let start = tokio::time::Instant::now();
        let frozen = || async {
            tokio::time::sleep(KEEPER_TIMEOUT).await;
            Err::<(), _>(anyhow!(talk::Late::after(KEEPER_TIMEOUT)))
        };
        assert!(talk::is_late(&attended(answer(), frozen).await.unwrap_err()));
        assert_eq!(start.elapsed(), KEEPER_TIMEOUT);
    }

    #[test]
    fn what_to_do_about_a_keeper_that_hangs_is_said() {
        let keeper = Some(Identity { pid: 7, start: 1 });
        let said = explained(anyhow!(talk::Late::after(KEEPER_TIMEOUT)), keeper).to_string();
        assert!(said.contains("process 7") && said.contains("kill -9 7"), "{said}");
        assert_eq!(explained(anyhow!("refused"), keeper).to_string(), "refused");
    }
}
