//! Which subjects of rooms a server listens to: each from its first room to its last, for rooms of ids share one.
//!
//! Told which rooms have members; says when a subject is to be listened to. No connection.

use std::collections::HashMap;

/// The subjects of rooms that this server listens to.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    rooms: HashMap<String, Held>,
}

#[derive(Debug)]
struct Held {
    rooms: u64,
    /// Whether messages are known to come.
    settled: bool,
}

/// What has to be done for a room, before what is said to it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Listen to the subject, and ask whether messages come.
    Listen,
    /// Ask whether messages come: somebody has begun to listen.
    Settle,
    /// Nothing.
    Nothing,
}

impl Interest {
    /// Takes a room on.
    pub(crate) fn add(&mut self, subject: &str) -> Need {
        if let Some(held) = self.rooms.get_mut(subject) {
            held.rooms += 1;
            return if held.settled { Need::Nothing } else { Need::Settle };
        }
        self.rooms.insert(subject.to_owned(), Held { rooms: 1, settled: false });
        Need::Listen
    }

    /// Takes note that messages come.
    pub(crate) fn settle(&mut self, subject: &str) {
        if let Some(held) = self.rooms.get_mut(subject) {
            held.settled = true;
        }
    }

    /// Lets go of a room; `true`: nobody needs its subject any more. A room that nobody took on is nothing.
    pub(crate) fn remove(&mut self, subject: &str) -> bool {
        let Some(held) = self.rooms.get_mut(subject) else { return false };
        held.rooms -= 1;
        let last = held.rooms == 0;
        if last {
            self.rooms.remove(subject);
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_listened_to_from_its_first_room_to_its_last() {
        let mut interest = Interest::default();
        assert_eq!(interest.add("s.sid.Ab3dE_"), Need::Listen);
        assert_eq!(interest.add("s.sid.Ab3dE_"), Need::Settle, "the first has not heard yet");
        interest.settle("s.sid.Ab3dE_");
        assert_eq!(interest.add("s.sid.Ab3dE_"), Need::Nothing);
        assert_eq!(interest.add("s.room.a"), Need::Listen);
        assert!(!interest.remove("s.sid.Ab3dE_"));
        assert!(!interest.remove("s.sid.Ab3dE_"));
        assert!(interest.remove("s.sid.Ab3dE_"));
        assert!(!interest.remove("s.sid.Ab3dE_"), "it is nobody's");
        assert_eq!(interest.add("s.sid.Ab3dE_"), Need::Listen, "and begins anew");
    }
}
