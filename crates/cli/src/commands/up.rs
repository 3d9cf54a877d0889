//! `sockeye up`: settles what was typed or written, and opens the house in the foreground.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Args;

use crate::cluster::Cluster;
use crate::flags::UpFlags;
use crate::plan::Plan;
use crate::{exit, gate, house, settings, unsupported};

/// What was typed.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// A file of settings, such as sockeye.toml; the other flags but --verbose are for the bundled chat without one
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// What `sockeye` without a subcommand takes.
    #[command(flatten)]
    pub(crate) up: UpFlags,
}

/// Runs until Ctrl-C or SIGTERM.
pub(crate) fn run(flags: &Flags) -> ExitCode {
    match &flags.file {
        Some(file) => match run_file(file, flags.up.verbose) {
            Ok(()) => ExitCode::from(exit::OK),
            Err(error) => exit::complain_lines(exit::FAILED, &format!("{error:#}")),
        },
        None => run_chat(&flags.up),
    }
}

/// Runs the bundled chat.
pub(crate) fn run_chat(flags: &UpFlags) -> ExitCode {
    let cluster = match Cluster::settle(flags.adapter.as_deref(), flags.node_link, variable) {
        Ok(cluster) => cluster,
        Err(error) => return exit::complain(exit::USAGE, &error.to_string()),
    };
    match Plan::settle(flags, cores()).map(|plan| Plan { cluster, ..plan }) {
        Ok(plan) => exit::conclude(house::run(&plan, flags.verbose)),
        Err(error) => exit::complain(exit::USAGE, &error.to_string()),
    }
}

fn run_file(file: &Path, verbose: bool) -> anyhow::Result<()> {
    let settled = settings::read(file).and_then(unsupported::refuse)?;
    let Some(app) = settled.apps.first() else { return gate::run(file, settled, verbose) };
    let told = &settled.cluster;
    let cluster = Cluster::settle(told.adapter.as_deref(), told.node_link, variable).context("cluster")?;
    let plan = Plan::of_app(app, &settled.edge, cores()).map_err(|error| anyhow!("{error}"))?;
    let plan = Plan { cluster, ..plan };
    house::run_file(&plan, file, settled, verbose).context("cannot run the file")
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
