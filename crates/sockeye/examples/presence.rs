//! Rooms and who is in them: a client enters a room under a name, and everybody there hears who comes and who goes.
//!
//! `cargo run -p sockeye --example presence`, then `socket.emit("enter", "kitchen", "ann", (names) => …)`.

use serde_json::json;
use sockeye::{Config, DisconnectReason, Event, Namespace, Server, Socket};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let mut io = Server::new(Config::default());
    io.namespace("/")
        .on("enter", async |event: Event| -> sockeye::Result {
            let (room, name): (String, String) = event.data()?;
            let socket = event.socket();
            // Kept with the socket: every node sees it in `fetch_sockets`.
            socket.set_data(&name)?;
            socket.join([room.as_str()]);
            socket.to(room.as_str()).emit("came", (&room, &name))?;
            event.ack(names(&event.namespace(), &room).await?)?;
            Ok(())
        })
        .on("say", async |event: Event| -> sockeye::Result {
            let (room, text): (String, String) = event.data()?;
            // Who is not in a room has no say there.
            if event.socket().rooms().iter().any(|own| *own == *room) {
                let from: Option<String> = event.socket().data()?;
                event.namespace().to(room).emit("said", json!({"from": from, "text": text}))?;
            }
            Ok(())
        })
        .on("who", async |event: Event| -> sockeye::Result {
            let room: String = event.data()?;
            event.ack(names(&event.namespace(), &room).await?)?;
            Ok(())
        })
        // While a client leaves, its rooms are still known.
        .on_disconnecting(|socket: Socket, _: DisconnectReason| -> sockeye::Result {
            let name: Option<String> = socket.data()?;
            for room in socket.rooms().iter().filter(|room| *room.as_str() != *socket.id().as_str()) {
                socket.to(room.as_str()).emit("went", (room.as_str(), &name))?;
            }
            Ok(())
        });
    io.listen(("127.0.0.1", port)).await
}

/// The names of all who are in a room, on every node.
async fn names(everybody: &Namespace, room: &str) -> sockeye::Result<Vec<String>> {
    let sockets = everybody.to(room).fetch_sockets().await?;
    let mut names = Vec::with_capacity(sockets.len());
    for socket in &sockets {
        // Somebody who has said no name yet is not listed.
        names.extend(socket.data::<String>()?);
    }
    names.sort_unstable();
    Ok(names)
}
