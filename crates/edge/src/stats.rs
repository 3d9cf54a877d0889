//! What the edge has done, in plain counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sockeye_proto::Tag;
use tracing::{info, warn};

use crate::config::{Endpoint, Listener};
use crate::pool::Share;
use crate::upgrades::{Turn, Upgrades};

/// A view of the edge at one moment.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections closed at once because too many were open.
    pub shed: u64,
    /// Connections open at the edge itself, tunnels aside.
    pub open: u64,
    /// Connections handed over to workers.
    pub handed_over: u64,
    /// Connections that came back from dead workers.
    pub returned: u64,
    /// First heads that were too large, too slow or malformed.
    pub bad_heads: u64,
    /// Requests and upgrades refused because nobody has their session.
    pub unknown_sids: u64,
    /// Requests and upgrades that no worker took in time.
    pub unavailable: u64,
    /// New sessions that were not let in because too many came at once.
    pub held_off: u64,
    /// Lines of the access log that its writer could not take.
    pub log_dropped: u64,
    /// Requests relayed, upgrades among them.
    pub relay: sockeye_relay::Stats,
    /// The workers.
    pub workers: Vec<WorkerStats>,
    /// The groups of servers, by name.
    pub groups: Vec<GroupStats>,
    /// The open addresses.
    pub listeners: Vec<ListenerStats>,
}

/// One open address as the edge sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerStats {
    /// Its name.
    pub name: String,
    /// Where it listens; the port is the one in use.
    pub at: Endpoint,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open at the edge itself, tunnels aside.
    pub open: u64,
    /// Connections whose TLS handshake failed: plain HTTP, no common version, a certificate that the client refused.
    pub tls_failures: u64,
    /// Connections refused for their PROXY header: none came, a wrong one, or from somebody who may not send one.
    pub proxy_refused: u64,
    /// Requests answered, upgrades among them.
    pub requests: u64,
    /// Upgrades to a WebSocket that were asked for.
    pub upgrades_asked: u64,
    /// Those that a server took: by a 101, or as a whole connection.
    pub upgrades_taken: u64,
    /// Sessions that began by polling.
    pub polling_sessions: u64,
    /// Sessions that went on by a WebSocket. Where this stays far behind [`Self::polling_sessions`], something on the way loses `Upgrade`, and the others go on by
    /// polling, which works but is not realtime; or clients are told to poll.
    pub upgraded_sessions: u64,
    /// Whether of the last 200 sessions that asked for a WebSocket fewer got it than `Listener::upgrades_percent_min` says.
    pub few_upgrades: bool,
}

/// One group of servers as the edge sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStats {
    /// Its name.
    pub name: String,
    /// Its servers, in the order in which they came.
    pub servers: Vec<ServerStats>,
    /// Sessions whose server is remembered because their sids do not tell.
    pub sids: u64,
    /// Sessions that were let go, by a drain or to level the load.
    pub moved: u64,
    /// Tunnels that were ended because they had been silent for longer than their heartbeat allows.
    pub silent: u64,
    /// For how long a tunnel may be silent.
    pub silence_max: Duration,
}

/// One server of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerStats {
    /// Its name.
    pub name: String,
    /// Where requests reach it.
    pub at: String,
    /// What it is good for.
    pub condition: ServerCondition,
    /// Its share beside the others.
    pub weight: u16,
    /// Sessions it has, as it reported or as seen.
    pub sessions: u64,
    /// Sessions that others gave it, by its own word.
    pub elsewhere: u64,
    /// Handshakes on their way to it.
    pub on_the_way: u64,
    /// Tunnels that are relayed to it.
    pub tunnels: u64,
    /// Requests that are under way to it, polls that wait among them.
    pub requests: u64,
    /// How many sessions it had when it began to drain: with `sessions` how far it is.
    pub drain_began_with: Option<u64>,
    /// How many sessions it has still to let go, at the pace: all of them while it drains, those over the mean while the load is levelled.
    pub to_move: u64,
}

/// What a server is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerCondition {
    /// It takes sessions.
    Up,
    /// It keeps those it has, until they are moved or end.
    Draining,
    /// The same, because nothing names it any more; it is forgotten then.
    Leaving,
    /// It does not answer as it should.
    Down,
    /// It gets nothing, because an operator said so.
    Maintenance,
}

/// One worker as the edge sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerStats {
    /// Its tag.
    pub tag: Tag,
    /// Its number among the workers.
    pub instance: u32,
    /// Its part of the work.
    pub share: Share,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: Counter,
    pub(crate) shed: Counter,
    pub(crate) open: Arc<Counter>,
    pub(crate) handed_over: Counter,
    pub(crate) returned: Counter,
    pub(crate) bad_heads: Counter,
    pub(crate) unknown_sids: Counter,
    pub(crate) unavailable: Counter,
    pub(crate) held_off: Counter,
    pub(crate) log_dropped: Arc<Counter>,
}

#[derive(Debug, Default)]
pub(crate) struct ListenerCounters {
    pub(crate) accepted: Counter,
    pub(crate) open: Arc<Counter>,
    pub(crate) tls_failures: Counter,
    pub(crate) proxy_refused: Counter,
    pub(crate) requests: Counter,
    pub(crate) upgrades_asked: Counter,
    pub(crate) upgrades_taken: Counter,
    pub(crate) polling_sessions: Counter,
    pub(crate) upgraded_sessions: Counter,
    upgrades: Upgrades,
}

impl ListenerCounters {
    /// A session that began by polling asked for a WebSocket, and got it or not.
    pub(crate) fn asked_for_websocket(&self, got: bool, listener: &Listener) {
        if got {
            self.upgraded_sessions.add();
        }
        match self.upgrades.handle_asked(got, listener.upgrades_percent_min) {
            Some(Turn::Few(percent)) => warn!(
                listener = listener.name,
                percent,
                "few clients that ask for a WebSocket get it: something on their way may lose the header Upgrade, sockeye doctor URL tells"
            ),
            Some(Turn::Well) => info!(listener = listener.name, "clients go on by a WebSocket again"),
            None => {}
        }
    }

    pub(crate) fn view(&self, listener: &Listener, at: Endpoint) -> ListenerStats {
        ListenerStats {
            name: listener.name.clone(),
            at,
            accepted: self.accepted.value(),
            open: self.open.value(),
            tls_failures: self.tls_failures.value(),
            proxy_refused: self.proxy_refused.value(),
            requests: self.requests.value(),
            upgrades_asked: self.upgrades_asked.value(),
            upgrades_taken: self.upgrades_taken.value(),
            polling_sessions: self.polling_sessions.value(),
            upgraded_sessions: self.upgraded_sessions.value(),
            few_upgrades: listener.upgrades_percent_min > 0 && self.upgrades.are_few(),
        }
    }
}

/// Counts one thing for as long as it is there.
pub(crate) struct Open(Arc<Counter>);

impl Open {
    pub(crate) fn count(counter: &Arc<Counter>) -> Self {
        counter.add();
        Self(Arc::clone(counter))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.remove();
    }
}

/// A number that many tasks add to and nobody decides by.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
