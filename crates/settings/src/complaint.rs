//! What is wrong, in a line that a person can act on.

use std::fmt;

/// One thing that is wrong with what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// `FILE:LINE:COLUMN`, or `$VARIABLE`.
    pub place: String,
    /// The whole key: `upstream.chat.sticky`. Empty where the text is no TOML.
    pub key: String,
    /// What is written there. Empty where something is missing.
    pub value: String,
    /// What was expected, and the fix.
    pub message: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        match (self.key.as_str(), self.value.as_str()) {
            ("", _) => f.write_str(&self.message),
            (key, "") => write!(f, "{key}: {}", self.message),
            (key, value) => write!(f, "{key} = {value}: {}", self.message),
        }
    }
}

/// Everything that is wrong, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub Vec<Complaint>);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, complaint) in self.0.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n" };
            write!(f, "{gap}{complaint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}
