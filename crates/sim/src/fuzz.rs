//! What must hold for any bytes: one function per decoder, each with its oracle. Here those of `proto`, in the modules below the rest.
//!
//! The same functions are called by the targets in `fuzz/` and, with its corpus, by `tests/fuzz_corpus.rs`. They panic when
//! a property does not hold.

pub use sockeye_client::fuzz::{cookie as client_cookie, session as client_session};
pub use sockeye_edge::fuzz::{answer as edge_answer, request as edge_request};
pub use sockeye_settings::fuzz::{
    apache as import_apache, file as settings_file, haproxy as import_haproxy, nginx as import_nginx,
};

pub mod cluster;
pub mod deflate;
pub mod dialects;
pub mod engine_v3;
pub mod files;
pub mod link;
mod messages;

use self::messages::{Owned, decode};
use serde_json::Value;
use sockeye_proto::engine::{Content, Opened, Packet as EnginePacket, Query, payload};
use sockeye_proto::http::{Head, Status, query_pairs, query_param};
use sockeye_proto::socket::event::{Args, RESERVED};
use sockeye_proto::socket::packet::{ATTACHMENTS_MAX, encode_header};
use sockeye_proto::socket::{Event, Kind, Packet, placeholder};
use sockeye_proto::ws::{Decoder, Opcode, encoder};
use sockeye_proto::{ProxyHeader, Sid, Tag};

/// A fuzz target: its name, which is its corpus' folder, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 36] = [
    ("sid", sid),
    ("http_head", http_head),
    ("ws_server", ws_server),
    ("ws_client", ws_client),
    ("ws_deflate", deflate::stream),
    ("ws_offer", deflate::offer),
    ("engine_packet", engine_packet),
    ("engine_query", engine_query),
    ("engine_opened", engine_opened),
    ("engine_v3_text", engine_v3::text),
    ("engine_v3_binary", engine_v3::binary),
    ("jsonp", engine_v3::jsonp),
    ("socket_packet", socket_packet),
    ("socket_event", socket_event),
    ("socket_msgpack", dialects::socket_msgpack),
    ("socket_client", dialects::socket_client),
    ("placeholder", placeholders),
    ("cluster_classic", cluster::classic),
    ("cluster_envelope", cluster::envelope),
    ("cluster_msgpack", cluster::msgpack),
    ("mesh_frames", cluster::mesh_frames),
    ("mesh_hello", cluster::mesh_hello),
    ("presence", cluster::presence),
    ("plain_link", link::plain),
    ("proxy_header", proxy_header),
    ("mesh_word", cluster::mesh_word),
    ("client_session", client_session),
    ("client_cookie", client_cookie),
    ("edge_request", edge_request),
    ("edge_answer", edge_answer),
    ("worker_pages", link::pages),
    ("settings_file", settings_file),
    ("import_nginx", import_nginx),
    ("import_haproxy", import_haproxy),
    ("import_apache", import_apache),
    ("doctor_file", files::doctor),
];

/// What a PROXY header says is written, in both versions, as what reads the same; and it is said only once it is whole.
pub fn proxy_header(data: &[u8]) {
    let Ok(Some((header, length))) = ProxyHeader::parse(data) else { return };
    for end in 0..length {
        assert_eq!(ProxyHeader::parse(&data[..end]), Ok(None), "cut at {end}");
    }
    for written in [header.to_text(), header.to_binary()] {
        assert_eq!(ProxyHeader::parse(&written), Ok(Some((header, written.len()))));
    }
}

