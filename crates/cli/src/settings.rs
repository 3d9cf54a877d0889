//! A file of settings or of processes, read: the driver of `sockeye_settings`, which decides what it means.

use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use sockeye_settings::{Facts, Look, PREFIX, Settled};
use sockeye_supervisor::{AppSpec, PROFILE_VARIABLE, check_profile};

use crate::{apps, exit, look, processes};

/// Reads a file, and looks at what it names on this machine, as far as that can be told before anything is opened.
pub(crate) fn read_and_look(path: &Path, profile: Option<&str>) -> anyhow::Result<Settled> {
    let mut env = apps::environment();
    if let Some(profile) = profile {
        env.insert(PROFILE_VARIABLE.to_owned(), profile.to_owned());
    }
    let base = base(path)?;
    read_with(path, profile, &|thing| look::look(thing, &base, &env))
}

/// Says what can be, but is hardly meant.
pub(crate) fn warn(settled: &Settled) {
    for warning in &settled.warnings {
        exit::complain_lines(exit::OK, &format!("warning: {warning}"));
    }
}

/// Reads a file and lays the environment over it. Of a profile that a file of pm2 does not have is said so.
pub(crate) fn read(path: &Path, profile: Option<&str>) -> anyhow::Result<Settled> {
    read_with(path, profile, &sockeye_settings::unseen)
}

fn read_with(path: &Path, profile: Option<&str>, look: Look<'_>) -> anyhow::Result<Settled> {
    let base = base(path)?;
    let variables: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let facts = Facts { base: &base, cores, resolve: &resolve, look };
    let name = path.display().to_string();
    let settled = if processes::is_ecosystem(path) {
        sockeye_settings::settle_apps(&name, &processes::read(path, profile)?, &variables, &facts)
    } else {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
        sockeye_settings::settle(&name, &text, &variables, &facts)
    };
    let settled = settled.map_err(|refused| anyhow!("{refused}"))?;
    check(&name, profile, settled.apps.iter().map(|app| &app.spec))?;
    Ok(settled)
}

/// The directory from which paths in a file are meant.
fn base(path: &Path) -> anyhow::Result<PathBuf> {
    let whole = std::path::absolute(path).context("there is no current directory")?;
    Ok(whole.parent().unwrap_or(Path::new("/")).to_owned())
}

/// The programs of a process file, with their names.
pub(crate) fn programs(path: &Path, profile: Option<&str>) -> anyhow::Result<Vec<(String, AppSpec)>> {
    if processes::is_ecosystem(path) {
        let apps = processes::read(path, profile)?;
        check(&path.display().to_string(), profile, apps.iter().map(|(_, spec)| spec))?;
        return Ok(apps);
    }
    let apps = read(path, profile)?.apps.into_iter().filter(|app| app.bundled.is_none());
    let apps: Vec<_> = apps.map(|app| (app.name, app.spec)).collect();
    if apps.is_empty() {
        bail!("{} has no [app.NAME] with a command", path.display());
    }
    Ok(apps)
}

/// A profile that no app of the file has is a slip.
fn check<'a>(
    name: &str,
    profile: Option<&str>,
    specs: impl IntoIterator<Item = &'a AppSpec>,
) -> anyhow::Result<()> {
    match profile {
        Some(profile) => check_profile(profile, specs).map_err(|error| anyhow!("{name}: {error}")),
        None => Ok(()),
    }
}

/// Asks the system's resolver, IPv4 first, so that a name with both is one server.
fn resolve(name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let all: Vec<SocketAddr> = (name, port).to_socket_addrs().map_err(|error| error.to_string())?.collect();
    let of_kind =
        |v4: bool| all.iter().copied().filter(|address| address.is_ipv4() == v4).collect::<Vec<_>>();
    let v4 = of_kind(true);
    Ok(if v4.is_empty() { of_kind(false) } else { v4 })
}
