//! What must hold for whatever a client sends, in every dialect: packets in msgpack, and a client's whole conversation.

use std::time::Instant;

use bytes::Bytes;
use serde_json::value::RawValue;
use sockeye_proto::engine::Protocol;
use sockeye_proto::socket::client::{Action, Client, Limits, Misbehaved};
use sockeye_proto::socket::packet::ATTACHMENTS_MAX;
use sockeye_proto::socket::{Dialect, Event, Packet, Parser, msgpack, placeholder};

/// A packet that decodes carries what the text parser admits, and encodes to a packet that decodes to the same.
pub fn socket_msgpack(data: &[u8]) {
    let Ok(packet) = msgpack::decode(&Bytes::copy_from_slice(data), ATTACHMENTS_MAX) else { return };
    assert!(packet.attachments.len() <= ATTACHMENTS_MAX as usize && packet.nsp.starts_with('/'));
    let text = format!("{}{}", packet.kind as u8, packet.data);
    assert_eq!(
        Packet::decode(&text, ATTACHMENTS_MAX).map(|text| (text.kind, text.data)),
        Ok((packet.kind, &*packet.data))
    );
    if packet.data.matches("_placeholder").count() != packet.attachments.len() {
        return;
    }
    let msgpack::Decoded { kind, nsp, id, data, attachments } = &packet;
    // serde_json's limit on depth is one lower than that of msgpack.
    let Ok(again) = msgpack::encode(*kind, nsp, *id, data.as_bytes(), attachments) else { return };
    assert_eq!(msgpack::decode(&again.into(), ATTACHMENTS_MAX).as_ref(), Ok(&packet));
}

/// A conversation, its messages parted by newlines, binary ones behind a `b`: whoever was not admitted says nothing, and what is
/// handed on is whole.
pub fn socket_client(data: &[u8]) {
    for protocol in [Protocol::V3, Protocol::V4] {
        for parser in [Parser::Text, Parser::Msgpack] {
            converse(data, Dialect { protocol, parser });
        }
    }
}

fn converse(data: &[u8], dialect: Dialect) {
    let mut client = Client::with_dialect(Limits::default(), dialect, Instant::now());
    let mut entered: Vec<String> = Vec::new();
    if let Some(Action::Connect { nsp, .. }) = client.poll_action() {
        entered.push(nsp.to_owned());
        client.admit(nsp);
    }
    for (index, message) in data.split(|byte| *byte == b'\n').enumerate() {
        let text = String::from_utf8_lossy(message);
        let action = match message {
            [b'b', bytes @ ..] => client.handle_binary(Bytes::copy_from_slice(bytes)),
            _ => client.handle_text(&text),
        };
        let asked = match action {
            Err(
                Misbehaved::Malformed(_)
                | Misbehaved::Placeholder(_)
                | Misbehaved::TextBetweenAttachments
                | Misbehaved::UnexpectedBinary
                | Misbehaved::InvalidState,
            ) => return,
            Ok(Action::Pending) => {
                assert_eq!(dialect.parser, Parser::Text);
                continue;
            }
            Ok(Action::Connect { nsp, auth }) => {
                assert!(nsp.starts_with('/') && !entered.iter().any(|name| name == nsp));
                assert!(auth.is_empty() || auth.starts_with('{'));
                assert!(auth.is_empty() || serde_json::from_str::<&RawValue>(auth).is_ok());
                nsp.to_owned()
            }
            Ok(Action::Disconnect { nsp }) => {
                entered.retain(|name| name != nsp);
                continue;
            }
            Ok(Action::Event(message)) => {
                assert!(entered.iter().any(|name| name == message.nsp));
                // Absent payloads pass, as in the official parser; nobody can hear them.
                assert!(message.data.is_empty() || Event::split(message.data).is_ok());
                check(message.data, message.attachments.len());
                continue;
            }
            Ok(Action::Ack(message)) => {
                assert!(entered.iter().any(|name| name == message.nsp));
                check(message.data, message.attachments.len());
                continue;
            }
        };
        if index % 3 == 2 {
            client.refuse(&asked);
        } else {
            client.admit(&asked);
            entered.push(asked);
        }
        client.release();
    }
}

fn check(data: &str, attachments: usize) {
    assert!(attachments <= ATTACHMENTS_MAX as usize);
    if attachments > 0 {
        let count = placeholder::check(data, u32::try_from(attachments).expect("they are few"));
        assert!(count.is_ok_and(|count| count as usize <= attachments));
    }
}
