//! A tunnel as its opener holds it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// One end of a cord whose other end a tunnel holds: by it the tunnel can be ended, tells how long it has been silent, and says when it opened and ended.
pub struct Cord {
    tell: Box<dyn Fn(Moment) + Send + Sync>,
    born: Instant,
    /// When bytes moved last, in whole seconds after `born`.
    moved: AtomicU32,
    pulled: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// What happened to a tunnel. Told in this order, each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The upstream switched, and the tunnel is there.
    Opened,
    /// It is gone.
    Ended,
}

impl Cord {
    /// A cord for a tunnel to be. `tell` is called by the tunnel's task, and must not wait. Of an upgrade that was not granted nothing is told.
    pub fn new(tell: impl Fn(Moment) + Send + Sync + 'static) -> Self {
        Self {
            tell: Box::new(tell),
            born: Instant::now(),
            moved: AtomicU32::new(0),
            pulled: AtomicBool::new(false),
            waker: Mutex::default(),
        }
    }

    /// Ends the tunnel: both connections are closed, by its own task, so somewhat later. Tells whether it was not asked to end before.
    pub fn pull(&self) -> bool {
        let first = !self.pulled.swap(true, Ordering::AcqRel);
        if let Some(waker) = self.waker.lock().take() {
            waker.wake();
        }
        first
    }

    /// Whether it was asked to end.
    #[must_use]
    pub fn is_pulled(&self) -> bool {
        self.pulled.load(Ordering::Acquire)
    }

    /// How long no byte has moved, to the second.
    #[must_use]
    pub fn silent_for(&self, now: Instant) -> Duration {
        let moved = Duration::from_secs(self.moved.load(Ordering::Relaxed).into());
        now.saturating_duration_since(self.born).saturating_sub(moved)
    }

    /// Bytes moved.
    pub(crate) fn touch(&self) {
        let seconds = u32::try_from(self.born.elapsed().as_secs()).unwrap_or(u32::MAX);
        self.moved.store(seconds, Ordering::Relaxed);
    }

    /// Whether it was pulled; if not, the task is woken when it is.
    pub(crate) fn poll_pulled(&self, cx: &Context<'_>) -> bool {
        if self.pulled.load(Ordering::Acquire) {
            return true;
        }
        let mut waker = self.waker.lock();
        if waker.as_ref().is_none_or(|before| !before.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        drop(waker);
        self.pulled.load(Ordering::Acquire)
    }

    pub(crate) fn tell(&self, moment: Moment) {
        (self.tell)(moment);
    }
}

impl std::fmt::Debug for Cord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cord").field("pulled", &self.pulled).finish_non_exhaustive()
    }
}
