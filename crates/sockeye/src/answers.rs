//! What many were asked and have answered, and what is missing.

use crate::cluster::Unanswered;
use crate::payload::{EmitError, FromArgs};
use crate::remote_socket::RemoteSocket;
use sockeye_cluster::{Answer, Outcome, Refused};

/// The answers to a question that went to many, in the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers<T> {
    /// One for each that answered: the first argument of its ack.
    pub values: Vec<T>,
    /// Who did not.
    pub missing: Missing,
}

/// What was summed up over all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathered<T> {
    /// What is known.
    pub value: T,
    /// Who did not say.
    pub missing: Missing,
}

/// What is missing from the answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missing {
    /// Clients that got the event and did not answer in time.
    pub clients: u64,
    /// Nodes that did not say all they had to: too late, gone, or cut off because they said too much.
    pub nodes: usize,
    /// Answers that are not of the awaited type.
    pub unreadable: usize,
}

/// Why nobody was asked, or nothing was heard.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The question cannot be sent as it is.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// Too much is asked at a time, or the question is too long for the way to other nodes.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The handle stands for all namespaces of a pattern, of which each has to be asked by itself, as with the official server.
    #[error("asking is not supported on parent namespaces: ask each child by itself")]
    ManyNamespaces,
    /// The one socket that was asked did not answer in time. The official words.
    #[error("operation has timed out")]
    TimedOut,
    /// The one socket that was asked is on no node.
    #[error("the socket disconnected before it was asked")]
    Disconnected,
    /// The one answer is not of the awaited type.
    #[error("unexpected answer: {0}")]
    Answer(#[from] serde_json::Error),
    /// The server ends.
    #[error("the server closed before the answers came")]
    Closed,
    /// Some nodes did not tell their sockets in time; those that are known are here.
    #[error("timeout reached: missing {nodes} responses")]
    Incomplete {
        /// The sockets of the other nodes.
        sockets: Vec<RemoteSocket>,
        /// How many nodes are missing.
        nodes: usize,
    },
}

impl From<Unanswered> for AskError {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Refused(refused) => Self::Refused(refused),
            Unanswered::ManyNamespaces => Self::ManyNamespaces,
            Unanswered::Gone => Self::Closed,
        }
    }
}

impl<T> Gathered<T> {
    /// Whether everybody answered.
    pub fn is_complete(&self) -> bool {
        self.missing == Missing::default()
    }
}

impl<T> Answers<T> {
    /// Whether everybody answered.
    pub fn is_complete(&self) -> bool {
        self.missing == Missing::default()
    }
}

/// Reads the answer of the one socket that was asked.
pub(crate) fn only<T: FromArgs>(outcome: &Outcome) -> Result<T, AskError> {
    match outcome.answers.first() {
        Some(answer) => Ok(T::from_args(&answer.packet.data, &answer.packet.attachments)?),
        None if outcome.clients_missing() == 0 && outcome.missing.is_empty() => Err(AskError::Disconnected),
        None => Err(AskError::TimedOut),
    }
}

impl<T: FromArgs> Answers<T> {
    /// Reads what has come.
    pub(crate) fn of(outcome: &Outcome) -> Self {
        let clients = outcome.clients_missing();
        let mut missing = Missing { clients, nodes: outcome.missing.len(), unreadable: 0 };
        let read = |answer: &Answer| T::from_args(&answer.packet.data, &answer.packet.attachments).ok();
        let values: Vec<_> = outcome.answers.iter().filter_map(read).collect();
        missing.unreadable = outcome.answers.len() - values.len();
        Self { values, missing }
    }
}
