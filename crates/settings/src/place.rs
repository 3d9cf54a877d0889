//! Where something was written: a span of the file, an environment variable, or a file that another reader has read.

use std::ops::Range;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Bytes of the file.
    File(Range<usize>),
    /// A variable of the environment.
    Variable(String),
    /// Somewhere in the file: whoever read it did not say where.
    Somewhere,
}

/// The text that is read, and what it is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    /// The file's name, as it was typed.
    pub(crate) name: &'a str,
    /// What it holds.
    pub(crate) text: &'a str,
}

impl Source<'_> {
    /// `sockeye.toml:12:5`, or `$SOCKEYE_LISTEN`.
    pub(crate) fn describe(&self, place: &Place) -> String {
        match place {
            Place::File(span) => {
                let (line, column) = self.line_and_column(span.start);
                format!("{}:{line}:{column}", self.name)
            }
            Place::Variable(name) => format!("${name}"),
            Place::Somewhere => self.name.to_owned(),
        }
    }

    /// What is written there, on one line and cut where it is long.
    pub(crate) fn excerpt(&self, span: &Range<usize>) -> String {
        let written = self.text.get(span.clone()).unwrap_or_default();
        short(written)
    }

    /// Both count from one, columns by characters.
    pub(crate) fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset.min(self.text.len())).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        (line, before[start..].chars().count() + 1)
    }
}

/// The most characters of a value that a complaint repeats.
const SHOWN_MAX: usize = 60;

/// The first line of a text, cut where it is long.
pub(crate) fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let cut: String = line.chars().take(SHOWN_MAX).collect();
    if cut.len() < text.trim_end().len() { format!("{cut}…") } else { cut }
}
