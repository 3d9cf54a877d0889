//! A Socket.IO packet while it is written: the JSON first, then the headers into the room left before it.
//!
//! Where the server has another parser the JSON becomes one message of that.
//!
//! One buffer for both: how many attachments there are, and so how the header reads, is known only after the payload. It is the thread's:
//! what is short is copied out of it into the message.

use crate::outgoing::{Frame, Outgoing};
use crate::payload::{EmitError, Payload};
use bytes::Bytes;
use sockeye_cluster::{Nsp, Packet};
use sockeye_proto::socket::event::RESERVED;
use sockeye_proto::socket::packet::{Kind, encode_header};
use sockeye_proto::socket::{Parser, msgpack};
use sockeye_proto::ws::Opcode;
use sockeye_proto::ws::encoder::HEADER_MAX;
use std::cell::Cell;

/// Bytes of the longest header but for the namespace: the frame's, `4`, the kind, `4294967295-`, a comma, an id.
const HEAD_MAX: usize = HEADER_MAX + 1 + 1 + 11 + 1 + 20;

/// Names that servers may not say to each other: the official list.
const RESERVED_FOR_SERVERS: [&str; 3] = ["connect", "connection", "new_namespace"];

/// Binary attachments of one event from server to server.
const ATTACHMENTS_BETWEEN_SERVERS_MAX: u32 = 1024;

/// What most packets need.
const JSON_TYPICAL: usize = 112;

thread_local! {
    /// Where a packet is written; it stays small, since a long packet keeps its buffer.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A packet in the making.
pub(crate) struct Draft<'a> {
    nsp: &'a Nsp,
    buffer: Vec<u8>,
    json: usize,
    attachments: Vec<Bytes>,
}

impl<'a> Draft<'a> {
    /// Writes an event.
    ///
    /// # Errors
    /// The name is reserved, or the payload cannot be sent.
    pub(crate) fn event(
        nsp: &'a Nsp,
        name: &str,
        payload: &impl Payload,
        attachments_max: u32,
    ) -> Result<Self, EmitError> {
        if RESERVED.contains(&name) {
            return Err(EmitError::ReservedName(name.to_owned()));
        }
        Self::array(nsp, name, payload, attachments_max)
    }

    /// Writes an event from server to server.
    ///
    /// # Errors
    /// The name is reserved, or the payload cannot be sent.
    pub(crate) fn server_event(nsp: &'a Nsp, name: &str, payload: &impl Payload) -> Result<Self, EmitError> {
        if RESERVED_FOR_SERVERS.contains(&name) {
            return Err(EmitError::ReservedName(name.to_owned()));
        }
        Self::array(nsp, name, payload, ATTACHMENTS_BETWEEN_SERVERS_MAX)
    }

