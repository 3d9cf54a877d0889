//! What the library can do beyond the contract, an event a feature, for the end-to-end tests: the same words as `features` in
//! `tests/reference/apps.mjs`.

use bytes::Bytes;
use serde_json::{Value, json};
use sockeye::{
    Answers, Args, Broadcast, Config, Cookie, Cors, CorsOptions, Definition, DisconnectReason, EmitError,
    Emitted, Event, HandlerError, Handshake, Namespace, Origin, RemoteSocket, RoomEvent, Server, ServerEvent,
    Socket,
};
use std::time::Duration;

/// Namespaces of every kind, with every feature that a client can see.
pub fn features(config: Config) -> Server {
    let cors = CorsOptions { origin: Origin::Mirror, credentials: true, ..CorsOptions::default() };
    let mut io = Server::new(Config {
        allow_eio3: true,
        cleanup_empty_child_namespaces: true,
        cookie: Some(Cookie::default()),
        cors: Some(Cors::new(cors).expect("an origin is named")),
        ping_interval: Duration::from_secs(1),
        ping_timeout: Duration::from_secs(3),
        ..config
    });
    let main = io.namespace("/");
    told_to_one(main);
    told_to_many(main);
    asked(main);
    moved(main);
    between_servers(main);
    listened(main);
    let main = main.handle();
    namespaces_that_begin(&mut io, &main);
    io
}

/// Emits to the socket itself, with what can be said about how.
fn told_to_one(main: &mut Definition) {
    main.on("message", |event: Event| async move { event.socket().emit("message", event.args()) })
        .on("handshake", async |event: Event| -> sockeye::Result {
            event.ack(handshake(event.socket().handshake())?)?;
            sockeye::Ok(())
        })
        .on("volatile-flood", async |event: Event| -> sockeye::Result {
            let (count, text): (u32, String) = event.data()?;
            for number in 0..count {
                event.socket().emit_volatile("flood", (number, &text))?;
                tokio::task::yield_now().await;
            }
            event.socket().join(["flooded"]);
            event.socket().emit("flooded", count)?;
            sockeye::Ok(())
        })
        .on("compress", async |event: Event| -> sockeye::Result {
            let (compress, text): (bool, String) = event.data()?;
            let socket = event.socket();
            socket.namespace().to(socket.id().as_str()).compress(compress).emit("long", text)?;
            sockeye::Ok(())
        });
}

fn handshake(handshake: &Handshake) -> Result<Value, serde_json::Error> {
    Ok(json!({
        "auth": handshake.auth::<Value>()?,
        "query": handshake.query("who"),
        "header": handshake.header("x-who"),
        "cookie": handshake.header("cookie"),
    }))
}

/// Broadcasts to some, by rooms and exceptions.
fn told_to_many(main: &mut Definition) {
    main.on("join", async |event: Event| -> sockeye::Result {
        let rooms: Vec<String> = event.data()?;
        event.socket().join(rooms);
        event.ack(())?;
        sockeye::Ok(())
    })
    .on("leave", async |event: Event| -> sockeye::Result {
        event.socket().leave(&event.data::<String>()?);
        event.ack(())?;
        sockeye::Ok(())
    })
    .on("say", async |event: Event| -> sockeye::Result {
        let (to, except, text): (Vec<String>, Vec<String>, Args) = parts(&event)?;
        chosen(event.namespace().everybody(), to, except).emit("said", text)?;
        sockeye::Ok(())
    })
    .on("say-others", async |event: Event| -> sockeye::Result {
        let (to, except, text): (Vec<String>, Vec<String>, Args) = parts(&event)?;
        chosen(event.socket().broadcast(), to, except).emit("said", text)?;
        sockeye::Ok(())
    })
    .on("say-here", |event: Event| async move { event.namespace().local().emit("said", event.args()) })
    .on("say-volatile", |event: Event| async move {
        event.namespace().volatile().emit("said", event.args())
    });
}

fn parts(event: &Event) -> Result<(Vec<String>, Vec<String>, Args), serde_json::Error> {
    let (to, except, _): (Vec<String>, Vec<String>, Value) = event.data()?;
    Ok((to, except, event.args().skip(2)))
}

fn chosen(mut broadcast: Broadcast, to: Vec<String>, except: Vec<String>) -> Broadcast {
    for room in to {
        broadcast = broadcast.to(room);
    }
    for room in except {
        broadcast = broadcast.except(room);
    }
    broadcast
}

/// The server asks: one client, or all of a room.
fn asked(main: &mut Definition) {
    main.on("ask-within", async |event: Event| -> sockeye::Result {
        let within = Duration::from_millis(event.data()?);
        let said: Result<Value, _> = event.socket().emit_with_ack_within(within, "question", ()).await;
        event.ack(
            said.map_or_else(|error| json!({"error": error.to_string()}), |said| json!({"said": said})),
        )?;
        sockeye::Ok(())
    })
    .on("ask-room", async |event: Event| -> sockeye::Result {
        let (room, within): (String, u64) = event.data()?;
        let room = event.namespace().to(room).timeout(Duration::from_millis(within));
        let answers: Answers<Value> = room.emit_with_ack("question", ()).await?;
        event.ack(json!({"said": answers.values, "timedOut": !answers.is_complete()}))?;
        sockeye::Ok(())
    })
    .on("ask-room-bytes", async |event: Event| -> sockeye::Result {
        let room = event.namespace().to(event.data::<String>()?).timeout(Duration::from_secs(10));
        let answers: Answers<Bytes> = room.emit_with_ack("question", event.args()).await?;
        event.ack(answers.values)?;
        sockeye::Ok(())
    });
}

