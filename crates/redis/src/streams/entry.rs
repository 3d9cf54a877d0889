//! Entries of a stream, their ids, and what Redis says about a stream.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use redis::Value;
use sockeye_cluster::adapter::Position;
use sockeye_cluster::{Envelope, Message, wire};

/// Where an entry stands: milliseconds of Redis' clock, and a number among those of the same millisecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryId(u64, u64);

impl EntryId {
    /// Before the first entry.
    pub(crate) const ZERO: Self = Self(0, 0);

    /// The smallest id above. (Redis before 6.2 knows no exclusive ranges.)
    pub(crate) const fn next(self) -> Self {
        match self.1.checked_add(1) {
            Some(number) => Self(self.0, number),
            None => Self(self.0.saturating_add(1), 0),
        }
    }

    pub(crate) fn position(self) -> Position {
        Position(Arc::from(self.to_string()))
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// It is no id.
#[derive(Debug)]
pub(crate) struct NoId;

impl FromStr for EntryId {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        let (time, number) = text.split_once('-').ok_or(NoId)?;
        let parse = |digits: &str| {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| plain).ok_or(NoId)
        };
        Ok(Self(parse(time)?, parse(number)?))
    }
}

/// An entry as it lies in the stream.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: EntryId,
    pub(crate) uid: String,
    pub(crate) nsp: String,
    kind: String,
    data: Option<String>,
}

impl Entry {
    /// What it says.
    pub(crate) fn envelope(&self) -> Result<Envelope, wire::Malformed> {
        wire::stream::decode(&self.uid, &self.nsp, &self.kind, self.data.as_deref())
    }

    pub(crate) fn is_broadcast(&self) -> bool {
        self.kind == "3"
    }
}

/// Whether a client may miss a message, and be given it later: only then it has an offset.
pub(crate) const fn has_offset(message: &Message) -> bool {
    matches!(message, Message::Broadcast { flags, request_id: None, .. } if !flags.volatile)
}

/// The entries in an answer to `XRANGE`. One that has no sender or no namespace is none of ours, and is left empty.
pub(crate) fn entries_in_range(value: Value) -> Vec<Entry> {
    items(value).into_iter().filter_map(entry).collect()
}

/// The entries in an answer to `XREAD` of one stream.
pub(crate) fn entries_in_read(value: Value) -> Vec<Entry> {
    if let Value::Map(streams) = value {
        return streams.into_iter().flat_map(|(_, entries)| entries_in_range(entries)).collect();
    }
    let streams = items(value).into_iter().filter_map(|stream| items(stream).into_iter().nth(1));
    streams.flat_map(entries_in_range).collect()
}

/// What a stream holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extent {
    first: Option<EntryId>,
    pub(crate) last: EntryId,
    /// Whether all that was ever added is there.
    untrimmed: bool,
}

impl Extent {
    /// Reads an answer to `XINFO STREAM`.
    pub(crate) fn of(value: Value) -> Self {
        let mut extent = Self::default();
        let (mut length, mut added) = (0, None);
        for (key, value) in pairs(value) {
            match &*key {
                "length" => length = int(&value).unwrap_or(0),
                "entries-added" => added = int(&value),
                "last-generated-id" => {
                    extent.last = text(value).and_then(|id| id.parse().ok()).unwrap_or_default()
                }
                "first-entry" => extent.first = entry(value).map(|entry| entry.id),
                _ => {}
            }
        }
        extent.untrimmed = added == Some(length);
        extent
    }

    /// A stream that is not there.
    pub(crate) const fn empty() -> Self {
        Self { first: None, last: EntryId::ZERO, untrimmed: true }
    }

    /// Whether the place is one of this stream, and not of one that was here before.
    pub(crate) fn knows(&self, place: EntryId) -> bool {
        place == self.last
            || (place < self.last && (self.begins_by(place) || (place == EntryId::ZERO && self.untrimmed)))
    }

    /// Whether nothing after the place is gone.
    pub(crate) fn is_whole_after(&self, place: EntryId) -> bool {
        self.last <= place || self.untrimmed || self.begins_by(place)
    }

    fn begins_by(&self, place: EntryId) -> bool {
        self.first.is_some_and(|first| first <= place)
    }
}

fn entry(value: Value) -> Option<Entry> {
    let mut parts = items(value).into_iter();
    let id = text(parts.next()?)?.parse().ok()?;
    let mut entry = Entry { id, uid: String::new(), nsp: String::new(), kind: String::new(), data: None };
    for (key, value) in parts.next().map(pairs).unwrap_or_default() {
        match &*key {
            "uid" => entry.uid = text(value).unwrap_or_default(),
            "nsp" => entry.nsp = text(value).unwrap_or_default(),
            "type" => entry.kind = text(value).unwrap_or_default(),
            "data" => entry.data = text(value),
            _ => {}
        }
    }
    Some(entry)
}

/// The items of a list; of anything else, none.
fn items(value: Value) -> Vec<Value> {
    if let Value::Array(items) = value { items } else { Vec::new() }
}

/// The pairs of a map, or of a list that stands for one.
fn pairs(value: Value) -> Vec<(String, Value)> {
    if let Value::Map(entries) = value {
        return entries.into_iter().filter_map(|(key, value)| Some((text(key)?, value))).collect();
    }
    let mut words = items(value).into_iter();
    let mut pairs = Vec::new();
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        pairs.extend(text(key).map(|key| (key, value)));
    }
    pairs
}

fn text(value: Value) -> Option<String> {
    if let Value::SimpleString(text) = value {
        return Some(text);
    }
    let Value::BulkString(bytes) = value else { return None };
    String::from_utf8(bytes).ok()
}

fn int(value: &Value) -> Option<i64> {
    let Value::Int(number) = value else { return None };
    Some(*number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_two_numbers_in_their_order() {
        let id = |text: &str| text.parse::<EntryId>().expect("it is an id");
        assert!(id("9-11") < id("10-2") && id("10-2") < id("10-11"));
        assert_eq!(id("1526919030474-55").to_string(), "1526919030474-55");
        assert_eq!((id("1-18446744073709551615").next(), id("1-1").next()), (id("2-0"), id("1-2")));
        for text in ["", "1", "-", "1-", "-1", "1-+1", "1--1", "a-1", "1-1-1", "18446744073709551616-0", "$"]
        {
            assert!(text.parse::<EntryId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_stream_that_was_cut_or_replaced_promises_nothing() {
        let extent = |first: Option<u64>, last: u64, untrimmed| Extent {
            first: first.map(|first| EntryId(first, 0)),
            last: EntryId(last, 0),
            untrimmed,
        };
        // (the stream, a place, whether it knows it, whether it is whole after it)
        let rows = [
            (extent(Some(5), 9, false), 5, true, true),
            (extent(Some(5), 9, false), 7, true, true),
            (extent(Some(5), 9, false), 9, true, true),
            (extent(Some(5), 9, false), 4, false, false),
            (extent(Some(5), 9, false), 0, false, false),
            (extent(Some(5), 9, false), 10, false, true),
            (extent(Some(5), 9, true), 0, true, true),
            (extent(Some(5), 9, true), 4, false, true),
            (extent(None, 9, false), 9, true, true),
            (extent(None, 9, false), 8, false, false),
            (Extent::empty(), 0, true, true),
            (Extent::empty(), 1, false, true),
        ];
        for (extent, place, known, whole) in rows {
            let place = EntryId(place, 0);
            assert_eq!(
                (extent.knows(place), extent.is_whole_after(place)),
                (known, whole),
                "{extent:?} {place}"
            );
        }
    }
}
