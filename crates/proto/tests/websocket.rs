//! Properties of the WebSocket decoder: what was meant comes out, however the bytes were cut, and tungstenite agrees.

use std::io::{self, Read, Write};

use proptest::collection::vec;
use proptest::prelude::*;
use sockeye_proto::ws::encoder::{frame, masked_frame};
use sockeye_proto::ws::{Decoder, Message, Opcode, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, error::ProtocolError as TheirError};

const MAX: usize = 70_000;

proptest! {
    #[test]
    fn what_was_sent_comes_out_however_it_is_cut(script in script(), cuts in vec(1..300usize, 1..20)) {
        let (bytes, meant) = write(&script, Role::Client);
        prop_assert_eq!(decode(Decoder::new(MAX), &bytes, &cuts), (meant.clone(), None));
        prop_assert_eq!(decode(Decoder::new(MAX), &bytes, &[usize::MAX]), (meant.clone(), None));
        prop_assert_eq!(oracle(&bytes), (meant, Oracle::NeedsMore));
    }

    #[test]
    fn a_client_hears_what_a_server_says(script in script(), cuts in vec(1..300usize, 1..20)) {
        let (bytes, meant) = write(&script, Role::Server);
        prop_assert_eq!(decode(Decoder::client(MAX), &bytes, &cuts), (meant, None));
    }

    #[test]
    fn broken_streams_break_at_the_same_message_as_in_tungstenite(
        frames in vec(wild_frame(), 1..8),
        cuts in vec(1..40usize, 1..10),
    ) {
        let bytes = frames.concat();
        let ours = decode(Decoder::new(MAX), &bytes, &[usize::MAX]);
        prop_assert_eq!(&decode(Decoder::new(MAX), &bytes, &cuts), &ours, "cut otherwise");
        let (messages, error) = ours;
        let (their_messages, end) = oracle(&bytes);
        match error {
            // It hands such a close frame out and answers with 1002.
            Some(ProtocolError::CloseCode(_)) => prop_assert_eq!(&messages[..], &their_messages[..messages.len()]),
            Some(_) => {
                prop_assert_eq!(messages, their_messages);
                prop_assert_ne!(end, Oracle::Closed, "a bad frame may be refused late, but not be accepted");
            }
            None => {
                let closed = messages.last().is_some_and(|message| matches!(message, Meant::Close(_)));
                prop_assert_eq!(messages, their_messages);
                prop_assert_eq!(end, if closed { Oracle::Closed } else { Oracle::NeedsMore });
            }
        }
    }

    #[test]
    fn any_bytes_mean_the_same_in_one_piece_and_byte_by_byte(bytes in vec(any::<u8>(), 0..200)) {
        for decoder in [|| Decoder::new(1000), || Decoder::client(1000)] {
            prop_assert_eq!(decode(decoder(), &bytes, &[1]), decode(decoder(), &bytes, &[usize::MAX]));
        }
    }
}

/// A message, owned.
#[derive(Clone, Debug, PartialEq)]
enum Meant {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

/// A message, where to cut it into frames, and a control frame to put between them.
type Step = (Meant, Vec<prop::sample::Index>, Option<Meant>);

fn script() -> impl Strategy<Value = Vec<Step>> {
    let control = prop_oneof![
        vec(any::<u8>(), 0..126).prop_map(Meant::Ping),
        vec(any::<u8>(), 0..126).prop_map(Meant::Pong),
    ];
    let long = (65_530..65_545usize).prop_map(|len| Meant::Binary((0..len).map(|i| i as u8).collect()));
    let data = prop_oneof![
        8 => "\\PC{0,40}".prop_map(Meant::Text),
        4 => vec(any::<u8>(), 0..300).prop_map(Meant::Binary),
        1 => long,
        2 => control.clone(),
    ];
    vec((data, vec(any::<prop::sample::Index>(), 0..4), prop::option::of(control)), 0..6)
}

/// Writes a script as bytes, and what a decoder is to make of them.
fn write(script: &[Step], role: Role) -> (Vec<u8>, Vec<Meant>) {
    let (mut bytes, mut meant) = (Vec::new(), Vec::new());
    let mut put = |fin: bool, opcode: Opcode, payload: &[u8]| {
        let start = bytes.len();
        match role {
            Role::Client => bytes.extend(masked_frame(opcode, payload, [0x12, 0x34, 0x56, start as u8])),
            Role::Server => bytes.extend(frame(opcode, payload)),
        }
        if !fin {
            bytes[start] &= 0x7F;
        }
    };
    for (message, cuts, between) in script {
        let (mut opcode, payload) = wire(message);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
        if opcode.is_control() {
            cuts.clear();
        }
        cuts.sort_unstable();
        let mut start = 0;
        for cut in &cuts {
            put(false, opcode, &payload[start..*cut]);
            (opcode, start) = (Opcode::Continuation, *cut);
        }
        if let Some(control) = between {
            let (opcode, payload) = wire(control);
            put(true, opcode, payload);
            meant.push(control.clone());
        }
        put(true, opcode, &payload[start..]);
        meant.push(message.clone());
    }
    (bytes, meant)
}

fn wire(message: &Meant) -> (Opcode, &[u8]) {
    match message {
        Meant::Text(text) => (Opcode::Text, text.as_bytes()),
        Meant::Binary(bytes) => (Opcode::Binary, bytes),
        Meant::Ping(bytes) => (Opcode::Ping, bytes),
        Meant::Pong(bytes) => (Opcode::Pong, bytes),
        Meant::Close(_) => (Opcode::Close, &[]),
    }
}

/// A frame that is often right, and wrong in one of many ways else.
fn wild_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        12 => prop::sample::select(vec![0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8A, 0x88_u8]),
        1 => any::<u8>(),
    ];
    // Without 1014 (bad gateway), which was registered after the RFC: tungstenite refuses it.
    let code = prop_oneof![990..1014u16, 1015..1020u16, 2990..3010u16, 4990..5010u16];
    let payload = prop_oneof![
        6 => "\\PC{0,20}".prop_map(String::into_bytes),
        2 => vec(any::<u8>(), 0..140),
        2 => (code, "[a-z]{0,5}")
            .prop_map(|(code, reason)| [&code.to_be_bytes()[..], reason.as_bytes()].concat()),
    ];
    let masked = prop::bool::weighted(0.97);
    (first, payload, masked, prop::option::weighted(0.05, any::<prop::sample::Index>())).prop_map(
        |(first, payload, masked, truncated)| {
            let mut bytes = if masked {
                masked_frame(Opcode::Text, &payload, [9, 8, 7, 6])
            } else {
                frame(Opcode::Text, &payload).to_vec()
            };
            bytes[0] = first;
            if let Some(index) = truncated {
                bytes.truncate(index.index(bytes.len() + 1));
            }
            bytes
        },
    )
}

