//! `sockeye tether`: becomes a program that ends with its parent.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;
use sockeye_supervisor::tether;

use crate::exit;

/// What was typed, by a supervisor.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The process id of the parent.
    parent: u32,
    /// The program.
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

/// Returns only if the program cannot be run.
pub(crate) fn run(flags: Flags) -> ExitCode {
    let (program, arguments) = flags.program.split_first().expect("clap requires a program");
    let error = tether::exec(flags.parent, program, arguments);
    exit::complain(exit::FAILED, &format!("cannot run {}: {error}", program.display()))
}
