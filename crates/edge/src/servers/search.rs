//! One request's search for a server: whom it has tried, and how long it may go on.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::crowd::Servers;
use super::intent::Intent;
use crate::config::Algorithm;
use crate::door::Door;
use crate::member::MemberId;

/// A search under way.
pub(crate) struct Search<'a> {
    servers: &'a Servers,
    intent: Intent,
    tried: Vec<MemberId>,
    /// Whether a worker has given the connection back before.
    returned: bool,
    /// Whether a worker that was tried lacked descriptors.
    short: bool,
    patience: Option<(Instant, SemaphorePermit<'a>)>,
}

impl Servers {
    /// Begins a search for a request that may go to any server.
    pub(crate) const fn search(&self, intent: Intent) -> Search<'_> {
        Search { servers: self, intent, tried: Vec::new(), returned: false, short: false, patience: None }
    }
}

impl Search<'_> {
    /// Searches for a connection that came back: it does not wait for workers that lack descriptors, or it might go round without end.
    pub(crate) const fn again(&mut self) {
        self.returned = true;
    }

    /// The next server to try. Where there is none, waits for one to become ready, or for those tried to recover: a bounded time, among a bounded
    /// number of others.
    pub(crate) async fn next(&mut self) -> Option<Arc<Door>> {
        loop {
            if let Some(door) = self.choose() {
                return Some(door);
            }
            let mut ready = pin!(self.servers.ready.notified());
            ready.as_mut().enable();
            // Somebody may have become ready between the look and the bell.
            if let Some(door) = self.choose() {
                return Some(door);
            }
            if self.returned && self.short {
                return None;
            }
            let deadline = self.deadline()?;
            let now = Instant::now();
            if now >= deadline {
                return None;
            }
            // Where none was tried all may be full: one that ends rings no bell.
            let until = deadline.min(now + RETRY_PAUSE);
            // Rung or not, the next look tells.
            let _ = tokio::time::timeout_at(until, ready).await;
            self.tried.clear();
        }
    }

    /// Notes that a server did not take the request.
    pub(crate) fn refused(&mut self, door: &Door) {
        if self.intent.session {
            self.servers.state.lock().pool.unassign(door.id);
        }
        self.short |= door.is_short(Instant::now().into_std());
        self.tried.push(door.id);
    }

    fn choose(&self) -> Option<Arc<Door>> {
        let now = Instant::now().into_std();
        let mut state = self.servers.state.lock();
        let dice = match state.group.algorithm {
            Algorithm::Random | Algorithm::TwoChoices => rand::random(),
            Algorithm::LeastConnections | Algorithm::RoundRobin => 0,
        };
        state.choose(&self.intent, &self.tried, dice, now)
    }

    /// When patience ends; `None` if too many wait.
    fn deadline(&mut self) -> Option<Instant> {
        if self.patience.is_none() {
            let permit = self.servers.waiting.try_acquire().ok()?;
            let wait_max = self.servers.state.lock().group.queue.wait_max;
            self.patience = Some((Instant::now() + wait_max, permit));
        }
        self.patience.as_ref().map(|(deadline, _)| *deadline)
    }
}

/// How long a request that all servers refused, or had no room for, waits before it tries them again.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
