//! The pool with the doors of its workers, shared by all connections.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sockeye_proto::Tag;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::config::{Group, Members};
use crate::door::Door;
use crate::pool::Pool;
use crate::stats::WorkerStats;

/// All workers. The lock is held for a look-up, never across an await.
pub(crate) struct Workers {
    state: Mutex<State>,
    /// Rung when a worker becomes ready.
    ready: Notify,
    waiting: Semaphore,
}

struct State {
    pool: Pool,
    wait_max: Duration,
    doors: BTreeMap<Tag, Arc<Door>>,
}

/// One request's search for a worker: whom it has tried, and how long it may go on.
pub(crate) struct Search<'a> {
    workers: &'a Workers,
    /// Whether it makes a session, which is counted.
    handshake: bool,
    tried: Vec<Tag>,
    /// Whether a worker has given the connection back before.
    returned: bool,
    /// Whether a worker that was tried lacked descriptors.
    short: bool,
    patience: Option<(Instant, SemaphorePermit<'a>)>,
}

impl Workers {
    pub(crate) fn new(group: &Group) -> Self {
        let pool = Pool::new(ready_min(group));
        let wait_max = group.queue.wait_max;
        Self {
            state: Mutex::new(State { pool, wait_max, doors: BTreeMap::new() }),
            ready: Notify::new(),
            waiting: Semaphore::new(group.queue.waiters_max as usize),
        }
    }

    /// Takes on another configuration of the group; who serves stays.
    pub(crate) fn settle(&self, group: &Group) {
        let mut state = self.state.lock();
        state.pool.ask(ready_min(group));
        state.wait_max = group.queue.wait_max;
    }

    pub(crate) fn add(&self, door: Door) {
        let mut state = self.state.lock();
        state.pool.handle_ready(door.tag);
        state.doors.insert(door.tag, Arc::new(door));
        drop(state);
        self.ready.notify_waiters();
    }

    pub(crate) fn load(&self, tag: Tag, sessions: u32, arrived: u64) {
        self.state.lock().pool.handle_load(tag, sessions, arrived);
    }

    pub(crate) fn drain(&self, tag: Tag) {
        self.state.lock().pool.handle_draining(tag);
    }

    /// Forgets a worker, and returns the door that leads nowhere any more.
    pub(crate) fn remove(&self, tag: Tag) -> Option<Arc<Door>> {
        let mut state = self.state.lock();
        state.pool.handle_gone(tag);
        state.doors.remove(&tag)
    }

    /// The worker that holds the sessions of a tag, if it lives.
    pub(crate) fn owner(&self, tag: Tag) -> Option<Arc<Door>> {
        self.state.lock().doors.get(&tag).cloned()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.state.lock().pool.is_ready()
    }

    pub(crate) fn stats(&self) -> Vec<WorkerStats> {
        let state = self.state.lock();
        let instance = |tag: Tag| state.doors.get(&tag).map_or(0, |door| door.instance);
        state.pool.shares().map(|(tag, share)| WorkerStats { tag, instance: instance(tag), share }).collect()
    }

    /// Begins a search for a request that may go to any worker.
    pub(crate) const fn search(&self, handshake: bool) -> Search<'_> {
        Search { workers: self, handshake, tried: Vec::new(), returned: false, short: false, patience: None }
    }

    /// Whose turn it is among those not tried yet. Who takes nothing comes last: its clients would hang.
    fn choose(&self, handshake: bool, tried: &[Tag]) -> Option<Arc<Door>> {
        let now = Instant::now().into_std();
        let mut state = self.state.lock();
        let State { pool, doors, .. } = &mut *state;
        let mut choose =
            |except: &[Tag]| if handshake { pool.assign(except, now) } else { pool.rotate(except) };
        let deaf: Vec<Tag> = doors.values().filter(|door| door.is_deaf(now)).map(|door| door.tag).collect();
        let tag = if deaf.is_empty() {
            choose(tried)
        } else {
            choose(&[tried, &deaf].concat()).or_else(|| choose(tried))
        };
        doors.get(&tag?).cloned()
    }
}

impl Search<'_> {
    /// Searches for a connection that came back: it does not wait for workers that lack descriptors, or it might go round without end.
    pub(crate) const fn again(&mut self) {
        self.returned = true;
    }

    /// The next worker to try. Where there is none, waits for one to become ready, or for those tried to recover: a bounded time, among a bounded
    /// number of others.
    pub(crate) async fn next(&mut self) -> Option<Arc<Door>> {
        loop {
            if let Some(door) = self.workers.choose(self.handshake, &self.tried) {
                return Some(door);
            }
            let mut ready = pin!(self.workers.ready.notified());
            ready.as_mut().enable();
            // Somebody may have become ready between the look and the bell.
            if let Some(door) = self.workers.choose(self.handshake, &self.tried) {
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
            let until = if self.tried.is_empty() { deadline } else { deadline.min(now + RETRY_PAUSE) };
            // Rung or not, the next look tells.
            let _ = tokio::time::timeout_at(until, ready).await;
            self.tried.clear();
        }
    }

    /// Notes that a worker did not take the request.
    pub(crate) fn refused(&mut self, door: &Door) {
        if self.handshake {
            self.workers.state.lock().pool.unassign(door.tag);
        }
        self.short |= door.is_short(Instant::now().into_std());
        self.tried.push(door.tag);
    }

    /// When patience ends; `None` if too many wait.
    fn deadline(&mut self) -> Option<Instant> {
        if self.patience.is_none() {
            let permit = self.workers.waiting.try_acquire().ok()?;
            let wait_max = self.workers.state.lock().wait_max;
            self.patience = Some((Instant::now() + wait_max, permit));
        }
        self.patience.as_ref().map(|(deadline, _)| *deadline)
    }
}

fn ready_min(group: &Group) -> usize {
    match &group.members {
        Members::Workers { ready_min } => ready_min.get() as usize,
        Members::Static(_) | Members::Dns { .. } | Members::File(_) => 1,
        Members::Registered { .. } | Members::Directory { .. } => 1,
    }
}

/// How long a request that all workers refused waits before it tries them again.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
