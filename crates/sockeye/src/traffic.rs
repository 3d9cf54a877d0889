//! What one connection counts for itself, so that no counter is shared where messages flow.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};

/// Messages and bytes, since the server's start.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Packets of Engine.IO from clients, heartbeats among them.
    pub packets_in: u64,
    /// Bytes of WebSocket frames and of POST bodies.
    pub bytes_in: u64,
    /// Messages handed to the transport: a packet of Socket.IO with its attachments is one. Heartbeats are not counted.
    pub packets_out: u64,
    /// Bytes of these messages, framed as for a WebSocket.
    pub bytes_out: u64,
    /// Events that a handler got.
    pub events_handled: u64,
    /// Events that had no handler, or no socket.
    pub events_ignored: u64,
    /// Volatile messages that had to wait, and so were dropped.
    pub mail_dropped: u64,
    /// Messages that were dropped for later ones: [`MailboxExcess::DropOldest`](crate::MailboxExcess::DropOldest).
    pub mail_dropped_oldest: u64,
    /// Messages that a later one of the same key replaced before they were sent.
    pub mail_coalesced: u64,
    /// Told as limits.
    pub(crate) acks_late: u64,
    pub(crate) acks_not_asked: u64,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.packets_in += other.packets_in;
        self.bytes_in += other.bytes_in;
        self.packets_out += other.packets_out;
        self.bytes_out += other.bytes_out;
        self.events_handled += other.events_handled;
        self.events_ignored += other.events_ignored;
        self.mail_dropped += other.mail_dropped;
        self.mail_dropped_oldest += other.mail_dropped_oldest;
        self.mail_coalesced += other.mail_coalesced;
        self.acks_late += other.acks_late;
        self.acks_not_asked += other.acks_not_asked;
    }
}

/// The counters of one connection. Each has one writer at a time, so adding is a load and a store; any task may read.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    packets_in: AtomicU64,
    bytes_in: AtomicU64,
    packets_out: AtomicU64,
    bytes_out: AtomicU64,
    events_handled: AtomicU64,
    events_ignored: AtomicU64,
    mail_dropped: AtomicU64,
    mail_dropped_oldest: AtomicU64,
    mail_coalesced: AtomicU64,
    acks_late: AtomicU64,
    acks_not_asked: AtomicU64,
}

/// Why one client's ack did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// Not in time.
    Late,
    /// Too many were awaited already.
    NotAsked,
}

impl Tally {
    /// Bytes were read.
    pub(crate) fn count_bytes_in(&self, bytes: usize) {
        add(&self.bytes_in, bytes as u64);
    }

    /// A packet was read.
    pub(crate) fn count_packet_in(&self) {
        add(&self.packets_in, 1);
    }

    /// A message left.
    pub(crate) fn count_packet_out(&self, bytes: usize) {
        add(&self.packets_out, 1);
        add(&self.bytes_out, bytes as u64);
    }

    /// An event found a handler, or none.
    pub(crate) fn count_event(&self, handled: bool) {
        add(if handled { &self.events_handled } else { &self.events_ignored }, 1);
    }

    /// A volatile message was dropped. Only under the mailbox's lock, which makes its many writers one.
    pub(crate) fn count_dropped(&self) {
        add(&self.mail_dropped, 1);
    }

    /// So many messages were dropped for later ones. Under the same lock.
    pub(crate) fn count_dropped_oldest(&self, count: u64) {
        add(&self.mail_dropped_oldest, count);
    }

    /// A message was replaced. Under the same lock.
    pub(crate) fn count_coalesced(&self) {
        add(&self.mail_coalesced, 1);
    }

    /// An ack did not come. From any task, and rare.
    pub(crate) fn count_ack(&self, unanswered: Unanswered) {
        let counter = match unanswered {
            Unanswered::Late => &self.acks_late,
            Unanswered::NotAsked => &self.acks_not_asked,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub(crate) fn traffic(&self) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            packets_in: read(&self.packets_in),
            bytes_in: read(&self.bytes_in),
            packets_out: read(&self.packets_out),
            bytes_out: read(&self.bytes_out),
            events_handled: read(&self.events_handled),
            events_ignored: read(&self.events_ignored),
            mail_dropped: read(&self.mail_dropped),
            mail_dropped_oldest: read(&self.mail_dropped_oldest),
            mail_coalesced: read(&self.mail_coalesced),
            acks_late: read(&self.acks_late),
            acks_not_asked: read(&self.acks_not_asked),
        }
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}
