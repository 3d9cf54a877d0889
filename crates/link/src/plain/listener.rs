//! The sockets of plain links: accepts workers, reads what they say, writes what they are told.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::Shutdown;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::inbox::{Event, Inbox};
use super::message::{Assign, Hello, ToWorker};

/// How long a process that connected may take to say Hello; it holds up the next one.
const HELLO_TIMEOUT: Duration = Duration::from_secs(1);

/// How many words may wait for a worker that does not read; at one more its link is cut, and with it the worker ends.
const WORDS_MAX: usize = 64;

/// How many bytes are read at a time.
const READ_BYTES: usize = 4096;

/// The parent's socket, on which workers report.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
}

impl Listener {
    /// Listens at `path`. The file is the caller's to remove.
    ///
    /// # Errors
    /// When the path is taken, too long (107 bytes), or not ours to write.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let socket = UnixListener::bind(path)?;
        // Only this user's processes are workers of ours.
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(Self { socket })
    }

    /// Waits for the next process that says Hello in our version; others are dropped with a warning.
    ///
    /// # Errors
    /// When the listener itself is broken, or this process is out of descriptors.
    ///
    /// # Cancel safety
    /// One that connected and has not said Hello yet is dropped with the future.
    pub async fn accept(&self) -> io::Result<Arrival> {
        loop {
            let (stream, _) = self.socket.accept().await?;
            let pid = stream.peer_cred()?.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default();
            let mut hearing = Hearing::new(Arc::new(stream));
            match tokio::time::timeout(HELLO_TIMEOUT, hearing.next()).await {
                Ok(Ok(Some(Event::Hello(Hello { instance, .. })))) => {
                    return Ok(Arrival { hearing, pid, instance });
                }
                Ok(Ok(_)) => debug!(pid, "a process connected to the plain link and left"),
                Ok(Err(error)) => warn!(pid, %error, "a process on the plain link is no worker of ours"),
                Err(_) => warn!(pid, "a process connected to the plain link and said nothing"),
            }
        }
    }
}

/// A process that said Hello and has no task yet. Dropping it tells it to go.
#[derive(Debug)]
pub struct Arrival {
    hearing: Hearing,
    /// Its process id, by the kernel's word. It may be a descendant of the process that was started (npm, tsx).
    pub pid: u32,
    /// The instance it says it belongs to.
    pub instance: u32,
}

impl Arrival {
    /// Makes it a worker. A task of its own writes to it, until the process or [`Events`] is gone.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn assign(self, assign: Assign) -> (Worker, Events) {
        let (words, receiver) = mpsc::channel(WORDS_MAX);
        let worker = Worker { words, stream: Arc::clone(&self.hearing.stream) };
        worker.say(ToWorker::Assign(assign));
        tokio::spawn(write(Arc::clone(&self.hearing.stream), receiver));
        (worker, Events { hearing: self.hearing, pid: self.pid, ended: false })
    }
}

/// The words to one worker. Cheap to clone; saying something never waits, and to a worker that is gone it is for nothing.
#[derive(Debug, Clone)]
pub struct Worker {
    words: mpsc::Sender<ToWorker>,
    stream: Arc<UnixStream>,
}

impl Worker {
    /// The public address of a listen is open: its Unix socket shall be `path`.
    pub fn listening(&self, id: u32, path: PathBuf) {
        self.say(ToWorker::Listening { id, path });
    }

    /// A listen cannot be had. `code` is the system's name of the error (`EADDRINUSE`), where it has one: the program sees it.
    pub fn refuse(&self, id: u32, code: Option<&str>, reason: impl Into<String>) {
        self.say(ToWorker::Refuse { id, code: code.map(str::to_owned), reason: reason.into() });
    }

    /// A listen is the program's own business: it listens there by itself.
    pub fn alone(&self, id: u32) {
        self.say(ToWorker::Alone { id });
    }

    /// Lets its sessions go, spread over a time.
    pub fn drain(&self, within: Duration) {
        self.say(ToWorker::Drain { ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX) });
    }

    /// Leaves the mesh. The process goes on until it gets its signal.
    pub fn stop(&self) {
        self.say(ToWorker::Stop);
    }

    fn say(&self, word: ToWorker) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.words.try_send(word) {
            warn!("a worker on the plain link does not read: its link is cut");
            shut(&self.stream);
        }
    }
}

/// What one worker says. Dropping it ends the link, and with it the worker.
#[derive(Debug)]
pub struct Events {
    hearing: Hearing,
    pid: u32,
    ended: bool,
}

impl Events {
    /// Waits for the next event; `None` once the worker is gone, or was cut off because it broke the rules.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        let event = self.hearing.next().await.unwrap_or_else(|error| {
            warn!(pid = self.pid, %error, "a worker on the plain link is cut off");
            None
        });
        if event.is_none() {
            self.ended = true;
            shut(&self.hearing.stream);
        }
        event
    }
}

/// A stream and what was read of it.
#[derive(Debug)]
struct Hearing {
    stream: Arc<UnixStream>,
    inbox: Inbox,
    read: Vec<u8>,
    taken: usize,
}

impl Hearing {
    fn new(stream: Arc<UnixStream>) -> Self {
        Self { stream, inbox: Inbox::default(), read: Vec::new(), taken: 0 }
    }

