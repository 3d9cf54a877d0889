//! A server in numbers.

use crate::backplane::{BackplaneStats, MeshStats};
use crate::core::{Application, Core};
use crate::counters::read;
use crate::limit::Limit;
use crate::recovery::RecoveryStats;
use crate::traffic::Traffic;
use sockeye_proto::socket::DisconnectReason;
use std::sync::atomic::Ordering;

/// A snapshot of one server, from [`Handle::stats`](crate::Handle::stats). Counts are since its start.
///
/// ```
/// use sockeye::{Config, Server};
///
/// let io = Server::new(Config::default());
/// let stats = io.handle().stats(); // any time, from any task
/// assert_eq!((stats.sessions, stats.connects), (0, 0));
/// ```
#[derive(Debug, Default, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Sessions that live.
    pub sessions: u32,
    /// Sessions that were opened.
    pub sessions_opened: u64,
    /// Sockets by namespace, in alphabetical order.
    pub sockets: Vec<(String, usize)>,
    /// Sockets that entered a namespace.
    pub connects: u64,
    /// Clients that a guard refused, or that asked for a namespace that does not exist.
    pub connect_errors: u64,
    /// Sockets that left their namespace, by reason.
    pub disconnects: Vec<(DisconnectReason, u64)>,
    /// Requests that Engine.IO refused: the official code, its message, and how often.
    pub refusals: Vec<(u8, &'static str, u64)>,
    /// How often each limit was met.
    pub limits: Vec<(Limit, u64)>,
    /// What became of clients that came back, where [`Config::connection_state_recovery`](crate::Config::connection_state_recovery)
    /// is on. A namespace that has ended counts no more.
    pub recovery: Option<RecoveryStats>,
    /// Namespaces on the backplane, in alphabetical order.
    pub backplanes: Vec<(String, BackplaneStats)>,
    /// The mesh of its machine, if it has joined one.
    pub mesh: Option<MeshStats>,
    /// Messages and bytes.
    pub traffic: Traffic,
}

impl Stats {
    /// How often a limit was met.
    pub fn limit(&self, limit: Limit) -> u64 {
        self.limits.iter().find(|(name, _)| *name == limit).map_or(0, |(_, count)| *count)
    }

    /// How many sockets left for that reason.
    pub fn disconnects_for(&self, reason: DisconnectReason) -> u64 {
        self.disconnects.iter().find(|(name, _)| *name == reason).map_or(0, |(_, count)| *count)
    }
}

impl Core {
    /// Counts together. Costs a look at each session; nothing that carries messages waits for it.
    pub(crate) fn stats(&self) -> Stats {
        let counters = &self.counters;
        let mut sockets: Vec<_> = match &self.application {
            Application::SocketIo(realms) => realms
                .all()
                .iter()
                .map(|realm| (realm.hub.nsp().to_string(), realm.hub.rooms().len()))
                .collect(),
            Application::Engine(_) => Vec::new(),
        };
        sockets.sort();
        let recovery = self.config.connection_state_recovery.map(|_| self.recovery());
        let traffic = self.traffic();
        let backplanes = self.backplanes();
        let refused = backplanes.iter().map(|(_, stats)| stats.refused).sum();
        // These are counted where they are met.
        let elsewhere = |limit| match (limit, &self.application) {
            (Limit::BackplaneBytesMax, _) => refused,
            (Limit::AckTimeout, _) => traffic.acks_late,
            (Limit::AcksPendingMax, _) => traffic.acks_not_asked,
            (Limit::ChildNamespacesMax, Application::SocketIo(realms)) => realms.refused(),
            _ => 0,
        };
        Stats {
            sessions: counters.sessions.load(Ordering::Relaxed),
            sessions_opened: read(&counters.opened),
            sockets,
            connects: read(&counters.connects),
            connect_errors: read(&counters.connect_errors),
            disconnects: counters.disconnects().collect(),
            refusals: counters
                .refusals()
                .map(|(refusal, count)| (refusal.code(), refusal.message(), count))
                .collect(),
            limits: counters.limits().map(|(limit, count)| (limit, count + elsewhere(limit))).collect(),
            recovery,
            backplanes,
            mesh: self.mesh.get().map(|mesh| MeshStats::of(&mesh.stats())),
            traffic,
        }
    }

    fn backplanes(&self) -> Vec<(String, BackplaneStats)> {
        let Application::SocketIo(realms) = &self.application else { return Vec::new() };
        let realms = realms.all();
        let on_one = realms.iter().filter_map(|realm| Some((realm.hub.nsp(), realm.hub.branch()?)));
        let mut backplanes: Vec<_> = on_one.map(|(nsp, branch)| (nsp.to_string(), branch.stats())).collect();
        backplanes.sort_by(|one, other| one.0.cmp(&other.0));
        backplanes
    }

    fn recovery(&self) -> RecoveryStats {
        let mut sum = RecoveryStats::default();
        if let Application::SocketIo(realms) = &self.application {
            let realms = realms.all();
            for sessions in realms.iter().filter_map(|realm| realm.hub.sessions()) {
                let (counted, held) = sessions.stats();
                sum.add(&counted, &held);
            }
            for kept in realms.iter().filter_map(|realm| realm.hub.kept()) {
                let (counted, held) = kept.stats();
                sum.add(&counted, &held);
            }
        }
        sum
    }
}
