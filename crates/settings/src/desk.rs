//! The desk at which a table is read: every key once, with what was expected where it is wrong, and no key that nobody reads.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use crate::complaint::Complaint;
use crate::keys::Section;
use crate::near::nearest;
use crate::place::{Place, Source, short};
use crate::tree::{Node, Table, Value};
use crate::units;

/// Where all complaints go.
pub(crate) struct Desk<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) complaints: Vec<Complaint>,
    /// What can be, but hardly is what was meant.
    pub(crate) warnings: Vec<Complaint>,
}

impl Desk<'_> {
    /// Notes what is wrong with a value.
    pub(crate) fn refuse(&mut self, key: &str, node: &Node, message: impl Into<String>) {
        let value = match (&node.place, &node.value) {
            (_, Value::Table(_)) => String::new(),
            (Place::File(span), _) => self.source.excerpt(span),
            (Place::Variable(_), Value::Word(text)) => short(text),
            (Place::Variable(_) | Place::Somewhere, _) => String::new(),
        };
        self.note(&node.place, key, value, message.into());
    }

    /// Notes what is wrong where nothing in particular is written.
    pub(crate) fn refuse_at(&mut self, place: &Place, key: &str, message: impl Into<String>) {
        self.note(place, key, String::new(), message.into());
    }

    /// Notes what is wrong with a key of a table, where it is written, else with the table.
    pub(crate) fn blame(&mut self, sheet: &Sheet<'_>, key: &str, message: impl Into<String>) {
        match sheet.node(key) {
            Some(node) => self.refuse(&sheet.key(key), node, message),
            None => self.refuse_at(&sheet.place, &sheet.key(key), message),
        }
    }

    /// Notes what can be, but is hardly meant; the value is told where it is one.
    pub(crate) fn warn(&mut self, place: &Place, (key, value): (&str, bool), message: impl Into<String>) {
        let value = match place {
            Place::File(span) if value => self.source.excerpt(span),
            Place::File(_) | Place::Variable(_) | Place::Somewhere => String::new(),
        };
        self.warnings.push(Complaint {
            place: self.source.describe(place),
            key: key.to_owned(),
            value,
            message: message.into(),
        });
    }

    fn note(&mut self, place: &Place, key: &str, value: String, message: String) {
        self.complaints.push(Complaint {
            place: self.source.describe(place),
            key: key.to_owned(),
            value,
            message,
        });
    }

    /// Takes a node as a table of this section; keys that it does not have are complaints.
    pub(crate) fn open<'t>(
        &mut self,
        path: &str,
        node: &'t Node,
        section: &'static Section,
    ) -> Option<Sheet<'t>> {
        let Value::Table(table) = &node.value else {
            self.refuse(path, node, format!("expected a table, got {}", node.value.kind()));
            return None;
        };
        let names = || section.keys.iter().map(|key| key.name);
        for (name, entry) in table {
            if names().any(|known| known == name) {
                continue;
            }
            let fix = nearest(name, names()).map_or_else(
                || format!("{} takes {}", section.title(), names().collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean {near}?"),
            );
            self.refuse_at(&entry.key, &join(path, name), format!("there is no such key, {fix}"));
        }
        Some(Sheet { path: path.to_owned(), place: node.place.clone(), table })
    }
}

/// A table that is being read.
pub(crate) struct Sheet<'t> {
    pub(crate) path: String,
    pub(crate) place: Place,
    table: &'t Table,
}

