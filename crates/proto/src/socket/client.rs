//! One client's Socket.IO v5 state as a machine: which namespaces it is in, and a packet whose attachments are on the way.
//!
//! It is told engine messages and tells what they mean ([`Action`]). It runs no handler and knows no room: whoever drives it
//! decides whether a client may enter ([`Client::admit`], [`Client::refuse`]).

use super::placeholder::{self, PlaceholderError};
use super::{Kind, Packet, PacketError};
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
        /// The `auth` payload as JSON, empty when the client sent none.
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
    /// The JSON array as it stood on the wire, placeholders included.
    pub data: &'a str,
    /// The attachments, in the order of their placeholders.
    pub attachments: Vec<Bytes>,
}

/// How a client broke the protocol. The connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Misbehaved {
    /// The text is no packet: `parse error` for its sockets (the official server closes the engine).
    #[error("expected a Socket.IO packet: {0}")]
    Malformed(#[from] PacketError),
    /// A placeholder stands for no attachment.
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
    limits: Limits,
    namespaces: SmallVec<[Entry; 1]>,
    partial: Option<Box<Partial>>,
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

const _: () = assert!(size_of::<Client>() <= 112);

impl Client {
    /// Starts the machine of a client whose session opened at `now`.
    pub fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            namespaces: SmallVec::new(),
            partial: None,
            connect_by: Some(now + limits.connect_timeout),
        }
    }

    /// Takes a text message.
    ///
    /// # Errors
    /// [`Misbehaved`]: close the connection.
    pub fn handle_text<'a>(&'a mut self, text: &'a str) -> Result<Action<'a>, Misbehaved> {
        match &self.partial {
            Some(partial) if !partial.complete => return Err(Misbehaved::TextBetweenAttachments),
            Some(_) => self.partial = None,
            None => {}
        }
        let packet = Packet::decode(text, self.limits.attachments_max)?;
        if packet.attachments > 0 {
            self.check_state(&packet)?;
            self.partial = Some(Box::new(Partial {
                text: text.into(),
                missing: packet.attachments,
                attachments: Vec::with_capacity(packet.attachments as usize),
                complete: false,
            }));
            return Ok(Action::Pending);
        }
        self.act(packet, Vec::new())
    }

    /// Takes a binary message: an attachment.
    ///
    /// # Errors
    /// [`Misbehaved`]: close the connection.
    pub fn handle_binary(&mut self, bytes: Bytes) -> Result<Action<'_>, Misbehaved> {
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
        let max = self.limits.attachments_max;
        // The action borrows the text, so it stays until the next message.
        let this = &*self;
        let text = this.partial.as_ref().map_or("", |partial| &partial.text);
        let packet = Packet::decode(text, max)?;
        placeholder::check(packet.data, packet.attachments)?;
        this.message(packet, attachments)
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

    /// Tells by when the client must be in a namespace; when that moment has passed, close the connection.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.connect_by
    }

    fn act<'a>(&'a mut self, packet: Packet<'a>, attachments: Vec<Bytes>) -> Result<Action<'a>, Misbehaved> {
        self.check_state(&packet)?;
        match packet.kind {
            Kind::Connect => {
                self.namespaces.push(Entry { nsp: packet.nsp.into(), admitted: false });
                Ok(Action::Connect { nsp: packet.nsp, auth: packet.data })
            }
            Kind::Disconnect => {
                self.refuse(packet.nsp);
                Ok(Action::Disconnect { nsp: packet.nsp })
            }
            Kind::Event | Kind::BinaryEvent | Kind::Ack | Kind::BinaryAck | Kind::ConnectError => {
                self.message(packet, attachments)
            }
        }
    }

    fn message<'a>(&'a self, packet: Packet<'a>, attachments: Vec<Bytes>) -> Result<Action<'a>, Misbehaved> {
        self.check_state(&packet)?;
        let message = Message { nsp: packet.nsp, id: packet.id, data: packet.data, attachments };
        match packet.kind {
            Kind::Event | Kind::BinaryEvent => Ok(Action::Event(message)),
            Kind::Ack | Kind::BinaryAck => Ok(Action::Ack(message)),
            Kind::Connect | Kind::Disconnect | Kind::ConnectError => Err(Misbehaved::InvalidState),
        }
    }

    /// Socket.IO v5, "Connection to a namespace": one CONNECT a namespace, nothing else before it is answered.
    fn check_state(&self, packet: &Packet<'_>) -> Result<(), Misbehaved> {
        let entry = self.namespaces.iter().find(|entry| &*entry.nsp == packet.nsp);
        match (packet.kind, entry) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_enters_talks_and_leaves() {
        let mut client = admitted();
        let rows: [(&str, Action<'_>); 4] = [
            (r#"2["a",1]"#, Action::Event(message("/", None, r#"["a",1]"#))),
            (r#"27["a"]"#, Action::Event(message("/", Some(7), r#"["a"]"#))),
            (r#"33["ok"]"#, Action::Ack(message("/", Some(3), r#"["ok"]"#))),
            ("1", Action::Disconnect { nsp: "/" }),
        ];
        for (text, action) in rows {
            assert_eq!(client.handle_text(text), Ok(action), "{text}");
        }
        assert_eq!(client.handle_text(r#"2["a"]"#), Err(Misbehaved::InvalidState));
    }

    #[test]
    fn a_namespace_is_asked_for_with_and_without_auth() {
        let rows = [
            ("0", "/", ""),
            (r#"0{"token":"x"}"#, "/", r#"{"token":"x"}"#),
            ("0/admin,", "/admin", ""),
            ("0/random", "/random", ""),
            (r#"0/admin,{"a":1}"#, "/admin", r#"{"a":1}"#),
        ];
        for (text, nsp, auth) in rows {
            let mut client = Client::new(Limits::default(), Instant::now());
            assert_eq!(client.handle_text(text), Ok(Action::Connect { nsp, auth }), "{text}");
        }
    }

    #[test]
    fn what_a_client_may_not_send() {
        let rows =
            ["0", r#"2/admin,["a"]"#, "1/admin,", r#"3/x,0["a"]"#, r#"4{"message":"no"}"#, r#"4/x,"no""#];
        for text in rows {
            assert_eq!(admitted().handle_text(text), Err(Misbehaved::InvalidState), "{text}");
        }
        for text in ["", "9", r#"2"a""#, r#"2{"a":1}"#, r#"2["connect"]"#, "abc"] {
            let result = admitted().handle_text(text).map(|_| ());
            assert!(matches!(result, Err(Misbehaved::Malformed(_))), "{text}: {result:?}");
        }
    }

    #[test]
    fn nothing_passes_before_the_namespace_is_entered() {
        let mut client = Client::new(Limits::default(), Instant::now());
        client.handle_text("0").unwrap();
        assert_eq!(client.handle_text(r#"2["a"]"#), Err(Misbehaved::InvalidState));
        client.refuse("/");
        assert!(client.handle_text("0").is_ok(), "a refused client may ask again");
    }

    #[test]
    fn attachments_complete_a_packet_in_order() {
        let mut client = admitted();
        let text = r#"52-1["b",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
        assert_eq!(client.handle_text(text), Ok(Action::Pending));
        assert_eq!(client.handle_binary(Bytes::from_static(b"x")), Ok(Action::Pending));
        let whole = Message {
            nsp: "/",
            id: Some(1),
            data: r#"["b",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
            attachments: vec![Bytes::from_static(b"x"), Bytes::from_static(b"y")],
        };
        assert_eq!(client.handle_binary(Bytes::from_static(b"y")), Ok(Action::Event(whole)));
        assert_eq!(client.handle_binary(Bytes::from_static(b"z")), Err(Misbehaved::UnexpectedBinary));
        assert!(client.handle_text(r#"2["a"]"#).is_ok());
    }

    #[test]
    fn text_between_attachments_and_binary_from_nowhere_are_refused() {
        let mut client = admitted();
        client.handle_text(r#"51-["b",{"_placeholder":true,"num":0}]"#).unwrap();
        assert_eq!(client.handle_text(r#"2["a"]"#), Err(Misbehaved::TextBetweenAttachments));
        assert_eq!(admitted().handle_binary(Bytes::new()), Err(Misbehaved::UnexpectedBinary));
    }

    #[test]
    fn the_time_to_enter_a_namespace_is_limited() {
        let now = Instant::now();
        let mut client = Client::new(Limits::default(), now);
        assert_eq!(client.poll_timeout(), Some(now + Duration::from_secs(45)));
        client.handle_text("0").unwrap();
        assert!(client.poll_timeout().is_some(), "asking is not entering");
        client.admit("/");
        assert_eq!(client.poll_timeout(), None);
    }

    fn admitted() -> Client {
        let mut client = Client::new(Limits::default(), Instant::now());
        client.handle_text("0").unwrap();
        client.admit("/");
        client
    }

    fn message<'a>(nsp: &'a str, id: Option<u64>, data: &'a str) -> Message<'a> {
        Message { nsp, id, data, attachments: Vec::new() }
    }
}
