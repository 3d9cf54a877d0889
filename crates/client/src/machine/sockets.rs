//! The namespaces of a client: who is in, whose answers are due, what the packets mean. They outlive connections.
//!
//! It is told engine messages and gives back what they mean, and what is to be sent.

use super::entry::{Entry, State, text};
use super::frame::Frame;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use sockeye_proto::payload::Args;
use sockeye_proto::socket::event::Args as Items;
use sockeye_proto::socket::{Event, Kind, Packet, placeholder};
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

pub(crate) use super::entry::Draft;

/// Why an answer does not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    TimedOut,
    Disconnected,
}

/// What happened, or is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Send this.
    Send(Vec<Frame>),
    /// The client is in.
    Entered { nsp: String, id: String, recovered: bool },
    /// The client may not enter.
    Refused { nsp: String, message: String, data: Option<String> },
    /// The server put the client out.
    PutOut { nsp: String },
    /// An event; `ack` if it wants an answer.
    Event { nsp: String, name: String, args: Args, ack: Option<u64> },
    /// An answer.
    Answered { nsp: String, id: u64, args: Args },
    /// No answer.
    Lost { nsp: String, id: u64, why: Lost },
    /// The server broke the protocol: close.
    Misbehaved(String),
}

/// All namespaces.
#[derive(Debug)]
pub(super) struct Sockets {
    entries: BTreeMap<String, Entry>,
    attachments_max: u32,
    open: bool,
    partial: Option<Partial>,
    outputs: VecDeque<Output>,
}

/// A packet whose attachments are on the way.
#[derive(Debug)]
struct Partial {
    text: String,
    missing: u32,
    attachments: Vec<Bytes>,
}

impl Sockets {
    pub(super) fn new(attachments_max: u32) -> Self {
        let entries = BTreeMap::new();
        Self { entries, attachments_max, open: false, partial: None, outputs: VecDeque::new() }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.entries.values().flat_map(|entry| entry.acks.values()).min().copied()
    }

    /// The client wants to be in, with these credentials (the JSON of an object, or nothing).
    pub(super) fn join(&mut self, nsp: &str, auth: String) {
        let entry = self.entries.entry(nsp.to_owned()).or_default();
        entry.auth = auth;
        entry.wanted = true;
        if self.open && entry.state == State::Out {
            entry.state = State::Asked;
            self.outputs.push_back(Output::Send(vec![entry.connect(nsp)]));
        }
    }

    /// Changes the credentials for the next CONNECT.
    pub(super) fn set_auth(&mut self, nsp: &str, auth: String) {
        if let Some(entry) = self.entries.get_mut(nsp) {
            entry.auth = auth;
        }
    }

    /// The client wants to be out.
    pub(super) fn leave(&mut self, nsp: &str) {
        let Some(entry) = self.entries.get_mut(nsp) else { return };
        let was_in = entry.state != State::Out;
        let lost = entry.leave();
        entry.wanted = false;
        if was_in && self.open {
            self.outputs.push_back(Output::Send(vec![text(Kind::Disconnect, nsp, None, 0, b"")]));
        }
        self.lose(nsp, lost, Lost::Disconnected);
    }

    /// The client wants to be nowhere.
    pub(super) fn leave_all(&mut self) {
        let names: Vec<String> = self.entries.keys().cloned().collect();
        for nsp in names {
            self.leave(&nsp);
        }
    }

    /// Sends an event, or keeps it until the client is in. With `by` an answer is waited for: its id.
    pub(super) fn emit(&mut self, nsp: &str, draft: Draft, by: Option<Instant>) -> Option<u64> {
        let entry = self.entries.entry(nsp.to_owned()).or_default();
        let id = by.map(|by| {
            let id = entry.next_id;
            entry.next_id += 1;
            entry.acks.insert(id, by);
            id
        });
        if entry.state == State::In {
            self.outputs.push_back(Output::Send(draft.frames(nsp, id, false)));
        } else {
            entry.waiting.push_back((id, draft));
        }
        id
    }

    /// Answers an event; nothing is kept for later.
    pub(super) fn answer(&mut self, nsp: &str, id: u64, draft: Draft) {
        if self.is_in(nsp) {
            self.outputs.push_back(Output::Send(draft.frames(nsp, Some(id), true)));
        }
    }

    /// A connection is there: every namespace is asked for.
    pub(super) fn handle_opened(&mut self) {
        self.open = true;
        let mut connects = Vec::new();
        for (nsp, entry) in &mut self.entries {
            if entry.wanted {
                entry.state = State::Asked;
                connects.push(entry.connect(nsp));
            }
        }
        if !connects.is_empty() {
            self.outputs.push_back(Output::Send(connects));
        }
    }

    /// The connection is gone: the namespaces that the client was in.
    pub(super) fn handle_closed(&mut self) -> Vec<String> {
        self.open = false;
        self.partial = None;
        let mut left = Vec::new();
        let mut lost = Vec::new();
        for (nsp, entry) in &mut self.entries {
            if entry.state == State::In {
                left.push(nsp.clone());
            }
            lost.push((nsp.clone(), entry.leave()));
        }
        for (nsp, ids) in lost {
            self.lose(&nsp, ids, Lost::Disconnected);
        }
        left
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let late: Vec<_> =
            self.entries.iter_mut().map(|(nsp, entry)| (nsp.clone(), entry.expire(now))).collect();
        for (nsp, ids) in late {
            self.lose(&nsp, ids, Lost::TimedOut);
        }
    }

    /// An engine message.
    pub(super) fn handle(&mut self, frame: Frame) {
        let done = match frame {
            Frame::Text(text) => self.handle_text(text),
            Frame::Binary(bytes) => self.handle_attachment(bytes),
        };
        if let Err(what) = done {
            self.outputs.push_back(Output::Misbehaved(what));
        }
    }

