//! The server half of the end-to-end tests: the same words as `tests/reference/apps.mjs`, on this library.

use serde::Deserialize;
use serde_json::{Value, json};
use sockeye::{Args, Config, Definition, DisconnectReason, EmitError, Event, Files, Refusal, Server, Socket};

use crate::PAGE;

/// Acks, binary, rooms, broadcasts and the server's own words, in the namespaces `/` and `/custom`.
pub fn contract(config: Config) -> Server {
    let mut io = Server::new(config);
    io.files(Files::embedded(PAGE));
    for name in ["/", "/custom"] {
        let namespace = io.namespace(name);
        door(namespace);
        echoes(namespace);
        rooms(namespace);
        broadcasts(namespace);
        words(namespace);
    }
    io
}

/// Who enters is told what it showed; who shows `deny` is refused in these words; who left is talked about in `watch`.
fn door(namespace: &mut Definition) {
    namespace
        .guard(|socket: Socket| async move {
            #[derive(Deserialize)]
            struct Auth {
                deny: Option<String>,
            }
            match socket.handshake().auth::<Auth>()?.deny {
                Some(words) if !words.is_empty() => {
                    Err(Refusal::new(words).with_data(json!({"denied": true}))?)
                }
                Some(_) | None => Ok(()),
            }
        })
        .on_connect(|socket: Socket| async move {
            let auth: Value = socket.handshake().auth()?;
            socket.emit("auth", auth)
        })
        .on_disconnect(|socket: Socket, reason: DisconnectReason| async move {
            let end = json!({"id": socket.id(), "reason": reason.as_str()});
            socket.namespace().to("watch").emit("gone", end)
        });
}

/// What came goes back, byte for byte.
fn echoes(namespace: &mut Definition) {
    namespace
        .on("message", |event: Event| async move { event.socket().emit("message-back", event.args()) })
        .on("message-with-ack", |event: Event| async move { event.ack(event.args()) })
        .on("echo", |event: Event| async move { event.socket().emit("echo", event.args()) })
        .on("echo-ack", |event: Event| async move { event.ack(event.args()) });
}

fn rooms(namespace: &mut Definition) {
    namespace
        .on("join", |event: Event| async move {
            let room: String = event.data()?;
            event.socket().join([room]);
            event.ack(())
        })
        .on("leave", |event: Event| async move {
            let room: String = event.data()?;
            event.socket().leave(&room);
            event.ack(())
        })
        .on("rooms", |event: Event| async move {
            let rooms = event.socket().rooms();
            event.ack(rooms.iter().map(|room| room.as_str()).collect::<Vec<_>>())
        })
        .on("room", |event: Event| async move {
            let room: String = event.data()?;
            event.namespace().to(room).emit("room", event.args().skip(1))
        });
}

fn broadcasts(namespace: &mut Definition) {
    namespace
        .on("broadcast", |event: Event| async move { event.namespace().emit("broadcast", event.args()) })
        .on("broadcast-others", |event: Event| async move {
            event.socket().broadcast().emit("broadcast-others", event.args())
        });
}

/// What the server says and does of its own.
fn words(namespace: &mut Definition) {
    namespace
        .on("kick", |event: Event| async move { event.socket().disconnect() })
        .on("kick-close", |event: Event| async move { event.socket().disconnect_and_close() })
        .on("ask", async |event: Event| -> sockeye::Result {
            let answer: Args = event.socket().emit_with_ack("question", event.args()).await?;
            event.ack(answer)?;
            Ok(())
        })
        .on("whoami", |event: Event| async move { whoami(&event) });
}

fn whoami(event: &Event) -> Result<(), EmitError> {
    const TAG_LEN: usize = 6;
    let socket = event.socket();
    let id = socket.id();
    event.ack(json!({
        "worker": &id.as_str()[..TAG_LEN],
        "pid": std::process::id(),
        "transport": socket.transport().name(),
        "id": id,
    }))
}
