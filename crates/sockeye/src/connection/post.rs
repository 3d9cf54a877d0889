//! A POST of a polling client while its packets are taken.

use crate::transport::{Format, PostRequest, Reply};
use bytes::Bytes;
use sockeye_proto::engine::payload::SEPARATOR;
use sockeye_proto::engine::v3::{jsonp, packet, payload};
use sockeye_proto::engine::{Packet, PacketError, Protocol};

/// A POST that is being taken.
pub(super) struct Post {
    /// What is to be read yet, `None` at the end.
    rest: Option<Rest>,
    pub(super) reply: Reply,
}

/// Packets that are to be read yet.
enum Rest {
    /// v4: after the last separator comes a packet, if an empty one.
    Separated(Bytes),
    /// v3, and where in it the next packet begins.
    Text(String, usize),
    /// v3.
    Binary(Bytes),
}

impl Post {
    pub(super) fn new(format: &Format, request: PostRequest) -> Self {
        let PostRequest { body, binary, reply } = request;
        let rest = match (format.protocol, &format.jsonp) {
            (Protocol::V3, _) if binary => (!body.is_empty()).then_some(Rest::Binary(body)),
            (protocol, Some(_)) => jsonp::form_payload(&text(body)).map(|payload| match protocol {
                Protocol::V3 => Rest::Text(payload, 0),
                Protocol::V4 => Rest::Separated(payload.into()),
            }),
            (Protocol::V3, None) => Some(Rest::Text(text(body), 0)),
            (Protocol::V4, None) => Some(Rest::Separated(body)),
        };
        Self { rest, reply }
    }

    /// Whether every packet was taken.
    pub(super) fn is_read(&self) -> bool {
        self.rest.is_none()
    }

    /// Hands on the next packet. `false` when there is none.
    pub(super) fn next(&mut self, take: impl FnOnce(Result<Packet<'_>, PacketError>)) -> bool {
        match self.rest.take() {
            None => return false,
            Some(Rest::Separated(mut rest)) => {
                // Engine.IO v4, "HTTP long-polling": packets are separated.
                let packet = match memchr::memchr(SEPARATOR, &rest) {
                    Some(end) => {
                        let packet = rest.split_to(end);
                        self.rest = Some(Rest::Separated(rest.split_off(1)));
                        packet
                    }
                    None => rest,
                };
                // Checked first: what is in order needs no copy, and the lossy way looks at each byte.
                match std::str::from_utf8(&packet) {
                    Ok(text) => take(Packet::decode_text(text)),
                    Err(_) => take(Packet::decode_text(&String::from_utf8_lossy(&packet))),
                }
            }
            Some(Rest::Text(text, start)) => match payload::split_text(&text[start..]) {
                Ok((found, after)) => {
                    let end = text.len() - after.len();
                    if !found.is_empty() {
                        take(packet::decode_text(found));
                    }
                    self.rest = (end < text.len()).then_some(Rest::Text(text, end));
                }
                Err(error) => take(Err(error)),
            },
            Some(Rest::Binary(bytes)) => match payload::split_binary(&bytes) {
                Ok((is_text, found, after)) => {
                    take(payload::decode_part(is_text, found));
                    self.rest = (!after.is_empty()).then(|| Rest::Binary(bytes.slice_ref(after)));
                }
                Err(error) => take(Err(error)),
            },
        }
        true
    }
}

/// What does not read as UTF-8 becomes what it is to JavaScript.
fn text(body: Bytes) -> String {
    String::from_utf8(body.into())
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
