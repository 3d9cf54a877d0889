//! Ties a program that is not ours to its parent: when the parent dies, even by SIGKILL, the kernel kills the program.
//!
//! The supervisor starts `sockeye tether <its own pid> -- program arguments…`, which sets the parent-death signal and
//! becomes the program: the signal survives `exec` (but for programs with set-user-id or file capabilities).
//!
//! The kernel means the *thread* that forked, so processes are started from a thread that lives as long as the
//! supervisor. It reaches the program itself only: what that starts must see to its own end.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// What the program gets when its parent dies. Not SIGTERM: there is nobody left to insist.
const DEATH_SIGNAL: Signal = Signal::KILL;

/// Becomes `program`, tied to the parent; returns only if it cannot.
///
/// # Errors
/// When the parent is not `expected_parent` (it died before the tie was made), or the program cannot be run.
#[must_use = "a return is a failure"]
pub fn exec<S: AsRef<OsStr>>(
    expected_parent: u32,
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = S>,
) -> io::Error {
    if let Err(error) = set_parent_process_death_signal(Some(DEATH_SIGNAL)) {
        return error.into();
    }
    // Whoever died before the line above sends no signal: look once more.
    let parent = getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if parent != Some(expected_parent) {
        let parent = parent.unwrap_or_default();
        return io::Error::other(format!(
            "expected process {expected_parent} as parent, got {parent}: it is gone"
        ));
    }
    Command::new(program).args(arguments).exec()
}
