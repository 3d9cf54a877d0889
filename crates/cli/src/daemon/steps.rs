//! What is left to do for an app once the daemon has done its part: its keeper's, which may take its time.

use std::path::PathBuf;
use std::time::Duration;

use super::words::{AppDone, Done};
use crate::keeper::words::Question as ToKeeper;
use crate::talk;

/// How long a keeper may take to do what it is asked: all its workers may have to start, drain and end.
pub(super) const DO_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// What was done to an app, and what its keeper is still to be asked.
pub(super) struct Step {
    pub(super) done: AppDone,
    pub(super) ask: Option<(PathBuf, ToKeeper)>,
}

/// Asks the keepers, one after the other.
pub(super) async fn take(steps: Vec<Step>) -> Done {
    let mut apps = Vec::new();
    for Step { mut done, ask } in steps {
        if let Some((socket, question)) = ask {
            match talk::ask_async(&socket, &question, DO_TIMEOUT).await {
                Ok(status) => done.status = Some(status),
                Err(error) => done.error = Some(format!("{error:#}")),
            }
        }
        apps.push(done);
    }
    Done { apps }
}
