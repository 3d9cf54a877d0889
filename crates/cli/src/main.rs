//! The program `sockeye`, without backplanes' clients.

use std::process::ExitCode;

fn main() -> ExitCode {
    sockeye_cli::run(None)
}
