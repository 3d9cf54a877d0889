//! Compressed messages: the vectors of RFC 7692, frames of the official `ws`, every broken rule, and what holds for any message.

use flate2::{Decompress, FlushDecompress};
use proptest::collection::vec;
use proptest::prelude::*;
use sockeye_proto::ws::deflate::{Agreement, Compressor, Deflater, Window};
use sockeye_proto::ws::encoder::{deflated_frame, frame, masked_deflated_frame, masked_frame};
use sockeye_proto::ws::{Decoder, Message, Opcode, ProtocolError as E};

#[test]
fn the_examples_of_the_rfc_say_hello() {
    for (messages, wanted) in [
        // RFC 7692 §7.2.3.1 whole, and in two frames.
        ("c107 f248cdc9c90700", "text Hello"),
        ("4103 f248cd 8004 c9c90700", "text Hello"),
        // §7.2.3.2: the second message refers to the first.
        ("c107 f248cdc9c90700 c105 f200110000", "text Hello, text Hello"),
        // §7.2.3.3: a block without compression.
        ("c10b 000500faff48656c6c6f00", "text Hello"),
        // §7.2.3.4: a last block, with and without the byte that follows it; then a message that starts afresh.
        ("c108 f348cdc9c9070000", "text Hello"),
        ("c107 f348cdc9c90700 c107 f248cdc9c90700", "text Hello, text Hello"),
        // §7.2.3.5: two blocks.
        ("c10d f2480500 0000ffffcac9c90700", "text Hello"),
        // §7.2.3.6: an empty message.
        ("c101 00 c201 00", "text , binary []"),
        // §6.1: plain messages and control frames stand between compressed ones.
        (
            "c107 f248cdc9c90700 8102 6869 4103 f248cd 8901 70 8004 c9c90700",
            "text Hello, text hi, ping [112], text Hello",
        ),
    ] {
        check(&unhex(messages), wanted);
    }
}

#[test]
fn messages_of_the_official_client_are_understood() {
    let text = r#"{"id":1,"text":"€ and more"}"#.repeat(40);
    let alone =
        "c12c aa56ca4c51b232d4512a49ad2851b2527ad4b44621312f452137bf2855a9b67a5476547654765476d0c80200";
    check(&unhex(alone), &format!("text {text}"));
    let taken_over = "c107 f248cdc9c90700 c105 f200110000 c101 00 c107 02133a0a600a00";
    check(&unhex(taken_over), "text Hello, text Hello, text , text Hello, Hello");
    let stored_and_last = "c20a 010500faff48656c6c6f";
    check(&unhex(stored_and_last), "binary [72, 101, 108, 108, 111]");
}

#[test]
fn every_broken_rule_has_its_cause() {
    for (frames, error) in [
        // RSV1 on a later fragment, on control frames, beside other reserved bits, on reserved opcodes.
        ("4103 f248cd c004 c9c90700", E::ReservedBits),
        ("c900", E::ReservedBits),
        ("ca00", E::ReservedBits),
        ("c800", E::ReservedBits),
        ("e107 f248cdc9c90700", E::ReservedBits),
        ("d107 f248cdc9c90700", E::ReservedBits),
        ("a100", E::ReservedBits),
        ("c300", E::ReservedBits),
        // Not DEFLATE: a reserved kind of block, a stored block whose length is not confirmed, a reference to before the start.
        ("c102 0707", E::NotDeflated),
        ("c106 000500000048", E::NotDeflated),
        ("c105 f200110000", E::NotDeflated),
        // Text is checked when it is inflated: \xFF stored, and half a character.
        ("c107 000100feffff00", E::NotUtf8),
        ("c108 000200fdffe28200", E::NotUtf8),
    ] {
        for cuts in [1, 2, 5, usize::MAX] {
            assert_eq!(
                decode(takeover(1000), &unhex(frames), cuts).1,
                Some(error),
                "{frames}, in pieces of {cuts}"
            );
        }
    }
    // Nothing was agreed upon.
    assert_eq!(decode(Decoder::client(1000), &unhex("c107 f248cdc9c90700"), 1).1, Some(E::ReservedBits));
    // Each message stands alone: it cannot refer to the one before.
    let alone = Decoder::client(1000).with_deflate(&ALONE);
    assert_eq!(decode(alone, &unhex("c107 f248cdc9c90700 c105 f200110000"), 1).1, Some(E::NotDeflated));
    assert_eq!(E::NotDeflated.close_code(), 1007);
}

