//! What was found, for people and for programs.

use crate::rule::{Rule, Weight};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// By which rule.
    pub rule: Rule,
    /// The line of the file, if it was read in one.
    pub line: Option<usize>,
    /// What was seen.
    pub seen: String,
}

impl Finding {
    /// What was seen from outside.
    pub(crate) fn seen(rule: Rule, seen: impl Into<String>) -> Self {
        Self { rule, line: None, seen: seen.into() }
    }

    /// What stands in a line of a file.
    pub(crate) fn at(rule: Rule, line: usize, seen: impl Into<String>) -> Self {
        Self { rule, line: Some(line), seen: seen.into() }
    }
}

/// What was found, and what was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What is wrong, and what is worth knowing.
    pub findings: Vec<Finding>,
    /// What was looked at and is right, or could not be looked at.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether anything is wrong; hints are not.
    #[must_use]
    pub fn has_faults(&self) -> bool {
        self.findings.iter().any(|finding| finding.rule.weight() == Weight::Fault)
    }

    /// For people: a paragraph a finding, then what was looked at.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Finding { rule, line, seen } in &self.findings {
            let word = match rule.weight() {
                Weight::Fault => "FAULT",
                Weight::Hint => "hint ",
            };
            let place = line.map_or(String::new(), |line| format!(" line {line}:"));
            let fix = rule.fix().replace('\n', "\n        ");
            // Writing to a `String` cannot fail.
            let _ =
                writeln!(text, "{word} {}:{place} {seen}\n  why   {}\n  fix   {fix}", rule.id(), rule.why());
        }
        for note in &self.notes {
            let _ = writeln!(text, "note  {note}");
        }
        if !self.has_faults() {
            text.push_str("nothing wrong was found\n");
        }
        text
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let findings = self.findings.iter().map(|Finding { rule, line, seen }| {
            let weight = match rule.weight() {
                Weight::Fault => "fault",
                Weight::Hint => "hint",
            };
            json!({
                "id": rule.id(), "weight": weight, "line": line, "seen": seen, "why": rule.why(), "fix": rule.fix(),
            })
        });
        json!({"faults": self.has_faults(), "findings": findings.collect::<Vec<_>>(), "notes": self.notes})
    }
}
