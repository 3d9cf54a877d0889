//! The smallest server: it greets, tells everybody what one says, and answers questions.
//!
//! `cargo run -p sockeye --example hello`, then connect any Socket.IO client to `http://127.0.0.1:3000`.

use serde_json::json;
use sockeye::{Config, Event, Server, Socket};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut io = Server::new(Config::default());
    io.namespace("/")
        .on_connect(|socket: Socket| async move { socket.emit("info", json!({"msg": "welcome"})) })
        .on("msg", async |event: Event| -> sockeye::Result {
            let msg: String = event.data()?;
            event.namespace().emit("msg", json!({"msg": msg}))?;
            Ok(())
        })
        .on("add", async |event: Event| -> sockeye::Result {
            let (a, b): (i64, i64) = event.data()?;
            event.ack(a + b)?;
            Ok(())
        });
    io.listen("127.0.0.1:3000").await
}
