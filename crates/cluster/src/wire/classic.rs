//! The format of `@socket.io/redis-adapter` (classic) and of `@socket.io/redis-emitter`: events, requests and responses, each on channels
//! of its own.
//!
//! An event is msgpack, a request or a response JSON, or msgpack where it has binary parts: receivers tell the two apart by the
//! first byte. A response does not say who sends it, and is no envelope: whoever asked has to know ([`Response`]).
//! Heartbeats and goodbyes have no form here. Nothing in this file knows of Redis.
//!
//! ```
//! use sockeye_cluster::wire::classic::{self, Place};
//! use sockeye_cluster::{Envelope, Message, Selector};
//!
//! let message = Message::SocketsJoin { selector: Selector::to("room1"), rooms: vec!["a".into()] };
//! let envelope = Envelope { uid: "zvvldc".into(), nsp: "/".into(), message };
//! let (place, bytes) = classic::encode(&envelope)?.expect("a join has a form");
//! assert_eq!(place, Place::Requests);
//! assert_eq!(&bytes[..], br#"{"uid":"zvvldc","type":2,"opts":{"rooms":["room1"],"except":[]},"rooms":["a"]}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod read;

use bytes::Bytes;
use sockeye_proto::msgpack::{push_array, push_json, push_map, push_text, push_unsigned};

pub use read::{Asked, Reply, Response, decode_event, decode_request, decode_response, is_event_of};

use super::error::EncodeError;
use super::json::{Object, opts, rooms, string};
use super::msgpack;
use crate::message::{Envelope, Message};
use crate::name::{RequestId, Room, Uid};
use crate::selector::Selector;

/// Room for all but the user's data of a usual event.
const EVENT_BYTES: usize = 128;

/// How a request without a sender is signed by [`decode_request`]: adapters before version 6 name none, and want answers.
pub const UNSIGNED: &str = "";

/// On which of a namespace's channels something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `<key>#<nsp>#`: events for all servers.
    Events,
    /// `<key>#<nsp>#<room>#`: events for exactly one room.
    Room(Room),
    /// `<key>-request#<nsp>#`.
    Requests,
    /// `<key>-response#<nsp>#`, where all look; or its own channel of the one who asked, where that is agreed upon.
    Responses,
    /// `<key>-response#<nsp>#` in any case: official servers answer server-side events here only.
    CommonResponses,
}

/// Writes a message, and says where it belongs. `None`: this format has no words for it, and nobody misses it.
///
/// # Errors
///
/// As [`wire::encode`](crate::wire::encode).
pub fn encode(envelope: &Envelope) -> Result<Option<(Place, Bytes)>, EncodeError> {
    let mut out = Vec::new();
    let place = match &envelope.message {
        Message::Broadcast { request_id: None, selector, .. } => {
            let place = match &*selector.rooms {
                [room] => Place::Room(room.clone()),
                _ => Place::Events,
            };
            return event(envelope).map(|bytes| Some((place, bytes.into())));
        }
        message @ (Message::Broadcast { .. }
        | Message::SocketsJoin { .. }
        | Message::SocketsLeave { .. }
        | Message::DisconnectSockets { .. }
        | Message::FetchSockets { .. }
        | Message::ServerSideEmit { .. }) => {
            request(&mut out, &envelope.uid, envelope, message);
            Place::Requests
        }
        message @ (Message::FetchSocketsResponse { .. }
        | Message::BroadcastClientCount { .. }
        | Message::BroadcastAck { .. }) => {
            response(&mut out, message);
            Place::Responses
        }
        message @ Message::ServerSideEmitResponse { .. } => {
            response(&mut out, message);
            Place::CommonResponses
        }
        Message::InitialHeartbeat | Message::Heartbeat | Message::AdapterClose => return Ok(None),
    };
    let attachments = envelope.message.attachments();
    // Official servers write requests of kind 7 and responses of kind 9 as msgpack always, and read either.
    let packed = matches!(envelope.message, Message::Broadcast { .. } | Message::BroadcastAck { .. });
    if packed || !attachments.is_empty() {
        return msgpack::from_json(&out, attachments).map(|bytes| Some((place, bytes.into())));
    }
    Ok(Some((place, out.into())))
}

/// Writes the answer to [`Asked::Rooms`].
pub fn encode_rooms<'a>(request_id: &RequestId, names: impl IntoIterator<Item = &'a str>) -> Bytes {
    names_of(request_id, "rooms", names)
}

/// Writes the answer to [`Asked::Ids`].
pub fn encode_ids<'a>(request_id: &RequestId, ids: impl IntoIterator<Item = &'a str>) -> Bytes {
    names_of(request_id, "sockets", ids)
}

/// Writes the answer to [`Asked::Single`]: it is done.
pub fn encode_done(request_id: &RequestId) -> Bytes {
    let mut out = Vec::new();
    let mut object = Object::open(&mut out);
    object.string("requestId", request_id);
    object.close();
    out.into()
}

