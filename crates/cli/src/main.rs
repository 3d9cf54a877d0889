//! The command `sockeye`: reads what was typed, settles it, runs it, and says in one line why not.

mod crew;
mod exit;
mod flags;
mod log;
mod plan;
mod ports;
mod runtime;
mod screen;
mod up;
mod worker;

use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::Parser;
use sockeye_supervisor::tether;

use crate::flags::{Command, Flags, UpFlags};
use crate::plan::Plan;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => return refuse(&error),
    };
    match flags.command {
        None => up(&flags.up),
        Some(Command::Up(flags)) => up(&flags),
        Some(Command::Worker { app }) => conclude(worker::run(app)),
        Some(Command::Tether { parent, program }) => {
            let (program, arguments) = program.split_first().expect("clap requires a program");
            let error = tether::exec(parent, program, arguments);
            exit::complain(exit::FAILED, &format!("cannot run {}: {error}", program.display()))
        }
    }
}

fn up(flags: &UpFlags) -> ExitCode {
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    match Plan::settle(flags, cores) {
        Ok(plan) => conclude(up::run(&plan, flags.verbose)),
        Err(error) => exit::complain(exit::USAGE, &error.to_string()),
    }
}

fn conclude(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => exit::complain(exit::FAILED, &format!("{error:#}")),
    }
}

fn refuse(error: &clap::Error) -> ExitCode {
    match flags::complaint(error) {
        Some(line) => exit::complain(exit::USAGE, &line),
        None => {
            // Whoever closed the pipe does not want to read it.
            let _ = error.print();
            ExitCode::from(exit::OK)
        }
    }
}
