//! The clock of what is kept for clients that come back.

use crate::core::{Application, Core};
use std::sync::Weak;
use std::time::Duration;
use tokio::time::Instant;

/// From one look to the next, at least: being late costs memory only.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// And at most, as in the official server.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Forgets sessions and events whose time is over, until the server is gone.
pub(crate) async fn sweep(core: Weak<Core>) {
    let mut next = Instant::now() + PAUSE_MIN;
    loop {
        tokio::time::sleep_until(next).await;
        let Some(core) = core.upgrade() else { return };
        let Application::SocketIo(realms) = &core.application else { return };
        let realms = realms.all();
        let due = realms.iter().filter_map(|realm| match (realm.hub.sessions(), realm.hub.kept()) {
            (Some(sessions), _) => sessions.prune(),
            (None, kept) => kept?.refresh(),
        });
        let due = due.min();
        let now = Instant::now();
        next = due.map_or(now + PAUSE_MAX, Into::into).clamp(now + PAUSE_MIN, now + PAUSE_MAX);
    }
}
