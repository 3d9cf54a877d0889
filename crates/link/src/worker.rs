//! The worker's end: takes connections in, receipts them, reports.

use std::collections::VecDeque;
use std::env;
use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tracing::{debug, warn};

use crate::connection::Connection;
use crate::message::{Assign, Hello, Load, Misbehaved, PACKET_BYTES_MAX, Ready, ToParent, ToWorker, VERSION};
use crate::packet::{Packet, Socket};

/// The variable that holds the path of the parent's socket.
pub const LINK_VARIABLE: &str = "SOCKEYE_LINK";

/// The variable that holds the worker's instance number.
pub const WORKER_VARIABLE: &str = "SOCKEYE_WORKER";

/// How many packets are taken before a receipt is sent, if that many wait.
const BATCH: usize = 64;

/// What the parent wants.
#[derive(Debug)]
pub enum Event {
    /// Serve this client: it is this worker's own from here on.
    Connection(Connection),
    /// Take no more sessions and let those that live go within this time.
    Drain(Duration),
    /// Let so many sessions go, whichever; the others stay.
    Shed(u64),
    /// Close and end.
    Stop,
    /// The parent is gone: close and end at once. Every later call says the same.
    Gone,
}

/// The link to the parent, as a worker has it.
pub struct Parent {
    link: Arc<Link>,
    writer: AbortHandle,
    buffer: Vec<u8>,
    /// Received, and covered by a receipt before the first of them is handed out.
    batch: VecDeque<Event>,
    received: u64,
    /// What the parent must hear before the batch is handed out.
    unsaid: VecDeque<ToParent>,
    gone: bool,
}

impl Parent {
    /// Reports to the parent that the environment names, and waits for its assignment; `None` without a parent.
    ///
    /// # Errors
    /// When the variables are malformed, or the parent is gone, refuses or speaks another version.
    pub async fn from_env() -> Option<io::Result<(Self, Assign)>> {
        let path = PathBuf::from(env::var_os(LINK_VARIABLE)?);
        let instance = env::var(WORKER_VARIABLE).ok().and_then(|number| number.parse().ok());
        let Some(instance) = instance else {
            let expected = format!("expected a number in {WORKER_VARIABLE} beside {LINK_VARIABLE}");
            return Some(Err(io::Error::new(io::ErrorKind::InvalidInput, expected)));
        };
        Some(Self::connect(&path, instance).await)
    }

    /// Reports to the parent at `path` as worker `instance`, and waits for its assignment.
    ///
    /// A task of its own writes reports, until this value is dropped.
    ///
    /// # Errors
    /// When the parent is gone, refuses or speaks another version.
    pub async fn connect(path: &Path, instance: u32) -> io::Result<(Self, Assign)> {
        let socket = Socket::connect(path).await?;
        let hello = Hello { version: VERSION, pid: std::process::id(), instance };
        socket.send(&ToParent::Hello(hello).encode(), &[], None).await?;
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        let packet = socket.recv(&mut buffer).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let message = packet.message(&buffer).and_then(ToWorker::decode).map_err(io::Error::other)?;
        let ToWorker::Assign(assign) = message else {
            return Err(io::Error::other("expected an assignment first"));
        };
        let link = Arc::new(Link { socket, unsaid: Mutex::default(), writer: Notify::new() });
        let writer = tokio::spawn(Arc::clone(&link).write()).abort_handle();
        let (batch, unsaid) = (VecDeque::new(), VecDeque::new());
        Ok((Self { link, writer, buffer, batch, received: 0, unsaid, gone: false }, assign))
    }

