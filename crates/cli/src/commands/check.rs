//! `sockeye check`: says what is wrong with a file, or what it would run.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use sockeye_settings::Settled;

use crate::{exit, settings};

/// What was typed.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The file, such as sockeye.toml
    file: PathBuf,
}

/// Reads the file as `up` would, and runs nothing.
pub(crate) fn run(flags: &Flags) -> ExitCode {
    match settings::read(&flags.file, None) {
        Ok(settled) => {
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
