//! The classic Redis format byte by byte: literals that `@socket.io/redis-adapter` 8.3.0 and `@socket.io/redis-emitter` 5.1.0 have
//! published, old forms, and bad input.

use std::time::Duration;

use bytes::Bytes;
use sockeye_cluster::wire::classic::{self, Asked, Place, Reply, Response};
use sockeye_cluster::{Envelope, Flags, Message, Nsp, Packet, RequestId, Selector};

#[test]
fn whose_an_event_is_stands_at_its_front() {
    let long = "u".repeat(32);
    for (bytes, uid, is) in [
        (&b"\x93\xa6zvvldc\x83"[..], "zvvldc", true),
        (b"\x93\xa6zvvldc", "zvvldC", false),
        (b"\x93\xa6zvvldc", "zvvld", false),
        (b"\x93\xa6zvvl", "zvvldc", false),
        (b"\x92\xa6zvvldc", "zvvldc", false),
        (b"\x93\xa7emitter", "zvvldc", false),
        (b"\x93\xd9\x06zvvldc", "zvvldc", false),
        (b"\x93", "", false),
        (b"", "zvvldc", false),
        ([&b"\x93\xc0"[..], long.as_bytes()].concat().leak(), &*long, false),
    ] {
        assert_eq!(classic::is_event_of(bytes, &uid.into()), is, "{bytes:?}, {uid}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn a_message_is_the_bytes_that_the_official_adapter_publishes() {
    let event = |selector, flags, packet| Message::Broadcast { selector, flags, packet, request_id: None };
    let id = || RequestId::new("i-CofL");
    let rows = [
        (
            event(
                Selector::all(),
                Flags::default(),
                Packet::text(r#"["hello",1,"2",{"a":[true,null,1.5]}]"#),
            ),
            Place::Events,
            Wire::Hex(
                "93a67a76766c646383a47479706502a46461746194a568656c6c6f01a13281a16193c3c0cb3ff8000000000000a36e7370a12f83a5726f6f6d7390a665786365707490a5666c61677380",
            ),
        ),
        (
            event(
                Selector::to("room1").and_except("z"),
                Flags { volatile: true, compress: Some(false), ..Flags::default() },
                Packet::binary(
                    r#"["hello",{"_placeholder":true,"num":0}]"#,
                    vec![Bytes::from_static(&[1, 2, 3])],
                ),
            ),
            Place::Room("room1".into()),
            Wire::Hex(
                "93a67a76766c646383a47479706502a46461746192a568656c6c6fc403010203a36e7370a12f83a5726f6f6d7391a5726f6f6d31a665786365707491a17aa5666c61677382a8766f6c6174696c65c3a8636f6d7072657373c2",
            ),
        ),
        (
            event(Selector::to("a").and_to("b"), Flags::default(), Packet::text(r#"["x"]"#)),
            Place::Events,
            Wire::Hex(
                "93a67a76766c646383a47479706502a46461746191a178a36e7370a12f83a5726f6f6d7392a161a162a665786365707490a5666c61677380",
            ),
        ),
        (
            Message::SocketsJoin {
                selector: Selector::to("room1").and_except("z"),
                rooms: vec!["roomA".into(), "roomB".into()],
            },
            Place::Requests,
            Wire::Json(
                r#"{"uid":"zvvldc","type":2,"opts":{"rooms":["room1"],"except":["z"]},"rooms":["roomA","roomB"]}"#,
            ),
        ),
        (
            Message::SocketsLeave { selector: Selector::to("room1"), rooms: vec!["roomA".into()] },
            Place::Requests,
            Wire::Json(
                r#"{"uid":"zvvldc","type":3,"opts":{"rooms":["room1"],"except":[]},"rooms":["roomA"]}"#,
            ),
        ),
        (
            Message::DisconnectSockets { selector: Selector::all(), close: true },
            Place::Requests,
            Wire::Json(r#"{"uid":"zvvldc","type":4,"opts":{"rooms":[],"except":[]},"close":true}"#),
        ),
        (
            Message::ServerSideEmit { packet: Packet::text(r#"["sse",{"a":1}]"#), request_id: None },
            Place::Requests,
            Wire::Json(r#"{"uid":"zvvldc","type":6,"data":["sse",{"a":1}]}"#),
        ),
        (
            Message::ServerSideEmit { packet: Packet::text(r#"["sse",2]"#), request_id: Some(id()) },
            Place::Requests,
            Wire::Json(r#"{"uid":"zvvldc","requestId":"i-CofL","type":6,"data":["sse",2]}"#),
        ),
        (
            Message::FetchSockets {
                selector: Selector::to("r").and_except("e"),
                flags: Flags::default(),
                request_id: id(),
            },
            Place::Requests,
            Wire::Json(
                r#"{"uid":"zvvldc","requestId":"i-CofL","type":5,"opts":{"rooms":["r"],"except":["e"]}}"#,
            ),
        ),
        (
            Message::Broadcast {
                selector: Selector::to("r"),
                flags: Flags { timeout: Some(Duration::from_secs(1)), ..Flags::default() },
                packet: Packet::text(r#"["q",1]"#),
                request_id: Some(id()),
            },
            Place::Requests,
            Wire::Hex(
                "85a3756964a67a76766c6463a9726571756573744964a6692d436f664ca47479706507a67061636b657483a47479706502a46461746192a17101a36e7370a12fa46f70747383a5726f6f6d7391a172a665786365707490a5666c61677381a774696d656f7574cd03e8",
            ),
        ),
        (
            Message::FetchSocketsResponse { request_id: id(), sockets: Packet::text("[]") },
            Place::Responses,
            Wire::Json(r#"{"requestId":"i-CofL","sockets":[]}"#),
        ),
        (
            Message::ServerSideEmitResponse { request_id: id(), packet: Packet::text(r#""pong""#) },
            Place::CommonResponses,
            Wire::Json(r#"{"type":6,"requestId":"i-CofL","data":"pong"}"#),
        ),
        (
            Message::BroadcastClientCount { request_id: id(), client_count: 1 },
            Place::Responses,
            Wire::Json(r#"{"type":8,"requestId":"i-CofL","clientCount":1}"#),
        ),
        (
            Message::BroadcastAck {
                request_id: id(),
                packet: Packet::binary(
                    r#"{"ok":{"_placeholder":true,"num":0}}"#,
                    vec![Bytes::from_static(&[9])],
                ),
            },
            Place::Responses,
            Wire::Hex("83a47479706509a9726571756573744964a6692d436f664ca67061636b657481a26f6bc40109"),
        ),
    ];
    for (index, (message, place, wire)) in rows.into_iter().enumerate() {
        let envelope = Envelope { uid: "zvvldc".into(), nsp: "/".into(), message };
        let (at, bytes) = classic::encode(&envelope).expect("it is sendable").expect("it has a form");
        assert_eq!(at, place, "row {index}");
        assert_eq!(bytes, wire.bytes(), "row {index}");
        match place {
            Place::Events | Place::Room(_) => {
                assert_eq!(classic::decode_event(&bytes).expect("it is an event"), envelope, "row {index}");
                assert!(classic::is_event_of(&bytes, &envelope.uid), "row {index}");
            }
            Place::Requests => {
                let asked = classic::decode_request(&"/".into(), &bytes).expect("it is a request");
                assert_eq!(asked, Asked::Message(envelope), "row {index}");
            }
            Place::Responses | Place::CommonResponses => {
                let response = classic::decode_response(&bytes).expect("it is a response");
                assert_eq!(response, response_of(envelope.message), "row {index}");
            }
        }
    }
}

#[test]
fn what_the_format_has_no_words_for_is_not_written() {
    for message in [Message::InitialHeartbeat, Message::Heartbeat, Message::AdapterClose] {
        let envelope = Envelope { uid: "u".into(), nsp: "/".into(), message };
        assert_eq!(classic::encode(&envelope).expect("it is sendable"), None);
    }
}

#[test]
fn what_the_emitter_publishes_is_signed_as_its_own() {
    let event = Wire::Hex(
        "93a7656d697474657283a47479706502a46461746192a568656c6c6f01a36e7370a12f83a5726f6f6d7391a5726f6f6d31a5666c61677380a665786365707491a17a",
    );
    let message = Message::Broadcast {
        selector: Selector::to("room1").and_except("z"),
        flags: Flags::default(),
        packet: Packet::text(r#"["hello",1]"#),
        request_id: None,
    };
    assert_eq!(classic::decode_event(&event.bytes()).expect("it is an event"), emitted(message));
    let rows = [
        (
            r#"{"type":2,"opts":{"rooms":["r"],"except":[]},"rooms":["a"]}"#,
            Message::SocketsJoin { selector: Selector::to("r"), rooms: vec!["a".into()] },
        ),
        (
            r#"{"type":3,"opts":{"rooms":[1],"except":[]},"rooms":[2]}"#,
            Message::SocketsLeave { selector: Selector::to("1"), rooms: vec!["2".into()] },
        ),
        (
            r#"{"type":4,"opts":{"rooms":[],"except":[]},"close":true}"#,
            Message::DisconnectSockets { selector: Selector::all(), close: true },
        ),
        (
            r#"{"uid":"emitter","type":6,"data":["ping",1]}"#,
            Message::ServerSideEmit { packet: Packet::text(r#"["ping",1]"#), request_id: None },
        ),
    ];
    for (text, message) in rows {
        assert_eq!(request(text), Asked::Message(emitted(message)), "{text}");
    }
}

#[test]
fn old_forms_and_old_questions_are_understood() {
    let uid = || "other1".into();
    let id = || RequestId::new("q");
    let rows = [
        (
            r#"{"uid":"other1","requestId":"q","type":0,"rooms":["a"]}"#,
            Asked::Ids { uid: uid(), request_id: id(), rooms: vec!["a".into()] },
        ),
        (r#"{"uid":"other1","requestId":"q","type":1}"#, Asked::Rooms { uid: uid(), request_id: id() }),
        (r#"{"requestid":"q","type":1}"#, Asked::Rooms { uid: classic::UNSIGNED.into(), request_id: id() }),
        (
            r#"{"requestId":"q","type":2,"sid":"s","room":"a"}"#,
            Asked::Single {
                sid: "s".into(),
                request_id: Some(id()),
                envelope: emitted(Message::SocketsJoin {
                    selector: Selector::to("s"),
                    rooms: vec!["a".into()],
                }),
            },
        ),
        (
            r#"{"requestId":"q","type":4,"sid":"s","close":true}"#,
            Asked::Single {
                sid: "s".into(),
                request_id: Some(id()),
                envelope: emitted(Message::DisconnectSockets { selector: Selector::to("s"), close: true }),
            },
        ),
    ];
    for (text, asked) in rows {
        assert_eq!(request(text), asked, "{text}");
    }
}

#[test]
fn old_questions_are_answered_in_the_official_words() {
    let id = RequestId::new("i-CofL");
    assert_eq!(&classic::encode_rooms(&id, ["a", "b"])[..], br#"{"requestId":"i-CofL","rooms":["a","b"]}"#);
    assert_eq!(&classic::encode_ids(&id, ["s"])[..], br#"{"requestId":"i-CofL","sockets":["s"]}"#);
    assert_eq!(&classic::encode_done(&id)[..], br#"{"requestId":"i-CofL"}"#);
    let rows = [
        (r#"{"requestId":"q","rooms":["a"]}"#, Reply::Rooms(Packet::text(r#"["a"]"#))),
        (r#"{"requestId":"q"}"#, Reply::Done),
        (r#"{"type":6,"requestId":"q"}"#, Reply::Value(Packet::text("null"))),
    ];
    for (text, reply) in rows {
        let response = classic::decode_response(&Bytes::from_static(text.as_bytes())).expect("it is one");
        assert_eq!(response, Response { request_id: "q".into(), reply }, "{text}");
    }
    // An ack with `undefined`, as notepack writes it.
    let bytes = Wire::Hex("82a47479706509a9726571756573744964a6692d436f664c").bytes();
    let reply = Reply::Ack(Packet::text("null"));
    assert_eq!(
        classic::decode_response(&bytes).expect("it is a response"),
        Response { request_id: id, reply }
    );
}

#[test]
fn what_is_no_message_is_refused() {
    let rows: [&[u8]; 14] = [
        b"",
        b"{",
        b"{}",
        b"[]",
        b"\x90",
        b"\x93\xa1u\x80\x80",
        b"{\"type\":99}",
        b"{\"type\":2}",
        b"{\"type\":2,\"opts\":{}}",
        b"{\"type\":5,\"opts\":{}}",
        b"{\"type\":6,\"data\":{}}",
        b"{\"type\":7,\"requestId\":\"q\",\"opts\":{}}",
        b"{\"type\":7,\"opts\":{},\"packet\":{\"type\":2,\"data\":[]}}",
        b"{\"type\":-1,\"requestId\":\"q\"}",
    ];
    for bytes in rows {
        let bytes = Bytes::from_static(bytes);
        assert!(classic::decode_event(&bytes).is_err(), "{bytes:?}");
        assert!(classic::decode_request(&"/".into(), &bytes).is_err(), "{bytes:?}");
        assert!(classic::decode_response(&bytes).is_err(), "{bytes:?}");
    }
}

enum Wire {
    Hex(&'static str),
    Json(&'static str),
}

impl Wire {
    fn bytes(&self) -> Bytes {
        match self {
            Self::Json(text) => Bytes::from_static(text.as_bytes()),
            Self::Hex(digits) => (0..digits.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("it is hexadecimal"))
                .collect(),
        }
    }
}

fn request(text: &'static str) -> Asked {
    classic::decode_request(&Nsp::new("/"), &Bytes::from_static(text.as_bytes())).expect("it is a request")
}

fn emitted(message: Message) -> Envelope {
    Envelope { uid: "emitter".into(), nsp: "/".into(), message }
}

fn response_of(message: Message) -> Response {
    let (request_id, reply) = match message {
        Message::FetchSocketsResponse { request_id, sockets } => (request_id, Reply::Sockets(sockets)),
        Message::ServerSideEmitResponse { request_id, packet } => (request_id, Reply::Value(packet)),
        Message::BroadcastAck { request_id, packet } => (request_id, Reply::Ack(packet)),
        Message::BroadcastClientCount { request_id, client_count } => {
            (request_id, Reply::ClientCount(client_count))
        }
        other @ (Message::InitialHeartbeat
        | Message::Heartbeat
        | Message::Broadcast { .. }
        | Message::SocketsJoin { .. }
        | Message::SocketsLeave { .. }
        | Message::DisconnectSockets { .. }
        | Message::FetchSockets { .. }
        | Message::ServerSideEmit { .. }
        | Message::AdapterClose) => panic!("{other:?} is no response"),
    };
    Response { request_id, reply }
}
