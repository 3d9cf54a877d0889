//! What a request of a polling client hands to its connection, and the answer that comes back.

use crate::outgoing::Outgoing;
use bytes::Bytes;
use sockeye_proto::engine::v3::Jsonp;
use sockeye_proto::engine::v3::payload::Form;
use sockeye_proto::engine::{Protocol, Query};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// The answer to a poll or a POST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 200 with packets.
    Payload {
        /// What the packets are written as.
        form: Form,
        /// The packets.
        body: Bytes,
        /// Whether any of them may be compressed.
        compress: bool,
    },
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
    /// Whether it says to be bytes; in v3 it may.
    pub(crate) binary: bool,
    /// Where the answer goes.
    pub(crate) reply: Reply,
}

/// The polling transport of a session.
#[derive(Debug)]
pub(crate) struct Polling {
    /// The poll that waits.
    pub(crate) waiting: Option<Reply>,
    /// How payloads are written.
    pub(crate) format: Format,
}

/// How payloads are written; the handshake settles it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) protocol: Protocol,
    pub(crate) jsonp: Option<Jsonp>,
    binary: bool,
}

impl Format {
    /// What the handshake asks for.
    pub(crate) fn of(query: &Query) -> Self {
        let Query { protocol, jsonp, .. } = *query;
        Self { protocol, jsonp, binary: !query.b64 && jsonp.is_none() }
    }

    /// What a version has where nothing is asked for.
    pub(crate) fn plain(protocol: Protocol) -> Self {
        Self { protocol, jsonp: None, binary: true }
    }

    /// Writes an answer: perhaps a packet of the engine's own, then messages.
    pub(crate) fn write(&self, packet: Option<&str>, messages: &[Arc<Outgoing>]) -> Answer {
        let mut payload = Vec::new();
        let form = match self.protocol {
            Protocol::V4 => {
                payload.extend_from_slice(packet.unwrap_or_default().as_bytes());
                messages.iter().for_each(|message| message.append_to_payload(&mut payload));
                Form::Text
            }
            Protocol::V3 => {
                let form = Form::of(self.binary, messages.iter().any(|message| message.has_binary()));
                packet.into_iter().for_each(|packet| form.push_text(packet.as_bytes(), &mut payload));
                messages.iter().for_each(|message| message.append_to_v3_payload(form, &mut payload));
                form
            }
        };
        let compress = messages.iter().any(|message| message.may_compress());
        let body = match &self.jsonp {
            None => payload.into(),
            Some(jsonp) => jsonp.script(&String::from_utf8_lossy(&payload)).into(),
        };
        Answer::Payload { form, body, compress }
    }
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
