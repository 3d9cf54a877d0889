//! The program speaks by itself: a line on its standard input goes to all clients, and a task tells the time of day.
//!
//! `cargo run -p sockeye --example announce`, then type. A handle can be taken anywhere: a queue's consumer, a signal, a timer.

use sockeye::{Config, Server};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often the time is told.
const TICK: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let mut io = Server::new(Config::default());
    let everybody = io.namespace("/").handle();
    let clock = everybody.clone();
    let server = io.handle();

    // Ends with the runtime, and with it the program.
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            ticks.tick().await;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            // A client that is slow gets the next one.
            if let Err(error) = clock.volatile().emit("time", now) {
                eprintln!("{error}");
            }
        }
    });
    // A thread, since standard input blocks; handles are for any thread. It ends with the program.
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            match line.split_once(' ') {
                Some(("/kick", room)) => everybody.to(room).disconnect_sockets(true),
                _ if line == "/quit" => server.close(),
                _ => {
                    if let Err(error) = everybody.emit("announcement", line) {
                        eprintln!("{error}");
                    }
                }
            }
        }
    });
    io.listen(("127.0.0.1", port)).await
}