    async fn next(&mut self) -> io::Result<Option<Event>> {
        loop {
            let mut bytes = &self.read[self.taken..];
            let before = bytes.len();
            let event = self.inbox.decode(&mut bytes).map_err(io::Error::other)?;
            self.taken += before - bytes.len();
            if event.is_some() {
                return Ok(event);
            }
            self.stream.readable().await?;
            self.read.resize(READ_BYTES, 0);
            self.taken = 0;
            let count = match self.stream.try_read(&mut self.read) {
                Ok(0) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                outcome => outcome.unwrap_or_default(),
            };
            self.read.truncate(count);
        }
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        shut(&self.stream);
    }
}

/// The writing task of a link: ends with the stream, which whoever hears shuts, or when nobody has words left.
async fn write(stream: Arc<UnixStream>, mut words: mpsc::Receiver<ToWorker>) {
    while let Some(word) = words.recv().await {
        let line = word.encode();
        let mut rest = &line[..];
        while !rest.is_empty() {
            if let Err(error) = stream.writable().await {
                return debug!(%error, "a word found no worker");
            }
            match stream.try_write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return debug!(%error, "a word found no worker"),
            }
        }
    }
}

fn shut(stream: &UnixStream) {
    // An error says that it is shut already.
    let _ = rustix::net::shutdown(stream, Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plain::{Listen, Protocol, Sids};
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

    #[tokio::test]
    async fn a_worker_asks_for_an_address_and_gets_a_socket() {
        let (listener, path, _directory) = listener();
        let mut process = Process::start(&path).await;
        let arrival = listener.accept().await.unwrap();
        assert_eq!((arrival.pid, arrival.instance), (std::process::id(), 2));
        let (worker, mut events) = arrival.assign(assign());
        assert!(process.line().await.contains(r#""type":"assign","tag":"Ab3dE_""#));

        process.say(r#"{"type":"listen","id":1,"host":"127.0.0.1","port":3000}"#).await;
        let host = Some("127.0.0.1".parse().unwrap());
        let listen = Listen { id: 1, host, port: 3000, protocol: Protocol::Http };
        assert_eq!(events.next().await, Some(Event::Listen(listen)));
        worker.listening(1, "/r/1.sock".into());
        assert_eq!(process.line().await, r#"{"type":"listening","id":1,"path":"/r/1.sock"}"#);
        process
            .say("{\"type\":\"ready\",\"id\":1,\"sids\":\"tagged\"}\n{\"type\":\"load\",\"sessions\":1}")
            .await;
        assert_eq!(events.next().await, Some(Event::Ready { id: 1, sids: Sids::Tagged }));
        assert_eq!(events.next().await, Some(Event::Load { sessions: 1, arrived: None }));

        worker.refuse(2, Some("EACCES"), "no");
        worker.drain(Duration::from_secs(2));
        worker.stop();
        assert_eq!(process.line().await, r#"{"type":"refuse","id":2,"code":"EACCES","reason":"no"}"#);
        assert_eq!(process.line().await, r#"{"type":"drain","ms":2000}"#);
        assert_eq!(process.line().await, r#"{"type":"stop"}"#);
        drop(process);
        assert_eq!(events.next().await, None);
        assert_eq!(events.next().await, None);
    }

    #[tokio::test]
    async fn a_worker_that_breaks_the_rules_is_cut_off() {
        let (listener, path, _directory) = listener();
        let mut process = Process::start(&path).await;
        let (_worker, mut events) = listener.accept().await.unwrap().assign(assign());
        process.line().await;
        process.say(r#"{"type":"closed","id":9}"#).await;
        assert_eq!(events.next().await, None);
        assert_eq!(process.line().await, "", "the link ended");
    }

    #[tokio::test]
    async fn dropping_the_events_ends_the_link() {
        let (listener, path, _directory) = listener();
        let mut process = Process::start(&path).await;
        let (_worker, events) = listener.accept().await.unwrap().assign(assign());
        process.line().await;
        drop(events);
        assert_eq!(process.line().await, "", "the link ended");
    }

    #[tokio::test]
    async fn a_worker_that_does_not_read_is_cut_off() {
        let (listener, path, _directory) = listener();
        let _process = Process::start(&path).await;
        let (worker, mut events) = listener.accept().await.unwrap().assign(assign());
        for id in 0..=WORDS_MAX as u32 {
            worker.refuse(id, None, "x");
        }
        assert_eq!(events.next().await, None);
    }

    #[tokio::test]
    async fn strangers_do_not_hold_up_workers() {
        let (listener, path, _directory) = listener();
        drop(UnixStream::connect(&path).await.unwrap());
        let mut stranger = UnixStream::connect(&path).await.unwrap();
        stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let _process = Process::start(&path).await;
        assert_eq!(listener.accept().await.unwrap().instance, 2);
    }

    struct Process(BufReader<UnixStream>);

    impl Process {
        async fn start(path: &Path) -> Self {
            let mut process = Self(BufReader::new(UnixStream::connect(path).await.unwrap()));
            process.say(r#"{"type":"hello","version":1,"pid":1,"instance":2}"#).await;
            process
        }

        async fn say(&mut self, line: &str) {
            self.0.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        }

        async fn line(&mut self) -> String {
            let mut line = String::new();
            self.0.read_line(&mut line).await.unwrap();
            line.trim_end().to_owned()
        }
    }

    fn listener() -> (Listener, PathBuf, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plain.sock");
        (Listener::bind(&path).unwrap(), path, directory)
    }

    fn assign() -> Assign {
        Assign { tag: "Ab3dE_".into(), mesh_dir: "/r/mesh".into(), http_dir: "/r/http".into() }
    }
}
