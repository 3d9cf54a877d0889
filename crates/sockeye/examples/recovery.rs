//! Counts aloud on 127.0.0.1, at `PORT` or 3000; a client whose line breaks meanwhile hears what it missed. `PARSER=msgpack` is for
//! clients with that parser.

use sockeye::{Config, Event, Parser, Recovery, Server, Socket};
use std::time::Duration;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let parser = if std::env::var("PARSER").is_ok_and(|parser| parser == "msgpack") {
        Parser::Msgpack
    } else {
        Parser::Text
    };
    let config = Config { parser, connection_state_recovery: Some(Recovery::default()), ..Config::default() };
    let mut io = Server::new(config);
    io.namespace("/")
        // A client that comes back is in its rooms already.
        .on_connect(async |socket: Socket| socket.join(["count"]))
        .on("count", async |event: Event| -> sockeye::Result {
            let numbers: u32 = event.data()?;
            let main = event.namespace();
            // Beside the handler: the client that asked may be gone meanwhile.
            tokio::spawn(async move {
                for number in 0..numbers {
                    main.to("count").emit("number", number)?;
                    // A word that may be lost, and is no number.
                    main.to("count").volatile().emit("word", format!("number {number}"))?;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Ok::<(), sockeye::EmitError>(())
            });
            event.ack(())?;
            Ok(())
        })
        // A question, to which each client has an answer of its own.
        .on("ask me", async |event: Event| -> sockeye::Result {
            let name: String = event.socket().emit_with_ack("question", "what is your name?").await?;
            event.ack(name)?;
            Ok(())
        });
    io.listen(("127.0.0.1", port)).await
}
