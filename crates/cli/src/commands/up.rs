//! `sockeye up`: settles what was typed or written, and opens the house in the foreground.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::cluster::Said;
use crate::flags::UpFlags;
use crate::plan::Plan;
use crate::{backplane, board, cluster, exit, house, plan, recovery, settings};

/// What was typed.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// A file of settings, such as sockeye.toml, or of pm2's processes, such as ecosystem.config.js; the other flags but --verbose are for the bundled chat without one
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Use the variables of this profile of the file's apps
    #[arg(long, value_name = "PROFILE", requires = "file")]
    pub(crate) env: Option<String>,
    /// What `sockeye` without a subcommand takes.
    #[command(flatten)]
    pub(crate) up: UpFlags,
}

/// Runs until Ctrl-C or SIGTERM.
pub(crate) fn run(flags: &Flags) -> ExitCode {
    match &flags.file {
        Some(file) => match run_file(file, flags.env.as_deref(), flags.up.verbose) {
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
    let cluster = match plan::cluster(&Said::of_flags(flags)) {
        Ok(cluster) => cluster,
        Err(error) => return exit::complain(exit::USAGE, &format!("{error:#}")),
    };
    let recovery = match recovery::settle(flags.recovery, |name| std::env::var(name).ok()) {
        Ok(recovery) => recovery,
        Err(error) => return exit::complain(exit::USAGE, &error.to_string()),
    };
    match Plan::settle(flags, cores()).map(|plan| Plan { cluster, recovery, ..plan }) {
        Ok(plan) => exit::conclude(house::run(&plan, flags.verbose)),
        Err(error) => exit::complain(exit::USAGE, &error.to_string()),
    }
}

fn run_file(file: &Path, profile: Option<&str>, verbose: bool) -> anyhow::Result<()> {
    let settled = settings::read_and_look(file, profile)?;
    settings::warn(&settled);
    if settled.apps.iter().any(|app| app.bundled.is_some()) {
        find_backplane(settled.cluster.adapter.as_deref())?;
    }
    for (group, url) in board::directories(&settled.edge) {
        let check = || (backplane::at_hand()?.check)(&url);
        check().with_context(|| format!("upstream.{group}.directory"))?;
    }
    house::run_file(file, settled, profile, verbose).context("cannot run the file")
}

/// From here on this program has the client of the backplane that is asked for.
fn find_backplane(adapter: Option<&str>) -> anyhow::Result<()> {
    if cluster::asks_for_backplane(adapter, |name| std::env::var(name).ok()) {
        backplane::at_hand()?;
    }
    Ok(())
}

fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