    /// Waits for what the parent wants next.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Event {
        loop {
            if self.unsaid.is_empty()
                && let Some(event) = self.batch.pop_front()
            {
                return event;
            }
            if self.gone {
                return Event::Gone;
            }
            if let Err(why) = self.advance().await {
                debug!(%why, "the link to the parent ended");
                // What was received without a receipt goes to another worker: it must not run here.
                self.unsaid.clear();
                self.batch.clear();
                self.gone = true;
            }
        }
    }

    /// A handle for whoever has something to report.
    #[must_use]
    pub fn reporter(&self) -> Reporter {
        Reporter { link: Arc::clone(&self.link) }
    }

    /// Ends the link in order: everything reported so far is sent, then a last word.
    pub async fn bye(self) {
        let unsaid = self.link.unsaid.lock().take_all();
        for message in unsaid.into_iter().chain([ToParent::Bye]) {
            if self.link.socket.send(&message.encode(), &[], None).await.is_err() {
                return;
            }
        }
    }

    /// One step: says what is unsaid, else receives a batch.
    async fn advance(&mut self) -> io::Result<()> {
        while let Some(message) = self.unsaid.front() {
            self.link.socket.send(&message.encode(), &[], None).await?;
            self.unsaid.pop_front();
        }
        if !self.batch.is_empty() {
            return Ok(());
        }
        let before = self.received;
        let first = self.link.socket.recv(&mut self.buffer).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.take(first).map_err(io::Error::other)?;
        for _ in 1..BATCH {
            match self.link.socket.try_recv(&mut self.buffer) {
                Ok(Some(packet)) => self.take(packet).map_err(io::Error::other)?,
                // The end is met again, and dealt with, once this batch is out.
                Ok(None) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if self.received != before {
            self.unsaid.push_back(ToParent::Receipt(self.received));
        }
        Ok(())
    }

    fn take(&mut self, packet: Packet) -> Result<(), Misbehaved> {
        match ToWorker::decode(packet.message(&self.buffer)?)? {
            ToWorker::Connection { peer, read } => {
                self.received += 1;
                match packet.descriptor.and_then(adopt) {
                    Some(stream) => {
                        let read = Bytes::copy_from_slice(read);
                        self.batch.push_back(Event::Connection(Connection { stream, peer, read }));
                    }
                    None => {
                        warn!("a connection came without its descriptor: too many open files?");
                        self.unsaid.push_back(ToParent::Lost(self.received));
                    }
                }
            }
            ToWorker::Drain(within) => self.batch.push_back(Event::Drain(within)),
            ToWorker::Shed(sessions) => self.batch.push_back(Event::Shed(sessions)),
            ToWorker::Stop => self.batch.push_back(Event::Stop),
            ToWorker::Assign(_) => return Err(Misbehaved::Assigned),
        }
        Ok(())
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

/// Tells the parent how this worker is. Cheap to clone, and to call from any thread at any rate: of loads that were
/// not sent yet only the latest is kept.
#[derive(Clone)]
pub struct Reporter {
    link: Arc<Link>,
}

impl Reporter {
    /// This worker serves.
    pub fn ready(&self, ready: Ready) {
        self.say(|unsaid| unsaid.ready = Some(ready));
    }

    /// How many sessions live, and how many sid-less handshakes ever came through the edge.
    pub fn load(&self, sessions: u32, arrived: u64) {
        self.say(|unsaid| unsaid.load = Some(Load { sessions, arrived }));
    }

    /// This worker takes no more sessions.
    pub fn draining(&self) {
        self.say(|unsaid| unsaid.draining = true);
    }

    fn say(&self, change: impl FnOnce(&mut Unsaid)) {
        let mut unsaid = self.link.unsaid.lock();
        let idle = unsaid.is_empty();
        change(&mut unsaid);
        drop(unsaid);
        if idle {
            self.link.writer.notify_one();
        }
    }
}

/// What the worker's handles and its writing task share.
struct Link {
    socket: Socket,
    unsaid: Mutex<Unsaid>,
    writer: Notify,
}

/// Reports that wait for the socket: one of each kind at most.
#[derive(Default)]
struct Unsaid {
    ready: Option<Ready>,
    draining: bool,
    load: Option<Load>,
}

impl Link {
    /// The writing task: ends when the parent is gone, which [`Parent::next`] tells.
    async fn write(self: Arc<Self>) {
        loop {
            let unsaid = self.unsaid.lock().take_all();
            if unsaid.is_empty() {
                self.writer.notified().await;
            }
            for message in unsaid {
                if let Err(why) = self.socket.send(&message.encode(), &[], None).await {
                    return debug!(%why, "a report found no parent");
                }
            }
        }
    }
}

impl Unsaid {
    fn is_empty(&self) -> bool {
        self.ready.is_none() && !self.draining && self.load.is_none()
    }

    fn take_all(&mut self) -> Vec<ToParent> {
        let ready = self.ready.take().map(ToParent::Ready);
        let draining = std::mem::take(&mut self.draining).then_some(ToParent::Draining);
        let load = self.load.take().map(ToParent::Load);
        ready.into_iter().chain(draining).chain(load).collect()
    }
}

fn adopt(descriptor: OwnedFd) -> Option<TcpStream> {
    let stream = TcpStream::from(descriptor);
    // The parent's flags travel with the socket; a parent that is not tokio may not have set this one.
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}
