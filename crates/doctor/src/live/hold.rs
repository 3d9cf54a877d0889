//! Idle connections, held as long as somebody has time for: who cuts them?

use super::facts::{Facts, Hold};
use super::options::Options;
use sockeye_client::{Client, Config, ConnectError, Phase, Transport};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Holds one by each transport at the same time.
pub(super) async fn both(options: &Options, facts: &Facts) -> Vec<Hold> {
    if options.hold.is_zero() {
        return Vec::new();
    }
    let websocket =
        async { if facts.can_websocket() { one(options, Transport::WebSocket).await } else { None } };
    let polling = async {
        let split = facts.with_cookies.as_ref().is_none_or(|sample| sample.lost > 0);
        // A session that does not hold together says nothing about silence.
        if split { None } else { one(options, Transport::Polling).await }
    };
    let (websocket, polling) = tokio::join!(websocket, polling);
    websocket.into_iter().chain(polling).collect()
}

async fn one(options: &Options, transport: Transport) -> Option<Hold> {
    let config = Config {
        path: options.path.clone(),
        transports: vec![transport],
        reconnection: None,
        tls: options.tls.clone(),
        ..Config::default()
    };
    let client = Client::new(&options.url, config).ok()?;
    let socket = client.socket("/").ok()?;
    let joined = timeout(PATIENCE, socket.connected()).await.ok()?;
    if matches!(joined, Err(ConnectError::NoConnection(_))) {
        return None;
    }
    let greeting = client.status().greeting?;
    // A server closes a session that joins no namespace after `connectTimeout`.
    let hold = if joined.is_ok() { options.hold } else { options.hold.min(OUTSIDE_MAX) };
    let since = Instant::now();
    let ended = timeout(hold, client.wait(|status| status.phase == Phase::Over)).await;
    let hold = Hold {
        transport,
        alive: since.elapsed(),
        ended: ended.ok().map(|status| status.last_end.map_or(String::new(), |end| end.to_string())),
        ping_interval: greeting.ping_interval,
        ping_timeout: greeting.ping_timeout,
    };
    client.close().await;
    Some(hold)
}

const PATIENCE: Duration = Duration::from_secs(20);
/// Less than the 45 s that servers wait for a namespace.
const OUTSIDE_MAX: Duration = Duration::from_secs(40);
