//! What a request of a polling client hands to its connection, and the answer that comes back.

use bytes::Bytes;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// The answer to a poll or a POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 200 with packets.
    Payload(Bytes),
    /// 200 `ok`, for a POST.
    Taken,
    /// 400 without a body: the transport does not allow this request.
    Refused,
}

/// A GET that waits for packets.
#[derive(Debug)]
pub(crate) struct PollRequest {
    /// Where the answer goes.
    pub(crate) reply: Reply,
}

/// A POST with packets.
#[derive(Debug)]
pub(crate) struct PostRequest {
    /// The payload.
    pub(crate) body: Bytes,
    /// Where the answer goes.
    pub(crate) reply: Reply,
}

/// The way back to a request.
#[derive(Debug)]
pub(crate) struct Reply(oneshot::Sender<Answer>);

impl Reply {
    /// Makes a way back and its end.
    pub(crate) fn new() -> (Self, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }

    /// Answers. A client that went away misses it.
    pub(crate) fn answer(self, answer: Answer) {
        drop(self.0.send(answer));
    }

    /// Ready when the client went away.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_closed(cx)
    }
}
