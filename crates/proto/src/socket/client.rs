//! One client's Socket.IO state as a machine: which namespaces it is in, and a packet whose attachments are on the way.
//!
//! It is told engine messages and tells what they mean ([`Action`]). It runs no handler and knows no room: whoever drives it
//! decides whether a client may enter ([`Client::admit`], [`Client::refuse`]).

use super::dialect::auth_of_query;
use super::placeholder::{self, PlaceholderError};
use super::{Dialect, Kind, Packet, PacketError, Parser, msgpack};
use crate::engine::Protocol;
use bytes::Bytes;
use smallvec::SmallVec;
use std::time::{Duration, Instant};

/// What the limits of a client are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the opening of the session to its end when no namespace was joined (the official `connectTimeout`). Default 45 s.
    pub connect_timeout: Duration,
    /// Attachments of one packet; more close the connection. Default 10, as in socket.io-parser 4.2.6.
    pub attachments_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(45), attachments_max: 10 }
    }
}

/// What an engine message means.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Nothing yet: more attachments have to come.
    Pending,
    /// The client asks to enter a namespace; answer with [`Client::admit`] or [`Client::refuse`].
    Connect {
        /// The namespace, with its leading slash.
        nsp: &'a str,
        /// The `auth` payload as JSON, empty when the client sent none. In v3 it is an object of the namespace's query.
        auth: &'a str,
    },
    /// An event for a namespace that the client is in.
    Event(Message<'a>),
    /// An answer to an event of ours.
    Ack(Message<'a>),
    /// The client left a namespace.
    Disconnect {
        /// The namespace.
        nsp: &'a str,
    },
}

/// An EVENT or an ACK, whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The namespace.
    pub nsp: &'a str,
    /// The id of the ack, asked for or answered.
    pub id: Option<u64>,
    /// The JSON array as it stood on the wire, placeholders included; what msgpack held, as such.
    pub data: &'a str,
    /// The attachments, in the order of their placeholders.
    pub attachments: Vec<Bytes>,
}