/// Decodes `bytes` in pieces whose sizes go round in `cuts`.
fn decode(mut decoder: Decoder, bytes: &[u8], cuts: &[usize]) -> (Vec<Meant>, Option<ProtocolError>) {
    let mut bytes = bytes.to_vec();
    let (mut rest, mut cuts) = (&mut bytes[..], cuts.iter().cycle());
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let len = cuts.next().map_or(rest.len(), |cut| rest.len().min(*cut));
        let (mut piece, tail) = rest.split_at_mut(len);
        rest = tail;
        loop {
            messages.push(match decoder.decode(&mut piece) {
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
                Ok(Some(Message::Text(text))) => Meant::Text(text.to_owned()),
                Ok(Some(Message::Binary(bytes))) => Meant::Binary(bytes.to_vec()),
                Ok(Some(Message::Ping(bytes))) => Meant::Ping(bytes.to_vec()),
                Ok(Some(Message::Pong(bytes))) => Meant::Pong(bytes.to_vec()),
                Ok(Some(Message::Close(close))) => {
                    Meant::Close(close.map(|(code, reason)| (code, reason.to_owned())))
                }
            });
        }
        assert!(piece.is_empty(), "None means that all is consumed");
    }
    (messages, None)
}

#[derive(Debug, PartialEq)]
enum Oracle {
    NeedsMore,
    Closed,
    Refused,
}

/// What tungstenite makes of the same bytes.
fn oracle(bytes: &[u8]) -> (Vec<Meant>, Oracle) {
    let config = WebSocketConfig::default().max_message_size(Some(MAX)).max_frame_size(Some(MAX));
    let mut socket = WebSocket::from_raw_socket(Tape(bytes), Role::Server, Some(config));
    let mut messages = Vec::new();
    loop {
        messages.push(match socket.read() {
            Ok(tungstenite::Message::Text(text)) => Meant::Text(text.as_str().to_owned()),
            Ok(tungstenite::Message::Binary(bytes)) => Meant::Binary(bytes.to_vec()),
            Ok(tungstenite::Message::Ping(bytes)) => Meant::Ping(bytes.to_vec()),
            Ok(tungstenite::Message::Pong(bytes)) => Meant::Pong(bytes.to_vec()),
            Ok(tungstenite::Message::Close(close)) => {
                let close = close.map(|close| (u16::from(close.code), close.reason.as_str().to_owned()));
                messages.push(Meant::Close(close));
                return (messages, Oracle::Closed);
            }
            Ok(tungstenite::Message::Frame(_)) => panic!("reading yields no raw frames"),
            Err(tungstenite::Error::Protocol(TheirError::ResetWithoutClosingHandshake)) => {
                return (messages, Oracle::NeedsMore);
            }
            Err(_) => return (messages, Oracle::Refused),
        });
    }
}

/// A stream that plays bytes and swallows answers.
struct Tape<'a>(&'a [u8]);

impl Read for Tape<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Tape<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
