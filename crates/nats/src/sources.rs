//! Many subscriptions heard as one: whatever has come in on all of them, so that what was earlier on the connection is never in a later batch.
//!
//! The client has a queue for each subscription and fills them in the order of the connection, each time waking who reads. A batch is
//! everything that is there until nobody has been woken: if it holds a message it holds those before it.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use async_nats::{Message, Subscriber};
use futures_util::Stream;
use parking_lot::Mutex;
use slab::Slab;

/// How many messages a batch may hold before it ends although more have come. Beyond, the order between subjects is not kept.
const BATCH_MAX: usize = 8192;

/// Subscriptions by their subjects.
#[derive(Default)]
pub(crate) struct Sources {
    sources: Slab<Source>,
    keys: HashMap<String, usize>,
    ready: Arc<Ready>,
}

struct Source {
    subscriber: Subscriber,
    bell: Arc<Bell>,
}

/// Who has been woken, and who reads.
#[derive(Default)]
struct Ready {
    rung: Mutex<VecDeque<usize>>,
    reader: Mutex<Option<Waker>>,
}

/// Wakes the reader in the name of one source.
struct Bell {
    key: usize,
    rung: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.ready.rung.lock().push_back(self.key);
        }
        let reader = self.ready.reader.lock().clone();
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Sources {
    /// Listens to one more; in place of the former one of this subject.
    pub(crate) fn add(&mut self, subject: String, subscriber: Subscriber) {
        self.remove(&subject);
        let entry = self.sources.vacant_entry();
        let bell =
            Arc::new(Bell { key: entry.key(), rung: AtomicBool::new(false), ready: Arc::clone(&self.ready) });
        self.keys.insert(subject, entry.key());
        entry.insert(Source { subscriber, bell: Arc::clone(&bell) });
        // It may have something already, and has to be asked once to wake anybody.
        bell.wake();
    }

    /// Listens no more; what has come and was not heard is dropped.
    pub(crate) fn remove(&mut self, subject: &str) {
        if let Some(key) = self.keys.remove(subject) {
            self.sources.remove(key);
        }
    }

    /// Whether this subject is listened to.
    pub(crate) fn contains(&self, subject: &str) -> bool {
        self.keys.contains_key(subject)
    }

    /// The next messages; never none.
    ///
    /// # Cancel safety
    ///
    /// Nothing is taken before the future ends. It must not be cut short by a budget of the runtime: run it as `unconstrained`.
    pub(crate) async fn batch(&mut self) -> Vec<Message> {
        poll_fn(|cx| self.poll_batch(cx)).await
    }

    fn poll_batch(&mut self, cx: &Context<'_>) -> Poll<Vec<Message>> {
        *self.ready.reader.lock() = Some(cx.waker().clone());
        let mut batch = Vec::new();
        while batch.len() < BATCH_MAX {
            let Some(key) = self.ready.rung.lock().pop_front() else { break };
            // A source that was removed may have been woken before; its place may be another's.
            if let Some(source) = self.sources.get_mut(key) {
                source.take(&mut batch);
            }
        }
        if batch.is_empty() { Poll::Pending } else { Poll::Ready(batch) }
    }
}

impl Source {
    fn take(&mut self, batch: &mut Vec<Message>) {
        self.bell.rung.store(false, Ordering::Release);
        let waker = Waker::from(Arc::clone(&self.bell));
        let mut cx = Context::from_waker(&waker);
        while batch.len() < BATCH_MAX {
            match Pin::new(&mut self.subscriber).poll_next(&mut cx) {
                Poll::Ready(Some(message)) => batch.push(message),
                // The end of a subscription is that of its client.
                Poll::Ready(None) | Poll::Pending => return,
            }
        }
        // More may wait here, and nobody will say so.
        Arc::clone(&self.bell).wake();
    }
}
