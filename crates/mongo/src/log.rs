//! What a node heard of a namespace, in the order of the stream: that order is nowhere else.

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use mongodb::bson::oid::ObjectId;
use sockeye_cluster::{Envelope, Flags, Message, Packet, Room, Selector};

/// How many events of a namespace a node remembers; the oldest go first.
pub const LOG_EVENTS_MAX: usize = 10_000;

/// How many bytes of events of a namespace a node remembers; the oldest go first. 16 MiB.
pub const LOG_BYTES_MAX: usize = 16 << 20;

/// The last events of a namespace.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: VecDeque<Entry>,
    /// Where in all that was ever heard an entry stands.
    places: HashMap<ObjectId, i64>,
    /// The place of the first entry.
    first: i64,
    bytes: usize,
}

/// An event, or a mark at which the log begins.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: ObjectId,
    pub(crate) event: Option<Arc<Event>>,
}

/// An event that a client may miss.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) selector: Selector,
    pub(crate) flags: Flags,
    pub(crate) packet: Packet,
}

impl Entry {
    /// An event that a client may miss, if the message is one.
    pub(crate) fn of(id: ObjectId, envelope: &Envelope) -> Option<Self> {
        let Message::Broadcast { selector, flags, packet, request_id: None } = &envelope.message else {
            return None;
        };
        let event = Event { selector: selector.clone(), flags: flags.clone(), packet: packet.clone() };
        (!flags.volatile && !flags.local).then(|| Self { id, event: Some(Arc::new(event)) })
    }

    fn bytes(&self) -> usize {
        let event = self.event.as_ref();
        let rooms = |rooms: &[Room]| rooms.iter().map(|room| room.len() + 32).sum::<usize>();
        ENTRY_BYTES
            + event.map_or(0, |event| {
                event.packet.bytes() + rooms(&event.selector.rooms) + rooms(&event.selector.except)
            })
    }
}

impl Log {
    /// Forgets everything, and begins at a mark.
    pub(crate) fn begin(&mut self, mark: ObjectId) {
        *self = Self::default();
        self.push(Entry { id: mark, event: None });
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes the next event.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes();
        let place = self.first + i64::try_from(self.entries.len()).unwrap_or(i64::MAX);
        self.places.insert(entry.id, place);
        self.entries.push_back(entry);
        while self.entries.len() > LOG_EVENTS_MAX || self.bytes > LOG_BYTES_MAX {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.places.remove(&oldest.id);
            self.bytes -= oldest.bytes();
            self.first += 1;
        }
    }

    /// Takes what was before the first entry, in order. Nothing is taken where it would be too much.
    pub(crate) fn prepend(&mut self, earlier: Vec<Entry>) {
        let bytes: usize = earlier.iter().map(Entry::bytes).sum();
        if self.entries.len() + earlier.len() > LOG_EVENTS_MAX || self.bytes + bytes > LOG_BYTES_MAX {
            return;
        }
        self.bytes += bytes;
        for entry in earlier.into_iter().rev() {
            self.first -= 1;
            self.places.insert(entry.id, self.first);
            self.entries.push_front(entry);
        }
    }

    /// The first that is remembered.
    pub(crate) fn front(&self) -> Option<ObjectId> {
        self.entries.front().map(|entry| entry.id)
    }

    /// Whether an event is remembered.
    pub(crate) fn knows(&self, id: &ObjectId) -> bool {
        self.places.contains_key(id)
    }

    /// Which of two comes first: by the stream, where both are remembered; else by their own times.
    pub(crate) fn order(&self, one: &ObjectId, other: &ObjectId) -> Ordering {
        match (self.places.get(one), self.places.get(other)) {
            (Some(one), Some(other)) => one.cmp(other),
            // What is remembered is later than what is not any more.
            (Some(_), None) => Ordering::Greater,
            (None, Some(_)) => Ordering::Less,
            (None, None) => one.bytes().cmp(&other.bytes()),
        }
    }

    /// What came after an event that is remembered, and is for one of these rooms.
    pub(crate) fn after(&self, id: &ObjectId, rooms: &[Room]) -> Option<Vec<Entry>> {
        let place = self.places.get(id)? - self.first + 1;
        let skip = usize::try_from(place).ok()?;
        let meant = |entry: &&Entry| {
            entry.event.as_ref().is_some_and(|event| event.selector.selects(|room| rooms.contains(room)))
        };
        Some(self.entries.iter().skip(skip).filter(meant).cloned().collect())
    }
}

/// What remembering an event costs beside its own bytes, about.
const ENTRY_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_in_which_events_were_heard() {
        let mut log = Log::default();
        log.begin(id(9));
        for n in [5, 7, 1] {
            log.push(event(n));
        }
        assert_eq!(ids(&log, 9), Some(vec![5, 7, 1]));
        assert_eq!(ids(&log, 7), Some(vec![1]));
        assert_eq!(ids(&log, 1), Some(vec![]));
        assert_eq!(ids(&log, 2), None);
        assert!(log.order(&id(7), &id(1)).is_lt());
        log.prepend(vec![event(8), event(3)]);
        assert_eq!(ids(&log, 8), Some(vec![3, 5, 7, 1]));
        assert!(log.order(&id(8), &id(3)).is_lt() && log.order(&id(3), &id(9)).is_lt());
    }

    #[test]
    fn the_oldest_are_forgotten_and_never_given_in_part() {
        let mut log = Log::default();
        log.begin(id(0));
        for n in 1..=LOG_EVENTS_MAX {
            log.push(event(u32::try_from(n).unwrap()));
        }
        assert_eq!(ids(&log, 0), None);
        assert_eq!(ids(&log, 1).map(|ids| ids.len()), Some(LOG_EVENTS_MAX - 1));
        log.prepend(vec![event(70_000)]);
        assert_eq!(ids(&log, 70_000), None);
    }

    fn ids(log: &Log, after: u32) -> Option<Vec<u32>> {
        let number = |entry: Entry| {
            let bytes = entry.id.bytes();
            u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]])
        };
        Some(log.after(&id(after), &[])?.into_iter().map(number).collect())
    }

    fn event(n: u32) -> Entry {
        let event =
            Event { selector: Selector::all(), flags: Flags::default(), packet: Packet::text("[\"x\"]") };
        Entry { id: id(n), event: Some(Arc::new(event)) }
    }

    fn id(n: u32) -> ObjectId {
        let mut bytes = [0; 12];
        bytes[8..].copy_from_slice(&n.to_be_bytes());
        ObjectId::from_bytes(bytes)
    }
}
