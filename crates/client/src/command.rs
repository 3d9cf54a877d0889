//! What handles say to the client's task, and what both hold.

use crate::config::Limits;
use crate::error::{ConnectError, EmitError};
use crate::inbox::Inbox;
use crate::machine::{Draft, Lost};
use crate::notice::Connected;
use bytes::Bytes;
use parking_lot::Mutex;
use sockeye_proto::payload::{Args, Payload};
use sockeye_proto::socket::event::RESERVED;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

/// One wish.
#[derive(Debug)]
pub(crate) enum Command {
    Join { room: Arc<Room>, auth: String },
    Auth { nsp: Arc<str>, auth: String },
    Leave { nsp: Arc<str> },
    Emit { nsp: Arc<str>, draft: Draft, bytes: usize, ack: Option<(Duration, Answer)> },
    Volatile { nsp: Arc<str>, draft: Draft, bytes: usize },
    Answer { nsp: Arc<str>, id: u64, draft: Draft, bytes: usize },
    Close,
}

impl Command {
    /// What it counts in the budget.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Emit { bytes, .. } | Self::Volatile { bytes, .. } | Self::Answer { bytes, .. } => *bytes,
            Self::Join { .. } | Self::Auth { .. } | Self::Leave { .. } | Self::Close => 0,
        }
    }
}

/// Who waits for an answer; `None` where too many wait already.
pub(crate) type Answer = oneshot::Sender<Result<Args, Option<Lost>>>;

/// One namespace, as its handle and the client's task share it.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) nsp: Arc<str>,
    pub(crate) inbox: Inbox,
    pub(crate) seat: watch::Sender<Seat>,
    /// What the client shows when it asks to be in.
    pub(crate) auth: Mutex<String>,
}

/// Whether the client is in.
#[derive(Debug, Clone)]
pub(crate) enum Seat {
    Out,
    In(Connected),
    Refused(ConnectError),
}

/// The way to the client's task. When the last one is dropped, the client closes.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) budget: Arc<AtomicUsize>,
    pub(crate) limits: Limits,
    pub(crate) ack_timeout: Duration,
}

impl Line {
    /// Says it, if there is room for so many bytes.
    pub(crate) fn say(&self, bytes: usize, command: Command) -> Result<(), EmitError> {
        let max = self.limits.outgoing_bytes_max;
        let fits = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= max || bytes == 0);
        if self.budget.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).is_err() {
            return Err(EmitError::Full { limit: "outgoing_bytes_max" });
        }
        self.commands.try_send(command).map_err(|error| {
            self.budget.fetch_sub(bytes, Ordering::AcqRel);
            match error {
                TrySendError::Full(_) => EmitError::Full { limit: "outgoing_max" },
                TrySendError::Closed(_) => EmitError::Closed,
            }
        })
    }
    /// Writes an event.
    pub(crate) fn event(&self, name: &str, payload: &impl Payload) -> Result<Draft, EmitError> {
        if RESERVED.contains(&name) {
            return Err(EmitError::ReservedName(name.to_owned()));
        }
        let mut json = vec![b'['];
        serde_json::to_writer(&mut json, name)?;
        json.push(b',');
        self.seal(json, payload)
    }

    /// Writes an answer.
    pub(crate) fn answer(&self, payload: &impl Payload) -> Result<Draft, EmitError> {
        self.seal(vec![b'['], payload)
    }

    fn seal(&self, mut json: Vec<u8>, payload: &impl Payload) -> Result<Draft, EmitError> {
        let mut attachments: Vec<Bytes> = Vec::new();
        payload.append_to(&mut json, &mut attachments)?;
        if json.last() == Some(&b',') {
            json.pop();
        }
        json.push(b']');
        let (count, max) = (attachments.len(), self.limits.attachments_max as usize);
        if count > max {
            return Err(EmitError::TooManyAttachments { count, max });
        }
        Ok(Draft { json, attachments })
    }
}