/// How a client broke the protocol. The connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misbehaved {
    /// The message is no packet: `parse error` for its sockets (the official server closes the engine).
    #[error("expected a Socket.IO packet: {0}")]
    Malformed(#[from] PacketError),
    /// A placeholder stands for no attachment, or several for the same: nobody writes that, and where the data is written
    /// anew each would become a copy.
    #[error("expected placeholders for attachments: {0}")]
    Placeholder(#[from] PlaceholderError),
    /// A text frame came while attachments were due.
    #[error("expected a binary attachment, got text")]
    TextBetweenAttachments,
    /// A binary frame came that no packet announced.
    #[error("expected text, got a binary frame that no packet announced")]
    UnexpectedBinary,
    /// A packet for a namespace that the client is not in, a second CONNECT, or a CONNECT_ERROR.
    #[error("packet not allowed in this state")]
    InvalidState,
}

/// The machine of one client.
#[derive(Debug)]
pub struct Client {
    attachments_max: u32,
    dialect: Dialect,
    /// A v3 client is about to be in `/`.
    enters: bool,
    namespaces: SmallVec<[Entry; 1]>,
    partial: Option<Box<Partial>>,
    whole: Option<Box<Whole>>,
    connect_by: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    nsp: Box<str>,
    admitted: bool,
}

/// A packet that waits for attachments. `text` is what came on the wire; it is parsed anew when the last one is there.
#[derive(Debug)]
struct Partial {
    text: Box<str>,
    missing: u32,
    attachments: Vec<Bytes>,
    complete: bool,
}

/// What an action borrows that the wire did not have as such.
#[derive(Debug)]
struct Whole {
    nsp: String,
    data: String,
}

const _: () = assert!(size_of::<Client>() <= 80);

impl Client {
    /// Starts the machine of a client of v4, with the text parser, whose session opened at `now`.
    pub fn new(limits: Limits, now: Instant) -> Self {
        Self::with_dialect(limits, Dialect::default(), now)
    }

    /// Starts the machine of a client whose session opened at `now`. Ask [`Client::poll_action`] what follows at once.
    pub fn with_dialect(limits: Limits, dialect: Dialect, now: Instant) -> Self {
        Self {
            attachments_max: limits.attachments_max,
            dialect,
            enters: dialect.protocol == Protocol::V3,
            namespaces: SmallVec::new(),
            partial: None,
            whole: None,
            connect_by: Some(now + limits.connect_timeout),
        }
    }

    /// Tells what the client wants without having said so: in v3, once, to be in `/`, with the credentials `{}`.
    pub fn poll_action(&mut self) -> Option<Action<'static>> {
        if !std::mem::take(&mut self.enters) {
            return None;
        }
        self.namespaces.push(Entry { nsp: "/".into(), admitted: false });
        Some(Action::Connect { nsp: "/", auth: "{}" })
    }

    /// Takes a text message.
    ///
    /// # Errors
    /// [`Misbehaved`]: close the connection.
    pub fn handle_text<'a>(&'a mut self, text: &'a str) -> Result<Action<'a>, Misbehaved> {
        if self.dialect.parser == Parser::Msgpack {
            return Err(PacketError::NoPacket.into());
        }
        match &self.partial {
            Some(partial) if !partial.complete => return Err(Misbehaved::TextBetweenAttachments),
            Some(_) => self.partial = None,
            None => {}
        }
        self.whole = None;
        let packet = Packet::decode(text, self.attachments_max)?;
        let (packet, query) = self.dialect.localize(packet);
        self.check_state(packet.kind, packet.nsp)?;
        if packet.attachments > 0 {
            self.partial = Some(Box::new(Partial {
                text: text.into(),
                missing: packet.attachments,
                attachments: Vec::with_capacity(packet.attachments as usize),
                complete: false,
            }));
            return Ok(Action::Pending);
        }
        self.apply(packet.kind, packet.nsp);
        if packet.kind == Kind::Connect && self.dialect.protocol == Protocol::V3 {
            return self.keep(Kind::Connect, packet.nsp.to_owned(), None, auth_of_query(query), Vec::new());
        }
        act(packet, Vec::new())
    }

    /// Takes a binary message: an attachment, or a packet of msgpack.
    ///
    /// # Errors
    /// [`Misbehaved`]: close the connection.
    pub fn handle_binary(&mut self, bytes: Bytes) -> Result<Action<'_>, Misbehaved> {
        match self.dialect.parser {
            Parser::Text => self.handle_attachment(bytes),
            Parser::Msgpack => self.handle_msgpack(&bytes),
        }
    }

    /// The client is in `nsp` from here on.
    pub fn admit(&mut self, nsp: &str) {
        self.connect_by = None;
        if let Some(entry) = self.namespaces.iter_mut().find(|entry| &*entry.nsp == nsp) {
            entry.admitted = true;
        }
    }

    /// The client may not enter `nsp`, or has to leave it.
    pub fn refuse(&mut self, nsp: &str) {
        self.namespaces.retain(|entry| &*entry.nsp != nsp);
    }

    /// Drops what the last action borrowed. Idle clients of v3 or of msgpack, and those that sent attachments, hold it else.
    pub fn release(&mut self) {
        self.whole = None;
        self.partial.take_if(|partial| partial.complete);
    }

    /// How the client talks.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Tells by when the client must be in a namespace; when that moment has passed, close the connection.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.connect_by
    }

    fn handle_attachment(&mut self, bytes: Bytes) -> Result<Action<'_>, Misbehaved> {
        let Some(partial) = self.partial.as_mut().filter(|partial| !partial.complete) else {
            return Err(Misbehaved::UnexpectedBinary);
        };
        partial.attachments.push(bytes);
        partial.missing -= 1;
        if partial.missing > 0 {
            return Ok(Action::Pending);
        }
        partial.complete = true;
        let attachments = std::mem::take(&mut partial.attachments);
        // The action borrows the text, so it stays until the next message.
        let this = &*self;
        let text = this.partial.as_ref().map_or("", |partial| &partial.text);
        let packet = Packet::decode(text, this.attachments_max)?;
        let (packet, _) = this.dialect.localize(packet);
        check_placeholders(packet.data, attachments.len())?;
        this.check_state(packet.kind, packet.nsp)?;
        act(packet, attachments)
    }

    fn handle_msgpack(&mut self, bytes: &Bytes) -> Result<Action<'_>, Misbehaved> {
        self.whole = None;
        let decoded = msgpack::decode(bytes, self.attachments_max)?;
        let msgpack::Decoded { kind, nsp, id, data, attachments } = decoded;
        if !attachments.is_empty() {
            check_placeholders(&data, attachments.len())?;
        }
        let packet = Packet { kind, nsp: &nsp, id, attachments: 0, data: "" };
        let (packet, query) = self.dialect.localize(packet);
        self.check_state(kind, packet.nsp)?;
        self.apply(kind, packet.nsp);
        let (nsp, data) = match (self.dialect.protocol, kind) {
            (Protocol::V4, _) => (nsp, data),
            (Protocol::V3, Kind::Connect) => (packet.nsp.to_owned(), auth_of_query(query)),
            (Protocol::V3, _) => (packet.nsp.to_owned(), data),
        };
        self.keep(kind, nsp, id, data, attachments)
    }

    /// Keeps what the action of a packet borrows.
    fn keep(
        &mut self,
        kind: Kind,
        nsp: String,
        id: Option<u64>,
        data: String,
        attachments: Vec<Bytes>,
    ) -> Result<Action<'_>, Misbehaved> {
        let Whole { nsp, data } = &**self.whole.insert(Box::new(Whole { nsp, data }));
        act(Packet { kind, nsp, id, attachments: 0, data }, attachments)
    }

    /// Notes who comes and goes.
    fn apply(&mut self, kind: Kind, nsp: &str) {
        match kind {
            Kind::Connect => self.namespaces.push(Entry { nsp: nsp.into(), admitted: false }),
            Kind::Disconnect => self.refuse(nsp),
            Kind::Event | Kind::BinaryEvent | Kind::Ack | Kind::BinaryAck | Kind::ConnectError => {}
        }
    }

    /// Socket.IO v5, "Connection to a namespace": one CONNECT a namespace, nothing else before it is answered.
    fn check_state(&self, kind: Kind, nsp: &str) -> Result<(), Misbehaved> {
        let entry = self.namespaces.iter().find(|entry| &*entry.nsp == nsp);
        match (kind, entry) {
            (Kind::Connect, None) => Ok(()),
            (Kind::ConnectError, _) | (Kind::Connect, Some(_)) | (_, None) => Err(Misbehaved::InvalidState),
            // A client that gave up waiting may leave before it was admitted.
            (Kind::Disconnect, Some(_)) => Ok(()),
            (Kind::Event | Kind::Ack | Kind::BinaryEvent | Kind::BinaryAck, Some(entry)) => {
                if entry.admitted { Ok(()) } else { Err(Misbehaved::InvalidState) }
            }
        }
    }
}

/// What a packet means that is allowed.
fn act<'a>(packet: Packet<'a>, attachments: Vec<Bytes>) -> Result<Action<'a>, Misbehaved> {
    let Packet { kind, nsp, id, data, .. } = packet;
    match kind {
        Kind::Connect => Ok(Action::Connect { nsp, auth: data }),
        Kind::Disconnect => Ok(Action::Disconnect { nsp }),
        Kind::Event | Kind::BinaryEvent => Ok(Action::Event(Message { nsp, id, data, attachments })),
        Kind::Ack | Kind::BinaryAck => Ok(Action::Ack(Message { nsp, id, data, attachments })),
        Kind::ConnectError => Err(Misbehaved::InvalidState),
    }
}

/// Checks that placeholders name attachments, and no more often than there are any.
fn check_placeholders(data: &str, attachments: usize) -> Result<(), PlaceholderError> {
    let attachments = u32::try_from(attachments).map_err(|_| PlaceholderError)?;
    if placeholder::check(data, attachments)? > attachments { Err(PlaceholderError) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
