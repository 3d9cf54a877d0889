//! `sockeye up`: settles what was typed or written, and opens the house in the foreground.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Args;

use crate::cluster::Cluster;
use crate::flags::UpFlags;
use crate::plan::Plan;
use crate::{backplane, cluster, exit, gate, house, settings, unsupported};

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
    if let Err(error) = find_backplane(flags.adapter.as_deref()) {
        return exit::complain(exit::FAILED, &format!("{error:#}"));
    }
    let cluster = match settle(flags.adapter.as_deref(), flags.node_link) {
        Ok(cluster) => cluster,
        Err(error) => return exit::complain(exit::USAGE, &format!("{error:#}")),
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
    find_backplane(told.adapter.as_deref())?;
    let cluster = settle(told.adapter.as_deref(), told.node_link).context("cluster")?;
    let plan = Plan::of_app(app, &settled.edge, cores()).map_err(|error| anyhow!("{error}"))?;
    let plan = Plan { cluster, ..plan };
    house::run_file(&plan, file, settled, verbose).context("cannot run the file")
}

/// From here on this program has the client of the backplane that is asked for.
fn find_backplane(adapter: Option<&str>) -> anyhow::Result<()> {
    if cluster::asks_for_backplane(adapter, variable) {
        backplane::at_hand()?;
    }
    Ok(())
}

/// What the workers share. An address of a backplane is looked at by who has its client.
fn settle(adapter: Option<&str>, node_link: Option<SocketAddr>) -> anyhow::Result<Cluster> {
    let check = |url: &str| (backplane::at_hand()?.check)(url);
    Ok(Cluster::settle(adapter, node_link, variable, check)?)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
