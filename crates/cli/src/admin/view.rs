//! What an operator is shown, at one moment: the edge's counters, by listener, group and server.

use std::time::Duration;

use serde::Serialize;
use sockeye_edge::{GroupStats, ServerCondition, ServerStats, Stats};

/// The edge as it is seen.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    pub(crate) version: &'static str,
    pub(crate) file: String,
    pub(crate) uptime_seconds: u64,
    pub(crate) totals: Totals,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) groups: Vec<Group>,
}

/// What belongs to no listener and no group.
#[derive(Debug, Serialize)]
pub(crate) struct Totals {
    pub(crate) sessions: u64,
    pub(crate) connections: u64,
    pub(crate) accepted: u64,
    pub(crate) shed: u64,
    pub(crate) handed_over: u64,
    pub(crate) returned: u64,
    pub(crate) bad_heads: u64,
    pub(crate) unknown_sids: u64,
    pub(crate) unavailable: u64,
    pub(crate) held_off: u64,
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    pub(crate) broken: u64,
    pub(crate) tunnels: u64,
    pub(crate) idle_upstream_connections: u64,
}

/// One open address.
#[derive(Debug, Serialize)]
pub(crate) struct Listener {
    pub(crate) name: String,
    pub(crate) at: String,
    pub(crate) accepted: u64,
    pub(crate) open: u64,
    pub(crate) tls_failures: u64,
    pub(crate) proxy_refused: u64,
    pub(crate) requests: u64,
    pub(crate) upgrades_asked: u64,
    pub(crate) upgrades_taken: u64,
    pub(crate) polling_sessions: u64,
    pub(crate) upgraded_sessions: u64,
    /// Whether few of the last ones went on by a WebSocket.
    pub(crate) few_upgrades: bool,
}

/// Servers that stand for each other.
#[derive(Debug, Serialize)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) sessions: u64,
    /// Sessions a server that takes new ones: what autoscaling looks at.
    pub(crate) sessions_per_server: f64,
    /// Sessions that were let go, by a drain or to level the load.
    pub(crate) moved: u64,
    /// Tunnels that were ended for their silence.
    pub(crate) silent: u64,
    pub(crate) learnt_sids: u64,
    pub(crate) silence_max_seconds: u64,
    pub(crate) servers: Vec<Server>,
}

/// One server.
#[derive(Debug, Serialize)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) at: String,
    /// `up`, `drain`, `leaving`, `maintenance` or `down`.
    pub(crate) state: &'static str,
    pub(crate) weight: u16,
    pub(crate) sessions: u64,
    /// Those that other edges gave it, by its own word.
    pub(crate) elsewhere: u64,
    pub(crate) on_the_way: u64,
    pub(crate) tunnels: u64,
    /// How many sessions it had when it began to drain.
    pub(crate) drain_began_with: Option<u64>,
    /// How many it has still to let go, by a drain or to level the load.
    pub(crate) to_move: u64,
}

impl View {
    /// What the counters say.
    pub(crate) fn of(stats: &Stats, file: String, uptime: Duration) -> Self {
        let groups: Vec<Group> = stats.groups.iter().map(Group::of).collect();
        let listeners = stats.listeners.iter().map(|listener| Listener {
            name: listener.name.clone(),
            at: listener.at.to_string(),
            accepted: listener.accepted,
            open: listener.open,
            tls_failures: listener.tls_failures,
            proxy_refused: listener.proxy_refused,
            requests: listener.requests,
            upgrades_asked: listener.upgrades_asked,
            upgrades_taken: listener.upgrades_taken,
            polling_sessions: listener.polling_sessions,
            upgraded_sessions: listener.upgraded_sessions,
            few_upgrades: listener.few_upgrades,
        });
        Self {
            version: env!("CARGO_PKG_VERSION"),
            file,
            uptime_seconds: uptime.as_secs(),
            totals: Totals {
                sessions: groups.iter().map(|group| group.sessions).sum(),
                connections: stats.open + stats.relay.tunnels,
                accepted: stats.accepted,
                shed: stats.shed,
                handed_over: stats.handed_over,
                returned: stats.returned,
                bad_heads: stats.bad_heads,
                unknown_sids: stats.unknown_sids,
                unavailable: stats.unavailable,
                held_off: stats.held_off,
                requests: stats.relay.requests,
                refused: stats.relay.refused,
                broken: stats.relay.broken,
                tunnels: stats.relay.tunnels,
                idle_upstream_connections: stats.relay.idle,
            },
            listeners: listeners.collect(),
            groups,
        }
    }
}

impl Group {
    fn of(stats: &GroupStats) -> Self {
        let servers: Vec<Server> = stats.servers.iter().map(Server::of).collect();
        let sessions: u64 = servers.iter().map(|server| server.sessions).sum();
        let serving = servers.iter().filter(|server| server.state == "up").count();
        // Counts of sessions are far below what a float holds exactly.
        #[expect(clippy::cast_precision_loss, reason = "see above")]
        let sessions_per_server = if serving == 0 { 0.0 } else { sessions as f64 / serving as f64 };
        Self {
            name: stats.name.clone(),
            sessions,
            sessions_per_server,
            moved: stats.moved,
            silent: stats.silent,
            learnt_sids: stats.sids,
            silence_max_seconds: stats.silence_max.as_secs(),
            servers,
        }
    }
}

impl Server {
    fn of(stats: &ServerStats) -> Self {
        Self {
            name: stats.name.clone(),
            at: stats.at.clone(),
            state: match stats.condition {
                ServerCondition::Up => "up",
                ServerCondition::Draining => "drain",
                ServerCondition::Leaving => "leaving",
                ServerCondition::Down => "down",
                ServerCondition::Maintenance => "maintenance",
            },
            weight: stats.weight,
            sessions: stats.sessions,
            elsewhere: stats.elsewhere,
            on_the_way: stats.on_the_way,
            tunnels: stats.tunnels,
            drain_began_with: stats.drain_began_with,
            to_move: stats.to_move,
        }
    }
}
