//! The log: to standard error, as much of it as was asked for.

use std::io::IsTerminal;

use anyhow::bail;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What says how much is logged.
pub(crate) const LOG_VARIABLE: &str = "SOCKEYE_LOG";

/// How much is logged if nobody says.
const QUIET: &str = "warn";

/// How much `--verbose` is.
pub(crate) const VERBOSE: &str = "info";

/// Starts the log. The variable wins over the flag.
pub(crate) fn start(verbose: bool) -> anyhow::Result<()> {
    let asked = std::env::var(LOG_VARIABLE).unwrap_or_default();
    let quietly = if verbose { VERBOSE } else { QUIET };
    let directives = if asked.is_empty() { quietly } else { &asked };
    let Ok(filter) = directives.parse::<Targets>() else {
        bail!("cannot read {LOG_VARIABLE}={directives}: expected such as debug or warn,sockeye_edge=info");
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    tracing_subscriber::registry().with(lines).with(filter).init();
    Ok(())
}
