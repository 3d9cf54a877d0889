//! What must hold for any bytes that another node sends: envelopes in both forms, frames of the mesh, and its hello.

use bytes::Bytes;
use serde_json::Value;
use sockeye_cluster::mesh::{
    FRAME_BYTES_MAX, FrameDecoder, HELLO_BYTES_MAX, Hello, Spoken, Word, frame_header,
};
use sockeye_cluster::roster::{self, Change, Roster, Say};
use sockeye_cluster::wire::classic::{self, Asked, Place};
use sockeye_cluster::{Envelope, Message, wire};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// An envelope that decodes encodes to one that decodes to the same.
pub fn envelope(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let Ok(first) = wire::decode(&bytes) else { return };
    if let Ok(value) = serde_json::from_slice::<Value>(data) {
        assert_eq!(value["type"], first.message.number());
        for (found, name) in [(&value["uid"], first.uid.as_str()), (&value["nsp"], first.nsp.as_str())] {
            // JavaScript's names may be numbers: those are taken as text.
            assert!(found.is_number() || found == name);
        }
    }
    if has_lookalikes(&first) {
        return;
    }
    // What the first reading makes equal (a binary part that nothing refers to, half a millisecond) is settled by the second.
    let second = again(&first);
    if first.message.attachments().is_empty() {
        assert_eq!(packet(&second), packet(&first), "JSON of the user is carried as it is");
    }
    assert_eq!(again(&second), second);
}

/// msgpack that is read is JSON with a placeholder for each binary part, and is written as what reads the same.
pub fn msgpack(data: &[u8]) {
    let Ok((text, parts)) = wire::msgpack::to_json(&Bytes::copy_from_slice(data)) else { return };
    let text = String::from_utf8(text).expect("JSON is UTF-8");
    if text.matches(PLACEHOLDER).count() != parts.len() {
        return;
    }
    // serde_json has a limit on depth too, one lower than ours.
    let Ok(packed) = wire::msgpack::from_json(text.as_bytes(), &parts) else {
        assert!(text.matches(['[', '{']).count() >= wire::DEPTH_MAX, "no JSON: {text}");
        return;
    };
    let (text_again, parts_again) =
        wire::msgpack::to_json(&Bytes::from(packed)).expect("what we write we read");
    assert_eq!(String::from_utf8(text_again).as_deref(), Ok(&*text));
    assert_eq!(parts_again, parts);
}

/// Events and requests in Redis' classic format are written as what reads the same; responses are read or refused.
pub fn classic(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let _ = classic::decode_response(&bytes);
    if let Ok(first) = classic::decode_event(&bytes) {
        check_classic(&first);
    }
    match classic::decode_request(&"/".into(), &bytes) {
        Ok(Asked::Message(first)) => check_classic(&first),
        // Answered, or an old form of what is written in another today.
        Ok(Asked::Rooms { .. } | Asked::Ids { .. } | Asked::Single { .. }) | Err(_) => {}
    }
}

/// A stream of frames is cut the same however it arrives, and the cut pieces make the stream again.
pub fn mesh_frames(data: &[u8]) {
    let (frames, rest) = cut(data);
    let mut again = Vec::new();
    for frame in &frames {
        again.extend_from_slice(&frame_header(frame.len()).expect("it came in a frame"));
        again.extend_from_slice(frame);
    }
    assert_eq!(again, data[..data.len() - rest.len()]);
    let refused =
        rest.first_chunk().is_some_and(|length| u32::from_be_bytes(*length) as usize > FRAME_BYTES_MAX);
    let seed = data.first().map_or(1, |byte| usize::from(byte % 61) + 1);
    for size in [1, 3, seed, usize::MAX] {
        let mut decoder = FrameDecoder::default();
        let mut found = Vec::new();
        let mut outcome = Ok(());
        'pieces: for mut piece in data.chunks(size) {
            loop {
                match decoder.decode(&mut piece) {
                    Ok(Some(frame)) => found.push(frame),
                    Ok(None) => break,
                    Err(error) => {
                        outcome = Err(error);
                        break 'pieces;
                    }
                }
            }
            assert!(piece.is_empty(), "None means that all is consumed");
        }
        assert_eq!(found, frames, "in pieces of {size}");
        assert_eq!(outcome.is_err(), refused, "in pieces of {size}");
        assert!(refused || decoder.is_idle() == rest.is_empty(), "in pieces of {size}");
    }
}

/// A hello that is understood is said again as what means the same.
pub fn mesh_hello(data: &[u8]) {
    let Ok(hello) = Hello::decode(data) else { return };
    assert!(data.len() <= HELLO_BYTES_MAX);
    assert_eq!(Hello::decode(hello.encode().as_bytes()).expect("what we say we understand"), hello);
    // Values are the second opinion; they look into fields that nobody knows too, down to what the text is made of.
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
    assert_eq!((&value["mesh"], &value["tag"]), (&1.into(), &hello.tag.as_str().into()));
    assert!(value["uid"].is_number() || value["uid"] == hello.uid.as_str());
}

