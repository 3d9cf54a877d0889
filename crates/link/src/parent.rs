//! The parent's end: accepts workers, and hands each its connections.

use std::fmt;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use crate::config::Config;
use crate::connection::Connection;
use crate::door::Door;
use crate::message::{Assign, CONTROL_BYTES_MAX, Hello, Misbehaved, ToParent, VERSION};
use crate::packet::Socket;
use crate::reports::Reports;
use crate::window::Stats;

/// How long a process that connected may take to say Hello; it holds up the next one.
const HELLO_TIMEOUT: Duration = Duration::from_secs(1);

/// The parent's socket, on which workers report.
pub struct Listener {
    socket: Socket,
    config: Config,
}

impl Listener {
    /// Listens at `path`, with the limits' defaults. The file is the caller's to remove.
    ///
    /// # Errors
    /// When the path is taken, too long (107 bytes), or not ours to write.
    pub fn bind(path: &Path) -> io::Result<Self> {
        Self::bind_with(path, Config::default())
    }

    /// Listens at `path` with limits of one's own.
    ///
    /// # Errors
    /// As [`Listener::bind`].
    pub fn bind_with(path: &Path, config: Config) -> io::Result<Self> {
        let socket = Socket::listen(path)?;
        // Only this user's processes are workers of ours.
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(Self { socket, config })
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
            let socket = self.socket.accept().await?;
            let pid = socket.peer_pid()?;
            match tokio::time::timeout(HELLO_TIMEOUT, hello(&socket)).await {
                Ok(Ok(hello)) => {
                    return Ok(Arrival {
                        socket,
                        pid,
                        instance: hello.instance,
                        config: self.config.clone(),
                    });
                }
                Ok(Err(error)) => warn!(pid, %error, "a process on the link is no worker of ours"),
                Err(_) => warn!(pid, "a process connected to the link and said nothing"),
            }
        }
    }
}

/// A process that said Hello and has no task yet. Dropping it tells it to go.
pub struct Arrival {
    socket: Socket,
    config: Config,
    /// Its process id, by the kernel's word.
    pub pid: u32,
    /// The instance it says it is.
    pub instance: u32,
}

impl Arrival {
    /// Makes it a worker. A task of its own carries the link until the worker or [`Reports`] is gone.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn assign(self, assign: Assign) -> (Handover, Reports) {
        let door = Arc::new(Door::new(self.config, assign));
        tokio::spawn(Arc::clone(&door).carry(self.socket));
        (Handover { door: Arc::clone(&door) }, Reports::new(door))
    }
}

/// The door to one worker. Cheap to clone.
#[derive(Clone)]
pub struct Handover {
    door: Arc<Door>,
}

impl Handover {
    /// Passes a connection to the worker; never waits.
    ///
    /// # Errors
    /// Gives the connection back when the worker is gone or draining, its queue is full, or the bytes read exceed
    /// [`HEAD_BYTES_MAX`](crate::HEAD_BYTES_MAX). One that was taken and does not arrive comes back as
    /// [`Report::Returned`](crate::Report::Returned).
    pub fn pass(&self, connection: Connection) -> Result<(), Connection> {
        self.door.pass(connection)
    }

    /// Tells the worker to let its sessions go within a time; what waits for it comes back, nothing more is taken.
    pub fn drain(&self, within: Duration) {
        self.door.drain(within);
    }

    /// Tells the worker to let so many of its sessions go, whichever: their clients come back, and are assigned anew.
    pub fn shed(&self, sessions: u32) {
        self.door.shed(sessions.into());
    }

    /// Tells the worker to end; what waits for it comes back, nothing more is taken.
    pub fn stop(&self) {
        self.door.stop();
    }

    /// Whether the door is open: the worker is there and neither draining nor stopping.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.door.is_open()
    }

    /// Counters of this link.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.door.stats()
    }
}

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handover").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

async fn hello(socket: &Socket) -> io::Result<Hello> {
    let mut buffer = vec![0; CONTROL_BYTES_MAX];
    let packet = socket.recv(&mut buffer).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let message = packet.message(&buffer).and_then(ToParent::decode).map_err(io::Error::other)?;
    match message {
        ToParent::Hello(hello) if hello.version == VERSION => Ok(hello),
        ToParent::Hello(hello) => Err(io::Error::other(Misbehaved::Version(hello.version))),
        ToParent::Ready(_)
        | ToParent::Receipt(_)
        | ToParent::Load(_)
        | ToParent::Draining
        | ToParent::Bye
        | ToParent::Lost(_) => Err(io::Error::other("expected Hello first")),
    }
}
