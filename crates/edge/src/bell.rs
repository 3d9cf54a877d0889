//! Rung for all who wait at once. To wait costs less than with tokio's `Notify`, which matters where each request waits and nearly none hears it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};

use parking_lot::Mutex;
use slab::Slab;

/// The bell.
#[derive(Default)]
pub(crate) struct Bell {
    rings: AtomicU64,
    waiting: Mutex<Slab<Waker>>,
}

/// One that waits; dropped it does so no more.
pub(crate) struct Ear<'a> {
    bell: &'a Bell,
    /// How often the bell had rung when the task looked last.
    rings: u64,
    place: Option<usize>,
}

impl Bell {
    /// Wakes all who wait.
    pub(crate) fn ring(&self) {
        let mut waiting = self.waiting.lock();
        self.rings.fetch_add(1, Ordering::Release);
        let wakers = std::mem::take(&mut *waiting);
        drop(waiting);
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// How often it was rung.
    pub(crate) fn rings(&self) -> u64 {
        self.rings.load(Ordering::Acquire)
    }

    /// Waits for it to ring oftener than so often.
    pub(crate) const fn listen(&self, rings: u64) -> Ear<'_> {
        Ear { bell: self, rings, place: None }
    }
}

impl Ear<'_> {
    /// Whether it rang since the last time; if not, the task is woken when it does.
    pub(crate) fn poll_rang(&mut self, cx: &Context<'_>) -> bool {
        if self.place.is_none() {
            let mut waiting = self.bell.waiting.lock();
            // Under the lock: who rings later finds it.
            if self.bell.rings() == self.rings {
                self.place = Some(waiting.insert(cx.waker().clone()));
            }
            drop(waiting);
        }
        let rings = self.bell.rings();
        if rings == self.rings {
            return false;
        }
        self.forget();
        self.rings = rings;
        true
    }

    fn forget(&mut self) {
        let Some(place) = self.place.take() else { return };
        let mut waiting = self.bell.waiting.lock();
        // Who rang took them all, and others may have come.
        if self.bell.rings() == self.rings {
            waiting.try_remove(place);
        }
    }
}

impl Drop for Ear<'_> {
    fn drop(&mut self) {
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_hears_each_ring_once() {
        let bell = Bell::default();
        let cx = Context::from_waker(Waker::noop());
        bell.ring();
        let (mut early, mut late) = (bell.listen(0), bell.listen(bell.rings()));
        assert!(early.poll_rang(&cx) && !early.poll_rang(&cx) && !late.poll_rang(&cx));
        bell.ring();
        assert!(late.poll_rang(&cx) && early.poll_rang(&cx) && !early.poll_rang(&cx));
        assert_eq!(bell.waiting.lock().len(), 1);
        bell.ring();
        let mut other = bell.listen(bell.rings());
        assert!(!other.poll_rang(&cx));
        // Its place is another's.
        drop(early);
        assert_eq!(bell.waiting.lock().len(), 1);
        drop(other);
        assert_eq!(bell.waiting.lock().len(), 0);
    }
}
