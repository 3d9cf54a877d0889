//! Where the daemon is asked: its socket, which a service manager keeps while the daemon is started anew, so that whoever asks meanwhile waits.
//!
//! "Are you there?" is answered here: the daemon may be waiting for an app. Absent: every other answer.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};
use tokio::net::UnixListener;
use tokio::sync::mpsc;

use super::words::{Done, Question};
use crate::notify;
use crate::talk::{self, Asked};

/// The name of the socket at the service manager.
const NAME: &str = "control";

/// How many questions may wait.
const QUESTIONS_MAX: usize = 64;

/// The daemon's socket.
pub(super) struct Control {
    questions: mpsc::Receiver<Asked<Question>>,
    /// Whether it was kept since the last daemon of this service: apps go on, and nothing has to be brought back.
    pub(super) was_kept: bool,
    /// The same socket, for the program that may be executed in the place of this one.
    listening: OwnedFd,
}

impl Control {
    /// Takes up the socket that was kept, or opens one and has it kept. The tasks that serve it end with the receiver.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let kept = sockeye_sys::passed_descriptors().into_iter().find(|(name, _)| name == NAME);
        let kept = kept.and_then(|(_, descriptor)| listener_at(path, descriptor));
        let was_kept = kept.is_some();
        let listener = match kept {
            Some(listener) => listener,
            None => {
                notify::forget(NAME);
                let listener = talk::listen(path)?;
                notify::store(NAME, &listener);
                listener
            }
        };
        let listening = listener.as_fd().try_clone_to_owned()?;
        let (sender, mut asked) = mpsc::channel::<Asked<Question>>(QUESTIONS_MAX);
        tokio::spawn(talk::serve(listener, sender));
        let (forward, questions) = mpsc::channel(QUESTIONS_MAX);
        tokio::spawn(async move {
            while let Some(Asked { question, reply }) = asked.recv().await {
                if matches!(question, Question::Ping) {
                    reply.answer(&Done::default());
                } else if forward.send(Asked { question, reply }).await.is_err() {
                    break;
                }
            }
        });
        Ok(Self { questions, was_kept, listening })
    }

    /// The questions, and the socket itself.
    pub(super) fn into_parts(self) -> (mpsc::Receiver<Asked<Question>>, OwnedFd) {
        (self.questions, self.listening)
    }
}

/// Executes the program anew in this very process, which keeps its socket: whoever asks from here on waits. Returns only where that cannot be.
pub(super) fn begin_anew(program: &Path, listening: &OwnedFd) -> io::Error {
    if let Err(error) = fcntl_setfd(listening, FdFlags::empty()) {
        return error.into();
    }
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).envs(sockeye_sys::pass_descriptor(NAME, listening.as_fd()));
    command.exec()
}

/// Nobody finds the socket any more. One that is kept stays where the next daemon of this service takes it up: `for_good` says that none will.
pub(super) fn close(path: &Path, for_good: bool) {
    if for_good {
        notify::forget(NAME);
    }
    if for_good || !notify::is_heard() {
        let _ = std::fs::remove_file(path);
    }
}

/// What was kept, if it listens where the daemon is looked for.
fn listener_at(path: &Path, descriptor: OwnedFd) -> Option<UnixListener> {
    let listener = std::os::unix::net::UnixListener::from(descriptor);
    let address = listener.local_addr().ok()?;
    if address.as_pathname() != Some(path) || !path.exists() {
        return None;
    }
    listener.set_nonblocking(true).ok()?;
    UnixListener::from_std(listener).ok()
}