/// A word about a session is said again as what means the same.
pub fn mesh_word(data: &[u8]) {
    let Ok(first) = Spoken::decode(&Bytes::copy_from_slice(data)) else { return };
    if let Word::Missed { entry, .. } = &first.word
        && !entry.packet.attachments.is_empty()
        && count(&entry.packet.data, PLACEHOLDER.as_bytes()) != entry.packet.attachments.len()
    {
        return;
    }
    let again = |spoken: &Spoken| {
        let bytes = spoken.encode().expect("what was read can be written");
        Spoken::decode(&bytes)
            .unwrap_or_else(|error| panic!("{error}: {spoken:?} is {:?}", bytes.escape_ascii()))
    };
    // Half a millisecond is settled by the first.
    let second = again(&first);
    assert_eq!((&second.uid, &second.nsp), (&first.uid, &first.nsp));
    assert_eq!(again(&second), second);
}

/// What is said of presence is read again as what was written, and a list that hears it stays of one mind.
pub fn presence(data: &[u8]) {
    let now = Instant::now();
    let mut roster =
        Roster::new("me".into(), roster::Config { members_max: 16, ..roster::Config::default() }, now);
    // Each line is what somebody says.
    for line in data.split(|byte| *byte == b'\n') {
        let Some(say) = Say::read(line) else { continue };
        let written = say.json();
        assert_eq!(Say::read(written.as_bytes()), Some(say.clone()), "{written}");
        roster.handle_say(say, now);
    }
    // Whoever is listed was told to have joined, once.
    let mut joined = BTreeSet::new();
    while let Some(event) = roster.poll_event() {
        assert_eq!(event.change, Change::Joined);
        assert!(joined.insert((event.room, event.id)));
    }
    let rooms: Vec<_> = roster.rooms().cloned().collect();
    for room in &rooms {
        for (id, _) in roster.members(room) {
            assert!(joined.remove(&(room.clone(), Arc::clone(id))));
        }
    }
    assert!(joined.is_empty());
    // When everybody's time is over nobody is there.
    roster.handle_timeout(now + roster::Config::default().timeout);
    assert_eq!(roster.rooms().count(), 0);
}

fn again(envelope: &Envelope) -> Envelope {
    let bytes = wire::encode(envelope).expect("what was read can be written");
    wire::decode(&bytes).unwrap_or_else(|error| panic!("{error}: {envelope:?} is {:?}", bytes.escape_ascii()))
}

fn check_classic(first: &Envelope) {
    // Text that nests as deep as may be read is too deep for the other form.
    let Some(second) = again_classic(first).filter(|_| !has_lookalikes(first)) else { return };
    assert_eq!((&second.uid, &second.nsp), (&first.uid, &first.nsp));
    assert_eq!(second.message.number(), first.message.number());
    assert_eq!(again_classic(&second).as_ref(), Some(&second));
}

fn again_classic(envelope: &Envelope) -> Option<Envelope> {
    let (place, bytes) = classic::encode(envelope).ok()?.expect("what was read has a form");
    Some(match place {
        Place::Events | Place::Room(_) => classic::decode_event(&bytes).expect("what we write we read"),
        Place::Requests => match classic::decode_request(&envelope.nsp, &bytes)
            .expect("what we write we read")
        {
            Asked::Message(envelope) => envelope,
            asked @ (Asked::Rooms { .. } | Asked::Ids { .. } | Asked::Single { .. }) => panic!("{asked:?}"),
        },
        Place::Responses | Place::CommonResponses => panic!("{envelope:?} was no response"),
    })
}

/// Whether the user's own data looks like a placeholder, which binary messages cannot tell from one (nor can the official encoders).
fn has_lookalikes(envelope: &Envelope) -> bool {
    let parts = envelope.message.attachments().len();
    let written = packet(envelope).map_or(0, |data| count(data, PLACEHOLDER.as_bytes()));
    parts > 0 && written > parts
}

fn count(data: &[u8], word: &[u8]) -> usize {
    data.windows(word.len()).filter(|window| *window == word).count()
}

fn packet(envelope: &Envelope) -> Option<&Bytes> {
    match &envelope.message {
        Message::Broadcast { packet, .. }
        | Message::ServerSideEmit { packet, .. }
        | Message::ServerSideEmitResponse { packet, .. }
        | Message::BroadcastAck { packet, .. }
        | Message::FetchSocketsResponse { sockets: packet, .. } => Some(&packet.data),
        Message::InitialHeartbeat
        | Message::Heartbeat
        | Message::SocketsJoin { .. }
        | Message::SocketsLeave { .. }
        | Message::DisconnectSockets { .. }
        | Message::FetchSockets { .. }
        | Message::BroadcastClientCount { .. }
        | Message::AdapterClose => None,
    }
}

/// The whole frames of a stream, and what follows them.
fn cut(mut data: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut frames = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk()
        && let Some((frame, rest)) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)
    {
        frames.push(frame);
        data = rest;
    }
    (frames, data)
}

const PLACEHOLDER: &str = "_placeholder";
