//! The last events of a namespace, numbered without a gap, and which of them are kept no longer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::offset::Offset;
use crate::message::Packet;
use crate::selector::Selector;

/// The events, oldest first.
#[derive(Debug)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    bytes: usize,
    last: Offset,
    /// Up to here events are so old that nobody can have missed them.
    aged: Offset,
    /// Up to here events were dropped before they were old, the last of them said at that time.
    cut: Option<(Offset, Instant)>,
    bounds: Bounds,
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) packets_max: usize,
    pub(super) bytes_max: usize,
    pub(super) age_max: Duration,
}

/// An event and whom it was for.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) packet: Packet,
    pub(super) selector: Selector,
    said_at: Instant,
}

impl Log {
    pub(super) const fn new(start: Offset, bounds: Bounds) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, last: start, aged: start, cut: None, bounds }
    }

    /// Adds an event. Returns how many had to go before their time.
    pub(super) fn push(&mut self, packet: Packet, selector: Selector, now: Instant) -> u64 {
        let entry = Entry { packet, selector, said_at: now };
        self.bytes += entry.bytes();
        self.last = self.last.next();
        self.entries.push_back(entry);
        self.prune(now);
        let mut cut = 0;
        while self.entries.len() > self.bounds.packets_max || self.bytes > self.bounds.bytes_max {
            let Some((offset, said_at)) = self.pop() else { break };
            self.cut = Some((offset, said_at));
            cut += 1;
        }
        cut
    }

    /// Forgets what is too old for anybody to have missed it.
    pub(super) fn prune(&mut self, now: Instant) {
        while self.entries.front().is_some_and(|entry| self.is_old(entry.said_at, now)) {
            if let Some((offset, _)) = self.pop() {
                self.aged = offset;
            }
        }
        if let Some((offset, said_at)) = self.cut
            && self.is_old(said_at, now)
        {
            self.aged = self.aged.max(offset);
            self.cut = None;
        }
    }

    /// When the oldest event is too old.
    pub(super) fn due(&self) -> Option<Instant> {
        self.entries.front().and_then(|entry| entry.said_at.checked_add(self.bounds.age_max))
    }

    /// The offset of the last event.
    pub(super) const fn last(&self) -> Offset {
        self.last
    }

    /// Up to here nobody can have missed anything.
    pub(super) const fn aged(&self) -> Offset {
        self.aged
    }

    /// The events after an offset, with theirs; `None`: some of them are gone.
    pub(super) fn after(&self, offset: Offset) -> Option<impl Iterator<Item = (Offset, &Entry)>> {
        if self.cut.is_some_and(|(cut, _)| offset < cut) {
            return None;
        }
        let first = self.first();
        let skip = offset.next().number().saturating_sub(first.number());
        let entries = self.entries.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX));
        Some((first.number().max(offset.next().number())..).map(Offset::new).zip(entries))
    }

    /// How many events are kept.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What they cost.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn first(&self) -> Offset {
        Offset::new(self.last.number() + 1 - self.entries.len() as u64)
    }

    fn pop(&mut self) -> Option<(Offset, Instant)> {
        let offset = self.first();
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.bytes();
        Some((offset, entry.said_at))
    }

    fn is_old(&self, said_at: Instant, now: Instant) -> bool {
        now.saturating_duration_since(said_at) >= self.bounds.age_max
    }
}

impl Entry {
    /// About how much memory it costs.
    pub(super) fn bytes(&self) -> usize {
        let names = self.selector.rooms.iter().chain(&self.selector.except);
        self.packet.bytes()
            + names.map(|room| room.len() + size_of_val(room)).sum::<usize>()
            + size_of::<Self>()
    }
}
