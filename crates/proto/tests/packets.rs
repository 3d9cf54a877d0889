//! Properties of the packet codecs: what was encoded is decoded, and JSON is split where its items end.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sockeye_proto::engine::{Content, Packet as EnginePacket, payload};
use sockeye_proto::http::query_param;
use sockeye_proto::socket::event::{Args, RESERVED};
use sockeye_proto::socket::packet::{ATTACHMENTS_MAX, encode_header};
use sockeye_proto::socket::{Event, Kind, Packet, placeholder};
use sockeye_proto::{Sid, Tag};

proptest! {
    #[test]
    fn a_sid_reads_back_and_keeps_its_tag(bits: u64, random: u128) {
        let tag = Tag::from_bits(bits);
        let sid = Sid::new(tag, random);
        prop_assert_eq!(sid.tag(), tag);
        prop_assert_eq!(sid.to_string().parse(), Ok(sid));
        prop_assert_eq!(sid == Sid::new(tag, random ^ 1), false);
    }

    #[test]
    fn a_payload_carries_any_packets(contents in vec(prop::result::maybe_ok("[^\x1e]{0,20}", vec(any::<u8>(), 0..40)), 1..6)) {
        let packets: Vec<EnginePacket<'_>> = contents.iter().map(|content| EnginePacket::Message(match content {
            Ok(text) => Content::Text(text),
            Err(bytes) => Content::Binary(bytes.into()),
        })).collect();
        let encoded = packets.iter().map(|packet| {
            let mut out = Vec::new();
            packet.encode_text(&mut out);
            out
        });
        let mut joined = Vec::new();
        payload::join(encoded, &mut joined);
        let text = String::from_utf8(joined).unwrap();
        let decoded: Result<Vec<_>, _> = payload::decode(&text).collect();
        prop_assert_eq!(decoded, Ok(packets));
    }

    #[test]
    fn an_event_comes_back_whole(
        name in "\\PC{0,12}",
        args in vec(value(), 0..4),
        nsp in prop::sample::select(vec!["/", "/admin", "/€/x?y=1"]),
        id in any::<Option<u64>>(),
        attachments in 0..=ATTACHMENTS_MAX,
        pretty: bool,
    ) {
        prop_assume!(!RESERVED.contains(&&*name));
        let mut array = vec![json!(name)];
        array.extend(args.iter().cloned());
        let data = if pretty { serde_json::to_string_pretty(&array) } else { serde_json::to_string(&array) }.unwrap();
        let kind = if attachments == 0 { Kind::Event } else { Kind::BinaryEvent };
        let mut out = Vec::new();
        encode_header(kind, nsp, id, attachments, &mut out);
        out.extend_from_slice(data.as_bytes());
        let text = String::from_utf8(out).unwrap();
        let packet = Packet::decode(&text, ATTACHMENTS_MAX).unwrap();
        prop_assert_eq!(packet, Packet { kind, nsp, id, attachments, data: &data });
        let event = Event::split(packet.data).unwrap();
        prop_assert_eq!(&*event.name, &*name);
        let read: Vec<Value> = event.args().map(parse).collect();
        prop_assert_eq!(read, args);
    }

    #[test]
    fn an_ack_comes_back_whole(args in vec(value(), 0..4)) {
        let text = format!("37{}", serde_json::to_string(&args).unwrap());
        let packet = Packet::decode(&text, ATTACHMENTS_MAX).unwrap();
        prop_assert_eq!((packet.kind, packet.id), (Kind::Ack, Some(7)));
        prop_assert_eq!(Args::of_array(packet.data).map(parse).collect::<Vec<_>>(), args);
    }

    #[test]
    fn placeholders_are_counted_as_a_walk_over_the_values_counts_them(
        value in value(),
        attachments in 0..3u32,
    ) {
        let counted = walk(&value, attachments);
        prop_assert_eq!(placeholder::check(&value.to_string(), attachments).ok(), counted);
    }

    #[test]
    fn an_encoded_query_value_is_found(value in "\\PC{0,20}", other in "[a-z]{1,5}") {
        let encoded: String = value.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let query = format!("x{other}=1&key={encoded}&{other}");
        let found = query_param(&query, "key");
        prop_assert_eq!(found.as_deref(), Some(&*value));
    }

    #[test]
    fn any_text_is_decoded_or_refused(text in "\\PC{0,60}") {
        let _ = EnginePacket::decode_text(&text);
        let _ = Packet::decode(&text, ATTACHMENTS_MAX);
        let _ = placeholder::check(&text, 1);
        let _ = Event::split(&text).map(|event| event.args().count());
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i16>().prop_map(|n| Value::from(f64::from(n) / 8.0)),
        "\\PC{0,10}".prop_map(Value::from),
        Just(json!("a\"],[\\")),
        (0..4u32).prop_map(|num| json!({"_placeholder": true, "num": num})),
        Just(json!({"_placeholder": false, "num": 7})),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("\\PC{0,6}", inner, 0..4)
                .prop_map(|map| Value::from(serde_json::Map::from_iter(map))),
        ]
    })
}

fn walk(value: &Value, attachments: u32) -> Option<u32> {
    let sum = |count, value| Some(count + walk(value, attachments)?);
    match value {
        Value::Array(items) => items.iter().try_fold(0, sum),
        Value::Object(map) if map.get("_placeholder") == Some(&json!(true)) => {
            map["num"].as_u64().is_some_and(|num| num < u64::from(attachments)).then_some(1)
        }
        Value::Object(map) => map.values().try_fold(0, sum),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(0),
    }
}

fn parse(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).expect("raw values are JSON")
}