    fn array(
        nsp: &'a Nsp,
        name: &str,
        payload: &impl Payload,
        attachments_max: u32,
    ) -> Result<Self, EmitError> {
        let mut draft = Self::new(nsp);
        draft.buffer.push(b'[');
        if name.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
            draft.buffer.push(b'"');
            draft.buffer.extend_from_slice(name.as_bytes());
            draft.buffer.push(b'"');
        } else {
            serde_json::to_writer(&mut draft.buffer, name)?;
        }
        draft.buffer.push(b',');
        if !draft.append(payload, attachments_max)? {
            draft.buffer.pop();
        }
        draft.buffer.push(b']');
        Ok(draft)
    }

    /// Writes an ack.
    ///
    /// # Errors
    /// The payload cannot be sent.
    pub(crate) fn ack(nsp: &'a Nsp, payload: &impl Payload, attachments_max: u32) -> Result<Self, EmitError> {
        let mut draft = Self::new(nsp);
        draft.buffer.push(b'[');
        draft.append(payload, attachments_max)?;
        draft.buffer.push(b']');
        Ok(draft)
    }

    /// Takes an event that another node wrote.
    pub(crate) fn remote(nsp: &'a Nsp, packet: &Packet) -> Self {
        let mut draft = Self::new(nsp);
        draft.buffer.extend_from_slice(&packet.data);
        draft.attachments.clone_from(&packet.attachments);
        draft
    }

    /// Copies it for other nodes; attachments are shared.
    pub(crate) fn packet(&self) -> Packet {
        let data = Bytes::copy_from_slice(&self.buffer[self.json..]);
        Packet { data, attachments: self.attachments.clone() }
    }

    /// Makes a message of it.
    ///
    /// # Errors
    /// The payload nests too deep for another parser than the text one.
    pub(crate) fn seal(self, parser: Parser, kind: Kind, id: Option<u64>) -> Result<Outgoing, EmitError> {
        match parser {
            Parser::Text => Ok(self.seal_text(kind, id)),
            Parser::Msgpack => {
                let json = &self.buffer[self.json..];
                Ok(Outgoing::binary(&msgpack::encode(kind, self.nsp, id, json, &self.attachments)?))
            }
        }
    }

    /// Puts the headers before it.
    fn seal_text(mut self, kind: Kind, id: Option<u64>) -> Outgoing {
        let count = u32::try_from(self.attachments.len()).unwrap_or(u32::MAX);
        let end = self.buffer.len();
        // Written behind the JSON and moved before it, so that no second buffer is needed.
        self.buffer.push(b'4');
        encode_header(kind, self.nsp, id, count, &mut self.buffer);
        let payload = self.json - (self.buffer.len() - end);
        self.buffer.copy_within(end.., payload);
        self.buffer.truncate(end);
        let (frame, buffer) = Frame::around(Opcode::Text, self.buffer, payload);
        BUFFER.set(buffer);
        Outgoing::new(frame, &self.attachments)
    }

    /// Seals it as an event.
    ///
    /// # Errors
    /// As [`Draft::seal`].
    pub(crate) fn seal_event(self, parser: Parser, ack: Option<u64>) -> Result<Outgoing, EmitError> {
        let kind = if self.attachments.is_empty() { Kind::Event } else { Kind::BinaryEvent };
        Ok(self.seal(parser, kind, ack)?.expendable(ack.is_none()))
    }

    /// Seals it as an ack.
    ///
    /// # Errors
    /// As [`Draft::seal`].
    pub(crate) fn seal_ack(self, parser: Parser, id: u64) -> Result<Outgoing, EmitError> {
        let kind = if self.attachments.is_empty() { Kind::Ack } else { Kind::BinaryAck };
        self.seal(parser, kind, Some(id))
    }

    fn new(nsp: &'a Nsp) -> Self {
        let json = HEAD_MAX + nsp.len();
        // A draft inside of a draft (a payload that emits while it is serialized) gets a buffer of its own.
        let mut buffer = BUFFER.take();
        buffer.reserve(json + JSON_TYPICAL);
        buffer.resize(json, 0);
        Self { nsp, buffer, json, attachments: Vec::new() }
    }

    /// Appends the arguments; `false` when there are none.
    fn append(&mut self, payload: &impl Payload, attachments_max: u32) -> Result<bool, EmitError> {
        let before = self.buffer.len();
        payload.append_to(&mut self.buffer, &mut self.attachments)?;
        let (count, max) = (self.attachments.len(), attachments_max as usize);
        if count > max {
            return Err(EmitError::TooManyAttachments { count, max });
        }
        Ok(self.buffer.len() > before)
    }
}