impl<'t> Sheet<'t> {
    /// The value of a key.
    pub(crate) fn node(&self, key: &str) -> Option<&'t Node> {
        self.table.get(key).map(|entry| &entry.node)
    }

    /// The whole key.
    pub(crate) fn key(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// A text that `read` understands.
    pub(crate) fn read<T>(
        &self,
        desk: &mut Desk<'_>,
        key: &str,
        expected: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let node = self.node(key)?;
        let read = words(node).and_then(|text| read(&text));
        if read.is_none() {
            desk.refuse(&self.key(key), node, format!("expected {expected}"));
        }
        read
    }

    /// Any text that is not empty.
    pub(crate) fn text(&self, desk: &mut Desk<'_>, key: &str, expected: &str) -> Option<String> {
        self.read(desk, key, expected, |text| (!text.is_empty()).then(|| text.to_owned()))
    }

    /// One of some words; others are answered with the nearest.
    pub(crate) fn choice<T: Clone>(
        &self,
        desk: &mut Desk<'_>,
        key: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let node = self.node(key)?;
        let text = words(node).unwrap_or_default();
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| choice.clone());
        if found.is_none() {
            desk.refuse(&self.key(key), node, one_of(&text, choices.iter().map(|(word, _)| *word)));
        }
        found
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, desk: &mut Desk<'_>, key: &str) -> Option<bool> {
        let node = self.node(key)?;
        let flag = match &node.value {
            Value::Flag(flag) => Some(*flag),
            Value::Word(text) => text.parse().ok(),
            Value::Text(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Date(_)
            | Value::List(_)
            | Value::Table(_) => None,
        };
        if flag.is_none() {
            desk.refuse(&self.key(key), node, "expected true or false, without quotes");
        }
        flag
    }

    /// A whole number in a range.
    pub(crate) fn number<T>(&self, desk: &mut Desk<'_>, key: &str, range: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + Display,
    {
        let node = self.node(key)?;
        let number = match &node.value {
            Value::Integer(number) => number.to_string().parse().ok(),
            Value::Word(text) => text.parse().ok(),
            Value::Text(_)
            | Value::Float(_)
            | Value::Flag(_)
            | Value::Date(_)
            | Value::List(_)
            | Value::Table(_) => None,
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            desk.refuse(
                &self.key(key),
                node,
                format!("expected a number from {} to {}", range.start(), range.end()),
            );
        }
        number
    }

    /// A time with its unit, in a range.
    pub(crate) fn span(
        &self,
        desk: &mut Desk<'_>,
        key: &str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let expected = format!(
            "a time with its unit from {} to {}, such as \"10s\", \"250ms\" or \"1h\"",
            units::say(*range.start()),
            units::say(*range.end()),
        );
        self.read(desk, key, &expected, |text| units::span(text).filter(|span| range.contains(span)))
    }

    /// A size, in bytes or with a unit.
    pub(crate) fn size(&self, desk: &mut Desk<'_>, key: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let expected =
            format!("a size from {} to {} bytes, such as 16384 or \"16k\"", range.start(), range.end());
        self.read(desk, key, &expected, |text| {
            units::size(text).and_then(|size| u32::try_from(size).ok()).filter(|size| range.contains(size))
        })
    }

    /// A list of texts, or one text alone; each is read.
    pub(crate) fn list<T>(
        &self,
        desk: &mut Desk<'_>,
        key: &str,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let node = self.node(key)?;
        let mut found = Vec::new();
        for element in elements(node) {
            match words(&element).and_then(|text| read(&text)) {
                Some(value) => found.push(value),
                None => desk.refuse(&self.key(key), &element, format!("expected {expected}")),
            }
        }
        Some(found)
    }
}

/// What a list holds; of a variable's word, what its commas separate; of anything else, itself.
pub(crate) fn elements(node: &Node) -> Vec<Node> {
    match &node.value {
        Value::List(list) => list.clone(),
        Value::Word(text) => text
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .map(|word| Node { place: node.place.clone(), value: Value::Word(word.to_owned()) })
            .collect(),
        Value::Text(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Flag(_)
        | Value::Date(_)
        | Value::Table(_) => {
            vec![node.clone()]
        }
    }
}

/// A value as a text: a text, a word, or a whole number.
pub(crate) fn words(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) | Value::Word(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(_) | Value::Flag(_) | Value::Date(_) | Value::List(_) | Value::Table(_) => None,
    }
}

/// `expected one of …`, and the nearest of them.
pub(crate) fn one_of<'a>(text: &str, choices: impl Iterator<Item = &'a str> + Clone) -> String {
    let near =
        nearest(text, choices.clone()).map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
    let quoted: Vec<_> = choices.map(|choice| format!("\"{choice}\"")).collect();
    format!("expected {}{near}", quoted.join(", "))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
