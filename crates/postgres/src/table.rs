//! The name of a table, in a form that needs no quotes: the official adapter writes it into its statements as it is.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The name of a table, perhaps with its schema: `socket_io_attachments`, `app.attachments`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Table(String);

/// A text that is no [`Table`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "expected a table's name of at most 63 letters, digits and _, perhaps with a schema and a dot before it"
)]
pub struct NoTable;

impl Table {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Table {
    type Err = NoTable;

    fn from_str(text: &str) -> Result<Self, NoTable> {
        let name = |part: &str| {
            let word = |char: char| char.is_ascii_alphanumeric() || char == '_';
            let begins = part.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_');
            begins && part.len() <= 63 && part.chars().all(word)
        };
        let mut parts = text.split('.');
        let good = parts.by_ref().take(2).all(name) && parts.next().is_none();
        // PostgreSQL folds names without quotes.
        good.then(|| Self(text.to_ascii_lowercase())).ok_or(NoTable)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_need_no_quotes_are_tables() {
        for (text, name) in [
            ("socket_io_attachments", Some("socket_io_attachments")),
            ("App.Attachments", Some("app.attachments")),
            ("_a1", Some("_a1")),
            ("", None),
            ("a.", None),
            (".a", None),
            ("a.b.c", None),
            ("1a", None),
            ("a-b", None),
            ("a; DROP TABLE b", None),
            ("\"a\"", None),
            ("bücher", None),
        ] {
            assert_eq!(text.parse().ok(), name.map(|name| Table(name.to_owned())), "{text}");
        }
        assert_eq!("a".repeat(64).parse::<Table>(), Err(NoTable));
    }
}
