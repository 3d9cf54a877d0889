//! What the Autobahn test suite sends (cases 1 to 7, 9, 10, 12 and 13), as rows for the decoder and the compressors.
//!
//! Each row is fed whole, in chops of 997 bytes and octet by octet; the suite itself runs in `tests/autobahn.rs`.

use std::slice::from_ref;

use sockeye_proto::ws::deflate::{Budget, Compressor, DeflateConfig, Deflater, Limit, Window};
use sockeye_proto::ws::encoder::{deflated_frame, masked_deflated_frame, masked_frame};
use sockeye_proto::ws::{Decoder, Message, Opcode, ProtocolError as E};

#[test]
fn cases_1_text_and_binary_of_every_length_form() {
    for length in [0, 125, 126, 127, 128, 65_535, 65_536] {
        let payload = vec![b'*'; length];
        check(&[f(0x81, &payload)], &[text(&payload)], None);
        let payload = vec![0xFE; length];
        check(&[f(0x82, &payload)], &[binary(&payload)], None);
    }
}

#[test]
fn cases_2_pings_and_pongs() {
    let payload = [0xFE; 125];
    check(&[f(0x89, b"")], &[ping(b"")], None);
    check(&[f(0x89, b"Hello, world!")], &[ping(b"Hello, world!")], None);
    check(
        &[f(0x89, &[0x00, 0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0x00, 0xFF])],
        &[ping(&[0, 255, 254, 253, 252, 251, 0, 255])],
        None,
    );
    check(&[f(0x89, &payload)], &[ping(&payload)], None);
    check(&[f(0x89, &[0xFE; 126])], &[], Some(E::LongControl));
    check(&[f(0x8A, b"")], &["pong []".into()], None);
    check(
        &[f(0x8A, b"unsolicited"), f(0x89, b"ping")],
        &["pong [117, 110, 115, 111, 108, 105, 99, 105, 116, 101, 100]".into(), ping(b"ping")],
        None,
    );
    let payloads: Vec<Vec<u8>> = (0..10).map(|i| format!("payload-{i}").into_bytes()).collect();
    let frames: Vec<_> = payloads.iter().map(|payload| f(0x89, payload)).collect();
    let pings: Vec<_> = payloads.iter().map(|payload| ping(payload)).collect();
    check(&frames, &pings, None);
}

#[test]
fn cases_3_reserved_bits() {
    for (first, before) in [(0x91, 0), (0xA1, 1), (0xB1, 1), (0xC1, 1), (0xD2, 0), (0xE9, 0), (0xF8, 0)] {
        let hello = f(0x81, b"Hello, world!");
        let frames = [vec![hello; before], vec![f(first, b"Hello, world!"), f(0x89, b"")]].concat();
        check(&frames, &vec![text(b"Hello, world!"); before], Some(E::ReservedBits));
    }
}

#[test]
fn cases_4_reserved_opcodes() {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        let bad = |payload| f(0x80 | opcode, payload);
        let error = Some(E::ReservedOpcode(opcode));
        check(&[bad(b"")], &[], error);
        check(&[bad(b"reserved opcode payload")], &[], error);
        let hello = f(0x81, b"Hello, world!");
        check(&[hello, bad(b"Hello, world!"), f(0x89, b"")], &[text(b"Hello, world!")], error);
    }
}

#[test]
fn cases_5_fragments() {
    let (one, two) = (f(0x01, b"fragment1"), f(0x80, b"fragment2"));
    let whole = text(b"fragment1fragment2");
    check(&[f(0x09, b"fragment1"), f(0x80, b"fragment2")], &[], Some(E::FragmentedControl));
    check(&[f(0x0A, b"fragment1"), f(0x80, b"fragment2")], &[], Some(E::FragmentedControl));
    check(&[one.clone(), two.clone()], from_ref(&whole), None);
    check(
        &[one.clone(), f(0x89, b"ping payload"), two.clone()],
        &[ping(b"ping payload"), whole.clone()],
        None,
    );
    for first in [0x80, 0x00] {
        let stray = f(first, b"non-continuation payload");
        check(&[stray.clone(), f(0x81, b"Hello, world!")], &[], Some(E::NothingToContinue));
        check(&[one.clone(), two.clone(), stray, f(0x01, b"")], from_ref(&whole), Some(E::NothingToContinue));
    }
    check(&[one.clone(), f(0x81, b"fragment2")], &[], Some(E::Interleaved));
    check(
        &[
            one,
            f(0x00, b"fragment2"),
            f(0x89, b"pongme 1!"),
            f(0x00, b"fragment3"),
            f(0x00, b"fragment4"),
            f(0x89, b"pongme 2!"),
            f(0x80, b"fragment5"),
        ],
        &[ping(b"pongme 1!"), ping(b"pongme 2!"), text(b"fragment1fragment2fragment3fragment4fragment5")],
        None,
    );
}

