//! The sharded format byte by byte, in each of its three modes: channels and payloads that `createShardedAdapter` of
//! `@socket.io/redis-adapter` 8.3.0 has subscribed to and published.

use parking_lot::Mutex;
use sockeye_cluster::{Flags, Packet, RequestId, Selector};

use super::*;

const OWN: &str = "a34a292dd6b7d25a";
const OTHER: &str = "0f2c1defc9569a23";
/// Twenty characters, as the id of a socket has.
const SID: &str = "0123456789abcdefghij";
const ALL: &str = "socket.io#/chat#";
const NEWS: &str = "socket.io#/chat#news#";
const OF_SID: &str = "socket.io#/chat#0123456789abcdefghij#";

/// What stands on the wire.
#[derive(Clone, Copy, Debug)]
enum Wire {
    Json(&'static str),
    Hex(&'static str),
}

/// A letter, its payload, and its channel in the modes static, dynamic and dynamic-private.
type Row = (To, Message, Wire, [&'static str; 3]);

#[tokio::test]
async fn a_message_is_the_bytes_on_the_channel_that_the_official_adapter_publishes() {
    for (at, mode) in [Mode::Static, Mode::Dynamic, Mode::DynamicPrivate].into_iter().enumerate() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (writes, hears) = (hall(mode, OWN, &heard), Listening(hall(mode, OTHER, &heard)));
        for (index, (to, message, wire, channels)) in rows().into_iter().enumerate() {
            let letter = Letter { to, message: message.clone() };
            let (name, bytes) = writes.write(letter).expect("it is sendable");
            assert_eq!((&*name, &bytes[..]), (channels[at], &wire.bytes()[..]), "{mode:?}, row {index}");
            hears.payload(&name, bytes);
            let envelope = Envelope { uid: OWN.into(), nsp: "/chat".into(), message };
            assert_eq!(*heard.lock(), [Arrival::Message { envelope, offset: None }], "{mode:?}, row {index}");
            heard.lock().clear();
        }
    }
}

#[tokio::test]
async fn rooms_have_the_channels_that_the_official_adapter_subscribes_to() {
    for (mode, news, of_sid) in [
        (Mode::Static, None, None),
        (Mode::Dynamic, Some(NEWS), None),
        (Mode::DynamicPrivate, Some(NEWS), Some(OF_SID)),
    ] {
        let hall = hall(mode, OWN, &Arc::default());
        for (room, expected) in [("news", news), (SID, of_sid)] {
            let subscription = hall.subscription_of(&room.into());
            assert!(subscription.iter().all(|one| one.kind == Kind::Shard), "{mode:?}, {room}");
            assert_eq!(subscription.as_ref().map(|one| &*one.name), expected, "{mode:?}, {room}");
        }
    }
}

fn rows() -> [Row; 8] {
    let event = |selector, packet, request_id| {
        (To::All, Message::Broadcast { selector, flags: Flags::default(), packet, request_id })
    };
    let hello = || Packet::text(r#"["hello",1]"#);
    let bytes =
        Packet::binary(r#"["bin",{"_placeholder":true,"num":0}]"#, vec![Bytes::from_static(&[1, 2, 3])]);
    let joined = Message::SocketsJoin { selector: Selector::to("news"), rooms: vec!["sport".into()] };
    let counted = Message::BroadcastClientCount { request_id: "e0f1".into(), client_count: 3 };
    let row = |(to, message), wire, channels| (to, message, wire, channels);
    [
        row(
            event(Selector::all(), hello(), None),
            Wire::Json(
                r#"{"type":3,"data":{"packet":{"type":2,"data":["hello",1]},"opts":{"rooms":[],"except":[],"flags":{}}},"uid":"a34a292dd6b7d25a","nsp":"/chat"}"#,
            ),
            [ALL, ALL, ALL],
        ),
        row(
            event(Selector::to("news"), hello(), None),
            Wire::Json(
                r#"{"type":3,"data":{"packet":{"type":2,"data":["hello",1]},"opts":{"rooms":["news"],"except":[],"flags":{}}},"uid":"a34a292dd6b7d25a","nsp":"/chat"}"#,
            ),
            [ALL, NEWS, NEWS],
        ),
        row(
            event(Selector::to("news"), bytes, None),
            Wire::Hex(
                "84a47479706503a46461746182a67061636b657482a47479706502a46461746192a362696ec403010203a46f70747383a5726f6f6d7391a46e657773a665786365707490a5666c61677380a3756964b061333461323932646436623764323561a36e7370a52f63686174",
            ),
            [ALL, NEWS, NEWS],
        ),
        row(
            event(Selector::to("news").and_to("sport"), hello(), None),
            Wire::Json(
                r#"{"type":3,"data":{"packet":{"type":2,"data":["hello",1]},"opts":{"rooms":["news","sport"],"except":[],"flags":{}}},"uid":"a34a292dd6b7d25a","nsp":"/chat"}"#,
            ),
            [ALL, ALL, ALL],
        ),
        row(
            event(Selector::to(SID), hello(), None),
            Wire::Json(
                r#"{"type":3,"data":{"packet":{"type":2,"data":["hello",1]},"opts":{"rooms":["0123456789abcdefghij"],"except":[],"flags":{}}},"uid":"a34a292dd6b7d25a","nsp":"/chat"}"#,
            ),
            [ALL, ALL, OF_SID],
        ),
        row(
            event(Selector::to("news"), hello(), Some(RequestId::new("e0f1"))),
            Wire::Json(
                r#"{"type":3,"data":{"packet":{"type":2,"data":["hello",1]},"requestId":"e0f1","opts":{"rooms":["news"],"except":[],"flags":{}}},"uid":"a34a292dd6b7d25a","nsp":"/chat"}"#,
            ),
            [ALL, ALL, ALL],
        ),
        row(
            (To::All, joined),
            Wire::Json(
                r#"{"type":4,"data":{"opts":{"rooms":["news"],"except":[],"flags":{}},"rooms":["sport"]},"uid":"a34a292dd6b7d25a","nsp":"/chat"}"#,
            ),
            [ALL, ALL, ALL],
        ),
        row(
            (To::One(OTHER.into()), counted),
            Wire::Json(
                r#"{"type":11,"data":{"requestId":"e0f1","clientCount":3},"uid":"a34a292dd6b7d25a","nsp":"/chat"}"#,
            ),
            ["socket.io#/chat#0f2c1defc9569a23#"; 3],
        ),
    ]
}

impl Wire {
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Json(text) => text.into(),
            Self::Hex(text) => {
                let pair = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("it is hex");
                (0..text.len()).step_by(2).map(pair).collect()
            }
        }
    }
}

/// The half of an open channel that speaks no word to Redis.
fn hall(mode: Mode, uid: &str, heard: &Arc<Mutex<Vec<Arrival>>>) -> Arc<Hall> {
    let adapter =
        Sharded::new(Server::single("127.0.0.1", 1), ShardedOptions { mode, ..ShardedOptions::default() });
    let heard = Arc::clone(heard);
    let inbox: Inbox = Arc::new(move |arrival| heard.lock().push(arrival));
    Arc::new(adapter.hall(Opening { nsp: Nsp::new("/chat"), uid: uid.into(), inbox }))
}
