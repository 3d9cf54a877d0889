//! The one lane in which the events of a namespace come from the backplane: where it stands, and what clients that are on their way in
//! have to be given of it.

use sockeye_cluster::adapter::Position;
use sockeye_cluster::recovery::Config;
use sockeye_cluster::{Flags, Packet, Room, Selector};
use sockeye_proto::sid::Sid;
use std::cmp::Ordering;
use std::collections::VecDeque;

/// What an event costs while it is remembered, beside what it says.
const ENTRY_BYTES: usize = 256;

/// Where a namespace stands among the events of its backplane.
#[derive(Default)]
pub(super) struct Lane {
    /// The last event that was delivered here.
    pub(super) last: Option<Position>,
    /// Clients that are on their way in: as long as there are any, what is delivered is remembered.
    claims: usize,
    log: VecDeque<Entry>,
    bytes: usize,
    /// How often more came than may be remembered.
    overflows: u64,
    /// Sockets that have already got what comes up to a place.
    ahead: Vec<(Sid, Position)>,
}

/// An event that was delivered while somebody was on the way in.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) at: Position,
    pub(super) selector: Selector,
    pub(super) flags: Flags,
    pub(super) packet: Packet,
}

impl Lane {
    /// Takes note of an event that is delivered; the sockets that have got it already.
    pub(super) fn advance(
        &mut self,
        entry: impl FnOnce() -> Entry,
        at: &Position,
        config: &Config,
        order: impl Fn(&Position, &Position) -> Ordering,
    ) -> Vec<Sid> {
        self.last = Some(at.clone());
        if self.claims > 0 {
            let entry = entry();
            self.bytes += entry.packet.bytes() + ENTRY_BYTES;
            self.log.push_back(entry);
            if self.log.len() > config.packets_max || self.bytes > config.packet_bytes_max {
                self.clear();
                self.overflows += 1;
            }
        }
        if self.ahead.is_empty() {
            return Vec::new();
        }
        self.ahead.retain(|(_, floor)| order(at, floor).is_le());
        self.ahead.iter().map(|(id, _)| *id).collect()
    }

    /// Remembers what comes from here on, until as many ends as beginnings; how often that has failed before.
    pub(super) fn begin(&mut self) -> u64 {
        self.claims += 1;
        self.overflows
    }

    pub(super) fn end(&mut self) {
        self.claims -= 1;
        if self.claims == 0 {
            self.clear();
        }
    }

    /// What was delivered after a place to these rooms. `None`: more came since that beginning than could be remembered.
    pub(super) fn after(
        &self,
        beginning: u64,
        floor: Option<&Position>,
        rooms: &[Room],
        order: impl Fn(&Position, &Position) -> Ordering,
    ) -> Option<Vec<Entry>> {
        let later = |entry: &&Entry| floor.is_none_or(|floor| order(&entry.at, floor).is_gt());
        let meant = |entry: &&Entry| entry.selector.selects(|room| rooms.contains(room));
        (self.overflows == beginning).then(|| self.log.iter().filter(meant).filter(later).cloned().collect())
    }

    /// A socket has got what comes up to a place.
    pub(super) fn set_ahead(
        &mut self,
        id: Sid,
        floor: Position,
        order: impl Fn(&Position, &Position) -> Ordering,
    ) {
        self.ahead.retain(|(other, _)| *other != id);
        if self.last.as_ref().is_none_or(|last| order(last, &floor).is_lt()) {
            self.ahead.push((id, floor));
        }
    }

    /// How many events are remembered, and their bytes.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.log.len(), self.bytes)
    }

    fn clear(&mut self) {
        self.log = VecDeque::new();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_while_a_client_is_on_its_way_is_remembered_for_its_rooms() {
        let mut lane = Lane::default();
        say(&mut lane, 1, "a", &Config::default());
        let beginning = lane.begin();
        for (number, room) in [(2, "a"), (3, "b"), (4, "a"), (5, "a")] {
            say(&mut lane, number, room, &Config::default());
        }
        let rooms = ["a".into()];
        let after = |lane: &Lane, floor: u64| {
            let entries = lane.after(beginning, Some(&place(floor)), &rooms, order)?;
            Some(entries.into_iter().map(|entry| entry.at.0.parse().unwrap()).collect::<Vec<u64>>())
        };
        assert_eq!(after(&lane, 0), Some(vec![2, 4, 5]));
        assert_eq!(after(&lane, 4), Some(vec![5]));
        lane.end();
        assert_eq!(lane.held(), (0, 0));
    }

    #[test]
    fn who_is_ahead_gets_nothing_twice() {
        let mut lane = Lane::default();
        let id = Sid::new(sockeye_proto::sid::Tag::from_bits(1), 2);
        lane.set_ahead(id, place(2), order);
        assert_eq!(say(&mut lane, 1, "a", &Config::default()), [id]);
        assert_eq!(say(&mut lane, 2, "a", &Config::default()), [id]);
        assert_eq!(say(&mut lane, 3, "a", &Config::default()), []);
        lane.set_ahead(id, place(3), order);
        assert_eq!(say(&mut lane, 4, "a", &Config::default()), []);
    }

    #[test]
    fn more_than_may_be_remembered_is_told() {
        let mut lane = Lane::default();
        let beginning = lane.begin();
        let config = Config { packets_max: 2, ..Config::default() };
        for number in 1..=3 {
            say(&mut lane, number, "a", &config);
        }
        assert!(lane.after(beginning, None, &["a".into()], order).is_none());
        let later = lane.begin();
        assert!(lane.after(later, None, &["a".into()], order).is_some());
    }

    fn say(lane: &mut Lane, number: u64, room: &str, config: &Config) -> Vec<Sid> {
        let (at, packet) = (place(number), Packet::text(r#"["n"]"#));
        let entry =
            || Entry { at: at.clone(), selector: Selector::to(room), flags: Flags::default(), packet };
        lane.advance(entry, &at, config, order)
    }

    fn place(number: u64) -> Position {
        Position(number.to_string().into())
    }

    fn order(one: &Position, other: &Position) -> Ordering {
        one.in_order_of_numbers(other)
    }
}
