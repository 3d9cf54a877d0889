//! What a namespace tells, and the bounded queue in which it waits.

use crate::cause::Closed;
use crate::config::{Excess, Limits};
use crate::event::Event;
use parking_lot::Mutex;
use sockeye_proto::payload::Args;
use std::collections::VecDeque;
use std::fmt;
use tokio::sync::Notify;

/// What happens in a namespace.
#[derive(Debug)]
#[non_exhaustive]
pub enum Incoming {
    /// The client is in.
    Connected(Connected),
    /// An event.
    Event(Event),
    /// The client is out.
    Disconnected(Disconnected),
    /// The server refuses the client, which asks again only after [`Socket::connect`](crate::Socket::connect).
    Refused {
        /// In the server's words.
        message: String,
        /// What the server added, as JSON.
        data: Option<String>,
    },
}

/// How a client is in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// The id of the socket, known to others.
    pub id: String,
    /// Whether the client goes on where it was: rooms are kept, and missed events came before this.
    pub recovered: bool,
}

/// Why a client is out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disconnected {
    /// The server put it out; it asks again only after [`Socket::connect`](crate::Socket::connect).
    ByServer,
    /// This side left.
    ByClient,
    /// The connection ended; it comes back unless [`Config::reconnection`](crate::Config::reconnection) says no.
    Connection(Closed),
}

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByServer => f.write_str("io server disconnect"),
            Self::ByClient => f.write_str("io client disconnect"),
            Self::Connection(closed) => closed.fmt(f),
        }
    }
}

/// What waits in the queue: an event is given its handle when it is taken, so that what waits keeps no client alive.
#[derive(Debug)]
pub(crate) enum Arrival {
    Event { name: String, args: Args, ack: Option<u64> },
    Notice(Incoming),
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
