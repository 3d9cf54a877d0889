//! `sockeye check`: says what is wrong with a file, or what it would run.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use sockeye_settings::Settled;

use crate::standing::Reader;
use crate::{exit, settings};

/// What was typed.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The file, such as sockeye.toml
    file: PathBuf,
}

/// Reads the file as `up` would, tries what it names short of listening, and runs nothing.
pub(crate) fn run(flags: &Flags) -> ExitCode {
    let reader = Reader { file: flags.file.clone(), profile: None, verbose: false };
    let checked = reader.read().and_then(|(settled, _)| {
        settled.edge.check()?;
        Ok(settled)
    });
    match checked {
        Ok(settled) => {
            settings::warn(&settled);
            exit::say(&summary(&settled));
            ExitCode::from(exit::OK)
        }
        Err(error) => exit::complain_lines(exit::FAILED, &format!("{error:#}")),
    }
}

/// What the file holds, in a line.
fn summary(settled: &Settled) -> String {
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let edge = &settled.edge;
    format!(
        "good: {}, {}, {}, {}",
        count(edge.listeners.len(), "listener"),
        count(edge.sites.len(), "site"),
        count(edge.groups.len() - settled.apps.len(), "upstream"),
        count(settled.apps.len(), "app"),
    )
}
