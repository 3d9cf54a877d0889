//! `sockeye daemon`: the registry of the user's apps, in the foreground.

use std::process::ExitCode;

use clap::Args;

use crate::daemon;

/// What was typed, by a person, by `start`, or in a unit of systemd.
#[derive(Debug, Default, Args)]
pub(crate) struct Flags {
    /// Bring the saved list back first
    #[arg(long)]
    resurrect: bool,
}

/// Runs until it is told to end.
pub(crate) fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    daemon::run(flags.resurrect)
}
