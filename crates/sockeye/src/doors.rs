//! What a program may say to requests before they become sessions, and to the headers of their answers.

use crate::handler::{Refusal, Running};
use crate::handshake::Handshake;
use http::HeaderMap;
use std::sync::Arc;

/// Whether a request may open a session.
pub(crate) type Allow = Arc<dyn Fn(Handshake) -> Running<Result<(), Refusal>> + Send + Sync>;

/// What adds headers to an answer.
pub(crate) type OnHeaders = Arc<dyn Fn(&mut HeaderMap, &Handshake) + Send + Sync>;

/// The hooks of the engine.
#[derive(Clone, Default)]
pub(crate) struct Doors {
    /// Asked before a session opens.
    pub(crate) allow: Option<Allow>,
    /// For the answer that opens a session.
    pub(crate) initial_headers: Vec<OnHeaders>,
    /// For every answer.
    pub(crate) headers: Vec<OnHeaders>,
}

impl Doors {
    /// Whether anybody wants to add headers.
    pub(crate) fn adds_headers(&self) -> bool {
        !self.initial_headers.is_empty() || !self.headers.is_empty()
    }

    /// Adds headers, in the official order.
    pub(crate) fn apply(&self, headers: &mut HeaderMap, handshake: &Handshake, initial: bool) {
        if initial {
            self.initial_headers.iter().for_each(|hook| hook(headers, handshake));
        }
        self.headers.iter().for_each(|hook| hook(headers, handshake));
    }
}
