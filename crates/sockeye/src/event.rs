//! An event that a client sent, as a handler gets it.

use crate::namespace::Namespace;
use crate::payload::{Args, EmitError, FromArgs, Payload};
use crate::socket::Socket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One event of one client.
///
/// ```
/// use sockeye::{Config, Event, Server};
///
/// let mut io = Server::new(Config::default());
/// io.namespace("/").on("add", async |event: Event| -> sockeye::Result {
///     let (a, b): (i64, i64) = event.data()?; // socket.emit("add", 2, 3, (sum) => …)
///     event.ack(a + b)?;
///     Ok(())
/// });
/// ```
#[derive(Debug)]
pub struct Event {
    socket: Socket,
    name: Arc<str>,
    args: Args,
    ack: Option<u64>,
    answered: Answered,
}

/// Whether the client was answered. Handlers of one event share it.
#[derive(Debug)]
enum Answered {
    Own(AtomicBool),
    Shared(Arc<AtomicBool>),
}

impl Event {
    pub(crate) fn new(socket: Socket, name: Arc<str>, args: Args, ack: Option<u64>) -> Self {
        Self { socket, name, args, ack, answered: Answered::Own(AtomicBool::new(false)) }
    }

    /// The same event for a further handler.
    pub(crate) fn twin(&mut self) -> Self {
        let shared = match &self.answered {
            Answered::Own(answered) => Arc::new(AtomicBool::new(answered.load(Ordering::Acquire))),
            Answered::Shared(answered) => Arc::clone(answered),
        };
        self.answered = Answered::Shared(Arc::clone(&shared));
        Self {
            socket: self.socket.clone(),
            name: Arc::clone(&self.name),
            args: self.args.clone(),
            ack: self.ack,
            answered: Answered::Shared(shared),
        }
    }

    /// Who sent it.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The namespace it was sent to.
    pub fn namespace(&self) -> Namespace {
        self.socket.namespace()
    }

    /// The event's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads the arguments: a tuple takes as many as it has fields, any other type takes the first one.
    ///
    /// # Errors
    /// The arguments are not of that type. A handler may return the error: it is logged.
    pub fn data<T: FromArgs>(&self) -> Result<T, serde_json::Error> {
        self.args.data()
    }

    /// The arguments as they came.
    pub fn args(&self) -> &Args {
        &self.args
    }

    /// Whether the client waits for an ack.
    pub fn wants_ack(&self) -> bool {
        self.ack.is_some()
    }

    /// Answers, if the client asked for an ack; only the first answer counts.
    ///
    /// # Errors
    /// [`EmitError`]: the payload cannot be sent as it is.
    pub fn ack(&self, payload: impl Payload) -> Result<(), EmitError> {
        let Some(id) = self.ack else { return Ok(()) };
        let answered = match &self.answered {
            Answered::Own(answered) => answered,
            Answered::Shared(answered) => answered,
        };
        if answered.load(Ordering::Acquire) {
            return Ok(());
        }
        let outgoing = self.socket.hub().ack(id, &payload)?;
        if !answered.swap(true, Ordering::AcqRel) {
            self.socket.post(outgoing);
        }
        Ok(())
    }
}
