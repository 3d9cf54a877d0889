//! What is done for a request that was understood.

use super::fields::{Disconnect, Emit, Sockets, Whom};
use super::problem::Problem;
use super::voices::Voices;
use crate::core::Core;
use crate::payload::{EmitError, Payload};
use crate::reach::{Reach, Visit};
use http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sockeye_cluster::{Flags, Message, Outcome, Packet, Request, Why};
use sockeye_proto::socket::event::RESERVED;
use std::sync::Arc;

/// What a request does through a server.
pub(super) struct Calls<'a> {
    pub(super) core: &'a Arc<Core>,
    pub(super) voices: &'a Voices,
}

/// A list of sockets, and of the servers that did not tell theirs.
#[derive(Serialize)]
struct Listing<'a> {
    nsp: &'a str,
    complete: bool,
    sockets: Vec<Value>,
    missing: Vec<Absent>,
}

/// A server that did not tell its sockets.
#[derive(Serialize)]
struct Absent {
    node: String,
    why: &'static str,
}

impl Calls<'_> {
    pub(super) async fn emit(&self, call: Emit) -> Result<Vec<u8>, Problem> {
        let Emit { whom, flags, event, args } = call;
        match self.reach(&whom)? {
            Reach::Hub(hub) => {
                hub.publish(whom.selector, flags, &event, &args).map_err(|error| unsayable(&error, &event))?
            }
            Reach::Backplane(_) if flags.local => {}
            Reach::Backplane(visit) => {
                let packet = packet(&event, &args).map_err(|error| unsayable(&error, &event))?;
                let message = Message::Broadcast { selector: whom.selector, flags, packet, request_id: None };
                self.say(&visit, message).await?;
            }
        }
        Ok(done())
    }

    pub(super) async fn disconnect(&self, call: Disconnect) -> Result<Vec<u8>, Problem> {
        let Disconnect { whom, close } = call;
        match self.reach(&whom)? {
            Reach::Hub(hub) => hub.disconnect(whom.selector, close),
            Reach::Backplane(visit) => {
                let message = Message::DisconnectSockets { selector: whom.selector, close };
                self.say(&visit, message).await?;
            }
        }
        Ok(done())
    }

    pub(super) async fn sockets(&self, call: Sockets) -> Result<Vec<u8>, Problem> {
        let Sockets { whom, timeout } = call;
        let reach = self.reach(&whom)?;
        let flags = Flags { timeout, ..Flags::default() };
        let request = Request::FetchSockets { selector: whom.selector.clone(), flags };
        let outcome = match reach {
            Reach::Hub(hub) => {
                hub.ask(request).await.map_err(|unanswered| unavailable(format!("{unanswered:?}")))?
            }
            Reach::Backplane(visit) => visit.ask(request).await.map_err(unavailable)?,
        };
        Ok(listing(&whom, &outcome))
    }

    fn reach(&self, whom: &Whom) -> Result<Reach, Problem> {
        self.core.reach(&whom.nsp).ok_or_else(|| {
            let fix = format!("known are {}", self.core.namespaces().join(", "));
            Problem::field("nsp", Some(&whom.nsp), "this server has no such namespace, and is alone", fix)
                .with_status(StatusCode::NOT_FOUND)
        })
    }

    async fn say(&self, visit: &Visit, message: Message) -> Result<(), Problem> {
        self.voices.say(&visit.adapter, &visit.nsp, message).await.map_err(unavailable)
    }
}

/// `["name",arg,…]`, as it goes to other servers.
fn packet(event: &str, args: &impl Payload) -> Result<Packet, EmitError> {
    if RESERVED.contains(&event) {
        return Err(EmitError::ReservedName(event.to_owned()));
    }
    let mut data = vec![b'['];
    serde_json::to_writer(&mut data, event)?;
    let mut rest = Vec::new();
    args.append_to(&mut rest, &mut Vec::new())?;
    if !rest.is_empty() {
        data.push(b',');
        data.append(&mut rest);
    }
    data.push(b']');
    Ok(Packet::text(data))
}

fn unsayable(error: &EmitError, event: &str) -> Problem {
    Problem::field(
        "event",
        Some(event),
        error.to_string(),
        "use another name: this one is the protocol's own",
    )
}

fn unavailable(why: String) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("the other servers could not be reached: {why}"),
        "try again",
    )
}

fn done() -> Vec<u8> {
    br#"{"ok":true}"#.to_vec()
}

fn listing(whom: &Whom, outcome: &Outcome) -> Vec<u8> {
    let mut missing: Vec<Absent> = outcome
        .missing
        .iter()
        .map(|missing| Absent { node: missing.uid.to_string(), why: why(missing.why) })
        .collect();
    let mut sockets = Vec::new();
    for answer in &outcome.answers {
        match serde_json::from_slice::<Vec<&RawValue>>(&answer.packet.data) {
            Ok(told) => sockets.extend(told.into_iter().filter_map(shown)),
            Err(_) => {
                missing.push(Absent { node: answer.uid.to_string(), why: "its answer is no list of sockets" })
            }
        }
    }
    let complete = missing.is_empty();
    serde_json::to_vec(&Listing { nsp: &whom.nsp, complete, sockets, missing }).unwrap_or_default()
}

/// A socket without what its client would not want to be passed around.
fn shown(socket: &RawValue) -> Option<Value> {
    let mut socket: Map<String, Value> = serde_json::from_str(socket.get()).ok()?;
    if let Some(handshake) = socket.get_mut("handshake").and_then(Value::as_object_mut) {
        handshake.remove("auth");
        if let Some(headers) = handshake.get_mut("headers").and_then(Value::as_object_mut) {
            headers.remove("authorization");
            headers.remove("cookie");
        }
    }
    Some(Value::Object(socket))
}

fn why(why: Why) -> &'static str {
    match why {
        Why::Late => "it did not answer in time",
        Why::Gone => "it is gone",
        Why::Unasked => "it could not be asked",
        Why::TooLong => "its answer was too long",
        Why::Closed => "this server closes",
    }
}
