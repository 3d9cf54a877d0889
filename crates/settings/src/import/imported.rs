//! What becomes of a foreign configuration.

use std::fmt;

/// What became of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// A file of ours.
    pub text: String,
    /// What could not be taken over, or is not needed, in the order of the lines.
    pub notes: Vec<Note>,
}

/// A word on one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// The line, counted from one.
    pub line: usize,
    /// What to know about it.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}
