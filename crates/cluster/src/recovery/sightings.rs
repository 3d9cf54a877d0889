//! What a member of a mesh has seen of the others' events, and from where on it has them all (`docs/mesh.md`, "Recovery").
//!
//! One table for all namespaces. It is told of an event twice: that it comes, and that it has been delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sockeye_proto::sid::Tag;

use crate::places::{Place, Places};

/// Members that are gone and still stand in offsets; of more the one that is gone longest is forgotten.
pub const GONE_MAX: usize = 64;

/// What was seen.
#[derive(Debug)]
pub struct Sightings {
    own: Tag,
    seen: Places,
    reach: BTreeMap<Tag, Reach>,
    /// Members that are gone, and since when; also those of which only others have told.
    gone: BTreeMap<Tag, Instant>,
    /// Members of which only others have told.
    told: BTreeSet<Tag>,
    /// How long ago the last thing is that a client can have missed.
    age_max: Duration,
    lost: u64,
}

/// From where on a member's events are known.
#[derive(Clone, Copy, Debug)]
struct Reach {
    after: u64,
    since: Instant,
}

impl Sightings {
    /// Begins: this member has said nothing, and knows nobody.
    pub fn new(own: Tag, age_max: Duration) -> Self {
        let mut seen = Places::default();
        seen.raise(own, 0);
        Self {
            own,
            seen,
            reach: BTreeMap::new(),
            gone: BTreeMap::new(),
            told: BTreeSet::new(),
            age_max,
            lost: 0,
        }
    }

    /// The place of the next own event.
    pub fn number(&mut self) -> Place {
        let place = Place { tag: self.own, number: self.seen.number(self.own) + 1 };
        self.seen.raise(self.own, place.number);
        place
    }

    /// Takes what a member says in its hello that it has seen.
    pub fn handle_hello(&mut self, tag: Tag, seen: &Places, now: Instant) {
        self.gone.remove(&tag);
        let begins = seen.number(tag);
        if self.told.remove(&tag) {
            // Others may have seen what is still to come here.
            self.seen.remove(tag);
        }
        if self.seen.knows(tag) {
            self.skip(tag, begins, now);
        } else {
            self.set_reach(tag, begins, now);
        }
        for (other, number) in seen.iter() {
            if number > 0 && !self.seen.knows(other) {
                self.set_reach(other, number, now);
                self.told.insert(other);
                self.leave(other, now);
            }
        }
        self.handle_timeout(now);
    }

    /// Takes note that a member is gone.
    pub fn handle_left(&mut self, tag: Tag, now: Instant) {
        if self.seen.number(tag) > 0 {
            self.leave(tag, now);
        } else {
            self.forget(tag);
        }
    }

    /// An event comes that is to be delivered. `false`: it was seen before.
    pub fn handle_coming(&mut self, place: Place, now: Instant) -> bool {
        if self.seen.has(place) {
            return false;
        }
        if self.seen.knows(place.tag) {
            self.skip(place.tag, place.number - 1, now);
        } else {
            self.set_reach(place.tag, place.number - 1, now);
        }
        true
    }

    /// It has been delivered.
    pub fn handle_delivered(&mut self, place: Place) {
        self.seen.raise(place.tag, place.number);
    }

    /// Forgets those who are gone for so long that no client can name them.
    pub fn handle_timeout(&mut self, now: Instant) {
        let long = self.age_max.saturating_mul(2);
        let old = self.gone.iter().filter(|(_, since)| now.saturating_duration_since(**since) >= long);
        for tag in old.map(|(tag, _)| *tag).collect::<Vec<_>>() {
            self.forget(tag);
        }
    }

    /// What a hello says: what was seen here, and not what others told.
    pub fn hello(&self) -> Places {
        let mut seen = self.seen.clone();
        self.told.iter().for_each(|tag| seen.remove(*tag));
        seen
    }

    /// What was seen so far: this member's offset.
    pub const fn seen(&self) -> &Places {
        &self.seen
    }

    /// Whether all that comes after a place is known here, as far as it is young enough to be missed.
    pub fn reaches(&self, base: &Places, now: Instant) -> bool {
        self.reach.iter().all(|(tag, reach)| {
            reach.after <= base.number(*tag) || now.saturating_duration_since(reach.since) >= self.age_max
        })
    }

    /// How many events of others were lost on their way.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// What comes up to this number does not come any more.
    fn skip(&mut self, tag: Tag, number: u64, now: Instant) {
        let missing = number.saturating_sub(self.seen.number(tag));
        if missing > 0 {
            self.lost += missing;
            self.set_reach(tag, number, now);
        }
    }

