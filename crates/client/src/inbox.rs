//! The bounded queue in which events and notices wait to be taken.

use crate::config::{Excess, Limits};
use crate::notice::Notice;
use parking_lot::Mutex;
use sockeye_proto::payload::Args;
use std::collections::VecDeque;
use tokio::sync::Notify;

/// What waits in the queue: an event is given its handle when it is taken, so that what waits keeps no client alive.
#[derive(Debug)]
pub(crate) enum Arrival {
    Event { name: String, args: Args, ack: Option<u64> },
    Notice(Notice),
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    queue: VecDeque<(usize, Arrival)>,
    bytes: usize,
    over: bool,
}

/// What came of posting.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Posted {
    Kept,
    /// So many older events were dropped for it.
    Dropped(u64),
    /// It was not taken: too much waits.
    Full,
}

impl Inbox {
    pub(crate) fn post(&self, arrival: Arrival, bytes: usize, limits: &Limits) -> Posted {
        let mut waiting = self.waiting.lock();
        let mut dropped = 0;
        let event = matches!(arrival, Arrival::Event { .. });
        // What is no event is rare and small: it has some room of its own.
        let max = if event { limits.incoming_max } else { limits.incoming_max.saturating_add(NOTICES_SPARE) };
        while waiting.queue.len() >= max || (event && waiting.bytes + bytes > limits.incoming_bytes_max) {
            let oldest =
                if event && limits.excess == Excess::Close { None } else { waiting.queue.pop_front() };
            let Some((freed, _)) = oldest else { return Posted::Full };
            waiting.bytes -= freed;
            dropped += 1;
        }
        waiting.bytes += bytes;
        waiting.queue.push_back((bytes, arrival));
        drop(waiting);
        self.notify.notify_one();
        if dropped == 0 { Posted::Kept } else { Posted::Dropped(dropped) }
    }

    /// Nothing more will come.
    pub(crate) fn end(&self) {
        self.waiting.lock().over = true;
        self.notify.notify_one();
    }

    pub(crate) async fn next(&self) -> Option<Arrival> {
        loop {
            {
                let mut waiting = self.waiting.lock();
                let taken = waiting.queue.pop_front();
                if waiting.over || !waiting.queue.is_empty() {
                    // Somebody else may be waiting, too.
                    self.notify.notify_one();
                }
                if let Some((bytes, arrival)) = taken {
                    waiting.bytes -= bytes;
                    return Some(arrival);
                }
                if waiting.over {
                    return None;
                }
            }
            self.notify.notified().await;
        }
    }
}

/// Notices beyond the events that wait.
const NOTICES_SPARE: usize = 64;
