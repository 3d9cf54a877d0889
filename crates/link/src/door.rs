//! The door to one worker: what the parent's handles and the link's task share, and that task.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::debug;

use crate::config::Config;
use crate::connection::Connection;
use crate::message::{Assign, CONTROL_BYTES_MAX, Load, Misbehaved, Ready, ToParent, ToWorker};
use crate::packet::{Packet, Socket};
use crate::window::{Stats, Weigh, Window};

/// The most packets that can wait in the socket of a dead worker; it holds fewer than 300.
const LAST_WORDS_MAX: usize = 1024;

/// One thing heard of a worker.
#[derive(Debug)]
pub enum Report {
    /// It serves.
    Ready(Ready),
    /// How much it has to do; only the latest is kept until it is read.
    Load(Load),
    /// It lets its sessions go and takes no more.
    Draining,
    /// A connection that the worker did not receipt: pass it to another.
    Returned(Connection),
    /// It ends of its own will.
    Bye,
}

/// What the handles and the task of one link share; locked for a look, never across an await.
pub(crate) struct Door {
    state: Mutex<State>,
    /// Wakes the task: there is something to send.
    sender: Notify,
    /// Wakes the reader of reports.
    pub(crate) reports: Notify,
}

/// What is to be told, each at most once at a time, so nothing here can grow without the window's limits.
struct State {
    window: Window<Connection>,
    assign: Option<Assign>,
    drain: Option<Duration>,
    stop: bool,
    /// Sessions to let go that the worker has not been told of.
    shed: u64,
    ready: Option<Ready>,
    load: Option<Load>,
    draining: bool,
    bye: bool,
    gone: bool,
    /// Nobody hears reports any more: the link ends, and what comes back is closed.
    abandoned: bool,
}

/// A packet in the task's hands.
enum Outgoing {
    Control(Vec<u8>),
    Connection(Vec<u8>, Connection),
}

impl Door {
    pub(crate) fn new(config: Config, assign: Assign) -> Self {
        let state = State {
            window: Window::new(config),
            assign: Some(assign),
            drain: None,
            stop: false,
            shed: 0,
            ready: None,
            load: None,
            draining: false,
            bye: false,
            gone: false,
            abandoned: false,
        };
        Self { state: Mutex::new(state), sender: Notify::new(), reports: Notify::new() }
    }

    pub(crate) fn pass(&self, connection: Connection) -> Result<(), Connection> {
        self.state.lock().window.handle_offer(connection)?;
        self.sender.notify_one();
        Ok(())
    }

    pub(crate) fn drain(&self, within: Duration) {
        self.shut(|state| state.drain = Some(within));
    }

    pub(crate) fn stop(&self) {
        self.shut(|state| state.stop = true);
    }

    pub(crate) fn shed(&self, sessions: u64) {
        let mut state = self.state.lock();
        state.shed = state.shed.saturating_add(sessions);
        drop(state);
        self.sender.notify_one();
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state.lock().window.is_open()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.state.lock().window.stats()
    }

    /// The next report; `Err` once there will be none.
    pub(crate) fn poll_report(&self) -> Result<Option<Report>, ()> {
        let mut state = self.state.lock();
        match state.poll_report() {
            None if state.gone => Err(()),
            report => Ok(report),
        }
    }

    /// Nobody will hear reports any more.
    pub(crate) fn abandon(&self) {
        let mut state = self.state.lock();
        state.abandoned = true;
        let abandoned = state.handle_gone();
        drop(state);
        drop(abandoned);
        self.sender.notify_one();
    }

    fn shut(&self, ask: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        ask(&mut state);
        state.window.handle_shut();
        drop(state);
        self.sender.notify_one();
        self.reports.notify_one();
    }

    /// The task of one link: sends what is to be sent, hears what the worker says, until either fails.
    pub(crate) async fn carry(self: Arc<Self>, socket: Socket) {
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
        self.hear_the_rest(&socket, &mut buffer);
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

    /// Takes in what a dead worker had said before: a receipt that lies unread means that it ran the connection.
    fn hear_the_rest(&self, socket: &Socket, buffer: &mut [u8]) {
        // The kernel tells of the broken end (ECONNRESET) once, before the packets that still wait.
        let mut told = false;
        for _ in 0..LAST_WORDS_MAX {
            match socket.try_recv(buffer) {
                Ok(Some(packet)) if self.hear(&packet, buffer).is_ok() => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset && !told => told = true,
                Ok(_) | Err(_) => return,
            }
        }
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
    fn handle_gone(&mut self) -> Vec<Connection> {
        self.gone = true;
        self.window.handle_gone();
        let abandoned = self.abandoned;
        std::iter::from_fn(|| if abandoned { self.window.poll_returned() } else { None }).collect()
    }

    fn poll_report(&mut self) -> Option<Report> {
        if let Some(ready) = self.ready.take() {
            return Some(Report::Ready(ready));
        }
        if std::mem::take(&mut self.draining) {
            return Some(Report::Draining);
        }
        if let Some(load) = self.load.take() {
            return Some(Report::Load(load));
        }
        if let Some(connection) = self.window.poll_returned() {
            return Some(Report::Returned(connection));
        }
        std::mem::take(&mut self.bye).then_some(Report::Bye)
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
        let shed = std::mem::take(&mut self.shed);
        if shed > 0 {
            return control(ToWorker::Shed(shed));
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
