//! Brings mail to sockets without waking the tasks of their connections: one task writes for many.
//!
//! To wake a task, run it and let it look around costs more than the write itself prepares. Mail for a WebSocket on a plain socket is
//! therefore written by its shard's carrier, which one wake sets going for a whole broadcast. Where a socket takes no more the
//! connection's own task goes on. Decides nothing: what may be written is the mailbox's to say.

use parking_lot::Mutex;
use sockeye_proto::sid::Sid;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Mailboxes that are emptied before the carrier lets other tasks run: about half a millisecond of writing.
const ROUND_MAX: usize = 128;

/// Where a carrier stops: a mailbox, seen from below.
pub(crate) trait Stop: fmt::Debug + Send + Sync {
    /// Brings what waits to the socket.
    fn deliver(&self);

    /// Wakes the connection's task to do it.
    fn wake(&self);
}

/// The carriers of a server, one a thread.
#[derive(Debug)]
pub(crate) struct Carriers(Box<[Arc<Carrier>]>);

/// One carrier: the mailboxes that it has to visit. Each stands there once at most.
#[derive(Debug, Default)]
pub(crate) struct Carrier(Mutex<Rounds>);

#[derive(Debug, Default)]
struct Rounds {
    waiting: Vec<Arc<dyn Stop>>,
    runs: bool,
    over: bool,
    waker: Option<Waker>,
}

/// The task of a carrier. It ends with its server; where its runtime ends before, connections deliver for themselves.
struct Work {
    carrier: Arc<Carrier>,
    round: Vec<Arc<dyn Stop>>,
    /// How many of the round are done.
    done: usize,
}

impl Carriers {
    /// Makes the carriers for a server of `threads` threads.
    pub(crate) fn new(threads: usize) -> Self {
        Self((0..threads.max(1)).map(|_| Arc::default()).collect())
    }

    /// The carrier of a session; the first call sets all of them to work, so it has to come from inside of a runtime.
    pub(crate) fn of(&self, sid: Sid) -> &Arc<Carrier> {
        let random = sid.as_str().as_bytes()[Sid::LEN - 3];
        let carrier = &self.0[usize::from(random) % self.0.len()];
        if !carrier.runs() {
            self.0.iter().for_each(|carrier| carrier.start());
        }
        carrier
    }
}

impl Drop for Carriers {
    fn drop(&mut self) {
        for carrier in &self.0 {
            let mut rounds = carrier.0.lock();
            rounds.over = true;
            let waker = rounds.waker.take();
            drop(rounds);
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

impl Carrier {
    /// Lets the carrier stop there soon. `false`: it is not at work.
    pub(super) fn call(&self, stop: Arc<dyn Stop>) -> bool {
        let mut rounds = self.0.lock();
        if !rounds.runs {
            return false;
        }
        rounds.waiting.push(stop);
        let waker = rounds.waker.take();
        drop(rounds);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    fn runs(&self) -> bool {
        self.0.lock().runs
    }

    fn start(self: &Arc<Self>) {
        if !std::mem::replace(&mut self.0.lock().runs, true) {
            tokio::spawn(Work { carrier: Arc::clone(self), round: Vec::new(), done: 0 });
        }
    }
}

impl Future for Work {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        for _ in 0..ROUND_MAX {
            if this.done == this.round.len() && !this.begin_round() {
                let mut rounds = this.carrier.0.lock();
                if rounds.over {
                    return Poll::Ready(());
                }
                if rounds.waiting.is_empty() {
                    rounds.waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                continue;
            }
            // Done first: a panic is to skip this one.
            this.done += 1;
            this.round[this.done - 1].deliver();
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Work {
    /// `false` when nobody called.
    fn begin_round(&mut self) -> bool {
        self.round.clear();
        self.done = 0;
        std::mem::swap(&mut self.round, &mut self.carrier.0.lock().waiting);
        !self.round.is_empty()
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut rounds = self.carrier.0.lock();
        rounds.runs = false;
        let waiting = std::mem::take(&mut rounds.waiting);
        drop(rounds);
        self.round[self.done..].iter().chain(&waiting).for_each(|stop| stop.wake());
    }
}
