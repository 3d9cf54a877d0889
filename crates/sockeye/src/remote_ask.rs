//! What one socket of whichever node is asked.

use crate::answers::{AskError, only};
use crate::payload::{FromArgs, Payload};
use crate::remote_socket::RemoteSocket;
use sockeye_cluster::{Flags, Request};
use std::time::Duration;

impl RemoteSocket {
    /// Emits an event to it and waits for the client's answer (the first argument of its ack), at most 5 s.
    ///
    /// # Errors
    /// [`AskError`]: no answer, or not of that type.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the answer; the event is sent at the first poll.
    pub async fn emit_with_ack<T: FromArgs>(
        &self,
        event: &str,
        payload: impl Payload,
    ) -> Result<T, AskError> {
        self.ask(None, event, payload).await
    }

    /// The same with a timeout of its own.
    ///
    /// # Errors
    /// As [`RemoteSocket::emit_with_ack`].
    pub async fn emit_with_ack_within<T: FromArgs>(
        &self,
        timeout: Duration,
        event: &str,
        payload: impl Payload,
    ) -> Result<T, AskError> {
        self.ask(Some(timeout), event, payload).await
    }

    async fn ask<T: FromArgs>(
        &self,
        timeout: Option<Duration>,
        event: &str,
        payload: impl Payload,
    ) -> Result<T, AskError> {
        let packet = self.hub().packet(event, &payload)?;
        drop(payload);
        let flags = Flags { timeout, expect_single_response: true, ..Flags::default() };
        let request = Request::Broadcast { selector: self.selector(), flags, packet };
        only(&self.hub().ask(request).await?)
    }
}
