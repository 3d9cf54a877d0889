//! Who holds the state directory: the daemon writes down who it is and where its sockets are. Without it a command with another `XDG_RUNTIME_DIR`, or with none,
//! would find no daemon and start a second one on the same list, and every app a second time.
//!
//! Absent: the lock that lets one daemon in (`daemon`).

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use sockeye_supervisor::proc::Identity;

use crate::daemon::store;
use crate::places::{self, Places};

/// How long a daemon that was told to end may take.
const END_TIMEOUT: Duration = Duration::from_secs(20);

/// The daemon of a state directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// Who it is.
    pub(crate) daemon: Identity,
    /// In which boot of the system.
    boot: String,
    /// Where its sockets, and those of its keepers, are.
    pub(crate) runtime: PathBuf,
}

impl Holder {
    /// Writes down that this process holds the list.
    pub(crate) fn write(places: &Places) -> anyhow::Result<()> {
        let pid = std::process::id();
        let daemon = Identity::of(pid).unwrap_or(Identity { pid, start: 0 });
        let holder = Self { daemon, boot: store::boot(), runtime: places.runtime.clone() };
        let path = places.holder();
        places::write_whole(&path, &serde_json::to_vec(&holder)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Whoever held it last since the system was started.
    pub(crate) fn last(places: &Places) -> Option<Self> {
        let bytes = std::fs::read(places.holder()).ok()?;
        let holder: Self = serde_json::from_slice(&bytes).ok()?;
        (holder.boot == store::boot()).then_some(holder)
    }

    /// Whoever holds it now.
    pub(crate) fn alive(places: &Places) -> Option<Self> {
        Self::last(places).filter(|holder| holder.daemon.is_alive())
    }

    /// What a person is told where it lives and its socket is not found.
    pub(crate) fn lost(&self, places: &Places) -> String {
        let elsewhere = match self.runtime == places.runtime {
            true => String::new(),
            false => format!(", and XDG_RUNTIME_DIR leads to {}", places.runtime.display()),
        };
        format!(
            "the daemon, process {}, holds {} and cannot be reached: its sockets in {} are gone{elsewhere}. Its apps go on; sockeye kill ends it and them, and they can be started anew",
            self.daemon.pid,
            places.state.display(),
            self.runtime.display(),
        )
    }

    /// Ends it, where it cannot be asked. Its keepers go on.
    pub(crate) fn end(&self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.daemon.pid).ok().and_then(Pid::from_raw);
        let descriptor = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let Some(descriptor) = descriptor.filter(|_| self.daemon.is_alive()) else { return Ok(()) };
        // It may have ended this moment.
        let _ = pidfd_send_signal(&descriptor, Signal::TERM);
        // Readable, once the process has ended (pidfd_open(2)).
        let mut ended = [PollFd::new(&descriptor, PollFlags::IN)];
        if poll(&mut ended, Some(&END_TIMEOUT.try_into()?))? == 0 {
            bail!("the daemon, process {}, does not end: kill -9 {0}, and say it again", self.daemon.pid);
        }
        Ok(())
    }
}

/// Where what runs can be reached.
pub(crate) fn places() -> anyhow::Result<Places> {
    Places::of_environment().map(found)
}

/// The runtime directory of the environment, or another one, where the state directory is in use from there.
fn found(own: Places) -> Places {
    let Some(holder) = Holder::last(&own).filter(|holder| holder.runtime != own.runtime) else { return own };
    let is_used = || holder.daemon.is_alive() || has_keepers(&own);
    match holder.runtime.is_dir() && is_used() {
        true => Places { runtime: holder.runtime, ..own },
        false => own,
    }
}

/// Whether a keeper of the list lives.
fn has_keepers(places: &Places) -> bool {
    let Ok(registry) = store::read(&places.list()) else { return false };
    registry.boot == store::boot()
        && registry.apps.iter().any(|app| app.keeper.is_some_and(|keeper| keeper.is_alive()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lives_is_looked_for_where_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let places = |runtime: &str| Places {
            state: directory.path().join("state"),
            runtime: directory.path().join(runtime),
        };
        let (here, there) = (places("here"), places("there"));
        assert_eq!(found(here.clone()), here, "nothing was written down");
        there.make().unwrap();
        Holder::write(&there).unwrap();
        assert_eq!(found(here.clone()), there);
        assert_eq!(Holder::alive(&here).unwrap().daemon.pid, std::process::id());
        // It died, and so did all its keepers.
        let dead = Holder { daemon: Identity { pid: 1, start: u64::MAX }, ..Holder::last(&here).unwrap() };
        std::fs::write(here.holder(), serde_json::to_vec(&dead).unwrap()).unwrap();
        assert_eq!((found(here.clone()), Holder::alive(&here)), (here.clone(), None));
        // Its directory is gone: then it is told, not made anew.
        Holder::write(&there).unwrap();
        std::fs::remove_dir_all(&there.runtime).unwrap();
        assert_eq!(found(here.clone()), here);
        let told = Holder::alive(&here).unwrap().lost(&here);
        for part in [&here.runtime, &there.runtime, &here.state] {
            assert!(told.contains(part.to_str().unwrap()), "{told}");
        }
        // Of another boot.
        let old = Holder { boot: "old".to_owned(), ..Holder::last(&here).unwrap() };
        std::fs::write(here.holder(), serde_json::to_vec(&old).unwrap()).unwrap();
        assert_eq!(Holder::last(&here), None);
    }
}
