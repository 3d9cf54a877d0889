//! Several clients, each says something in its turn: who hears of it?

use super::facts::Heard;
use super::options::{Broadcast, Options};
use sockeye_client::{Client, Config, Excess, Incoming, Limits, Socket, Transport};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Measures it; with `websocket`, over connections that a balancer is likely to spread.
pub(super) async fn measure(options: &Options, broadcast: &Broadcast, websocket: bool) -> Heard {
    let mut heard = Heard::default();
    let mut clients: Vec<(Client, Socket)> = Vec::new();
    for _ in 0..CLIENTS {
        match join(options, websocket).await {
            Ok(client) => clients.push(client),
            Err(why) => {
                heard.problem.get_or_insert(why);
            }
        }
    }
    heard.clients = u32::try_from(clients.len()).unwrap_or(u32::MAX);
    let mut patience = PATIENCE;
    for speaker in 0..clients.len() {
        if let Err(error) = clients[speaker].1.emit(&broadcast.event, &broadcast.data) {
            heard.problem.get_or_insert(error.to_string());
            continue;
        }
        let before = heard.pairs;
        let mut waiting = JoinSet::new();
        for (listener, (_, socket)) in clients.iter().enumerate() {
            let (socket, expect) = (socket.clone(), broadcast.expect.clone());
            waiting.spawn(async move {
                (listener, timeout(patience, hears(&socket, &expect)).await.is_ok_and(|heard| heard))
            });
        }
        while let Some(done) = waiting.join_next().await {
            match done {
                Ok((listener, true)) if listener == speaker => heard.themselves += 1,
                Ok((_, true)) => heard.pairs += 1,
                Ok((_, false)) | Err(_) => {}
            }
        }
        if heard.pairs - before < heard.clients.saturating_sub(1) {
            patience = PATIENCE_LATER;
        }
    }
    for (client, _) in clients {
        client.close().await;
    }
    heard
}

async fn join(options: &Options, websocket: bool) -> Result<(Client, Socket), String> {
    let transports = if websocket { vec![Transport::WebSocket] } else { vec![Transport::Polling] };
    let config = Config {
        path: options.path.clone(),
        transports,
        reconnection: None,
        tls: options.tls.clone(),
        limits: Limits { excess: Excess::DropOldest, ..Limits::default() },
        ..Config::default()
    };
    let client = Client::new(&options.url, config).map_err(|error| error.to_string())?;
    let socket = client.socket("/").map_err(|error| error.to_string())?;
    match timeout(PATIENCE, socket.connected()).await {
        Ok(Ok(_)) => Ok((client, socket)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no connection in time".to_owned()),
    }
}

/// Waits for the event, and takes all that came with it.
async fn hears(socket: &Socket, expect: &str) -> bool {
    while let Some(incoming) = socket.next().await {
        if matches!(&incoming, Incoming::Event(event) if event.name() == expect) {
            return true;
        }
    }
    false
}

/// So many connections land on one server of two in 1 of 32 cases where each goes to a random one.
const CLIENTS: usize = 6;
/// For an event to reach everybody, and for a connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same, once it is known that not everybody hears.
const PATIENCE_LATER: Duration = Duration::from_secs(1);
