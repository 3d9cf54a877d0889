//! The command `sockeye`: reads what was typed, settles it, runs it, and says in one line why not. Two programs are made of it: `sockeye`, and `sockeye-backplanes`, which brings the clients
//! of backplanes along.

mod admin;
mod apps;
mod backplane;
mod board;
mod cluster;
mod commands;
mod daemon;
mod exit;
mod flags;
mod holder;
mod house;
mod keeper;
mod log;
mod look;
mod notify;
mod places;
mod plan;
mod ports;
mod processes;
mod recovery;
mod rest;
mod runtime;
mod screen;
mod settings;
mod standing;
mod talk;
mod tenant;
mod token;

use std::process::ExitCode;

use clap::Parser;

use crate::commands::Flags;

pub use backplane::{Backplanes, Opening};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Does what the command line says, with these backplanes, or with those of the program beside this one.
#[must_use]
pub fn run(backplanes: Option<Backplanes>) -> ExitCode {
    if let Some(backplanes) = backplanes {
        backplane::bring(backplanes);
    }
    if let Some(ended) = commands::run_internal() {
        return ended;
    }
    match Flags::try_parse() {
        Ok(flags) => flags.run(),
        Err(error) => refuse(&error),
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
