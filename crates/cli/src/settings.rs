//! A file of settings, read: the driver of `sockeye_settings`, which decides what it means.

use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::{Context, anyhow};
use sockeye_settings::{Facts, PREFIX, Settled};

/// Reads a file and lays the environment over it.
pub(crate) fn read(path: &Path) -> anyhow::Result<Settled> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let directory = std::path::absolute(path).context("there is no current directory")?;
    let base = directory.parent().unwrap_or(Path::new("/"));
    let variables: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let facts = Facts { base, cores, resolve: &resolve };
    sockeye_settings::settle(&path.display().to_string(), &text, &variables, &facts)
        .map_err(|refused| anyhow!("{refused}"))
}

/// Asks the system's resolver, IPv4 first, so that a name with both is one server.
fn resolve(name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let all: Vec<SocketAddr> = (name, port).to_socket_addrs().map_err(|error| error.to_string())?.collect();
    let of_kind =
        |v4: bool| all.iter().copied().filter(|address| address.is_ipv4() == v4).collect::<Vec<_>>();
    let v4 = of_kind(true);
    Ok(if v4.is_empty() { of_kind(false) } else { v4 })
}
