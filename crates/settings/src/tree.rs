//! What is written, before anybody asks what it means: values, and where each stands.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::complaint::Complaint;
use crate::place::{Place, Source};

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    /// From the environment, which knows no types: whatever its key takes.
    Word(String),
    Integer(i64),
    Float(f64),
    Flag(bool),
    Date(String),
    List(Vec<Node>),
    Table(Table),
}

/// Values by key, each with the place of its key.
pub(crate) type Table = BTreeMap<String, Entry>;

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: Place,
    pub(crate) node: Node,
}

impl Value {
    /// What it is called in a complaint.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Word(_) => "a text",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Flag(_) => "true or false",
            Self::Date(_) => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// The largest file that is read.
pub(crate) const FILE_BYTES_MAX: usize = 1 << 20;

/// Reads a file.
pub(crate) fn read(source: Source<'_>) -> Result<Table, Complaint> {
    let refuse = |place: String, message: String| Complaint {
        place,
        key: String::new(),
        value: String::new(),
        message,
    };
    if source.text.len() > FILE_BYTES_MAX {
        let message = format!("expected at most {FILE_BYTES_MAX} bytes, got {}", source.text.len());
        return Err(refuse(source.name.to_owned(), message));
    }
    let table = DeTable::parse(source.text).map_err(|error| {
        let place = source.describe(&Place::File(error.span().unwrap_or(0..0)));
        let lines = error.message().lines().map(str::trim).collect::<Vec<_>>().join(", ");
        refuse(place, format!("this is no TOML: {lines}"))
    })?;
    Ok(table_of(table.into_inner(), &|span| Place::File(span)))
}

/// Reads a variable's value as TOML, where it is a list or a table.
pub(crate) fn read_variable(name: &str, text: &str) -> Value {
    if text.starts_with(['[', '{'])
        && let Ok(value) = DeValue::parse(text)
    {
        return node_of(value, &|_| Place::Variable(name.to_owned())).value;
    }
    Value::Word(text.to_owned())
}

/// What another reader made of a file; what is null there is not written.
pub(crate) fn of_json(value: serde_json::Value) -> Option<Node> {
    use serde_json::Value as Json;
    let value = match value {
        Json::Null => return None,
        Json::Bool(flag) => Value::Flag(flag),
        Json::Number(number) => {
            number.as_i64().map_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN)), Value::Integer)
        }
        Json::String(text) => Value::Text(text),
        Json::Array(list) => Value::List(list.into_iter().filter_map(of_json).collect()),
        Json::Object(fields) => {
            let entry = |(key, value)| Some((key, Entry { key: Place::Somewhere, node: of_json(value)? }));
            Value::Table(fields.into_iter().filter_map(entry).collect())
        }
    };
    Some(Node { place: Place::Somewhere, value })
}

type Locate<'a> = &'a dyn Fn(std::ops::Range<usize>) -> Place;

fn table_of(table: DeTable<'_>, locate: Locate<'_>) -> Table {
    table
        .into_iter()
        .map(|(key, value)| {
            let place = locate(key.span());
            (key.into_inner().into_owned(), Entry { key: place, node: node_of(value, locate) })
        })
        .collect()
}

fn node_of(value: Spanned<DeValue<'_>>, locate: Locate<'_>) -> Node {
    let place = locate(value.span());
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => {
            // What no 64 bits hold is no number that any key takes.
            i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| Value::Float(f64::INFINITY), Value::Integer)
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => Value::Flag(flag),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(list) => Value::List(list.into_iter().map(|node| node_of(node, locate)).collect()),
        DeValue::Table(table) => Value::Table(table_of(table, locate)),
    };
    Node { place, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_knows_where_it_stands() {
        let text = "listen = \"0.0.0.0:80\"\n[upstream.chat]\n  sticky = 'ip'\n";
        let source = Source { name: "a.toml", text };
        let tree = read(source).unwrap();
        assert_eq!(source.describe(&tree["listen"].key), "a.toml:1:1");
        let Value::Table(upstream) = &tree["upstream"].node.value else { panic!("a table") };
        let Value::Table(chat) = &upstream["chat"].node.value else { panic!("a table") };
        assert_eq!(source.describe(&chat["sticky"].node.place), "a.toml:3:12");
    }

    #[test]
    fn what_is_no_toml_names_the_line() {
        for (text, place) in [
            ("a = ", "a.toml:1:5"),
            ("a = 1\na = 2", "a.toml:2:1"),
            ("[a\n", "a.toml:1:3"),
            ("\n= 1", "a.toml:2:1"),
        ] {
            let complaint = read(Source { name: "a.toml", text }).unwrap_err();
            assert_eq!(complaint.place, place, "{text}: {complaint}");
        }
        let text = "#".repeat(FILE_BYTES_MAX + 1);
        assert!(read(Source { name: "a.toml", text: &text }).is_err());
    }
}
