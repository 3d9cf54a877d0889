//! The namespace `/control`: a client says what this node shall do in the cluster, and hears what came of it.
//!
//! Each event is the cluster call of its name. Options stand first: `{nsp, rooms, except, flags: {local, volatile, timeout}}`. An ack is
//! `(error)` or `(error, result)`, the error null or its text. What other servers say to this one is shown as `server-side-event`.

use crate::any::Any;
use serde::{Deserialize, Serialize};
use sockeye::{
    Args, AskError, BackplaneEvent, Broadcast, Definition, Event, HandlerError, Namespace, Presence,
    PresenceEvent, RemoteHandshake, RemoteSocket, Server, ServerEvent, Socket,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The namespaces that a client may name, those that began later included.
type Known = Arc<Mutex<BTreeMap<String, Namespace>>>;

/// Whom a call is for, and how.
#[derive(Deserialize)]
#[serde(default)]
struct Options {
    nsp: String,
    rooms: Vec<String>,
    except: Vec<String>,
    flags: Flags,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Flags {
    local: bool,
    volatile: bool,
    /// In milliseconds.
    timeout: Option<u64>,
}

/// A socket as it is told to the client.
#[derive(Serialize)]
struct Told<'a> {
    id: &'a str,
    rooms: Vec<&'a str>,
    data: serde_json::Value,
    handshake: &'a RemoteHandshake,
}

impl Default for Options {
    fn default() -> Self {
        Self { nsp: "/".to_owned(), rooms: Vec::new(), except: Vec::new(), flags: Flags::default() }
    }
}

/// Adds the namespace, by which these and all that begin later can be spoken to. Returns its handle.
pub(crate) fn add(io: &mut Server, shown: &[&str]) -> Namespace {
    let known = Known::default();
    for name in shown {
        let namespace = io.namespace(name);
        known.lock().unwrap_or_else(PoisonError::into_inner).insert((*name).to_owned(), namespace.handle());
    }
    let begun = Arc::clone(&known);
    io.on_new_namespace(move |namespace| {
        begun
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(namespace.name().to_owned(), namespace.clone());
    });
    let control = io.namespace("/control").handle();
    for name in shown {
        show_server_events(io.namespace(name), &control);
    }
    let hearers = control.clone();
    io.on_backplane(move |event| show_backplane(event, &hearers));
    let definition = io.namespace("/control");
    calls(definition, &known);
    questions(definition, &known);
    control
}

/// Shows what happens between this node and its backplane: `backplane`(what, nsp, whole or how many).
fn show_backplane(event: &BackplaneEvent, control: &Namespace) {
    let local = control.local();
    let told = match event {
        BackplaneEvent::Resumed { nsp, whole } => local.emit("backplane", ("resumed", nsp, whole)),
        BackplaneEvent::Unpublished { nsp, messages } => {
            local.emit("backplane", ("unpublished", nsp, messages))
        }
        BackplaneEvent::Malformed { nsp } => local.emit("backplane", ("malformed", nsp)),
        BackplaneEvent::MeshUntaken { .. }
        | BackplaneEvent::MeshMissed { .. }
        | BackplaneEvent::MeshMalformed { .. }
        | _ => Ok(()),
    };
    // Names, numbers and booleans can be sent.
    drop(told);
}

/// Shows what other servers say in a namespace, and answers with its first argument.
pub(crate) fn show_server_events(definition: &mut Definition, control: &Namespace) {
    let control = control.clone();
    definition.on_any_server_event(move |event: ServerEvent| {
        let control = control.clone();
        async move {
            let args = Any::list(event.args());
            control.local().emit("server-side-event", (event.namespace().name(), event.name(), args))?;
            event.ack(Any::first(event.args()))
        }
    });
}

/// Tracks who is in which room, with what a client says of itself (`auth`), and shows what changes.
pub(crate) fn show_presence(definition: &mut Definition, control: &Namespace, timeout: Duration) {
    let control = control.clone();
    definition
        .guard(|socket: Socket| async move {
            let auth: serde_json::Value = socket.handshake().auth()?;
            Ok(socket.set_data(auth)?)
        })
        .track_presence(Presence::default().timeout(timeout))
        .on_presence(move |namespace: &Namespace, event: &PresenceEvent| {
            let (what, room, who) = match event {
                PresenceEvent::Joined { room, who } => ("joined", room, who),
                PresenceEvent::Left { room, who } => ("left", room, who),
                PresenceEvent::Changed { room, who } => ("changed", room, who),
                _ => return,
            };
            let shown = (namespace.name(), what, room.as_str(), who.id());
            if let Err(error) = control.local().emit("presence-event", shown) {
                tracing::warn!(%error, "a change of presence cannot be told");
            }
        });
}

/// What is said, and done at once.
fn calls(definition: &mut Definition, known: &Known) {
    on(definition, known, "emit", |known, event| {
        let (_, name): (Options, String) = event.data()?;
        chosen(known, event)?.emit(&name, event.args().skip(2))?;
        Ok(())
    });
    join(definition, known);
    on(definition, known, "sockets-leave", |known, event| {
        let (_, rooms): (Options, Vec<String>) = event.data()?;
        chosen(known, event)?.sockets_leave(rooms);
        Ok(())
    });
    on(definition, known, "disconnect-sockets", |known, event| {
        let (_, close): (Options, Option<bool>) = event.data()?;
        chosen(known, event)?.disconnect_sockets(close.unwrap_or(false));
        Ok(())
    });
    on(definition, known, "server-side-emit", |known, event| {
        let (options, name): (Options, String) = event.data()?;
        namespace(known, &options)?.server_side_emit(&name, event.args().skip(2))?;
        Ok(())
    });
}

/// Joins, and answers when what is said to the rooms from then on is heard; the next call waits for that.
fn join(definition: &mut Definition, known: &Known) {
    let known = Arc::clone(known);
    definition.on("sockets-join", move |event: Event| {
        let known = Arc::clone(&known);
        async move {
            let joined = async {
                let (_, rooms): (Options, Vec<String>) = event.data()?;
                chosen(&known, &event)?.sockets_join_and_listen(rooms).await;
                sockeye::Ok(())
            };
            event.ack(joined.await.err().map(|error| error.to_string()))
        }
    });
}

/// What is asked, and answered later.
fn questions(definition: &mut Definition, known: &Known) {
    ask(definition, known, "emit-ack", emit_with_ack);
    ask(definition, known, "fetch-sockets", fetch_sockets);
    ask(definition, known, "server-side-emit-ack", server_side_emit_with_ack);
    ask(definition, known, "count", count);
    ask(definition, known, "rooms", rooms);
    ask(definition, known, "presence", presence);
}

async fn emit_with_ack(known: Known, event: Arc<Event>) -> sockeye::Result {
    let (_, name): (Options, String) = event.data()?;
    let answers = chosen(&known, &event)?.emit_with_ack::<Args>(&name, event.args().skip(2)).await?;
    let error = (!answers.is_complete()).then_some("operation has timed out");
    event.ack((error, answers.values.iter().map(Any::first).collect::<Vec<_>>()))?;
    Ok(())
}

async fn server_side_emit_with_ack(known: Known, event: Arc<Event>) -> sockeye::Result {
    let (options, name): (Options, String) = event.data()?;
    let answers =
        namespace(&known, &options)?.server_side_emit_with_ack::<Args>(&name, event.args().skip(2)).await?;
    event.ack((late(answers.missing.nodes), answers.values.iter().map(Any::first).collect::<Vec<_>>()))?;
    Ok(())
}

async fn fetch_sockets(known: Known, event: Arc<Event>) -> sockeye::Result {
    let (error, sockets) = fetched(chosen(&known, &event)?.fetch_sockets().await)?;
    let told = sockets.iter().map(Told::of).collect::<Result<Vec<_>, _>>()?;
    event.ack((error, told))?;
    Ok(())
}

async fn count(known: Known, event: Arc<Event>) -> sockeye::Result {
    let counted = chosen(&known, &event)?.count().await?;
    event.ack((late(counted.missing.nodes), counted.value))?;
    Ok(())
}

async fn rooms(known: Known, event: Arc<Event>) -> sockeye::Result {
    let rooms = chosen(&known, &event)?.rooms().await?;
    let names: Vec<&str> = rooms.value.iter().map(|room| room.as_str()).collect();
    event.ack((late(rooms.missing.nodes), names))?;
    Ok(())
}

/// Who is in a room, as this node knows it: ids, and what is shown of each.
async fn presence(known: Known, event: Arc<Event>) -> sockeye::Result {
    let (options, room): (Options, String) = event.data()?;
    let mut told = Vec::new();
    for who in namespace(&known, &options)?.presence(&room) {
        told.push((who.id().to_owned(), who.data::<serde_json::Value>()?));
    }
    event.ack((None::<String>, told))?;
    Ok(())
}

/// Answers a call when it is done: with null, or the error's text.
fn on<F>(definition: &mut Definition, known: &Known, name: &str, call: F)
where
    F: Fn(&Known, &Event) -> sockeye::Result + Send + Sync + 'static,
{
    let known = Arc::clone(known);
    definition.on(name, move |event: Event| {
        let error = call(&known, &event).err().map(|error| error.to_string());
        async move { event.ack(error) }
    });
}

/// Lets a question be answered later, while other events go on; here only what has failed. The task ends with its question, which
/// has a timeout.
fn ask<F, R>(definition: &mut Definition, known: &Known, name: &str, question: F)
where
    F: Fn(Known, Arc<Event>) -> R + Send + Sync + 'static,
    R: Future<Output = sockeye::Result> + Send + 'static,
{
    let known = Arc::clone(known);
    definition.on(name, move |event: Event| {
        let event = Arc::new(event);
        let asked = question(Arc::clone(&known), Arc::clone(&event));
        tokio::spawn(async move {
            if let Err(error) = asked.await
                && let Err(error) = event.ack(error.to_string())
            {
                tracing::warn!(%error, "an error cannot be told");
            }
        });
        async { sockeye::Ok(()) }
    });
}

/// The sockets that an event's options choose.
fn chosen(known: &Known, event: &Event) -> sockeye::Result<Broadcast> {
    let options: Options = event.data()?;
    let mut broadcast = namespace(known, &options)?.everybody();
    for room in options.rooms {
        broadcast = broadcast.to(room);
    }
    for room in options.except {
        broadcast = broadcast.except(room);
    }
    let Flags { local, volatile, timeout } = options.flags;
    if local {
        broadcast = broadcast.local();
    }
    if volatile {
        broadcast = broadcast.volatile();
    }
    Ok(match timeout {
        Some(timeout) => broadcast.timeout(Duration::from_millis(timeout)),
        None => broadcast,
    })
}

fn namespace(known: &Known, options: &Options) -> sockeye::Result<Namespace> {
    let known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let found = known.get(&options.nsp).cloned();
    found
        .ok_or_else(|| HandlerError::new(format!("expected a namespace of this node, got {:?}", options.nsp)))
}

/// What came, though not of all nodes perhaps, and the official words for that.
fn fetched(
    result: Result<Vec<RemoteSocket>, AskError>,
) -> Result<(Option<String>, Vec<RemoteSocket>), AskError> {
    match result {
        Ok(sockets) => Ok((None, sockets)),
        Err(AskError::Incomplete { sockets, nodes }) => Ok((late(nodes), sockets)),
        Err(error) => Err(error),
    }
}

/// The official words for nodes that did not answer.
fn late(nodes: usize) -> Option<String> {
    (nodes > 0).then(|| format!("timeout reached: missing {nodes} responses"))
}

impl<'a> Told<'a> {
    fn of(socket: &'a RemoteSocket) -> Result<Self, serde_json::Error> {
        Ok(Self {
            id: socket.id().as_str(),
            rooms: socket.rooms().iter().map(|room| room.as_str()).collect(),
            data: socket.data()?.unwrap_or_else(|| serde_json::json!({})),
            handshake: socket.handshake(),
        })
    }
}
