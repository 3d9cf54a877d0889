//! The list on the disk: read by whoever asks, written by the daemon on each change.

use std::io;
use std::path::Path;

use anyhow::{Context, bail};

use super::registry::{Registry, VERSION};
use crate::places;

/// What is written there; an empty list where nothing is.
pub(crate) fn read(path: &Path) -> anyhow::Result<Registry> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Registry::default()),
        bytes => bytes.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let registry: Registry = serde_json::from_slice(&bytes).with_context(|| {
        format!("{} is damaged: mend it, or remove it to begin with an empty list", path.display())
    })?;
    if registry.version != VERSION {
        bail!(
            "{} is of version {}, expected {VERSION}: use the sockeye that wrote it",
            path.display(),
            registry.version
        );
    }
    Ok(registry)
}

/// Writes it whole or not at all.
pub(crate) fn write(path: &Path, registry: &Registry) -> anyhow::Result<()> {
    let bytes = serde_json::to_vec(registry)?;
    places::write_whole(path, &bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Which boot of the system this is.
pub(crate) fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}
