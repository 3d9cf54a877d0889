//! The parent's end: accepts workers, and passes connections to each through its door.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{debug, warn};

use crate::config::Config;
use crate::message::{Assign, CONTROL_BYTES_MAX, Hello, Load, Misbehaved, Ready, ToParent, ToWorker};
use crate::packet::{Packet, Socket};
use crate::reports::Reports;
use crate::window::{Stats, Weigh, Window};
use crate::{Connection, VERSION};

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
        Ok(Self { socket: Socket::listen(path)?, config })
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
        self.door.state.lock().window.handle_offer(connection)?;
        self.door.sender.notify_one();
        Ok(())
    }

    /// Tells the worker to let its sessions go within a time; what waits for it comes back, nothing more is taken.
    pub fn drain(&self, within: Duration) {
        self.shut(|state| state.drain = Some(within));
    }

    /// Tells the worker to end; what waits for it comes back, nothing more is taken.
    pub fn stop(&self) {
        self.shut(|state| state.stop = true);
    }

    /// Whether the door is open: the worker is there and neither draining nor stopping.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.door.state.lock().window.is_open()
    }

    /// Counters of this link.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.door.state.lock().window.stats()
    }

    fn shut(&self, ask: impl FnOnce(&mut State)) {
        let mut state = self.door.state.lock();
        ask(&mut state);
        state.window.handle_shut();
        drop(state);
        self.door.sender.notify_one();
        self.door.reports.notify_one();
    }
}

/// What the handles and the task of one link share; locked for a look, never across an await.
pub(crate) struct Door {
    pub(crate) state: Mutex<State>,
    /// Wakes the task: there is something to send.
    pub(crate) sender: Notify,
    /// Wakes the reader of reports.
    pub(crate) reports: Notify,
}

/// What is to be told, each at most once at a time, so nothing here can grow without the window's limits.
pub(crate) struct State {
    pub(crate) window: Window<Connection>,
    assign: Option<Assign>,
    drain: Option<Duration>,
    stop: bool,
    pub(crate) ready: Option<Ready>,
    pub(crate) load: Option<Load>,
    pub(crate) draining: bool,
    pub(crate) bye: bool,
    pub(crate) gone: bool,
    /// Nobody hears reports any more: the link ends, and what comes back is closed.
    pub(crate) abandoned: bool,
}

/// A packet in the task's hands.
enum Outgoing {
    Control(Vec<u8>),
    Connection(Vec<u8>, Connection),
}

impl Door {
    fn new(config: Config, assign: Assign) -> Self {
        let state = State {
            window: Window::new(config),
            assign: Some(assign),
            drain: None,
            stop: false,
            ready: None,
            load: None,
            draining: false,
            bye: false,
            gone: false,
            abandoned: false,
        };
        Self { state: Mutex::new(state), sender: Notify::new(), reports: Notify::new() }
    }

    /// The task of one link: sends what is to be sent, hears what the worker says, until either fails.
    async fn carry(self: Arc<Self>, socket: Socket) {
        let mut buffer = vec![0; CONTROL_BYTES_MAX];
        let mut outgoing = None;
        let why = loop {
            {
                let mut state = self.state.lock();
                if state.abandoned {
                    break io::Error::other("abandoned by the parent");
                }
                outgoing = outgoing.or_else(|| state.poll_outgoing());
            }
            let result = tokio::select! {
                sent = send(&socket, outgoing.as_ref()), if outgoing.is_some() => {
                    sent.map(|()| if let Some(Outgoing::Connection(_, connection)) = outgoing.take() {
                        self.state.lock().window.handle_sent(connection);
                    })
                }
                packet = socket.recv(&mut buffer) => match packet {
                    Ok(Some(packet)) => self.hear(&packet, &buffer).map_err(io::Error::other),
                    Ok(None) => Err(io::ErrorKind::UnexpectedEof.into()),
                    Err(error) => Err(error),
                },
                () = self.sender.notified() => Ok(()),
            };
            if let Err(why) = result {
                break why;
            }
        };
        debug!(%why, "a link ended");
        self.end(outgoing);
    }

    /// Takes in what the worker said.
    fn hear(&self, packet: &Packet, buffer: &[u8]) -> Result<(), Misbehaved> {
        let message = ToParent::decode(packet.message(buffer)?)?;
        let mut state = self.state.lock();
        match message {
            ToParent::Receipt(count) => {
                let settled = state.window.handle_receipt(count)?;
                drop(state);
                // The parent's copies are closed here, outside the lock.
                drop(settled);
                return Ok(());
            }
            ToParent::Hello(hello) => return Err(Misbehaved::Version(hello.version)),
            ToParent::Lost(number) => state.window.handle_lost(number)?,
            ToParent::Ready(ready) => state.ready = Some(ready),
            ToParent::Load(load) => state.load = Some(load),
            ToParent::Draining => state.draining = true,
            ToParent::Bye => state.bye = true,
        }
        drop(state);
        self.reports.notify_one();
        Ok(())
    }

    /// Gives everything back that the worker did not receipt.
    fn end(&self, outgoing: Option<Outgoing>) {
        let mut state = self.state.lock();
        if let Some(Outgoing::Connection(_, connection)) = outgoing {
            state.window.handle_unsent(connection);
        }
        let abandoned = state.handle_gone();
        drop(state);
        drop(abandoned);
        self.reports.notify_one();
    }
}

impl State {
    /// The link ended: everything comes back; returns what nobody will ask for.
    pub(crate) fn handle_gone(&mut self) -> Vec<Connection> {
        self.gone = true;
        self.window.handle_gone();
        let abandoned = self.abandoned;
        std::iter::from_fn(|| if abandoned { self.window.poll_returned() } else { None }).collect()
    }

    /// The next packet: control first.
    fn poll_outgoing(&mut self) -> Option<Outgoing> {
        let control = |message: ToWorker<'_>| Some(Outgoing::Control(message.encode_head()));
        if let Some(assign) = self.assign.take() {
            return control(ToWorker::Assign(assign));
        }
        if let Some(within) = self.drain.take() {
            return control(ToWorker::Drain(within));
        }
        if std::mem::take(&mut self.stop) {
            return control(ToWorker::Stop);
        }
        let connection = self.window.poll_send()?;
        let head = ToWorker::Connection { peer: connection.peer, read: &[] }.encode_head();
        Some(Outgoing::Connection(head, connection))
    }
}

impl Weigh for Connection {
    fn bytes(&self) -> usize {
        self.read.len()
    }
}

async fn send(socket: &Socket, outgoing: Option<&Outgoing>) -> io::Result<()> {
    match outgoing {
        Some(Outgoing::Control(packet)) => socket.send(packet, &[], None).await,
        Some(Outgoing::Connection(head, connection)) => {
            socket.send(head, &connection.read, Some(connection.stream.as_fd())).await
        }
        None => Ok(()),
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
