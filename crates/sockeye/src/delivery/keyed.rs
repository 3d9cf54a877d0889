//! Mail of which only the latest counts: one message a key.
//!
//! Each stands behind the mail that was there when it was posted; one that replaces another goes to the end, so that what is left
//! of all mail comes in the order in which it was posted.

use super::mail::{Batch, Mail};
use crate::outgoing::{Key, Outgoing};
use std::collections::HashMap;
use std::sync::Arc;

/// The latest message of each key.
#[derive(Debug, Default)]
pub(super) struct Keyed {
    // Keys come from applications and so from clients: a keyed hash (std's SipHash) on purpose.
    latest: HashMap<Key, Latest>,
    turns: u64,
}

#[derive(Debug)]
struct Latest {
    packet: Arc<Outgoing>,
    /// How many pieces of other mail go first.
    place: usize,
    turn: u64,
}

impl Keyed {
    /// Puts a message behind so many pieces of other mail, and gives back the one that it replaces.
    pub(super) fn put(&mut self, key: Key, packet: Arc<Outgoing>, place: usize) -> Option<Arc<Outgoing>> {
        self.turns += 1;
        let latest = Latest { packet, place, turn: self.turns };
        self.latest.insert(key, latest).map(|replaced| replaced.packet)
    }

    /// Takes the message of a key away.
    pub(super) fn remove(&mut self, key: &str) -> Option<Arc<Outgoing>> {
        self.latest.remove(key).map(|latest| latest.packet)
    }

    /// Keeps the messages that `keeps` says, asked from the oldest on.
    pub(super) fn retain(&mut self, mut keeps: impl FnMut(&Outgoing) -> bool) {
        let mut turns: Vec<_> = self.latest.values().map(|latest| (latest.turn, &latest.packet)).collect();
        turns.sort_unstable_by_key(|(turn, _)| *turn);
        let gone: Vec<_> =
            turns.into_iter().filter(|(_, packet)| !keeps(packet)).map(|(turn, _)| turn).collect();
        // In order, as they were asked.
        self.latest.retain(|_, latest| gone.binary_search(&latest.turn).is_err());
    }

    /// Some of the other mail is gone: `is_gone` says it of each place.
    pub(super) fn forget_places(&mut self, is_gone: impl Fn(usize) -> bool) {
        let last = self.latest.values().map(|latest| latest.place).max().unwrap_or_default();
        let mut left = 0;
        let places: Vec<_> = (0..last)
            .map(|place| {
                left += usize::from(!is_gone(place));
                left
            })
            .collect();
        for latest in self.latest.values_mut().filter(|latest| latest.place > 0) {
            latest.place = places[latest.place - 1];
        }
    }

    /// All mail in its order.
    pub(super) fn merge(self, mail: Batch) -> Batch {
        let mut latest: Vec<_> = self.latest.into_values().collect();
        latest.sort_unstable_by_key(|latest| latest.turn);
        let mut latest = latest.into_iter().peekable();
        let mut all = Batch::with_capacity(mail.len() + latest.len());
        for (place, mail) in mail.into_iter().enumerate() {
            while let Some(before) = latest.next_if(|latest| latest.place <= place) {
                all.push(Mail::Packet(before.packet));
            }
            all.push(mail);
        }
        all.extend(latest.map(|latest| Mail::Packet(latest.packet)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Control;

    #[test]
    fn what_is_left_comes_in_the_order_in_which_it_was_posted() {
        let mut keyed = Keyed::default();
        let mut mail = Batch::new();
        keyed.put("a".into(), packet("a1"), mail.len());
        mail.push(Mail::Packet(packet("1")));
        mail.push(Mail::Control(Box::new(Control::Close)));
        keyed.put("b".into(), packet("b1"), mail.len());
        mail.push(Mail::Packet(packet("2")));
        assert_eq!(
            keyed.put("a".into(), packet("a2"), mail.len()).map(|packet| text(&packet)).unwrap(),
            "4a1"
        );
        keyed.put("c".into(), packet("c1"), mail.len());
        mail.push(Mail::Packet(packet("3")));
        keyed.remove("c");
        // The control goes, and what was before it stays.
        keyed.forget_places(|place| place == 1);
        mail.remove(1);
        assert_eq!(read(keyed.merge(mail)), ["41", "4b1", "42", "4a2", "43"]);
    }

    #[test]
    fn the_oldest_are_asked_first() {
        let mut keyed = Keyed::default();
        for key in ["a", "b", "c"] {
            keyed.put(key.into(), packet(key), 0);
        }
        keyed.put("a".into(), packet("a"), 0);
        let mut asked = Vec::new();
        keyed.retain(|packet| {
            asked.push(text(packet));
            asked.len() > 1
        });
        assert_eq!(asked, ["4b", "4c", "4a"]);
        assert_eq!(read(keyed.merge(Batch::new())), ["4c", "4a"]);
    }

    fn packet(text: &str) -> Arc<Outgoing> {
        Outgoing::text(&[text.as_bytes()]).shared()
    }

    fn text(packet: &Outgoing) -> String {
        let mut payload = Vec::new();
        packet.append_to_payload(&mut payload);
        String::from_utf8(payload).unwrap()
    }

    fn read(mail: Batch) -> Vec<String> {
        let packets = mail.into_iter().filter_map(|mail| match mail {
            Mail::Packet(packet) => Some(text(&packet)),
            Mail::Control(_) => None,
        });
        packets.collect()
    }
}
