//! `sockeye up`: settles what was typed, and opens the house in the foreground.

use std::num::NonZeroUsize;
use std::process::ExitCode;

use crate::cluster::Cluster;
use crate::flags::UpFlags;
use crate::plan::Plan;
use crate::{exit, house};

/// Runs until Ctrl-C or SIGTERM.
pub(crate) fn run(flags: &UpFlags) -> ExitCode {
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let cluster =
        match Cluster::settle(flags.adapter.as_deref(), flags.node_link, |name| std::env::var(name).ok()) {
            Ok(cluster) => cluster,
            Err(error) => return exit::complain(exit::USAGE, &error.to_string()),
        };
    match Plan::settle(flags, cores).map(|plan| Plan { cluster, ..plan }) {
        Ok(plan) => exit::conclude(house::run(&plan, flags.verbose)),
        Err(error) => exit::complain(exit::USAGE, &error.to_string()),
    }
}