/// What is read off a handshake's answer stands there, and nothing that follows the packet changes it.
pub fn engine_opened(data: &[u8]) {
    let Some(opened) = Opened::find(data) else { return };
    assert!(!opened.sid.is_empty() && opened.sid.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(!opened.sid.contains(['"', '\\']));
    assert!(data.windows(opened.sid.len()).any(|part| part == opened.sid.as_bytes()));
    let longer = [data, b"}{\"sid\":\"other\"}"].concat();
    assert_eq!(Opened::find(&longer), Some(opened));
}

/// Ids that parse print as what was parsed.
pub fn sid(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(tag) = text.parse::<Tag>() {
        assert_eq!(tag.to_string(), text);
    }
    if let Ok(sid) = text.parse::<Sid>() {
        assert_eq!(sid.to_string(), text);
        assert!(text.starts_with(sid.tag().as_str()));
    }
}

/// A head is whole at one length, whatever follows it, and never twice ambiguous about its body.
pub fn http_head(data: &[u8]) {
    let Ok(Status::Complete((head, length))) = Head::parse(data) else { return };
    assert!(length <= data.len());
    for cut in [1, 2, length / 2].map(|less| length.saturating_sub(less)) {
        assert!(!matches!(Head::parse(&data[..cut]), Ok(Status::Complete(_))), "whole before its end");
    }
    let again = Head::parse(&data[..length]);
    assert!(
        matches!(&again, Ok(Status::Complete((again, same))) if *same == length && again.target() == head.target())
    );
    let lengths = head.headers().filter(|(name, _)| name.eq_ignore_ascii_case("content-length")).count();
    let encoded = head.headers().any(|(name, _)| name.eq_ignore_ascii_case("transfer-encoding"));
    assert!(lengths + usize::from(encoded) <= 1);
    assert!(head.headers().all(|(name, _)| !name.is_empty() && !name.ends_with(' ')));
    assert_eq!(head.is_websocket_upgrade(), head.websocket_key().is_some());
    let _ = head.query("sid");
}

/// A server's decoder makes the same of a stream however it is cut, and says again what it understood.
pub fn ws_server(data: &[u8]) {
    ws(|| Decoder::new(1000), data, |opcode, payload| encoder::masked_frame(opcode, payload, [1, 2, 3, 4]));
}

/// A client's decoder makes the same of a stream however it is cut, and says again what it understood.
pub fn ws_client(data: &[u8]) {
    ws(|| Decoder::client(1000), data, |opcode, payload| encoder::frame(opcode, payload).to_vec());
}

/// A packet or payload that decodes encodes to the same again.
pub fn engine_packet(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let decoded: Result<Vec<_>, _> = payload::decode(text).collect();
    let pieces: Result<Vec<_>, _> = text.split('\x1e').map(EnginePacket::decode_text).collect();
    assert_eq!(decoded, pieces);
    let Ok(packets) = decoded else { return };
    let mut joined = Vec::new();
    payload::join(packets.iter().map(encode), &mut joined);
    let joined = String::from_utf8(joined).expect("text packets are UTF-8");
    let again: Result<Vec<_>, _> = payload::decode(&joined).collect();
    assert_eq!(again.as_ref(), Ok(&packets));
    if packets.iter().all(|packet| matches!(packet, EnginePacket::Message(Content::Text(_)))) {
        assert_eq!(joined, text);
    }
}

/// The first pair of a name is the one that is found, and a query never names a session that has no sid's shape.
pub fn engine_query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for (name, _) in query_pairs(text).take(5) {
        let first = query_pairs(text).find(|(key, _)| *key == name).map(|(_, value)| value);
        assert_eq!(query_param(text, &name), first);
    }
    if let Some(sid) = Query::parse(text).sid() {
        assert_eq!(query_param(text, "sid").as_deref(), Some(sid.as_str()));
    }
}

/// A packet that decodes carries what its kind carries, and encodes to a packet that decodes to the same.
pub fn socket_packet(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(packet) = Packet::decode(text, ATTACHMENTS_MAX) else { return };
    assert_eq!(packet.kind.is_binary(), packet.attachments > 0);
    assert!(packet.attachments <= ATTACHMENTS_MAX && packet.nsp.starts_with('/'));
    let mut header = Vec::new();
    encode_header(packet.kind, packet.nsp, packet.id, packet.attachments, &mut header);
    let again = String::from_utf8(header).expect("headers are UTF-8") + packet.data;
    assert_eq!(Packet::decode(&again, ATTACHMENTS_MAX), Ok(packet));
    // Values are the second opinion, within their limits on depth, numbers and surrogates.
    let Ok(value) = serde_json::from_str::<Value>(packet.data) else { return };
    match packet.kind {
        Kind::Connect => assert!(value.is_object()),
        Kind::Disconnect => panic!("a disconnect has no payload"),
        Kind::ConnectError => assert!(value.is_object() || value.is_string()),
        Kind::Ack | Kind::BinaryAck => assert!(value.is_array()),
        Kind::Event | Kind::BinaryEvent => {
            let name = &value[0];
            assert!(name.is_number() || name.as_str().is_some_and(|name| !RESERVED.contains(&name)));
        }
    }
}

/// An array that is JSON splits into the name and the arguments that a parser finds in it.
pub fn socket_event(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let event = Event::split(text);
    let Ok(values) = serde_json::from_str::<Vec<Value>>(text) else {
        let _ = event.map(|event| event.args().count());
        return;
    };
    let admitted = match values.first() {
        Some(Value::String(name)) => !RESERVED.contains(&&**name),
        Some(name) => name.is_number(),
        None => false,
    };
    assert_eq!(event.is_ok(), admitted);
    assert_eq!(parse(Args::of_array(text)), values);
    if let Ok(event) = event {
        if let Value::String(name) = &values[0] {
            assert_eq!(event.name, **name);
        }
        assert_eq!(parse(event.args()), values[1..]);
    }
}

/// More attachments never make a good payload bad, nor change how many placeholders there are.
pub fn placeholders(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(count) = placeholder::check(text, 2) else { return };
    assert!(serde_json::from_str::<Value>(text).is_ok());
    assert_eq!(placeholder::check(text, ATTACHMENTS_MAX), Ok(count));
    assert_eq!(placeholder::check(text, 0).is_ok(), count == 0);
}

fn ws(decoder: impl Fn() -> Decoder, data: &[u8], write: impl Fn(Opcode, &[u8]) -> Vec<u8>) {
    let whole = decode(decoder(), data, usize::MAX);
    let seed = data.first().map_or(1, |byte| usize::from(byte % 61) + 1);
    for size in [1, 2, 5, seed] {
        assert_eq!(decode(decoder(), data, size), whole, "in pieces of {size}");
    }
    let (messages, _) = whole;
    let said: Vec<u8> = messages.iter().flat_map(|Owned(opcode, payload)| write(*opcode, payload)).collect();
    assert_eq!(decode(decoder(), &said, usize::MAX), (messages, None));
}

fn encode(packet: &EnginePacket<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    packet.encode_text(&mut out);
    out
}

fn parse(args: Args<'_>) -> Vec<Value> {
    args.map(|raw| serde_json::from_str(raw.get()).expect("a raw value is JSON")).collect()
}