#[test]
fn cases_6_utf8() {
    check(&[f(0x01, b""), f(0x00, b""), f(0x80, b"")], &[text(b"")], None);
    check(
        &[f(0x01, b""), f(0x00, b"middle frame payload"), f(0x80, b"")],
        &[text(b"middle frame payload")],
        None,
    );
    for (valid, payload) in UTF8 {
        let (messages, error) = if valid { (vec![text(payload)], None) } else { (vec![], Some(E::NotUtf8)) };
        check(&[f(0x81, payload)], &messages, error);
        check(&octets(payload), &messages, error);
        check(&[f(0x01, payload), f(0x80, b"")], &messages, error);
    }
}

#[test]
fn cases_6_4_bad_text_fails_at_its_first_bad_octet() {
    let start = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4";
    let mut decoder = Decoder::new(MAX);
    let mut feed = |mut bytes: Vec<u8>| decoder.decode(&mut &mut bytes[..]).map(|message| message.is_some());
    assert_eq!(feed(f(0x01, start)), Ok(false));
    assert_eq!(feed(f(0x00, b"\x90")), Err(E::NotUtf8));

    let mut decoder = Decoder::new(MAX);
    let whole = f(0x81, &[start, &b"\x90\x80\x80edited"[..]].concat());
    let head = whole.len() - 9;
    let mut feed =
        |bytes: &[u8]| decoder.decode(&mut &mut bytes.to_vec()[..]).map(|message| message.is_some());
    assert_eq!(feed(&whole[..head]), Ok(false));
    assert_eq!(feed(&whole[head..=head]), Err(E::NotUtf8));
}

#[test]
fn cases_7_closes() {
    let close = |code: u16, reason: &[u8]| f(0x88, &[&code.to_be_bytes()[..], reason].concat());
    let closed = |code: u16, reason: &str| format!("close Some(({code}, {reason:?}))");
    let bye = close(1000, b"");
    for late in [f(0x88, b""), f(0x89, b""), f(0x81, b"late"), f(0x80, b"fragment2")] {
        check(
            &[f(0x81, b"Hello World!"), bye.clone(), late],
            &[text(b"Hello World!"), closed(1000, "")],
            None,
        );
    }
    check(&[f(0x01, b"fragment1"), bye.clone(), f(0x80, b"fragment2")], &[closed(1000, "")], None);
    let long = b"BAsd7&jh23".repeat(26_215);
    check(
        &[f(0x81, &long), f(0x81, b"Hello World!"), bye, f(0x89, b"")],
        &[text(&long), text(b"Hello World!"), closed(1000, "")],
        None,
    );
    check(&[f(0x88, b"")], &["close None".into()], None);
    check(&[f(0x88, b"a")], &[], Some(E::ShortClose));
    check(&[close(1000, b"Hello World!")], &[closed(1000, "Hello World!")], None);
    check(&[close(1000, &[b'*'; 123])], &[closed(1000, &"*".repeat(123))], None);
    check(&[close(1000, &[b'*'; 124])], &[], Some(E::LongControl));
    check(
        &[close(1000, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited")],
        &[],
        Some(E::NotUtf8),
    );
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        check(&[close(code, b"")], &[closed(code, "")], None);
    }
    for code in [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535] {
        check(&[close(code, b"")], &[], Some(E::CloseCode(code)));
    }
}

#[test]
fn cases_9_and_10_large_messages_in_fragments_and_chops() {
    let payload = b"BAsd7&jh23".repeat(26_215);
    for size in [64, 256, 1300, 4096, 65_536, payload.len()] {
        for opcode in [0x01, 0x02] {
            let bytes = fragments(opcode, &payload, size).concat();
            let wanted = if opcode == 1 { text(&payload) } else { binary(&payload) };
            for chop in [64, 997, 2048, usize::MAX] {
                assert_eq!(
                    decode(Decoder::new(MAX), &bytes, chop),
                    (vec![wanted.clone()], None),
                    "{size}, {chop}"
                );
            }
        }
    }
}

#[test]
fn cases_12_and_13_compressed_messages_of_every_size_window_and_takeover() {
    let window = |bits| Limit::To(Window::new(bits).expect("a window"));
    for offer in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=9; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=15; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=9",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=15",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=9, permessage-deflate; server_no_context_takeover, permessage-deflate",
    ] {
        for client_max_window_bits in [Limit::AsOffered, Limit::Refused, window(9)] {
            for client_no_context_takeover in [true, false] {
                let config = DeflateConfig {
                    server_no_context_takeover: None,
                    client_no_context_takeover,
                    client_max_window_bits,
                    ..DeflateConfig::default()
                };
                let answer = config.answer([offer.as_bytes()], &Budget::new(usize::MAX));
                let asked = offer.contains("client_max_window_bits");
                assert_eq!(answer.is_some(), asked || client_max_window_bits != window(9), "{offer}");
                answer.into_iter().for_each(|answer| echo(&answer.agreement));
            }
        }
    }
}

