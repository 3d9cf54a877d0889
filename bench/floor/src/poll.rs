//! Sessions on polling: what waits for the next GET, and which connection holds one open.

use std::fmt::Write as _;

/// One polling session.
pub(crate) struct Poll {
    /// Sets this session apart from an earlier one in the same place.
    pub(crate) serial: u64,
    /// Whether it has joined the one namespace.
    pub(crate) joined: bool,
    /// The connection whose GET is unanswered.
    pub(crate) waiting: Option<u32>,
    /// A WebSocket is probing: an empty GET is answered by a noop at once.
    pub(crate) probed: bool,
    /// Packets for the next GET, with their separators.
    pub(crate) out: Vec<u8>,
}

impl Poll {
    /// Appends one packet, given in parts.
    pub(crate) fn push(&mut self, parts: &[&[u8]]) {
        if !self.out.is_empty() {
            self.out.push(SEPARATOR);
        }
        for part in parts {
            self.out.extend_from_slice(part);
        }
    }
}

/// All polling sessions, each in a place of its own.
#[derive(Default)]
pub(crate) struct Polls {
    places: Vec<Option<Poll>>,
    free: Vec<u32>,
    serial: u64,
}

impl Polls {
    /// Opens a session and tells its place.
    pub(crate) fn open(&mut self) -> u32 {
        self.serial += 1;
        let poll = Poll { serial: self.serial, joined: false, waiting: None, probed: false, out: Vec::new() };
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            u32::try_from(self.places.len() - 1).expect("fewer sessions than descriptors")
        });
        self.places[place as usize] = Some(poll);
        place
    }

    /// Ends a session.
    pub(crate) fn close(&mut self, place: u32) -> Option<Poll> {
        let poll = self.places.get_mut(place as usize)?.take();
        if poll.is_some() {
            self.free.push(place);
        }
        poll
    }

    /// The session in a place.
    pub(crate) fn at(&mut self, place: u32) -> Option<&mut Poll> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    /// Every session with its place.
    pub(crate) fn all(&mut self) -> impl Iterator<Item = (u32, &mut Poll)> {
        (0..).zip(&mut self.places).filter_map(|(place, poll)| Some((place, poll.as_mut()?)))
    }

    /// Finds the session of a sid that [`sid`] made.
    pub(crate) fn find(&mut self, sid: &[u8]) -> Option<u32> {
        let text = std::str::from_utf8(sid).ok().filter(|text| text.len() == 20)?;
        let (place, serial) = (text.get(..8)?.parse().ok()?, text.get(8..)?.parse::<u64>().ok()?);
        (self.at(place)?.serial == serial).then_some(place)
    }
}

/// Writes the sid of a session: its place and its serial, 20 digits.
pub(crate) fn sid(out: &mut String, place: u32, serial: u64) {
    out.clear();
    let _never_fails = write!(out, "{place:08}{serial:012}");
}

/// Between packets of one payload.
pub(crate) const SEPARATOR: u8 = 0x1e;

#[cfg(test)]
mod tests {
    use super::{Polls, sid};

    #[test]
    fn a_sid_finds_its_session_and_not_the_next_in_its_place() {
        let mut polls = Polls::default();
        let mut text = String::new();
        let first = polls.open();
        sid(&mut text, first, polls.at(first).unwrap().serial);
        assert_eq!(polls.find(text.as_bytes()), Some(first));
        assert!(polls.close(first).is_some());
        assert_eq!(polls.open(), first);
        assert_eq!(polls.find(text.as_bytes()), None);
        assert_eq!(polls.find(b"nonsense"), None);
    }
}
