//! A namespace, as a program holds it.

use crate::auth::auth_json;
use crate::cause::{Cause, Closed};
use crate::command::{Command, Line, Room, Seat};
use crate::error::{AckError, ConnectError, EmitError, JoinError};
use crate::event::Event;
use crate::inbox::Arrival;
use crate::incoming::Incoming;
use crate::machine::Lost;
use crate::notice::Connected;
use serde::Serialize;
#[cfg(doc)]
use sockeye_proto::payload::Args;
use sockeye_proto::payload::{FromArgs, Payload};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// One namespace of a client. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Socket {
    line: Arc<Line>,
    room: Arc<Room>,
}

impl Socket {
    pub(crate) fn new(line: Arc<Line>, room: Arc<Room>) -> Self {
        Self { line, room }
    }

    /// Its name.
    pub fn namespace(&self) -> &str {
        &self.room.nsp
    }

    /// Waits until the client is in.
    ///
    /// # Errors
    /// [`ConnectError`]: the server refuses it, or the client gave up.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn connected(&self) -> Result<Connected, ConnectError> {
        let mut seat = self.room.seat.subscribe();
        let settled = seat.wait_for(|seat| !matches!(seat, Seat::Out)).await;
        match settled.as_deref() {
            Ok(Seat::In(connected)) => Ok(connected.clone()),
            Ok(Seat::Refused(error)) => Err(error.clone()),
            Ok(Seat::Out) | Err(_) => {
                Err(ConnectError::NoConnection(Closed { cause: Cause::Closed, detail: String::new() }))
            }
        }
    }

    /// Waits for what happens next; `None` when nothing more will, since the client is closed or gave up.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn next(&self) -> Option<Incoming> {
        Some(match self.room.inbox.next().await? {
            Arrival::Event { name, args, ack } => {
                Incoming::Event(Event::new(&self.line, &self.room.nsp, name, args, ack))
            }
            Arrival::Notice(notice) => notice.into(),
        })
    }

    /// The id of the socket while the client is in.
    pub fn id(&self) -> Option<String> {
        match &*self.room.seat.borrow() {
            Seat::In(connected) => Some(connected.id.clone()),
            Seat::Out | Seat::Refused(_) => None,
        }
    }

    /// Sends an event; while the client is out it waits, and goes when it is in.
    ///
    /// # Errors
    /// [`EmitError`]: nothing was, or will be, sent.
    pub fn emit(&self, event: &str, payload: impl Payload) -> Result<(), EmitError> {
        let draft = self.line.event(event, &payload)?;
        let bytes = draft.len();
        self.line.say(bytes, Command::Emit { nsp: Arc::clone(&self.room.nsp), draft, bytes, ack: None })
    }

    /// Sends an event if it can go at once; where the client is out, or earlier bytes are still being written, it is dropped.
    ///
    /// # Errors
    /// [`EmitError`]: it cannot be sent as it is.
    pub fn emit_volatile(&self, event: &str, payload: impl Payload) -> Result<(), EmitError> {
        let draft = self.line.event(event, &payload)?;
        let bytes = draft.len();
        match self.line.say(bytes, Command::Volatile { nsp: Arc::clone(&self.room.nsp), draft, bytes }) {
            // There is no room: what is volatile is dropped.
            Err(EmitError::Full { .. }) => Ok(()),
            other => other,
        }
    }

    /// Sends an event and waits for the answer, as long as [`Config::ack_timeout`](crate::Config::ack_timeout) says. A tuple takes
    /// several arguments, [`Args`] all as they came.
    ///
    /// # Errors
    /// [`AckError`]: no answer, or not of that type.
    ///
    /// # Cancel safety
    /// When dropped, the event is sent nevertheless (at the first poll), and the answer is passed over.
    pub async fn emit_with_ack<T: FromArgs>(
        &self,
        event: &str,
        payload: impl Payload,
    ) -> Result<T, AckError> {
        self.emit_with_ack_within(self.line.ack_timeout, event, payload).await
    }

    /// The same with a timeout of its own. It counts from the call, also while the client is out.
    ///
    /// # Errors
    /// As [`Socket::emit_with_ack`].
    ///
    /// # Cancel safety
    /// As [`Socket::emit_with_ack`].
    pub async fn emit_with_ack_within<T: FromArgs>(
        &self,
        timeout: Duration,
        event: &str,
        payload: impl Payload,
    ) -> Result<T, AckError> {
        let draft = self.line.event(event, &payload)?;
        let bytes = draft.len();
        let (sender, answer) = oneshot::channel();
        let nsp = Arc::clone(&self.room.nsp);
        self.line.say(bytes, Command::Emit { nsp, draft, bytes, ack: Some((timeout, sender)) })?;
        match answer.await {
            Ok(Ok(args)) => Ok(args.data()?),
            Ok(Err(Some(Lost::TimedOut))) => Err(AckError::TimedOut),
            Ok(Err(Some(Lost::Disconnected))) | Err(_) => Err(AckError::Disconnected),
            Ok(Err(None)) => Err(EmitError::Full { limit: "acks_max" }.into()),
        }
    }

    /// Leaves the namespace; the connection stays for the others.
    ///
    /// # Errors
    /// [`EmitError`]: the client is closed, or too much waits.
    pub fn disconnect(&self) -> Result<(), EmitError> {
        self.line.say(0, Command::Leave { nsp: Arc::clone(&self.room.nsp) })
    }

    /// Asks for the namespace again, after a refusal, or after either side left it.
    ///
    /// # Errors
    /// [`JoinError`]: the client is closed, or too much waits.
    pub fn connect(&self) -> Result<(), JoinError> {
        let auth = self.room.auth.lock().clone();
        Ok(self.line.say(0, Command::Join { room: Arc::clone(&self.room), auth })?)
    }

    /// Changes the credentials for the next time that the client asks for the namespace, also when it comes back by itself.
    ///
    /// # Errors
    /// [`JoinError`]: they are no JSON object, the client is closed, or too much waits.
    pub fn set_auth(&self, auth: impl Serialize) -> Result<(), JoinError> {
        let auth = auth_json(&auth)?;
        self.room.auth.lock().clone_from(&auth);
        Ok(self.line.say(0, Command::Auth { nsp: Arc::clone(&self.room.nsp), auth })?)
    }
}
