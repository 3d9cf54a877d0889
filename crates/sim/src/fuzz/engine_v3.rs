//! What must hold for any bytes that a client of Engine.IO v3 sends, and for any form of JSONP.

use sockeye_proto::engine::v3::payload::{Form, decode_binary, decode_text};
use sockeye_proto::engine::v3::{Jsonp, jsonp};
use sockeye_proto::engine::{Content, Packet, PacketError};

/// A text payload that decodes encodes, in both forms, to what decodes to the same.
pub fn text(data: &[u8]) {
    let Ok(payload) = std::str::from_utf8(data) else { return };
    check(&decode_text(payload).collect::<Vec<_>>());
}

/// A binary payload that decodes encodes, in both forms, to what decodes to the same.
pub fn binary(data: &[u8]) {
    check(&decode_binary(data).collect::<Vec<_>>());
}

/// A form's payload is the field `d`, and a script is one line that hands over what it was given.
pub fn jsonp(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(payload) = jsonp::form_payload(text) {
        // In a thousand fields more than one `d`, or none, is no payload.
        assert!(payload.len() <= 3 * text.len() && text.contains(['d', '%']));
    }
    let script = Jsonp::new(text).script(text);
    assert!(!script.contains(['\n', '\r', '\u{2028}', '\u{2029}']));
    let (call, rest) = script.split_once('(').expect("a script calls");
    let number = call.strip_prefix("___eio[").and_then(|rest| rest.strip_suffix(']'));
    assert!(
        number.is_some_and(|number| number.len() <= 20 && number.bytes().all(|byte| byte.is_ascii_digit()))
    );
    let json = rest.strip_suffix(");").expect("a script ends");
    assert_eq!(serde_json::from_str::<String>(json).as_deref().ok(), Some(text));
}

fn check(decoded: &[Result<Packet<'_>, PacketError>]) {
    let Some((last, before)) = decoded.split_last() else { return };
    assert!(before.iter().all(Result::is_ok), "nothing follows an error");
    let Ok(_) = last else { return };
    let packets: Vec<_> = decoded.iter().flatten().cloned().collect();
    let text = String::from_utf8(encode(&packets, Form::Text)).expect("text payloads are UTF-8");
    assert_eq!(decode_text(&text).collect::<Result<Vec<_>, _>>().as_ref(), Ok(&packets));
    let binary = encode(&packets, Form::Binary);
    assert_eq!(decode_binary(&binary).collect::<Result<Vec<_>, _>>().as_ref(), Ok(&packets));
}

fn encode(packets: &[Packet<'_>], form: Form) -> Vec<u8> {
    let mut out = Vec::new();
    for packet in packets {
        if let Packet::Message(Content::Binary(bytes)) = packet {
            form.push_binary(bytes, &mut out);
        } else {
            let mut text = Vec::new();
            packet.encode_text(&mut text);
            form.push_text(&text, &mut out);
        }
    }
    out
}