/// `[uid,packet,opts]`: an event of every broadcast passes here, so it is no JSON first.
fn event(envelope: &Envelope) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    let Message::Broadcast { selector, flags, packet, .. } = &envelope.message else { return Ok(out) };
    msgpack::check(&packet.attachments)?;
    out.reserve(EVENT_BYTES + packet.bytes());
    push_array(3, &mut out);
    push_text(&envelope.uid, &mut out);
    push_map(3, &mut out);
    push_text("type", &mut out);
    push_unsigned(2, &mut out);
    push_text("data", &mut out);
    push_json(&packet.data, &packet.attachments, &mut out)?;
    push_text("nsp", &mut out);
    push_text(&envelope.nsp, &mut out);
    msgpack::opts(&mut out, selector, flags);
    Ok(out)
}

/// `{"type":2,"data":[…],"nsp":"/"}`.
fn packet(out: &mut Vec<u8>, envelope: &Envelope) {
    let Message::Broadcast { packet, .. } = &envelope.message else { return };
    let mut object = Object::open(out);
    object.number("type", 2);
    object.key("data").extend_from_slice(&packet.data);
    object.string("nsp", &envelope.nsp);
    object.close();
}

fn request(out: &mut Vec<u8>, uid: &Uid, envelope: &Envelope, message: &Message) {
    let mut object = Object::open(out);
    object.string("uid", uid);
    if let Some(id) = message.asks() {
        object.string("requestId", id);
    }
    match message {
        Message::Broadcast { selector, flags, .. } => {
            object.number("type", 7);
            packet(object.key("packet"), envelope);
            opts(object.key("opts"), selector, flags);
        }
        Message::SocketsJoin { selector, rooms: names } => {
            object.number("type", 2);
            whom(object.key("opts"), selector);
            rooms(object.key("rooms"), names);
        }
        Message::SocketsLeave { selector, rooms: names } => {
            object.number("type", 3);
            whom(object.key("opts"), selector);
            rooms(object.key("rooms"), names);
        }
        Message::DisconnectSockets { selector, close } => {
            object.number("type", 4);
            whom(object.key("opts"), selector);
            object.bool("close", *close);
        }
        Message::FetchSockets { selector, .. } => {
            object.number("type", 5);
            whom(object.key("opts"), selector);
        }
        Message::ServerSideEmit { packet, .. } => {
            object.number("type", 6);
            object.key("data").extend_from_slice(&packet.data);
        }
        Message::InitialHeartbeat
        | Message::Heartbeat
        | Message::FetchSocketsResponse { .. }
        | Message::ServerSideEmitResponse { .. }
        | Message::BroadcastClientCount { .. }
        | Message::BroadcastAck { .. }
        | Message::AdapterClose => {}
    }
    object.close();
}

fn response(out: &mut Vec<u8>, message: &Message) {
    let mut object = Object::open(out);
    match message {
        Message::FetchSocketsResponse { request_id, sockets } => {
            object.string("requestId", request_id);
            object.key("sockets").extend_from_slice(&sockets.data);
        }
        Message::ServerSideEmitResponse { request_id, packet } => {
            object.number("type", 6);
            object.string("requestId", request_id);
            object.key("data").extend_from_slice(&packet.data);
        }
        Message::BroadcastClientCount { request_id, client_count } => {
            object.number("type", 8);
            object.string("requestId", request_id);
            object.number("clientCount", *client_count);
        }
        Message::BroadcastAck { request_id, packet } => {
            object.number("type", 9);
            object.string("requestId", request_id);
            object.key("packet").extend_from_slice(&packet.data);
        }
        Message::InitialHeartbeat
        | Message::Heartbeat
        | Message::Broadcast { .. }
        | Message::SocketsJoin { .. }
        | Message::SocketsLeave { .. }
        | Message::DisconnectSockets { .. }
        | Message::FetchSockets { .. }
        | Message::ServerSideEmit { .. }
        | Message::AdapterClose => {}
    }
    object.close();
}

/// The options of a request, which have no flags.
fn whom(out: &mut Vec<u8>, selector: &Selector) {
    let mut object = Object::open(out);
    rooms(object.key("rooms"), &selector.rooms);
    rooms(object.key("except"), &selector.except);
    object.close();
}

fn names_of<'a>(
    request_id: &RequestId,
    key: &'static str,
    names: impl IntoIterator<Item = &'a str>,
) -> Bytes {
    let mut out = Vec::new();
    let mut object = Object::open(&mut out);
    object.string("requestId", request_id);
    let list = object.key(key);
    list.push(b'[');
    for (index, name) in names.into_iter().enumerate() {
        if index > 0 {
            list.push(b',');
        }
        string(list, name);
    }
    list.push(b']');
    object.close();
    out.into()
}
