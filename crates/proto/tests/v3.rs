//! Properties of the v3 codecs: what was encoded is decoded, in every form, and no bytes are too much for the decoders.

use proptest::collection::vec;
use proptest::prelude::*;
use sockeye_proto::engine::v3::payload::{Form, decode_binary, decode_text};
use sockeye_proto::engine::v3::{Jsonp, jsonp, packet};
use sockeye_proto::engine::{Content, Packet};

proptest! {
    #[test]
    fn a_payload_carries_any_packets(contents in contents()) {
        let packets: Vec<Packet<'_>> = contents.iter().map(|content| Packet::Message(match content {
            Ok(text) => Content::Text(text),
            Err(bytes) => Content::Binary(bytes.into()),
        })).collect();
        let text = String::from_utf8(encode(&contents, Form::Text)).unwrap();
        let again: Result<Vec<_>, _> = decode_text(&text).collect();
        prop_assert_eq!(again.as_ref(), Ok(&packets));
        let bytes = encode(&contents, Form::Binary);
        let again: Result<Vec<_>, _> = decode_binary(&bytes).collect();
        prop_assert_eq!(again.as_ref(), Ok(&packets));
    }

    #[test]
    fn a_length_counts_the_code_units_of_javascript(text in "\\PC{0,20}") {
        let mut payload = Vec::new();
        Form::Text.push_text(format!("4{text}").as_bytes(), &mut payload);
        let length = 1 + text.encode_utf16().count();
        prop_assert_eq!(String::from_utf8(payload).unwrap(), format!("{length}:4{text}"));
    }

    #[test]
    fn a_payload_that_ends_early_is_an_error(contents in contents(), cut in 1_usize..8) {
        let whole = encode(&contents, Form::Binary);
        let whole = &whole[..whole.len().saturating_sub(cut)];
        let packets: Vec<_> = decode_binary(whole).collect();
        let all_whole = packets.iter().all(Result::is_ok);
        let written: usize = contents[..packets.len()].iter().map(|one| encode(std::slice::from_ref(one), Form::Binary).len()).sum();
        prop_assert_eq!(all_whole, written == whole.len());
    }

    #[test]
    fn a_script_hands_over_what_it_was_given(payload in "[\\PC\u{2028}\u{2029}\n\"\\\\]{0,30}", j in "[0-9]{0,6}") {
        let script = Jsonp::new(&j).script(&payload);
        let line_ends = ['\u{2028}', '\u{2029}', '\n'];
        prop_assert!(!script.contains(line_ends));
        let json = script.strip_prefix(&format!("___eio[{j}](")).and_then(|rest| rest.strip_suffix(");"));
        prop_assert_eq!(serde_json::from_str::<String>(json.unwrap()).unwrap(), payload);
    }

    #[test]
    fn a_form_carries_what_a_client_escapes(payload in "[a-c\\\\n\n&=+%€]{0,30}") {
        // Its escapes cannot tell a newline behind a backslash from the text `\n`; JSON has no such newline.
        prop_assume!(!payload.contains("\\\n"));
        // engine.io-client 3.5, polling-jsonp.js: `\n` in the data becomes `\\n`, then a newline becomes `\n`.
        let escaped = payload.replace("\\n", "\\\\n");
        let encoded: String = escaped.bytes().map(|byte| format!("%{byte:02x}")).collect();
        // A browser's form makes two characters of a newline, and the client escapes it for that.
        let encoded = encoded.replace("%0a", "%5cn");
        let whole = jsonp::form_payload(&format!("d={encoded}"));
        prop_assert_eq!(whole.as_deref(), Some(&*payload));
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(prop_oneof![any::<u8>(), 0..10_u8, b'0'..b':', Just(255)], 0..60)) {
        drop(decode_binary(&bytes).collect::<Vec<_>>());
        let text = String::from_utf8_lossy(&bytes);
        drop(decode_text(&text).collect::<Vec<_>>());
        drop((jsonp::form_payload(&text), packet::decode_text(&text), packet::decode_binary(&bytes)));
    }
}

fn contents() -> impl Strategy<Value = Vec<Result<String, Vec<u8>>>> {
    vec(prop::result::maybe_ok("\\PC{0,20}", vec(any::<u8>(), 0..40)), 1..6)
}

fn encode(contents: &[Result<String, Vec<u8>>], form: Form) -> Vec<u8> {
    let mut out = Vec::new();
    for content in contents {
        match content {
            Ok(text) => form.push_text(format!("4{text}").as_bytes(), &mut out),
            Err(bytes) => form.push_binary(bytes, &mut out),
        }
    }
    out
}
