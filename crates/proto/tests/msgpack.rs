//! Properties of the msgpack parser: it carries what the text parser carries, and no bytes are too much for it.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use sockeye_proto::socket::packet::ATTACHMENTS_MAX;
use sockeye_proto::socket::{Kind, Packet, msgpack};

proptest! {
    #[test]
    fn an_event_comes_back_whole(
        args in vec(value(), 0..4),
        parts in vec(vec(any::<u8>(), 0..40), 0..5),
        nsp in prop::sample::select(vec!["/", "/admin", "/€/x?y=1", "/a,b"]),
        id in any::<Option<u64>>(),
        ack: bool,
    ) {
        let mut items = vec![json!("name")];
        items.extend(args);
        items.extend((0..parts.len()).map(|num| json!({"_placeholder": true, "num": num})));
        let data = serde_json::to_string(&items).unwrap();
        let attachments: Vec<Bytes> = parts.into_iter().map(Bytes::from).collect();
        let kind = if ack { Kind::Ack } else { Kind::Event };
        let encoded = msgpack::encode(kind, nsp, id, data.as_bytes(), &attachments).unwrap();
        let decoded = msgpack::decode(&encoded.into(), ATTACHMENTS_MAX).unwrap();
        prop_assert_eq!((decoded.kind, &*decoded.nsp, decoded.id), (kind, nsp, id));
        prop_assert_eq!(serde_json::from_str::<Vec<Value>>(&decoded.data).unwrap(), items);
        prop_assert_eq!(decoded.attachments, attachments);
    }

    #[test]
    fn a_packet_that_ends_early_or_late_is_refused(args in vec(value(), 0..3), cut in 1_usize..20) {
        let data = serde_json::to_string(&[vec![json!("a")], args].concat()).unwrap();
        let whole = msgpack::encode(Kind::Event, "/", None, data.as_bytes(), &[]).unwrap();
        let early = Bytes::copy_from_slice(&whole[..whole.len().saturating_sub(cut)]);
        prop_assert!(msgpack::decode(&early, ATTACHMENTS_MAX).is_err());
        let late = Bytes::from([whole, vec![0xc0; cut]].concat());
        prop_assert!(msgpack::decode(&late, ATTACHMENTS_MAX).is_err());
    }

    #[test]
    fn what_is_read_is_what_the_text_parser_admits(bytes in packet()) {
        let Ok(decoded) = msgpack::decode(&bytes.into(), ATTACHMENTS_MAX) else { return Ok(()) };
        prop_assert!(decoded.attachments.len() <= ATTACHMENTS_MAX as usize);
        let text = format!("{}{}", decoded.kind as u8, decoded.data);
        let packet = Packet::decode(&text, ATTACHMENTS_MAX);
        prop_assert_eq!(packet.map(|packet| (packet.kind, packet.data)), Ok((decoded.kind, &*decoded.data)));
    }
}

/// The map of a packet around bytes that may be anything.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    (0..6_u8, vec(any::<u8>(), 0..40))
        .prop_map(|(kind, data)| [b"\x83\xa4type", &[kind][..], b"\xa3nsp\xa1/\xa4data", &data].concat())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no word for it", |float| float.is_finite()).prop_map(Value::from),
        "\\PC{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..18).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{0,4}", inner, 0..18).prop_map(|map| map.into_iter().collect()),
        ]
    })
}
