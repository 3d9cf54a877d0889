//! Where one stands in the events of the members of a mesh: a number for each (`docs/mesh.md`, "Numbers and offsets").

use std::fmt;
use std::str::FromStr;

use sockeye_proto::sid::Tag;
use thiserror::Error;

/// The longest offset as text, in bytes: so many that about 250 members fit. A longer one is no offset.
pub const OFFSET_BYTES_MAX: usize = 4000;

/// The place of one event: whose it is, and its number among this member's.
///
/// ```
/// use sockeye_cluster::recovery::Place;
///
/// let place: Place = "Ab3dE_1k".parse()?;
/// assert_eq!((place.tag.as_str(), place.number), ("Ab3dE_", 56));
/// assert_eq!(place.to_string(), "Ab3dE_1k");
/// # Ok::<(), sockeye_cluster::recovery::NoPlaces>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The member that said it.
    pub tag: Tag,
    /// How many of its events it is.
    pub number: u64,
}

/// A number for each member; for one that is not there it is 0. As text those at 0 are left out, but for one where there is nobody else.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Places(Vec<(Tag, u64)>);

/// A text that is no place, or no list of places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "expected places: tags of 6 characters with numbers in base 36, dots between, {OFFSET_BYTES_MAX} bytes at most"
)]
pub struct NoPlaces;

impl Places {
    /// The number of a member.
    pub fn number(&self, tag: Tag) -> u64 {
        self.0.binary_search_by_key(&tag, |(tag, _)| *tag).map_or(0, |at| self.0[at].1)
    }

    /// Whether there is an entry for this member.
    pub fn knows(&self, tag: Tag) -> bool {
        self.0.binary_search_by_key(&tag, |(tag, _)| *tag).is_ok()
    }

    /// Raises the number of a member to at least this one.
    pub fn raise(&mut self, tag: Tag, number: u64) {
        match self.0.binary_search_by_key(&tag, |(tag, _)| *tag) {
            Ok(at) => self.0[at].1 = self.0[at].1.max(number),
            Err(at) => self.0.insert(at, (tag, number)),
        }
    }

    /// Raises each number to at least the other's.
    pub fn raise_to(&mut self, other: &Self) {
        for (tag, number) in other.iter() {
            self.raise(tag, number);
        }
    }

    /// Forgets a member.
    pub fn remove(&mut self, tag: Tag) {
        self.0.retain(|(known, _)| *known != tag);
    }

    /// Whether an event is at or before this.
    pub fn has(&self, place: Place) -> bool {
        place.number <= self.number(place.tag)
    }

    /// Whether each of the other's numbers is reached.
    pub fn covers(&self, other: &Self) -> bool {
        other.iter().all(|(tag, number)| number <= self.number(tag))
    }

    /// The members and their numbers, in the order of the tags.
    pub fn iter(&self) -> impl Iterator<Item = (Tag, u64)> {
        self.0.iter().copied()
    }
}

impl FromStr for Place {
    type Err = NoPlaces;

    fn from_str(text: &str) -> Result<Self, NoPlaces> {
        let (tag, number) = text.split_at_checked(Tag::LEN).ok_or(NoPlaces)?;
        // What JavaScript counts exactly.
        let digits = (1..=11).contains(&number.len())
            && number.bytes().all(|digit| digit.is_ascii_digit() || digit.is_ascii_lowercase());
        let number = u64::from_str_radix(number, 36).ok().filter(|number| digits && *number <= NUMBER_MAX);
        Ok(Self { tag: tag.parse().map_err(|_| NoPlaces)?, number: number.ok_or(NoPlaces)? })
    }
}

impl FromStr for Places {
    type Err = NoPlaces;

    fn from_str(text: &str) -> Result<Self, NoPlaces> {
        if text.len() > OFFSET_BYTES_MAX {
            return Err(NoPlaces);
        }
        let mut places = Self::default();
        for place in text.split('.') {
            let Place { tag, number } = place.parse()?;
            places.raise(tag, number);
        }
        if places.0.iter().any(|(_, number)| *number > 0) {
            places.0.retain(|(_, number)| *number > 0);
        } else {
            places.0.truncate(1);
        }
        Ok(places)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag.as_str())?;
        let mut digits = [0; 13];
        let (mut at, mut rest) = (digits.len(), self.number);
        while rest > 0 || at == digits.len() {
            at -= 1;
            digits[at] = DIGITS[usize::try_from(rest % 36).unwrap_or_default()];
            rest /= 36;
        }
        f.write_str(std::str::from_utf8(&digits[at..]).unwrap_or_default())
    }
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Who has said nothing is not there; but there is always a text.
        let mut some = self.0.iter().filter(|(_, number)| *number > 0).peekable();
        let silent = if some.peek().is_none() { self.0.first() } else { None };
        for (index, (tag, number)) in some.chain(silent).enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            fmt::Display::fmt(&Place { tag: *tag, number: *number }, f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The largest whole number that JavaScript counts exactly, and its neighbours.
const NUMBER_MAX: u64 = (1 << 53) - 1;

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_as_they_are_written() {
        for (text, numbers) in [
            ("Ab3dE_0", &[("Ab3dE_", 0)][..]),
            ("Ab3dE_1k", &[("Ab3dE_", 56)]),
            ("-_3dE_zz.Xy12Z_2gosa7pa2gv", &[("-_3dE_", 1295), ("Xy12Z_", NUMBER_MAX)]),
        ] {
            let places: Places = text.parse().unwrap();
            let listed: Vec<_> =
                numbers.iter().map(|(tag, number)| (tag.parse().unwrap(), *number)).collect();
            assert_eq!(places.iter().collect::<Vec<_>>(), listed);
            assert_eq!(places.to_string(), text);
        }
        // The order of a text means nothing, the larger number counts, and who has said nothing need not be there.
        let places: Places = "b234561.a234563.b234562.c234560".parse().unwrap();
        assert_eq!(places.to_string(), "a234563.b234562");
    }

    #[test]
    fn what_is_no_place_is_none() {
        for text in [
            "",
            ".",
            "Ab3dE_",
            "Ab3dE",
            "Ab3dE_1.",
            "Ab3dE_1K",
            "Ab3dE_-1",
            "Ab3dE_+1",
            "Ab!dE_1",
            "Ab3dé_1",
            "Ab3dE_2gosa7pa2gw",
        ] {
            assert_eq!(text.parse::<Places>(), Err(NoPlaces), "{text}");
        }
        assert_eq!(vec!["Ab3dE_1"; 500].join(".").parse::<Places>().map(|_| ()), Ok(()));
        assert_eq!(vec!["Ab3dE_1"; 501].join(".").parse::<Places>(), Err(NoPlaces));
    }

    #[test]
    fn one_who_is_not_there_stands_at_nothing() {
        let (some, none): (Places, _) = ("Ab3dE_2".parse().unwrap(), Places::default());
        assert!(some.covers(&none) && !none.covers(&some));
        assert!(none.covers(&"Ab3dE_0".parse().unwrap()));
        assert!(some.has("Ab3dE_2".parse().unwrap()) && !some.has("Ab3dE_3".parse().unwrap()));
    }
}