/// Writes a packet of the protocol's own: CONNECT, DISCONNECT, CONNECT_ERROR.
pub(crate) fn protocol_packet(parser: Parser, kind: Kind, nsp: &str, json: &str) -> Outgoing {
    match parser {
        Parser::Text => {
            let mut header = Vec::with_capacity(16);
            encode_header(kind, nsp, None, 0, &mut header);
            Outgoing::text(&[&header, json.as_bytes()])
        }
        Parser::Msgpack => {
            let packet = msgpack::encode(kind, nsp, None, json.as_bytes(), &[]);
            // Only what a user added to a refusal can nest too deep.
            let packet = packet.or_else(|_| msgpack::encode(kind, nsp, None, b"{}", &[]));
            Outgoing::binary(&packet.unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_the_official_bytes() {
        let binary = || Bytes::from_static(&[1, 2]);
        let placeholder = r#"{"_placeholder":true,"num":0}"#;
        let long = "n".repeat(300);
        check("/", event("/", &()), r#"2["e"]"#);
        check("/", event("/", &("a", 1)), r#"2["e","a",1]"#);
        check("/admin", event("/admin", &1), r#"2/admin,["e",1]"#);
        check("/", event("/", &binary()), &format!(r#"51-["e",{placeholder}]"#));
        check(&long, event(&format!("/{long}"), &1), &format!(r#"2/{long},["e",1]"#));
        let nsp = Nsp::new("/a");
        let ack = |id| Draft::ack(&nsp, &(1, 2), 10).unwrap().seal_ack(Parser::Text, id).unwrap();
        assert_eq!(text(&ack(u64::MAX)), format!("43/a,{}[1,2]", u64::MAX));
        let asks = Draft::event(&nsp, "e", &(), 10).unwrap().seal_event(Parser::Text, Some(7)).unwrap();
        assert_eq!(text(&asks), r#"42/a,7["e"]"#);
    }

    #[test]
    fn msgpack_packets_are_the_official_bytes() {
        let nsp = Nsp::new("/");
        let draft = Draft::event(&nsp, "e", &Bytes::from_static(&[7]), 10).unwrap();
        let event = draft.seal_event(Parser::Msgpack, None).unwrap();
        let packet = b"\x83\xa4type\x02\xa4data\x92\xa1e\xc4\x01\x07\xa3nsp\xa1/";
        assert_eq!(frames(&event), [[&[0x82, packet.len() as u8][..], packet].concat()]);
        let refusal = protocol_packet(Parser::Msgpack, Kind::ConnectError, "/", r#"{"message":"no"}"#);
        let packet = b"\x83\xa4type\x04\xa4data\x81\xa7message\xa2no\xa3nsp\xa1/";
        assert_eq!(frames(&refusal), [[&[0x82, packet.len() as u8][..], packet].concat()]);
    }

    #[test]
    fn what_cannot_be_sent_says_why() {
        let nsp = Nsp::new("/");
        let error = |name: &str| Draft::event(&nsp, name, &(), 10).err().map(|error| error.to_string());
        assert_eq!(error("connect").as_deref(), Some(r#""connect" is a reserved event name"#));
        let parts = [Bytes::from_static(b"x"), Bytes::from_static(b"y"), Bytes::from_static(b"z")];
        let error = Draft::event(&nsp, "e", &&parts[..], 2).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("expected at most 2 binary attachments in one packet, got 3"));
    }

    #[test]
    fn a_packet_of_another_node_goes_out_as_it_came() {
        let nsp = Nsp::new("/");
        let packet = Draft::event(&nsp, "e", &(1, Bytes::from_static(b"x")), 10).unwrap().packet();
        let here = Draft::event(&nsp, "e", &(1, Bytes::from_static(b"x")), 10)
            .unwrap()
            .seal_event(Parser::Text, None)
            .unwrap();
        let there = Draft::remote(&nsp, &packet).seal_event(Parser::Text, None).unwrap();
        assert!(here.frames().eq(there.frames()));
    }

    fn event(nsp: &str, payload: &impl Payload) -> Outgoing {
        Draft::event(&Nsp::new(nsp), "e", payload, 10).unwrap().seal_event(Parser::Text, None).unwrap()
    }

    fn check(nsp: &str, outgoing: Outgoing, packet: &str) {
        assert_eq!(text(&outgoing), format!("4{packet}"), "{nsp}");
    }

    fn frames(outgoing: &Outgoing) -> Vec<Vec<u8>> {
        outgoing.frames().map(<[u8]>::to_vec).collect()
    }

    fn text(outgoing: &Outgoing) -> String {
        let mut payload = Vec::new();
        outgoing.append_to_payload(&mut payload);
        let text = String::from_utf8(payload).unwrap();
        text.split('\u{1e}').next().unwrap_or_default().to_owned()
    }
}
