//! Messages to send, and how two are compared.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use sockeye_cluster::{Flags, Message, Packet, RequestId, Room, Selector};

/// An event for all.
pub(crate) fn event(text: &str) -> Message {
    event_to(Selector::all(), text)
}

/// An event for some.
pub(crate) fn event_to(selector: Selector, text: &str) -> Message {
    Message::Broadcast { selector, flags: Flags::default(), packet: packet(text), request_id: None }
}

/// An event that says a text.
pub(crate) fn packet(text: &str) -> Packet {
    Packet::text(serde_json::json!(["said", text]).to_string())
}

/// What an event says; of other messages, nothing.
pub(crate) fn text_of(message: &Message) -> Option<String> {
    let Message::Broadcast { packet, .. } = message else { return None };
    text_in(packet)
}

/// What a packet says.
pub(crate) fn text_in(packet: &Packet) -> Option<String> {
    let value: Value = serde_json::from_slice(&packet.data).ok()?;
    value.get(1)?.as_str().map(str::to_owned)
}

/// One of each kind that is for all.
pub(crate) fn questions() -> Vec<Message> {
    let selector = || Selector::to("kitchen").and_to("Küche \"7\" #/🦀").and_except("cook");
    let flags = Flags { volatile: true, compress: Some(false), ..Flags::default() };
    let patient = Flags { timeout: Some(Duration::from_secs(3)), ..Flags::default() };
    let rooms = || -> Vec<Room> { vec!["attic".into(), "7".into()] };
    vec![
        event_to(selector(), "words: \u{2028} é \"quoted\" \\ \u{0} 🦀"),
        Message::Broadcast {
            selector: Selector::to("kitchen"),
            flags,
            packet: packet("quick"),
            request_id: None,
        },
        Message::Broadcast {
            selector: selector(),
            flags: Flags::default(),
            packet: binary(),
            request_id: None,
        },
        Message::Broadcast {
            selector: selector(),
            flags: patient.clone(),
            packet: packet("?"),
            request_id: Some("aRequest".into()),
        },
        Message::Broadcast {
            selector: Selector::all(),
            flags: patient,
            packet: binary(),
            request_id: Some("bRequest".into()),
        },
        Message::SocketsJoin { selector: selector(), rooms: rooms() },
        Message::SocketsLeave { selector: selector(), rooms: rooms() },
        Message::DisconnectSockets { selector: selector(), close: false },
        Message::DisconnectSockets { selector: Selector::all(), close: true },
        Message::FetchSockets {
            selector: selector(),
            flags: Flags::default(),
            request_id: "cRequest".into(),
        },
        Message::ServerSideEmit {
            packet: Packet::text(r#"["tick",1,2.5,null,{"a":[true]},-7]"#),
            request_id: None,
        },
        Message::ServerSideEmit { packet: packet("and you?"), request_id: Some("dRequest".into()) },
        event("the last one"),
    ]
}

/// One of each kind of reply.
pub(crate) fn replies() -> Vec<Message> {
    let request_id = || RequestId::from("aRequest");
    let socket = r#"[{"id":"Ab3dE_00000000000000","handshake":{"headers":{"a":"b"},"url":"/","query":{},"auth":{}},"rooms":["x"],"data":{"n":1}}]"#;
    vec![
        Message::BroadcastClientCount { request_id: request_id(), client_count: 3 },
        Message::BroadcastAck { request_id: request_id(), packet: Packet::text(r#"{"yes":[1,"é"]}"#) },
        Message::BroadcastAck {
            request_id: request_id(),
            packet: Packet::binary(
                r#"{"_placeholder":true,"num":0}"#,
                vec![Bytes::from_static(&[0, 255, 1])],
            ),
        },
        Message::FetchSocketsResponse { request_id: "cRequest".into(), sockets: Packet::text(socket) },
        Message::ServerSideEmitResponse { request_id: "dRequest".into(), packet: Packet::text(r#""pong""#) },
    ]
}

fn binary() -> Packet {
    let text = r#"["file",{"_placeholder":true,"num":0},{"b":{"_placeholder":true,"num":1}},"end"]"#;
    let bytes: Vec<u8> = (0..=255).collect();
    Packet::binary(text, vec![Bytes::from(bytes), Bytes::from_static(b"")])
}

/// The same message as any format has to give it back: JSON as a value, and a fetch without flags, for which classic Redis has no place.
pub(crate) fn plain(message: Message) -> Message {
    match message {
        Message::Broadcast { selector, flags, packet, request_id } => {
            Message::Broadcast { selector, flags, packet: plain_packet(packet), request_id }
        }
        Message::FetchSockets { selector, flags: _, request_id } => {
            Message::FetchSockets { selector, flags: Flags::default(), request_id }
        }
        Message::FetchSocketsResponse { request_id, sockets } => {
            Message::FetchSocketsResponse { request_id, sockets: plain_packet(sockets) }
        }
        Message::ServerSideEmit { packet, request_id } => {
            Message::ServerSideEmit { packet: plain_packet(packet), request_id }
        }
        Message::ServerSideEmitResponse { request_id, packet } => {
            Message::ServerSideEmitResponse { request_id, packet: plain_packet(packet) }
        }
        Message::BroadcastAck { request_id, packet } => {
            Message::BroadcastAck { request_id, packet: plain_packet(packet) }
        }
        Message::InitialHeartbeat
        | Message::Heartbeat
        | Message::SocketsJoin { .. }
        | Message::SocketsLeave { .. }
        | Message::DisconnectSockets { .. }
        | Message::BroadcastClientCount { .. }
        | Message::AdapterClose => message,
    }
}

fn plain_packet(packet: Packet) -> Packet {
    match serde_json::from_slice::<Value>(&packet.data) {
        Ok(value) => Packet::binary(value.to_string(), packet.attachments),
        Err(error) => panic!("expected JSON, got {:?}: {error}", packet.data),
    }
}
