//! What the tests of the supervisor share: a supervisor in a directory of its own, clients, and ends of processes.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use sockeye_link::{Connection, Handover};
use sockeye_supervisor::{Config, Event, RuntimeDir, StartError, Supervisor};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc;

/// How long anything here may take before it has failed.
const BOUND: Duration = Duration::from_secs(20);

/// A supervisor, its lines, and the directory in which it makes its own.
pub(crate) struct House {
    pub(crate) supervisor: Supervisor,
    pub(crate) base: TempDir,
    lines: mpsc::Receiver<String>,
    /// What happened while a line was awaited.
    missed: VecDeque<Event>,
    /// Lines that came while another was awaited.
    heard: Vec<String>,
}

/// A worker that said it is ready.
pub(crate) struct Worker {
    pub(crate) instance: u32,
    pub(crate) pid: u32,
    pub(crate) tag: String,
    pub(crate) handover: Handover,
}

impl House {
    pub(crate) fn new(program: Vec<OsString>, change: impl FnOnce(&mut Config)) -> Self {
        let base = tempfile::tempdir().unwrap();
        let (sender, lines) = mpsc::channel(1024);
        let directory = RuntimeDir::create_in(base.path()).unwrap();
        let supervisor = Supervisor::start(Self::config(program, change), directory, move |line| {
            let _ = sender.blocking_send(line.to_string());
        });
        Self { supervisor: supervisor.unwrap(), base, lines, missed: VecDeque::new(), heard: Vec::new() }
    }

    pub(crate) fn config(program: Vec<OsString>, change: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config::new(&program[0]);
        config.arguments = program[1..].to_vec();
        change(&mut config);
        config
    }

    pub(crate) fn base(&self) -> &Path {
        self.base.path()
    }

    pub(crate) async fn next(&mut self) -> Event {
        match self.missed.pop_front() {
            Some(event) => event,
            None => soon(self.supervisor.next()).await.expect("it is over"),
        }
    }

    pub(crate) async fn until(&mut self, mut is_it: impl FnMut(&Event) -> bool) -> Event {
        loop {
            let event = self.next().await;
            if is_it(&event) {
                return event;
            }
        }
    }

    pub(crate) async fn all_ready(&mut self, instances: usize) -> Vec<Worker> {
        let (mut pids, mut workers) = (vec![0; instances], Vec::new());
        self.until(|event| {
            if let Event::Started { instance, pid } = event {
                pids[*instance as usize] = *pid;
            }
            if let Event::Ready { instance, tag, handover, .. } = event {
                let (instance, handover) = (*instance, handover.clone());
                workers.push(Worker { instance, pid: pids[instance as usize], tag: tag.clone(), handover });
            }
            matches!(event, Event::AllReady)
        })
        .await;
        assert_eq!(workers.len(), instances);
        workers.sort_by_key(|worker| worker.instance);
        workers
    }

    /// Waits for a line of output, while the supervisor goes on.
    pub(crate) async fn line(&mut self, expected: &str) {
        while !self.heard.iter().any(|line| line == expected) {
            let line = self.any_line().await;
            self.heard.push(line);
        }
        self.heard.retain(|line| line != expected);
    }

    pub(crate) async fn any_line(&mut self) -> String {
        loop {
            tokio::select! {
                line = soon(self.lines.recv()) => return line.unwrap(),
                event = self.supervisor.next() => self.missed.push_back(event.expect("it is over")),
            }
        }
    }
}

pub(crate) fn supervise(config: Config, base: &Path) -> Result<Supervisor, StartError> {
    Supervisor::start(config, RuntimeDir::create_in(base).unwrap(), |_| {})
}

impl Worker {
    pub(crate) fn signal(&self, what: Signal) {
        signal(self.pid, what);
    }
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// Another process that is a parent of workers, to be killed.
pub(crate) struct Parent {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Parent {
    pub(crate) fn new(instances: u32, base: &Path, program: Vec<OsString>) -> Self {
        let mut command = Command::new(&stage("")[0]);
        command.arg("supervise").arg(instances.to_string()).arg(base).args(program);
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// All that it says up to a line that begins so.
    pub(crate) async fn until(&mut self, expected: &str) -> Vec<String> {
        let mut said = Vec::new();
        loop {
            let line = soon(self.lines.next_line()).await.unwrap().expect("it ended");
            said.push(line);
            if said.last().is_some_and(|line| line.starts_with(expected)) {
                return said;
            }
        }
    }

    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}

/// The processes that a parent said it started.
pub(crate) fn started(lines: &[String]) -> Vec<Ending> {
    let started = lines.iter().filter(|line| line.starts_with("Started"));
    started.map(|line| Ending::of(*numbers_in(line).last().unwrap())).collect()
}

/// The end of a process, child or not.
pub(crate) struct Ending {
    pidfd: OwnedFd,
}

impl Ending {
    pub(crate) fn of(pid: u32) -> Self {
        Self::try_of(pid).unwrap()
    }

    pub(crate) fn try_of(pid: u32) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        Some(Self { pidfd: pidfd_open(pid, PidfdFlags::empty()).ok()? })
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over_within(Duration::ZERO)
    }

    pub(crate) async fn wait(self) {
        assert!(tokio::task::spawn_blocking(move || self.over_within(BOUND)).await.unwrap(), "it lives on");
    }

    fn over_within(&self, bound: Duration) -> bool {
        let bound = Timespec::try_from(bound).unwrap();
        poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&bound)).unwrap() == 1
    }
}

/// A client, and the parent's side of its connection with the bytes read so far.
pub(crate) fn client(bytes: &[u8]) -> (TcpStream, Connection) {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    let (stream, peer) = tcp.accept().unwrap();
    (client, Connection { stream, peer, read: Bytes::copy_from_slice(bytes) })
}

/// Reads to the end, which comes once the parent's copy is closed as well.
pub(crate) async fn read(client: TcpStream) -> String {
    client.set_nonblocking(true).unwrap();
    let (mut client, mut text) = (tokio::net::TcpStream::from_std(client).unwrap(), String::new());
    soon(client.read_to_string(&mut text)).await.unwrap();
    text
}

pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(BOUND, future).await.expect("nothing happened in time")
}

/// A player of `examples/stage.rs`, which is built beside the tests.
pub(crate) fn stage(player: &str) -> Vec<OsString> {
    let own = std::env::current_exe().unwrap();
    let stage = own.parent().and_then(Path::parent).unwrap().join("examples/stage");
    assert!(stage.exists(), "{} is not built: cargo build --examples", stage.display());
    vec![stage.into(), player.into()]
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries: io::Result<Vec<_>> = std::fs::read_dir(directory).unwrap().collect();
    let mut names: Vec<_> =
        entries.unwrap().iter().map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub(crate) fn numbers_in(text: &str) -> Vec<u32> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}
