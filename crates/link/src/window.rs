//! Who has which connection: the parent's queue, or the worker without a receipt yet. Pure.
//!
//! Told what was offered, sent, receipted and lost; tells what to send next and what came back. Generic over the
//! connection so that its tests need no socket.

use std::collections::VecDeque;

use crate::config::{Config, HEAD_BYTES_MAX};
use crate::message::Misbehaved;

/// What a window keeps: anything with a number of bytes already read.
pub(crate) trait Weigh {
    fn bytes(&self) -> usize;
}

/// Counters of one link since it began, and how full it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections that wait in the parent.
    pub queued: usize,
    /// Connections that the worker was sent and has not receipted.
    pub unreceipted: usize,
    /// Connections sent.
    pub sent: u64,
    /// Connections that the worker receipted: they are its own.
    pub receipted: u64,
    /// Connections that came back after they were taken, for whatever reason.
    pub returned: u64,
    /// Connections given back at once: full, shut, gone, or a head too large.
    pub refused: u64,
}

/// The connections between being passed and being receipted.
pub(crate) struct Window<T> {
    config: Config,
    open: bool,
    queue: VecDeque<T>,
    queue_bytes: usize,
    /// In the order sent; `None` where the worker said that it never got the descriptor.
    unreceipted: VecDeque<Option<T>>,
    receipted: u64,
    returned: VecDeque<T>,
    sent_count: u64,
    returned_count: u64,
    refused_count: u64,
}

impl<T: Weigh> Window<T> {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            open: true,
            queue: VecDeque::new(),
            queue_bytes: 0,
            unreceipted: VecDeque::new(),
            receipted: 0,
            returned: VecDeque::new(),
            sent_count: 0,
            returned_count: 0,
            refused_count: 0,
        }
    }

    /// Takes a connection in, or gives it back: shut, full, or its head is too large.
    pub(crate) fn handle_offer(&mut self, item: T) -> Result<(), T> {
        let bytes = item.bytes();
        let fits =
            self.queue.len() < self.config.queue && self.queue_bytes + bytes <= self.config.queue_bytes_max;
        if !self.open || !fits || bytes > HEAD_BYTES_MAX {
            self.refused_count += 1;
            return Err(item);
        }
        self.queue_bytes += bytes;
        self.queue.push_back(item);
        Ok(())
    }

    /// The one to send next, lent until [`Self::handle_sent`] or [`Self::handle_unsent`]; none while the window is full.
    pub(crate) fn poll_send(&mut self) -> Option<T> {
        if self.unreceipted.len() >= self.config.window.get() {
            return None;
        }
        let item = self.queue.pop_front()?;
        self.queue_bytes -= item.bytes();
        Some(item)
    }

    /// The lent one left.
    pub(crate) fn handle_sent(&mut self, item: T) {
        self.sent_count += 1;
        self.unreceipted.push_back(Some(item));
    }

    /// The lent one could not leave: it is first again, or comes back if the door was shut meanwhile.
    pub(crate) fn handle_unsent(&mut self, item: T) {
        if !self.open {
            return self.give_back(item);
        }
        self.queue_bytes += item.bytes();
        self.queue.push_front(item);
    }

    /// The worker has the first `count` of all that were ever sent; returns those that are its own from here on.
    pub(crate) fn handle_receipt(&mut self, count: u64) -> Result<Vec<T>, Misbehaved> {
        let settled = self.index(count)?;
        self.receipted = count;
        Ok(self.unreceipted.drain(..settled).flatten().collect())
    }

    /// The worker got number `number` (from 1) without its descriptor: it comes back.
    pub(crate) fn handle_lost(&mut self, number: u64) -> Result<(), Misbehaved> {
        let index = self.index(number)?.checked_sub(1);
        let slot = index.and_then(|index| self.unreceipted.get_mut(index));
        let item = slot.and_then(Option::take).ok_or_else(|| self.misreceipt(number))?;
        self.give_back(item);
        Ok(())
    }

    /// Nothing more shall be sent: what waits comes back, and so does whatever is offered.
    pub(crate) fn handle_shut(&mut self) {
        self.open = false;
        self.queue_bytes = 0;
        for item in std::mem::take(&mut self.queue) {
            self.give_back(item);
        }
    }

    /// The worker is gone: everything without a receipt comes back, oldest first.
    pub(crate) fn handle_gone(&mut self) {
        for item in std::mem::take(&mut self.unreceipted).into_iter().flatten() {
            self.give_back(item);
        }
        self.handle_shut();
    }

    /// One that came back.
    pub(crate) fn poll_returned(&mut self) -> Option<T> {
        self.returned.pop_front()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            queued: self.queue.len(),
            unreceipted: self.unreceipted.len(),
            sent: self.sent_count,
            receipted: self.receipted,
            returned: self.returned_count,
            refused: self.refused_count,
        }
    }

    fn give_back(&mut self, item: T) {
        self.returned_count += 1;
        self.returned.push_back(item);
    }

    /// How many of the unreceipted a cumulative count covers.
    fn index(&self, count: u64) -> Result<usize, Misbehaved> {
        let covered = count.checked_sub(self.receipted).and_then(|n| usize::try_from(n).ok());
        covered.filter(|n| *n <= self.unreceipted.len()).ok_or_else(|| self.misreceipt(count))
    }

    fn misreceipt(&self, got: u64) -> Misbehaved {
        let most = self.receipted + self.unreceipted.len() as u64;
        Misbehaved::Receipt { got, least: self.receipted, most }
    }
}