/// Sockets that somebody else moves, tells about, speaks to, or sends away.
fn moved(main: &mut Definition) {
    main.on("set-data", async |event: Event| -> sockeye::Result {
        event.socket().set_data(event.data::<Value>()?)?;
        event.ack(())?;
        sockeye::Ok(())
    })
    .on("fetch", async |event: Event| -> sockeye::Result {
        let room: String = event.data()?;
        let sockets = event.namespace().to(room).fetch_sockets().await?;
        let known: Result<Vec<Value>, _> = sockets.iter().map(known).collect();
        event.ack(known?)?;
        sockeye::Ok(())
    })
    .on("tell-each", async |event: Event| -> sockeye::Result {
        let (room, text): (String, Value) = event.data()?;
        for socket in event.namespace().to(room).fetch_sockets().await? {
            socket.emit("said", &text)?;
        }
        sockeye::Ok(())
    })
    .on("sockets-join", async |event: Event| -> sockeye::Result {
        let (room, other): (String, String) = event.data()?;
        event.namespace().to(room).sockets_join([other]);
        sockeye::Ok(())
    })
    .on("sockets-leave", async |event: Event| -> sockeye::Result {
        let (room, other): (String, String) = event.data()?;
        event.namespace().to(room).sockets_leave([other]);
        sockeye::Ok(())
    })
    .on("disconnect-sockets", async |event: Event| -> sockeye::Result {
        let (room, close): (String, bool) = event.data()?;
        event.namespace().to(room).disconnect_sockets(close);
        sockeye::Ok(())
    })
    .on_disconnecting(|socket: Socket, reason: DisconnectReason| {
        let mut rooms: Vec<_> = socket.rooms().iter().map(|room| room.as_str().to_owned()).collect();
        rooms.sort();
        let end = json!({"id": socket.id(), "rooms": rooms, "reason": reason.as_str()});
        socket.namespace().to("watch").emit("leaving", end)
    });
}

fn known(socket: &RemoteSocket) -> Result<Value, serde_json::Error> {
    let mut rooms: Vec<_> = socket.rooms().iter().map(|room| room.as_str()).collect();
    rooms.sort_unstable();
    Ok(json!({"id": socket.id().as_str(), "rooms": rooms, "data": socket.data::<Value>()?}))
}

/// What servers say to each other.
fn between_servers(main: &mut Definition) {
    main.on_server_event("hello", async |event: ServerEvent| -> sockeye::Result {
        event.namespace().local().emit("hello", event.args())?;
        if event.wants_ack() {
            event.ack(json!({"heard": event.data::<Value>()?}))?;
        }
        sockeye::Ok(())
    })
    .on("server-side-emit", |event: Event| async move {
        event.namespace().server_side_emit("hello", event.args())
    })
    .on("server-side-ask", async |event: Event| -> sockeye::Result {
        let answers: Answers<Value> =
            event.namespace().server_side_emit_with_ack("hello", event.args()).await?;
        event.ack(answers.values)?;
        sockeye::Ok(())
    });
}

/// Listeners of everything, guards of events, and rooms that come and go.
fn listened(main: &mut Definition) {
    let (outgoing, rooms) = (main.handle(), main.handle());
    main.on_any(|event: &Event| match event.name() {
        "any" => event.socket().emit("any-in", event.args()),
        _ => Ok(()),
    })
    .on("any", |event: Event| async move { event.socket().emit("any-out", event.args()) })
    .on_any_outgoing(move |emitted: &Emitted<'_>| {
        if emitted.name() == "any-out" {
            drop(outgoing.local().emit("any-went-out", emitted.args()));
        }
    })
    .guard_event(async |event: Event| match event.name() {
        "forbidden" => Err(HandlerError::new("not you")),
        _ => Ok(event),
    })
    .on_error(|socket: &Socket, error: HandlerError| drop(socket.emit("refused", error.to_string())))
    .on_room_event(move |event: &RoomEvent| drop(tell_of_room(&rooms, event)));
}

fn tell_of_room(namespace: &Namespace, event: &RoomEvent) -> Result<(), EmitError> {
    let (what, room) = match event {
        RoomEvent::Created(room) => ("create-room", room),
        RoomEvent::Joined(room, _) => ("join-room", room),
        RoomEvent::Left(room, _) => ("leave-room", room),
        RoomEvent::Deleted(room) => ("delete-room", room),
        _ => return Ok(()),
    };
    if !room.as_str().starts_with("seen ") {
        return Ok(());
    }
    namespace.local().to("watch").emit("room", (what, room.as_str()))
}

/// Namespaces by a pattern, by a function's word, and the word that one begins.
fn namespaces_that_begin(io: &mut Server, main: &Namespace) {
    let everybody = main.clone();
    io.on_new_namespace(move |namespace| drop(everybody.local().emit("namespace", namespace.name())));
    let rooms = io.dynamic_namespace("/room-*");
    let parent = rooms.handle();
    rooms.on("say", |event: Event| async move { event.namespace().emit("said", event.args()) }).on(
        "say-to-all-rooms",
        move |event: Event| {
            let parent = parent.clone();
            async move { parent.emit("said", event.args()) }
        },
    );
    io.dynamic_namespace_if(async |name: String, handshake: Handshake| {
        let auth: Value = handshake.auth().unwrap_or_default();
        name.starts_with("/team/") && auth["token"] == "member"
    })
    .on("say", |event: Event| async move { event.namespace().emit("said", event.args()) });
}
