//! Where the command keeps what it knows: the state directory, which survives a boot, and the runtime directory with the sockets, which need not.
//!
//! Both are the user's alone (0700).

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::process::geteuid;

/// The two directories of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// What survives.
    pub(crate) state: PathBuf,
    /// Sockets.
    pub(crate) runtime: PathBuf,
}

/// A Unix socket's path holds at most this many bytes.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The longest name below the runtime directory: that of the plain link of a keeper's workers.
const TAIL_BYTES_MAX: usize = 54;

impl Places {
    /// Those of the environment; where what lives already is, `holder::places` says.
    pub(crate) fn of_environment() -> anyhow::Result<Self> {
        Self::of(&|name| std::env::var_os(name).map(PathBuf::from))
    }

    /// The XDG Base Directory Specification: a variable that is no absolute path is passed over.
    fn of(variable: &dyn Fn(&str) -> Option<PathBuf>) -> anyhow::Result<Self> {
        let absolute = |name| variable(name).filter(|path| path.is_absolute());
        let home = absolute("HOME");
        let state =
            absolute("XDG_STATE_HOME").or_else(|| home.as_ref().map(|home| home.join(".local/state")));
        let runtime = match absolute("XDG_RUNTIME_DIR") {
            Some(runtime) => Some(runtime.join("sockeye")),
            None => home.map(|home| home.join(".sockeye")),
        };
        let (Some(state), Some(runtime)) = (state, runtime) else {
            bail!("HOME is not set: set it, or XDG_STATE_HOME and XDG_RUNTIME_DIR");
        };
        let room = SOCKET_PATH_BYTES_MAX - TAIL_BYTES_MAX;
        if runtime.as_os_str().len() > room {
            bail!(
                "{} is too long for sockets: set XDG_RUNTIME_DIR to a path of at most {} bytes",
                runtime.display(),
                room - 8
            );
        }
        Ok(Self { state: state.join("sockeye"), runtime })
    }

    /// Makes what is missing.
    pub(crate) fn make(&self) -> anyhow::Result<()> {
        for path in [&self.state, &self.runtime] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .with_context(|| format!("cannot make {}", path.display()))?;
            let metadata = std::fs::metadata(path)?;
            if metadata.uid() != geteuid().as_raw() {
                bail!(
                    "{} belongs to somebody else: set XDG_STATE_HOME and XDG_RUNTIME_DIR to directories of yours",
                    path.display()
                );
            }
        }
        Ok(())
    }

    /// What the daemon knows.
    pub(crate) fn list(&self) -> PathBuf {
        self.state.join("state.json")
    }

    /// What `save` keeps.
    pub(crate) fn saved(&self) -> PathBuf {
        self.state.join("saved.json")
    }

    /// Log files of apps.
    pub(crate) fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    /// What the daemon and the keepers have to say of themselves.
    pub(crate) fn own_log(&self) -> PathBuf {
        self.state.join("sockeye.log")
    }

    /// Where the daemon listens.
    pub(crate) fn daemon(&self) -> PathBuf {
        self.runtime.join("daemon.sock")
    }

    /// Locked while the daemon lives.
    pub(crate) fn lock(&self) -> PathBuf {
        self.runtime.join("daemon.lock")
    }

    /// Locked while a daemon has the list, whatever its runtime directory is.
    pub(crate) fn list_lock(&self) -> PathBuf {
        self.state.join("daemon.lock")
    }

    /// Who has the list.
    pub(crate) fn holder(&self) -> PathBuf {
        self.state.join("daemon.json")
    }

    /// Where a keeper listens.
    pub(crate) fn keeper(&self, key: u32) -> PathBuf {
        self.runtime.join(format!("keeper-{key}.sock"))
    }
}

/// What marks every process of a keeper, so that it is found when its keeper is dead.
pub(crate) const KEEPER_VARIABLE: &str = "SOCKEYE_KEEPER";

/// Writes a file whole or not at all; only the user can read it.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut making = path.as_os_str().to_owned();
    making.push(".part");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&making)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    std::fs::rename(&making, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_where() {
        type Row<'a> = (&'a [(&'a str, &'a str)], Option<(&'a str, &'a str)>);
        let rows: [Row<'_>; 6] = [
            (&[("HOME", "/h")], Some(("/h/.local/state/sockeye", "/h/.sockeye"))),
            (
                &[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/u")],
                Some(("/h/.local/state/sockeye", "/run/u/sockeye")),
            ),
            (&[("XDG_STATE_HOME", "/s"), ("XDG_RUNTIME_DIR", "/r")], Some(("/s/sockeye", "/r/sockeye"))),
            (
                &[("HOME", "/h"), ("XDG_STATE_HOME", "relative")],
                Some(("/h/.local/state/sockeye", "/h/.sockeye")),
            ),
            (&[("XDG_STATE_HOME", "/s")], None),
            (&[("HOME", "/a/home/that/is/much/too/long/for/the/path/of/a/unix/socket")], None),
        ];
        for (set, expected) in rows {
            let find = |name: &str| set.iter().find(|(set, _)| *set == name).map(|(_, value)| value.into());
            let places = Places::of(&find).ok();
            let expected =
                expected.map(|(state, runtime)| Places { state: state.into(), runtime: runtime.into() });
            assert_eq!(places, expected, "{set:?}");
        }
    }
}
