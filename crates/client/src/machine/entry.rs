//! What a client knows of one namespace.

use super::frame::Frame;
use bytes::Bytes;
use sockeye_proto::socket::Kind;
use sockeye_proto::socket::packet::encode_header;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// An event or an answer before its header is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draft {
    /// The whole JSON array.
    pub(crate) json: Vec<u8>,
    pub(crate) attachments: Vec<Bytes>,
}

impl Draft {
    /// What it counts in queues.
    pub(crate) fn len(&self) -> usize {
        self.json.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    /// The frames of the event or, with `answer`, of the ack.
    pub(super) fn frames(self, nsp: &str, id: Option<u64>, answer: bool) -> Vec<Frame> {
        let kind = match (answer, self.attachments.is_empty()) {
            (false, true) => Kind::Event,
            (false, false) => Kind::BinaryEvent,
            (true, true) => Kind::Ack,
            (true, false) => Kind::BinaryAck,
        };
        let count = u32::try_from(self.attachments.len()).unwrap_or(u32::MAX);
        let mut frames = vec![text(kind, nsp, id, count, &self.json)];
        frames.extend(self.attachments.into_iter().map(Frame::Binary));
        frames
    }
}

/// The text of a packet, within an engine message.
pub(super) fn text(kind: Kind, nsp: &str, id: Option<u64>, attachments: u32, json: &[u8]) -> Frame {
    let mut text = vec![b'4'];
    encode_header(kind, nsp, id, attachments, &mut text);
    text.extend_from_slice(json);
    Frame::Text(
        String::from_utf8(text)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

/// One namespace.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// The JSON object of the credentials; empty for none.
    pub(super) auth: String,
    /// Whether the client is to be in it.
    pub(super) wanted: bool,
    pub(super) state: State,
    /// By which the server knows a client that comes back, where it keeps what was missed.
    pub(super) pid: Option<String>,
    pub(super) offset: Option<String>,
    pub(super) next_id: u64,
    /// Answers that are waited for, with the moment until which.
    pub(super) acks: BTreeMap<u64, Instant>,
    /// What was emitted while the client was not in.
    pub(super) waiting: VecDeque<(Option<u64>, Draft)>,
}

/// Where a client stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Out,
    Asked,
    In,
}

impl Entry {
    /// The CONNECT of this namespace.
    pub(super) fn connect(&self, nsp: &str) -> Frame {
        // The official client: its own credentials win over `pid` and `offset`.
        let auth = match &self.pid {
            None => self.auth.clone(),
            Some(pid) => {
                let mut fields = serde_json::Map::new();
                fields.insert("pid".to_owned(), pid.as_str().into());
                if let Some(offset) = &self.offset {
                    fields.insert("offset".to_owned(), offset.as_str().into());
                }
                if let Ok(serde_json::Value::Object(own)) = serde_json::from_str(&self.auth) {
                    fields.extend(own);
                }
                serde_json::Value::Object(fields).to_string()
            }
        };
        text(Kind::Connect, nsp, None, 0, auth.as_bytes())
    }

    /// Takes away the answers that will not come any more, and what waited with them: the ids.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<u64> {
        let late: Vec<u64> = self.acks.iter().filter(|(_, by)| **by <= now).map(|(id, _)| *id).collect();
        for id in &late {
            self.acks.remove(id);
            self.waiting.retain(|(waiting, _)| *waiting != Some(*id));
        }
        late
    }

    /// The client is out: answers to what was sent will not come, what was not sent stays. The ids of the former.
    pub(super) fn leave(&mut self) -> Vec<u64> {
        self.state = State::Out;
        let kept = |id: &u64| self.waiting.iter().any(|(waiting, _)| *waiting == Some(*id));
        let lost: Vec<u64> = self.acks.keys().copied().filter(|id| !kept(id)).collect();
        for id in &lost {
            self.acks.remove(id);
        }
        lost
    }
}
