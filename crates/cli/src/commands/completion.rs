//! `sockeye completion`: what a shell needs to complete commands and flags.

use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::exit;

/// What was typed.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The shell: source what is written from its start-up file
    shell: Shell,
}

pub(crate) fn run(flags: &Flags, command: &mut Command) -> ExitCode {
    clap_complete::generate(flags.shell, command, "sockeye", &mut std::io::stdout());
    ExitCode::from(exit::OK)
}
