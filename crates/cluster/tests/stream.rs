//! Entries of a Redis stream byte by byte: literals that `@socket.io/redis-streams-adapter` 0.3.1 has written, and bad input.

use bytes::Bytes;
use sockeye_cluster::wire::stream;
use sockeye_cluster::{Envelope, Flags, Message, Packet, Selector};

#[test]
fn the_data_of_an_entry_is_what_the_official_adapter_writes() {
    let rows = [
        (
            Message::Broadcast {
                selector: Selector::to("r1").and_except("x"),
                flags: Flags { volatile: true, ..Flags::default() },
                packet: Packet::text(r#"["hello",1]"#),
                request_id: None,
            },
            "3",
            r#"{"packet":{"type":2,"data":["hello",1]},"opts":{"rooms":["r1"],"except":["x"],"flags":{"volatile":true}}}"#,
        ),
        (
            Message::Broadcast {
                selector: Selector::all(),
                flags: Flags::default(),
                packet: Packet::binary(
                    r#"["bin",{"_placeholder":true,"num":0}]"#,
                    vec![Bytes::from_static(&[1, 2, 3])],
                ),
                request_id: None,
            },
            "3",
            "gqZwYWNrZXSCpHR5cGUCpGRhdGGSo2JpbsQDAQIDpG9wdHODpXJvb21zkKZleGNlcHSQpWZsYWdzgA==",
        ),
        (
            Message::SocketsJoin { selector: Selector::to("r"), rooms: vec!["a".into()] },
            "4",
            r#"{"opts":{"rooms":["r"],"except":[],"flags":{}},"rooms":["a"]}"#,
        ),
        (
            Message::DisconnectSockets { selector: Selector::all(), close: true },
            "6",
            r#"{"opts":{"rooms":[],"except":[],"flags":{}},"close":true}"#,
        ),
    ];
    for (message, kind, data) in rows {
        assert_eq!(stream::encode_data(&message).expect("it is sendable").as_deref(), Some(data));
        assert_eq!(message.number().to_string(), kind);
        let envelope = stream::decode("a34a292dd6b7d25a", "/", kind, Some(data)).expect("it is an entry");
        assert_eq!(envelope, Envelope { uid: "a34a292dd6b7d25a".into(), nsp: "/".into(), message });
    }
}

#[test]
fn what_has_no_data_has_no_such_field() {
    for message in [Message::InitialHeartbeat, Message::Heartbeat, Message::AdapterClose] {
        assert_eq!(stream::encode_data(&message).expect("it is sendable"), None);
        let kind = message.number().to_string();
        assert_eq!(stream::decode("u", "/", &kind, None).expect("it is an entry").message, message);
    }
}

#[test]
fn a_session_is_read_and_written_as_officially() {
    // persistSession({ sid: "S", pid: "P", rooms: ["S", "r"], data: { n: 1 } })
    let official = "hKNzaWShU6NwaWShUKVyb29tc5KhU6FypGRhdGGBoW4B";
    let json = br#"{"sid":"S","pid":"P","rooms":["S","r"],"data":{"n":1}}"#;
    assert_eq!(stream::pack(json).expect("it is JSON"), official);
    assert_eq!(stream::unpack(official).expect("it is one"), (Bytes::from_static(json), Vec::new()));
}

#[test]
fn what_is_no_entry_is_refused() {
    let rows = [
        ("", Some("{}")),
        ("x", Some("{}")),
        ("256", Some("{}")),
        ("-3", Some("{}")),
        ("0", None),
        ("3", None),
        ("3", Some("{")),
        ("3", Some("{}")),
        ("3", Some("not base64!")),
        ("3", Some("wQ==")),
        ("4", Some(r#"{"opts":{}}"#)),
        ("4", Some(r#"{"opts":{},"rooms":["a"]}, "type":3, {"#)),
    ];
    for (kind, data) in rows {
        assert!(stream::decode("u", "/", kind, data).is_err(), "{kind} {data:?}");
    }
}
