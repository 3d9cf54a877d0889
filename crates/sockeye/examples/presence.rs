//! Rooms and who is in them, on one server or on many: a client enters a room under a name, and everybody there hears who comes and who goes.
//!
//! `cargo run -p sockeye --example presence`, then `socket.emit("enter", "kitchen", "ann", (names) => …)`. With `MESH_DIR=/tmp/mesh PORT=3001` a second
//! one joins the first; when it is killed, who was at it has gone.

use serde_json::json;
use sockeye::{Config, Event, Namespace, Presence, PresenceEvent, Present, Server};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let mesh_dir = std::env::var_os("MESH_DIR").map(Into::into);
    let mut io = Server::new(Config { mesh_dir, ..Config::default() });
    io.namespace("/")
        .track_presence(Presence::default())
        .on_presence(|everybody: &Namespace, event: &PresenceEvent| {
            // Each server is told of all, and tells its own clients.
            let told = match event {
                PresenceEvent::Joined { room, who } => ("came", room, who),
                PresenceEvent::Left { room, who } => ("went", room, who),
                PresenceEvent::Changed { .. } | _ => return,
            };
            let (word, room, who) = told;
            let others = everybody.local().to(room.clone()).except(who.id());
            if let Err(error) = others.emit(word, (room.as_str(), name(who))) {
                eprintln!("{error}");
            }
        })
        .on("enter", async |event: Event| -> sockeye::Result {
            let (room, name): (String, String) = event.data()?;
            // What is kept with the socket is what others see of it.
            event.socket().set_data(&name)?;
            event.socket().join([room.as_str()]);
            event.ack(names(&event.namespace(), &room))?;
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
            event.ack(names(&event.namespace(), &room))?;
            Ok(())
        });
    io.listen(("127.0.0.1", port)).await
}

/// The names of all who are in a room, on every server; nobody is asked for that.
fn names(everybody: &Namespace, room: &str) -> Vec<String> {
    let mut names: Vec<String> = everybody.presence(room).iter().filter_map(name).collect();
    names.sort_unstable();
    names
}

fn name(who: &Present) -> Option<String> {
    who.data().ok().flatten()
}
