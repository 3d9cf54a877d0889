//! `sockeye worker`: one worker with a bundled application, in the place that its supervisor assigns.

use std::net::Ipv4Addr;
use std::num::NonZeroUsize;

use anyhow::{Context, bail};
use clap::Args;
use sockeye::{Config, Parser};

use crate::flags::App;
use crate::{cluster, log, recovery, runtime};

/// What was typed, by a supervisor.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// What to serve.
    app: App,
}

/// What a supervisor sets: where it is to be reached.
const LINK_VARIABLE: &str = "SOCKEYE_LINK";

/// What a supervisor sets: how many threads to use.
const THREADS_VARIABLE: &str = "SOCKEYE_THREADS";

/// Serves until the supervisor says stop, or is gone.
pub(crate) fn run(flags: &Flags) -> anyhow::Result<()> {
    let app = flags.app;
    if cluster::asks_for_backplane(None, |name| std::env::var(name).ok()) {
        crate::backplane::at_hand()?;
    }
    log::start(false)?;
    if std::env::var_os(LINK_VARIABLE).is_none() {
        bail!("a worker is started by its supervisor: run sockeye up --app {}", app.name());
    }
    let threads = std::env::var(THREADS_VARIABLE).ok().and_then(|threads| threads.parse().ok());
    let threads = threads.unwrap_or(NonZeroUsize::MIN);
    let runtime = runtime::build(threads).context("cannot start threads")?;
    let (adapter, node_link) = runtime.block_on(cluster::of_worker()).context("cannot join a cluster")?;
    let connection_state_recovery = recovery::of_worker()?;
    let config = Config { threads, adapter, node_link, connection_state_recovery, ..Config::default() };
    let server = match app {
        App::Chat => chat::server(config),
        App::Contract => chat::contract(config),
        App::Features => chat::features(config),
        App::Msgpack => chat::features(Config { parser: Parser::Msgpack, ..config }),
    };
    // The supervisor decides about addresses.
    runtime.block_on(server.listen((Ipv4Addr::LOCALHOST, 0))).context("cannot serve")
}