#[test]
fn a_message_may_inflate_to_the_limit_and_not_beyond() {
    for size in [0, 1, 255, 256, 257, 1000, 4096, 100_000] {
        for byte_at in [|_: usize| 0_u8, |i: usize| (i.wrapping_mul(2_654_435_761) >> 7) as u8] {
            let message: Vec<u8> = (0..size).map(byte_at).collect();
            let bytes = deflated_frame(Opcode::Binary, &deflate(&message));
            let compressed = bytes.len();
            let (messages, error) = decode(takeover(size.max(compressed)), &bytes, usize::MAX);
            assert_eq!((messages, error), (vec![format!("binary {message:?}")], None), "{size}");
            if size > 0 {
                let max = size - 1;
                assert_eq!(decode(takeover(max), &bytes, usize::MAX).1, Some(E::TooBig { max }), "{size}");
            }
        }
    }
}

#[test]
fn a_bomb_allocates_no_more_than_the_limit() {
    let bomb = deflated_frame(Opcode::Binary, &deflate(&vec![0; 10 << 20]));
    let mut decoder = takeover(100_000);
    let mut bytes = bomb.to_vec();
    assert!(bytes.len() < 100_000);
    assert_eq!(decoder.decode(&mut &mut bytes[..]), Err(E::TooBig { max: 100_000 }));
    assert!(decoder.buffered() <= 100_000, "{}", decoder.buffered());
    assert_eq!(decoder.decode(&mut &mut [0][..]), Ok(None), "nothing follows an error");
    assert!(decoder.is_idle() && decoder.buffered() == 0);
}

#[test]
fn an_idle_decoder_holds_no_message() {
    for agreement in [ALONE, TAKEOVER] {
        let mut decoder = Decoder::client(1000).with_deflate(&agreement);
        let mut bytes = unhex("c107 f248cdc9c90700");
        let mut input = &mut bytes[..];
        assert_eq!(decoder.decode(&mut input), Ok(Some(Message::Text("Hello"))));
        assert!(!decoder.is_idle());
        assert_eq!(decoder.decode(&mut input), Ok(None));
        assert!(decoder.is_idle());
    }
}

#[test]
fn the_first_message_is_compressed_as_in_the_rfc_and_the_second_refers_to_it() {
    let mut deflater = Deflater::new(Window::MAX);
    let mut next = |payload: &[u8]| {
        let mut out = vec![7];
        deflater.deflate(payload, &mut out);
        hex(&out[1..])
    };
    assert_eq!(next(b"Hello"), "f248cdc9c90700");
    assert_eq!(next(b""), "00");
    assert_eq!(next(b"Hello"), "f200110000");
    assert_eq!(hex(&deflate(b"Hello")), "f248cdc9c90700");
    assert_eq!(hex(&deflate(b"")), "00");
}