/// Sends messages of all sizes of cases 12 to a server and back.
fn echo(agreement: &sockeye_proto::ws::deflate::Agreement) {
    let mut server = Decoder::new(MAX).with_deflate(agreement);
    let mut client = Decoder::client(MAX).with_deflate(agreement);
    let mut outbound = Deflater::new(agreement.client_max_window_bits);
    let mut inbound = Deflater::new(agreement.server_max_window_bits);
    let mut alone = Compressor::new();
    for (round, size) in [16, 64, 256, 1024, 4096, 8192, 32_768, 131_072, 16].into_iter().enumerate() {
        let payload: Vec<u8> = (0..size).map(|i| TALE[(i * i / 7 + i) % TALE.len()]).collect();
        let mut deflated = Vec::new();
        if agreement.client_no_context_takeover {
            alone.deflate(&payload, agreement.client_max_window_bits, &mut deflated);
        } else {
            outbound.deflate(&payload, &mut deflated);
        }
        let mut bytes = masked_deflated_frame(Opcode::Text, &deflated, [1, 2, 3, round as u8]);
        let mut back = Vec::new();
        match server.decode(&mut &mut bytes[..]).expect("the server understands") {
            Some(Message::Text(text)) if agreement.server_no_context_takeover => {
                alone.deflate(text.as_bytes(), agreement.server_max_window_bits, &mut back);
            }
            Some(Message::Text(text)) => inbound.deflate(text.as_bytes(), &mut back),
            other => panic!("not a text: {other:?}"),
        }
        let mut bytes = deflated_frame(Opcode::Text, &back).to_vec();
        let heard = client.decode(&mut &mut bytes[..]).expect("the client understands");
        assert!(
            heard == Some(Message::Text(str::from_utf8(&payload).expect("ASCII"))),
            "{agreement:?}, {size}"
        );
    }
}

const TALE: &[u8] = br#"{"id":0123456789,"text":"Habe nun, ach!"}"#;

const MAX: usize = 1 << 20;

fn check(frames: &[Vec<u8>], messages: &[String], error: Option<E>) {
    let bytes = frames.concat();
    for chop in [1, 997, usize::MAX] {
        assert_eq!(decode(Decoder::new(MAX), &bytes, chop), (messages.to_vec(), error), "in chops of {chop}");
    }
}

/// A client's frame.
fn f(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = masked_frame(Opcode::Text, payload, [0xAB, 0xCD, 0xEF, 0x12]);
    frame[0] = first;
    frame
}

fn octets(payload: &[u8]) -> Vec<Vec<u8>> {
    fragments(0x01, payload, 1)
}

fn fragments(opcode: u8, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    let mut frames: Vec<_> = payload.chunks(size).map(|chunk| f(0x00, chunk)).collect();
    frames[0][0] |= opcode;
    frames.last_mut().expect("there is a payload")[0] |= 0x80;
    frames
}

fn text(payload: &[u8]) -> String {
    format!("text {}", str::from_utf8(payload).expect("a valid row"))
}

fn binary(payload: &[u8]) -> String {
    format!("binary {payload:?}")
}

fn ping(payload: &[u8]) -> String {
    format!("ping {payload:?}")
}

fn decode(mut decoder: Decoder, bytes: &[u8], chop: usize) -> (Vec<String>, Option<E>) {
    let mut words = Vec::new();
    for mut piece in bytes.to_vec().chunks_mut(chop) {
        loop {
            words.push(match decoder.decode(&mut piece) {
                Ok(None) => break,
                Err(error) => return (words, Some(error)),
                Ok(Some(Message::Text(text))) => format!("text {text}"),
                Ok(Some(Message::Binary(bytes))) => format!("binary {bytes:?}"),
                Ok(Some(Message::Ping(bytes))) => format!("ping {bytes:?}"),
                Ok(Some(Message::Pong(bytes))) => format!("pong {bytes:?}"),
                Ok(Some(Message::Close(close))) => format!("close {close:?}"),
            });
        }
    }
    (words, None)
}

