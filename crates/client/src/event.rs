//! An event that a server sent.

use crate::command::{Command, Line};
use crate::error::EmitError;
use sockeye_proto::payload::{Args, FromArgs, Payload};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One event.
#[derive(Debug)]
pub struct Event {
    line: Arc<Line>,
    nsp: Arc<str>,
    name: String,
    args: Args,
    ack: Option<u64>,
    answered: AtomicBool,
}

impl Event {
    pub(crate) fn new(line: &Arc<Line>, nsp: &Arc<str>, name: String, args: Args, ack: Option<u64>) -> Self {
        let (line, nsp) = (Arc::clone(line), Arc::clone(nsp));
        Self { line, nsp, name, args, ack, answered: AtomicBool::new(false) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads the arguments: a tuple takes as many as it has fields, any other type takes the first one.
    ///
    /// # Errors
    /// The arguments are not of that type.
    pub fn data<T: FromArgs>(&self) -> Result<T, serde_json::Error> {
        self.args.data()
    }

    /// The arguments as they came: raw JSON and attachments. With recovery the server puts an offset behind them.
    pub fn args(&self) -> &Args {
        &self.args
    }

    /// Whether the server waits for an answer.
    pub fn wants_ack(&self) -> bool {
        self.ack.is_some()
    }

    /// Answers, if the server asked for it; only the first answer counts. It is dropped where the client is out by then.
    ///
    /// # Errors
    /// [`EmitError`]: nothing was sent.
    pub fn ack(&self, payload: impl Payload) -> Result<(), EmitError> {
        let Some(id) = self.ack else { return Ok(()) };
        if self.answered.load(Ordering::Acquire) {
            return Ok(());
        }
        let draft = self.line.answer(&payload)?;
        let bytes = draft.len();
        self.line.say(bytes, Command::Answer { nsp: Arc::clone(&self.nsp), id, draft, bytes })?;
        self.answered.store(true, Ordering::Release);
        Ok(())
    }
}
