//! The worked example of `docs/mesh.md` is what this crate reads and writes.

use bytes::Bytes;
use sockeye_cluster::mesh::{FrameDecoder, Hello, frame_header};
use sockeye_cluster::{Envelope, Message, Packet, wire};

const DOC: &str = include_str!("../../../docs/mesh.md");

#[test]
fn the_text_frames_have_the_lengths_and_meanings_that_the_example_states() {
    let frames: Vec<_> = DOC.lines().filter_map(|line| line.split_once("  {")).filter(is_frame).collect();
    assert_eq!(frames.len(), 3);
    for (index, (header, rest)) in frames.into_iter().enumerate() {
        let payload = format!("{{{rest}");
        let length = frame_header(payload.len()).expect("it is short");
        assert_eq!(unhex(header), length, "{payload}");
        if index == 0 {
            let hello = Hello::decode(payload.as_bytes()).expect("the first frame is a hello");
            assert_eq!(Hello::decode(hello.encode().as_bytes()).expect("it is one again"), hello);
        } else {
            let envelope = wire::decode(&Bytes::from(payload.clone())).expect("the others are envelopes");
            assert_eq!(wire::encode(&envelope).expect("it is sendable"), payload);
        }
    }
}

#[test]
fn the_binary_frame_is_the_one_that_the_example_takes_apart() {
    let block = DOC.split("is msgpack:\n\n```\n").nth(1).and_then(|rest| rest.split("\n```").next());
    let lines = block.expect("the example is there").lines();
    let hex: String = lines.filter_map(|line| line.trim_start().split("  ").next()).collect();
    let bytes = unhex(&hex);
    let payload =
        FrameDecoder::default().decode(&mut &bytes[..]).expect("it is short").expect("it is one whole frame");
    let envelope: Envelope = wire::decode(&payload).expect("it is an envelope");
    assert_eq!(wire::encode(&envelope).expect("it is sendable"), payload);
    let packet =
        Packet::binary(r#"["bin",{"_placeholder":true,"num":0},1]"#, vec![Bytes::from_static(&[1, 2, 3])]);
    assert!(matches!(envelope.message, Message::Broadcast { packet: read, .. } if read == packet));
}

fn is_frame((header, _): &(&str, &str)) -> bool {
    header.len() == 11 && header.starts_with("00 00")
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16);
    digits.chunks(2).map(|pair| byte(pair).expect("it is hex")).collect()
}
