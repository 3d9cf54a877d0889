//! What can be written in a file and is not served yet: refused aloud, so that nothing is silently left out.
//!
//! Each line goes with the change that serves it.

use anyhow::bail;
use sockeye_edge::config::{Config, Members};
use sockeye_settings::Settled;

/// Gives the settings back, if all of them are served.
pub(crate) fn refuse(settled: Settled) -> anyhow::Result<Settled> {
    let missing = edge(&settled.edge);
    if missing.is_empty() {
        return Ok(settled);
    }
    bail!("not supported yet: {}", missing.join(", "))
}

fn edge(config: &Config) -> Vec<String> {
    let directories = config.groups.iter().filter(|group| matches!(group.members, Members::Directory { .. }));
    directories.map(|group| format!("upstream.{}.directory", group.name)).collect()
}
