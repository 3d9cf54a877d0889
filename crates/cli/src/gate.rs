//! The gate: an edge before servers that others start.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use sockeye_edge::Proxy;
use sockeye_settings::Settled;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::admin::{self, Admin};
use crate::standing::{self, Standing};
use crate::{exit, log, runtime};

/// Runs until Ctrl-C or SIGTERM.
pub(crate) fn run(path: &Path, settled: Settled, verbose: bool) -> anyhow::Result<()> {
    log::start(verbose)?;
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let runtime = runtime::build(threads).context("cannot start threads")?;
    runtime.block_on(Box::pin(serve(path, settled)))
}

async fn serve(path: &Path, settled: Settled) -> anyhow::Result<()> {
    let mut ends = Ends::new()?;
    let hangups = standing::hangups()?;
    let proxy = Proxy::bind(settled.edge.clone()).map_err(|error| anyhow!("{error}"))?;
    exit::say(&format!("sockeye {}: {}", env!("CARGO_PKG_VERSION"), path.display()));
    for (name, at) in proxy.addresses() {
        exit::say(&format!("{name:10} listens at {at}"));
    }
    let admin = Admin::open(path, &settled.admin)?;
    exit::say(&format!("{:10} listens at {}", "admin", admin.at()));
    let standing = Arc::new(Standing::new(path, proxy.control(), settled));
    // These end with this function.
    let mut beside = JoinSet::new();
    beside.spawn(admin::serve(admin, Arc::clone(&standing), None));
    beside.spawn(standing::heed(standing, hangups));
    let (close, closed) = oneshot::channel::<()>();
    let mut edge = tokio::spawn(proxy.run(async {
        let _ = closed.await;
    }));
    tokio::select! {
        ended = &mut edge => bail!("the edge was given up: {ended:?}"),
        () = ends.asked() => {}
    }
    exit::say("stopping (Ctrl-C again: at once)");
    drop(close);
    tokio::select! {
        ended = &mut edge => ended.context("the edge was given up")?,
        () = ends.asked() => {
            edge.abort();
            bail!("killed before all was closed in order");
        }
    }
    beside.shutdown().await;
    exit::say("stopped");
    Ok(())
}

/// Ctrl-C and SIGTERM.
struct Ends {
    interrupts: Signal,
    terminations: Signal,
}

impl Ends {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            interrupts: signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?,
            terminations: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupts.recv() => {}
            _ = self.terminations.recv() => {}
        }
    }
}
