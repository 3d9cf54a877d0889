//! The chat that `sockeye up` serves: a welcome to each, messages to all, and the page, compiled in.
//!
//! Beside it stand [`contract`] and [`features`], the server halves of the end-to-end tests. Absent: ports and processes (whoever runs the
//! server has them).

mod contract;
mod features;

use serde_json::json;
use sockeye::{Config, DisconnectReason, Event, Files, Server, Socket};

pub use contract::contract;
pub use features::features;

/// The page, its script and its style; a health check's empty file.
const PAGE: &[(&str, &[u8])] = &[
    ("index.html", include_bytes!("../public/index.html")),
    ("assets/css/chat.css", include_bytes!("../public/assets/css/chat.css")),
    ("assets/js/client.js", include_bytes!("../public/assets/js/client.js")),
    ("health.txt", include_bytes!("../public/health.txt")),
];

/// A chat without rooms or names: what one says, all hear, the sender included, on every node.
pub fn server(config: Config) -> Server {
    let mut io = Server::new(config);
    io.files(Files::embedded(PAGE));
    io.namespace("/")
        .on_connect(|socket: Socket| async move { socket.emit("info", json!({"msg": "welcome"})) })
        .on("msg", async |event: Event| -> sockeye::Result {
            let msg: String = event.data()?;
            event.namespace().emit("msg", json!({"msg": msg}))?;
            Ok(())
        })
        // Said to a socket that is closed already: nobody hears it, and nothing comes of it.
        .on_disconnect(|socket: Socket, _: DisconnectReason| async move {
            socket.emit("info", json!({"msg": "bye"}))
        });
    io
}