proptest! {
    // Each case compresses up to a megabyte.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_compressed_alone_comes_out(messages in vec(message(), 1..6), cuts in 1..400_usize, bits in 8..=15_u8) {
        let mut compressor = Compressor::new();
        let mut bytes = Vec::new();
        for message in &messages {
            let mut out = Vec::new();
            compressor.deflate(message, Window::new(bits).unwrap(), &mut out);
            prop_assert_eq!(&inflate_in_steps(&mut Decompress::new_with_window_bits(false, bits.max(9)), &out), message);
            bytes.extend(deflated_frame(Opcode::Binary, &out));
        }
        let wanted: Vec<String> = messages.iter().map(|message| format!("binary {message:?}")).collect();
        prop_assert_eq!(decode(Decoder::client(MAX).with_deflate(&ALONE), &bytes, cuts), (wanted.clone(), None));
        prop_assert_eq!(decode(takeover(MAX), &bytes, cuts), (wanted, None));
    }

    #[test]
    fn what_refers_to_earlier_messages_comes_out(messages in vec(message(), 1..6), cuts in 1..400_usize, bits in 8..=15_u8) {
        let mut deflater = Deflater::new(Window::new(bits).unwrap());
        let mut inflater = Decompress::new_with_window_bits(false, bits.max(9));
        let mut bytes = Vec::new();
        for message in &messages {
            let mut out = Vec::new();
            deflater.deflate(message, &mut out);
            prop_assert_eq!(&inflate_in_steps(&mut inflater, &out), message);
            bytes.extend(masked_deflated_frame(Opcode::Binary, &out, [1, 2, 3, 4]));
            bytes.extend(masked_frame(Opcode::Ping, &out[..out.len().min(9)], [5, 6, 7, 8]));
        }
        let (heard, error) = decode(Decoder::new(MAX).with_deflate(&TAKEOVER), &bytes, cuts);
        let heard: Vec<String> = heard.into_iter().filter(|word| word.starts_with("binary")).collect();
        let wanted: Vec<String> = messages.iter().map(|message| format!("binary {message:?}")).collect();
        prop_assert_eq!((heard, error), (wanted, None));
    }

    #[test]
    fn a_message_in_fragments_comes_out(message in message(), at in any::<prop::sample::Index>(), cuts in 1..100_usize) {
        let deflated = deflate(&message);
        let (head, tail) = deflated.split_at(at.index(deflated.len() + 1));
        let mut first = deflated_frame(Opcode::Binary, head).to_vec();
        first[0] &= 0x7F;
        let bytes = [&first[..], &frame(Opcode::Pong, b"p"), &frame(Opcode::Continuation, tail)].concat();
        let wanted = vec!["pong [112]".to_owned(), format!("binary {message:?}")];
        prop_assert_eq!(decode(takeover(MAX), &bytes, cuts), (wanted, None));
    }

    #[test]
    fn any_bytes_inflate_to_the_same_however_they_are_cut(deflated in vec(vec(any::<u8>(), 0..60), 1..4), cuts in 1..30_usize) {
        let bytes: Vec<u8> = deflated.iter().flat_map(|deflated| deflated_frame(Opcode::Text, deflated)).collect();
        for agreement in [ALONE, TAKEOVER] {
            let decoder = || Decoder::client(5000).with_deflate(&agreement);
            prop_assert_eq!(decode(decoder(), &bytes, cuts), decode(decoder(), &bytes, usize::MAX));
        }
    }
}

const MAX: usize = 100_000;

const TAKEOVER: Agreement = Agreement {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: Window::MAX,
    client_max_window_bits: Window::MAX,
};

const ALONE: Agreement =
    Agreement { server_no_context_takeover: true, client_no_context_takeover: true, ..TAKEOVER };

/// Messages that compress well, badly, or refer far back.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let words = vec(prop::sample::select(vec!["\"id\":", "socket", "é", "{", "}", ",", "1", "4096"]), 0..800);
    prop_oneof![
        words.prop_map(|words| words.concat().into_bytes()),
        vec(any::<u8>(), 0..3000),
        (any::<u8>(), 0..20_000_usize).prop_map(|(byte, size)| vec![byte; size]),
        (vec(any::<u8>(), 1..600), 1..40_usize).prop_map(|(part, times)| part.repeat(times)),
    ]
}

fn takeover(max: usize) -> Decoder {
    Decoder::client(max).with_deflate(&TAKEOVER)
}

fn deflate(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Compressor::new().deflate(payload, Window::MAX, &mut out);
    out
}

/// Inflates a byte at a time, so that every reference is looked up in the window, which has the size that was agreed upon.
fn inflate_in_steps(inflater: &mut Decompress, deflated: &[u8]) -> Vec<u8> {
    let mut input = [deflated, &[0, 0, 0xFF, 0xFF]].concat();
    let mut message = Vec::new();
    loop {
        let (read, written) = (inflater.total_in(), inflater.total_out());
        let mut byte = [0];
        inflater.decompress(&input, &mut byte, FlushDecompress::Sync).expect("what was compressed inflates");
        input.drain(..(inflater.total_in() - read) as usize);
        if inflater.total_out() == written {
            assert!(input.is_empty());
            return message;
        }
        message.push(byte[0]);
    }
}

fn check(bytes: &[u8], wanted: &str) {
    for size in [1, 2, 3, 7, usize::MAX] {
        let (words, error) = decode(takeover(10_000), bytes, size);
        assert_eq!((words.join(", "), error), (wanted.to_owned(), None), "in pieces of {size}");
    }
}

fn decode(mut decoder: Decoder, bytes: &[u8], size: usize) -> (Vec<String>, Option<E>) {
    let mut words = Vec::new();
    for mut piece in bytes.to_vec().chunks_mut(size) {
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
        assert!(piece.is_empty(), "None means that all is consumed");
    }
    (words, None)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16).expect("hex");
    digits.chunks(2).map(pair).collect()
}
