//! What the tests of our client ask for; `tests/client-node.mjs` does the same with the official software.

use serde_json::{Value, json};
use sockeye::{Args, Definition, DisconnectReason, Event, Refusal, Server, Socket};

/// Adds it to a namespace that echoes already.
pub(crate) fn serve(namespace: &mut Definition) {
    namespace
        .on("say", |event: Event| async move { event.namespace().emit("said", event.args().clone()) })
        .on("ask", |event: Event| async move {
            let socket = event.socket().clone();
            let answer: Args = socket.emit_with_ack("question", event.args().clone()).await?;
            socket.emit("heard", answer)?;
            sockeye::Ok(())
        })
        .on("handshake", |event: Event| async move {
            let handshake = event.socket().handshake();
            event.ack((handshake.header("x-test"), handshake.query("a")))
        })
        .on("out", |event: Event| async move { event.socket().disconnect() })
        .on_disconnect(|socket: Socket, reason: DisconnectReason| async move {
            socket.namespace().emit("left", reason.as_str())
        });
}

/// Adds a namespace with a guard.
pub(crate) fn add_guarded(io: &mut Server) -> &mut Definition {
    io.namespace("/guarded").guard(|socket: Socket| async move {
        let auth: Value = socket.handshake().auth()?;
        if auth["token"] == "good" {
            return Ok(());
        }
        Err(Refusal::new("wrong token").with_data(json!({"code": 42}))?)
    })
}