/// The sequences of cases 6.5 to 6.23, most of them from Markus Kuhn's UTF-8 decoder test; whether they are valid.
const UTF8: [(bool, &[u8]); 132] = [
    // Some valid UTF-8 sequences
    (true, b"hello$world"),
    (true, b"hello\xc2\xa2world"),
    (true, b"hello\xe2\x82\xacworld"),
    (true, b"hello\xf0\xa4\xad\xa2world"),
    (true, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"),
    // All prefixes of a valid UTF-8 string that contains multi-byte code points
    (false, b"\xce"),
    (true, b"\xce\xba"),
    (false, b"\xce\xba\xe1"),
    (false, b"\xce\xba\xe1\xbd"),
    (true, b"\xce\xba\xe1\xbd\xb9"),
    (false, b"\xce\xba\xe1\xbd\xb9\xcf"),
    (true, b"\xce\xba\xe1\xbd\xb9\xcf\x83"),
    (false, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce"),
    (true, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc"),
    (false, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce"),
    (true, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"),
    // First possible sequence of a certain length
    (true, b"\x00"),
    (true, b"\xc2\x80"),
    (true, b"\xe0\xa0\x80"),
    (true, b"\xf0\x90\x80\x80"),
    // First possible sequence length 5/6 (invalid codepoints)
    (false, b"\xf8\x88\x80\x80\x80"),
    (false, b"\xfc\x84\x80\x80\x80\x80"),
    // Last possible sequence of a certain length
    (true, b"\x7f"),
    (true, b"\xdf\xbf"),
    (true, b"\xef\xbf\xbf"),
    (true, b"\xf4\x8f\xbf\xbf"),
    // Last possible sequence length 4/5/6 (invalid codepoints)
    (false, b"\xf7\xbf\xbf\xbf"),
    (false, b"\xfb\xbf\xbf\xbf\xbf"),
    (false, b"\xfd\xbf\xbf\xbf\xbf\xbf"),
    // Other boundary conditions
    (true, b"\xed\x9f\xbf"),
    (true, b"\xee\x80\x80"),
    (true, b"\xef\xbf\xbd"),
    (true, b"\xf4\x8f\xbf\xbf"),
    (false, b"\xf4\x90\x80\x80"),
    // Unexpected continuation bytes
    (false, b"\x80"),
    (false, b"\xbf"),
    (false, b"\x80\xbf"),
    (false, b"\x80\xbf\x80"),
    (false, b"\x80\xbf\x80\xbf"),
    (false, b"\x80\xbf\x80\xbf\x80"),
    (false, b"\x80\xbf\x80\xbf\x80\xbf"),
    (false, b"\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96\x97\x98\x99\x9a\x9b\x9c\x9d\x9e\x9f\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xab\xac\xad\xae\xaf\xb0\xb1\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xbb\xbc\xbd\xbe"),
    // Lonely start characters
    (false, b"\xc0 \xc1 \xc2 \xc3 \xc4 \xc5 \xc6 \xc7 \xc8 \xc9 \xca \xcb \xcc \xcd \xce \xcf \xd0 \xd1 \xd2 \xd3 \xd4 \xd5 \xd6 \xd7 \xd8 \xd9 \xda \xdb \xdc \xdd \xde "),
    (false, b"\xe0 \xe1 \xe2 \xe3 \xe4 \xe5 \xe6 \xe7 \xe8 \xe9 \xea \xeb \xec \xed \xee "),
    (false, b"\xf0 \xf1 \xf2 \xf3 \xf4 \xf5 \xf6 "),
    (false, b"\xf8 \xf9 \xfa "),
    (false, b"\xfc "),
    // Sequences with last continuation byte missing
    (false, b"\xc0"),
    (false, b"\xe0\x80"),
    (false, b"\xf0\x80\x80"),
    (false, b"\xf8\x80\x80\x80"),
    (false, b"\xfc\x80\x80\x80\x80"),
    (false, b"\xdf"),
    (false, b"\xef\xbf"),
    (false, b"\xf7\xbf\xbf"),
    (false, b"\xfb\xbf\xbf\xbf"),
    (false, b"\xfd\xbf\xbf\xbf\xbf"),
    // Concatenation of incomplete sequences
    (false, b"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80\xfc\x80\x80\x80\x80\xdf\xef\xbf\xf7\xbf\xbf\xfb\xbf\xbf\xbf\xfd\xbf\xbf\xbf\xbf"),
    // Impossible bytes
    (false, b"\xfe"),
    (false, b"\xff"),
    (false, b"\xfe\xfe\xff\xff"),
    // Examples of an overlong ASCII character
    (false, b"\xc0\xaf"),
    (false, b"\xe0\x80\xaf"),
    (false, b"\xf0\x80\x80\xaf"),
    (false, b"\xf8\x80\x80\x80\xaf"),
    (false, b"\xfc\x80\x80\x80\x80\xaf"),
    // Maximum overlong sequences
    (false, b"\xc1\xbf"),
    (false, b"\xe0\x9f\xbf"),
    (false, b"\xf0\x8f\xbf\xbf"),
    (false, b"\xf8\x87\xbf\xbf\xbf"),
    (false, b"\xfc\x83\xbf\xbf\xbf\xbf"),
    // Overlong representation of the NUL character
    (false, b"\xc0\x80"),
    (false, b"\xe0\x80\x80"),
    (false, b"\xf0\x80\x80\x80"),
    (false, b"\xf8\x80\x80\x80\x80"),
    (false, b"\xfc\x80\x80\x80\x80\x80"),
    // Single UTF-16 surrogates
    (false, b"\xed\xa0\x80"),
    (false, b"\xed\xad\xbf"),
    (false, b"\xed\xae\x80"),
    (false, b"\xed\xaf\xbf"),
    (false, b"\xed\xb0\x80"),
    (false, b"\xed\xbe\x80"),
    (false, b"\xed\xbf\xbf"),
    // Paired UTF-16 surrogates
    (false, b"\xed\xa0\x80\xed\xb0\x80"),
    (false, b"\xed\xa0\x80\xed\xbf\xbf"),
    (false, b"\xed\xad\xbf\xed\xb0\x80"),
    (false, b"\xed\xad\xbf\xed\xbf\xbf"),
    (false, b"\xed\xae\x80\xed\xb0\x80"),
    (false, b"\xed\xae\x80\xed\xbf\xbf"),
    (false, b"\xed\xaf\xbf\xed\xb0\x80"),
    (false, b"\xed\xaf\xbf\xed\xbf\xbf"),
    // Non-character code points (valid UTF-8)
    (true, b"\xef\xbf\xbe"),
    (true, b"\xef\xbf\xbf"),
    (true, b"\xf0\x9f\xbf\xbe"),
    (true, b"\xf0\x9f\xbf\xbf"),
    (true, b"\xf0\xaf\xbf\xbe"),
    (true, b"\xf0\xaf\xbf\xbf"),
    (true, b"\xf0\xbf\xbf\xbe"),
    (true, b"\xf0\xbf\xbf\xbf"),
    (true, b"\xf1\x8f\xbf\xbe"),
    (true, b"\xf1\x8f\xbf\xbf"),
    (true, b"\xf1\x9f\xbf\xbe"),
    (true, b"\xf1\x9f\xbf\xbf"),
    (true, b"\xf1\xaf\xbf\xbe"),
    (true, b"\xf1\xaf\xbf\xbf"),
    (true, b"\xf1\xbf\xbf\xbe"),
    (true, b"\xf1\xbf\xbf\xbf"),
    (true, b"\xf2\x8f\xbf\xbe"),
    (true, b"\xf2\x8f\xbf\xbf"),
    (true, b"\xf2\x9f\xbf\xbe"),
    (true, b"\xf2\x9f\xbf\xbf"),
    (true, b"\xf2\xaf\xbf\xbe"),
    (true, b"\xf2\xaf\xbf\xbf"),
    (true, b"\xf2\xbf\xbf\xbe"),
    (true, b"\xf2\xbf\xbf\xbf"),
    (true, b"\xf3\x8f\xbf\xbe"),
    (true, b"\xf3\x8f\xbf\xbf"),
    (true, b"\xf3\x9f\xbf\xbe"),
    (true, b"\xf3\x9f\xbf\xbf"),
    (true, b"\xf3\xaf\xbf\xbe"),
    (true, b"\xf3\xaf\xbf\xbf"),
    (true, b"\xf3\xbf\xbf\xbe"),
    (true, b"\xf3\xbf\xbf\xbf"),
    (true, b"\xf4\x8f\xbf\xbe"),
    (true, b"\xf4\x8f\xbf\xbf"),
    // Unicode specials (i.e. replacement char)
    (true, b"\xef\xbf\xb9"),
    (true, b"\xef\xbf\xba"),
    (true, b"\xef\xbf\xbb"),
    (true, b"\xef\xbf\xbc"),
    (true, b"\xef\xbf\xbd"),
    (true, b"\xef\xbf\xbe"),
    (true, b"\xef\xbf\xbf"),
];