    /// Notes that a member is gone; of too many the longest gone is forgotten.
    fn leave(&mut self, tag: Tag, now: Instant) {
        self.gone.insert(tag, now);
        if self.gone.len() > GONE_MAX
            && let Some((longest, _)) = self.gone.iter().min_by_key(|(_, since)| **since)
        {
            self.forget(*longest);
        }
    }

    fn forget(&mut self, tag: Tag) {
        self.seen.remove(tag);
        self.reach.remove(&tag);
        self.gone.remove(&tag);
        self.told.remove(&tag);
    }

    fn set_reach(&mut self, tag: Tag, after: u64, now: Instant) {
        self.seen.raise(tag, after);
        if tag != self.own {
            self.reach.insert(tag, Reach { after, since: now });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_secs(205);

    #[test]
    fn a_gap_is_counted_and_moves_the_reach() {
        let now = Instant::now();
        let mut sightings = Sightings::new(tag("aaaaaa"), AGE);
        sightings.handle_hello(tag("bbbbbb"), &places("bbbbbb5"), now);
        assert!(sightings.reaches(&places("bbbbbb5"), now) && !sightings.reaches(&places("bbbbbb4"), now));
        for (number, comes) in [(6, true), (6, false), (7, true), (5, false)] {
            let place = Place { tag: tag("bbbbbb"), number };
            assert_eq!(sightings.handle_coming(place, now), comes, "{number}");
            sightings.handle_delivered(place);
        }
        assert_eq!(sightings.lost(), 0);
        assert!(sightings.handle_coming(Place { tag: tag("bbbbbb"), number: 10 }, now));
        assert_eq!(sightings.lost(), 2);
        assert!(!sightings.reaches(&places("bbbbbb8"), now) && sightings.reaches(&places("bbbbbb9"), now));
        // What is so old cannot be missed.
        assert!(sightings.reaches(&places("bbbbbb8"), now + AGE));
    }

    #[test]
    fn who_left_before_is_known_by_hearsay_and_forgotten_in_time() {
        let now = Instant::now();
        let mut sightings = Sightings::new(tag("aaaaaa"), AGE);
        sightings.handle_hello(tag("bbbbbb"), &places("bbbbbb0.cccccc9"), now);
        assert_eq!(sightings.seen().to_string(), "cccccc9");
        assert_eq!(sightings.hello().to_string(), "aaaaaa0");
        assert!(!sightings.reaches(&places("cccccc8"), now) && sightings.reaches(&places("cccccc9"), now));
        sightings.handle_delivered(Place { tag: tag("bbbbbb"), number: 1 });
        sightings.handle_left(tag("bbbbbb"), now + AGE);
        sightings.handle_timeout(now + AGE * 2);
        assert_eq!(sightings.seen().to_string(), "bbbbbb1");
        sightings.handle_timeout(now + AGE * 3);
        assert_eq!(sightings.seen().to_string(), "aaaaaa0");
    }

    #[test]
    fn hearsay_hides_no_event_that_is_still_to_come() {
        let now = Instant::now();
        let mut sightings = Sightings::new(tag("aaaaaa"), AGE);
        sightings.handle_hello(tag("bbbbbb"), &places("cccccc9"), now);
        sightings.handle_hello(tag("cccccc"), &places("cccccc7"), now);
        assert!(sightings.handle_coming(Place { tag: tag("cccccc"), number: 8 }, now));
        assert_eq!((sightings.lost(), sightings.seen().to_string()), (0, "cccccc7".into()));
    }

    #[test]
    fn a_new_connection_of_a_known_member_tells_what_is_lost() {
        let now = Instant::now();
        let mut sightings = Sightings::new(tag("aaaaaa"), AGE);
        sightings.handle_hello(tag("bbbbbb"), &places("bbbbbb3"), now);
        sightings.handle_hello(tag("bbbbbb"), &places("bbbbbb3"), now);
        assert_eq!(sightings.lost(), 0);
        sightings.handle_hello(tag("bbbbbb"), &places("bbbbbb5"), now);
        assert_eq!((sightings.lost(), sightings.seen().number(tag("bbbbbb"))), (2, 5));
        assert_eq!(sightings.number().to_string(), "aaaaaa1");
    }

    fn tag(text: &str) -> Tag {
        text.parse().unwrap()
    }

    fn places(text: &str) -> Places {
        text.parse().unwrap()
    }
}
