//! One process and its group: made on a thread that lives, signalled while it is surely ours, reaped always.
//!
//! Decides nothing. A process that ended stays a zombie until [`Process::reap`], so its id cannot become somebody
//! else's before the rest of its group is killed.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, PidfdFlags, Signal, getpgid, kill_process_group, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A running process, leader of its own group. Dropping it kills the group.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pid: Pid,
    /// Readable when the process ended; taken by whoever waits.
    ended: Option<OwnedFd>,
    reaped: bool,
}

impl Process {
    /// Starts a process in a group of its own, with its output piped.
    fn spawn(mut command: Command) -> io::Result<Self> {
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("the kernel gave it a pid");
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(ended) => Ok(Self { child, pid, ended: Some(ended), reaped: false }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error.into())
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether another process belongs to its group.
    pub(crate) fn leads(&self, pid: u32) -> bool {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| getpgid(Some(pid)) == Ok(self.pid))
    }

    pub(crate) fn output(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdout.take(), self.child.stderr.take())
    }

    /// Writes to its standard input as much as it takes at once; never waits.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let input = self.child.stdin.as_mut().ok_or_else(|| io::Error::other("it has no standard input"))?;
        let flags = fcntl_getfl(&*input)?;
        fcntl_setfl(&*input, flags | OFlags::NONBLOCK)?;
        input.write(bytes)
    }

    /// What to wait on for its end, once.
    pub(crate) fn ended(&mut self) -> io::Result<Ended> {
        let ended = self.ended.take().ok_or_else(|| io::Error::other("somebody waits already"))?;
        Ended::new(ended)
    }

    /// Ends the whole group.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Takes the status of a process that ended, and ends the rest of its group first. Blocks if it did not end yet.
    pub(crate) fn reap(&mut self) -> io::Result<ExitStatus> {
        self.kill();
        self.reaped = true;
        self.child.wait()
    }

    /// Signals the whole group.
    pub(crate) fn signal(&self, signal: Signal) {
        if !self.reaped {
            // Nothing to do about a failure: it is ours until reaped, so it can only be that it ended.
            let _ = kill_process_group(self.pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = self.reap();
        }
    }
}

/// The end of a process, as something to wait for.
pub(crate) struct Ended {
    descriptor: AsyncFd<OwnedFd>,
}

impl Ended {
    #[expect(deprecated, reason = "its replacement is an unsafe fn; an OwnedFd keeps all that it asks for")]
    fn new(descriptor: OwnedFd) -> io::Result<Self> {
        Ok(Self { descriptor: AsyncFd::with_interest(descriptor, Interest::READABLE)? })
    }

    /// Waits until the process ended. Cancel-safe.
    pub(crate) async fn wait(self) {
        // It fails only when the runtime is going down, and then nobody waits.
        let _ = self.descriptor.readable().await;
    }
}

/// The thread that starts processes.
///
/// The parent-death signal ([`tether`](crate::tether)) is sent when the *thread* that forked ends, so it must be one
/// that lives as long as the processes do; threads of a runtime's pool promise no such thing.
#[derive(Debug)]
pub(crate) struct Spawner {
    requests: mpsc::SyncSender<Request>,
}

type Request = (Command, Option<OwnedFd>, Box<dyn FnOnce(io::Result<Process>) + Send>);

impl Spawner {
    /// Makes the thread, which ends when this value is dropped; at most `requests_max` wait for it.
    pub(crate) fn new(requests_max: usize) -> io::Result<Self> {
        let (requests, orders) = mpsc::sync_channel::<Request>(requests_max);
        thread::Builder::new().name("sockeye-spawn".to_owned()).spawn(move || {
            for (command, inherited, then) in orders {
                // Nobody else in this process starts any: only this one gets it.
                let passed = inherited.as_ref().map_or(Ok(()), |end| fcntl_setfd(end, FdFlags::empty()));
                then(passed.map_err(io::Error::from).and_then(|()| Process::spawn(command)));
            }
        })?;
        Ok(Self { requests })
    }

    /// Starts a process, which gets `inherited` under the same number, and hands it to `then`, on that thread.
    ///
    /// # Errors
    /// When too many wait already, or the thread is gone.
    pub(crate) fn spawn(
        &self,
        command: Command,
        inherited: Option<OwnedFd>,
        then: impl FnOnce(io::Result<Process>) + Send + 'static,
    ) -> io::Result<()> {
        self.requests
            .try_send((command, inherited, Box::new(then)))
            .map_err(|error| io::Error::other(error.to_string()))
    }
}