    fn handle_text(&mut self, text: String) -> Result<(), String> {
        if self.partial.is_some() {
            return Err("expected an attachment, got text".to_owned());
        }
        let packet = Packet::decode(&text, self.attachments_max).map_err(|error| error.to_string())?;
        if packet.attachments > 0 {
            let missing = packet.attachments;
            self.partial = Some(Partial { text, missing, attachments: Vec::new() });
            return Ok(());
        }
        self.act(packet, Vec::new());
        Ok(())
    }

    fn handle_attachment(&mut self, bytes: Bytes) -> Result<(), String> {
        let Some(mut partial) = self.partial.take() else {
            return Err("expected text, got bytes".to_owned());
        };
        partial.attachments.push(bytes);
        partial.missing -= 1;
        if partial.missing > 0 {
            self.partial = Some(partial);
            return Ok(());
        }
        let packet =
            Packet::decode(&partial.text, self.attachments_max).map_err(|error| error.to_string())?;
        let count = u32::try_from(partial.attachments.len()).unwrap_or(u32::MAX);
        placeholder::check(packet.data, count).map_err(|error| error.to_string())?;
        self.act(packet, partial.attachments);
        Ok(())
    }

    /// Does what a packet means; what makes no sense is passed over, as the official client does.
    fn act(&mut self, packet: Packet<'_>, attachments: Vec<Bytes>) {
        let Packet { kind, nsp, id, data, .. } = packet;
        let Some(entry) = self.entries.get_mut(nsp) else { return };
        match kind {
            Kind::Connect => self.entered(nsp, data),
            Kind::ConnectError => {
                entry.wanted = false;
                let lost = entry.leave();
                let (message, data) = refusal(data);
                self.outputs.push_back(Output::Refused { nsp: nsp.to_owned(), message, data });
                self.lose(nsp, lost, Lost::Disconnected);
            }
            Kind::Disconnect => {
                entry.wanted = false;
                let lost = entry.leave();
                self.outputs.push_back(Output::PutOut { nsp: nsp.to_owned() });
                self.lose(nsp, lost, Lost::Disconnected);
            }
            Kind::Event | Kind::BinaryEvent => {
                let Ok(event) = Event::split(data) else { return };
                if entry.pid.is_some()
                    && let Some(offset) = last_string(event.args)
                {
                    entry.offset = Some(offset);
                }
                let (name, args) = (event.name.into_owned(), Args::new(event.args.as_bytes(), attachments));
                self.outputs.push_back(Output::Event { nsp: nsp.to_owned(), name, args, ack: id });
            }
            Kind::Ack | Kind::BinaryAck => {
                let Some(id) = id.filter(|id| entry.acks.remove(id).is_some()) else { return };
                let args = Args::new(elements(data).as_bytes(), attachments);
                self.outputs.push_back(Output::Answered { nsp: nsp.to_owned(), id, args });
            }
        }
    }

    fn entered(&mut self, nsp: &str, data: &str) {
        let Some(entry) = self.entries.get_mut(nsp).filter(|entry| entry.state != State::Out) else { return };
        let Ok(Admission { sid, pid }) = serde_json::from_str(data) else {
            let what = "expected the id of the socket in CONNECT: is this a server of Socket.IO 2?";
            return self.outputs.push_back(Output::Misbehaved(what.to_owned()));
        };
        let recovered = pid.is_some() && pid == entry.pid;
        if !recovered {
            entry.offset = None;
        }
        entry.pid = pid;
        entry.state = State::In;
        let waiting = std::mem::take(&mut entry.waiting);
        let frames =
            waiting.into_iter().flat_map(|(id, draft)| draft.frames(nsp, id, false)).collect::<Vec<_>>();
        self.outputs.push_back(Output::Entered { nsp: nsp.to_owned(), id: sid, recovered });
        if !frames.is_empty() {
            self.outputs.push_back(Output::Send(frames));
        }
    }

    fn lose(&mut self, nsp: &str, ids: Vec<u64>, why: Lost) {
        let lost = ids.into_iter().map(|id| Output::Lost { nsp: nsp.to_owned(), id, why });
        self.outputs.extend(lost);
    }

    pub(super) fn is_in(&self, nsp: &str) -> bool {
        self.entries.get(nsp).is_some_and(|entry| entry.state == State::In)
    }

    /// Bytes that wait for a namespace.
    pub(super) fn queued(&self) -> usize {
        self.entries.values().flat_map(|entry| &entry.waiting).map(|(_, draft)| draft.len()).sum()
    }

    /// Answers that are waited for.
    pub(super) fn acks(&self) -> usize {
        self.entries.values().map(|entry| entry.acks.len()).sum()
    }
}

/// What admits a client.
#[derive(Deserialize)]
struct Admission {
    sid: String,
    pid: Option<String>,
}

/// The message and the data of a CONNECT_ERROR, whatever its form.
fn refusal(data: &str) -> (String, Option<String>) {
    #[derive(Deserialize)]
    struct Error<'a> {
        message: String,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    match serde_json::from_str::<Error<'_>>(data) {
        Ok(error) => (error.message, error.data.map(|data| data.get().to_owned())),
        Err(_) => (serde_json::from_str(data).unwrap_or_else(|_| data.to_owned()), None),
    }
}

/// The last argument, if it is a text: where recovery is on, the server puts an offset there.
fn last_string(args: &str) -> Option<String> {
    if !args.trim_end().ends_with('"') {
        return None;
    }
    Items::new(args).last().and_then(|item| serde_json::from_str(item.get()).ok())
}

/// What stands between the brackets of an array.
fn elements(array: &str) -> &str {
    array.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or("").trim()
}

#[cfg(test)]
mod tests;
