//! `sockeye ports`: which ports a file needs open, for firewalls and security groups.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::{exit, settings};

/// What was typed.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The file, such as sockeye.toml
    file: PathBuf,
}

/// Lists them.
pub(crate) fn run(flags: &Flags) -> ExitCode {
    match settings::read(&flags.file, None) {
        Ok(settled) => {
            let ports = settled.ports();
            for port in &ports {
                exit::say(port.to_string().trim_end());
            }
            if ports.is_empty() {
                exit::say("nothing: everything is on loopback or a Unix socket");
            }
            ExitCode::from(exit::OK)
        }
        Err(error) => exit::complain_lines(exit::FAILED, &format!("{error:#}")),
    }
}
