//! What a server counts beside its traffic: rare things, so plain atomics.

use crate::limit::Limit;
use sockeye_proto::engine::Refusal;
use sockeye_proto::socket::DisconnectReason;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Every reason of a disconnect, in the order of their discriminants.
pub(crate) const REASONS: [DisconnectReason; 9] = [
    DisconnectReason::TransportError,
    DisconnectReason::TransportClose,
    DisconnectReason::ForcedClose,
    DisconnectReason::PingTimeout,
    DisconnectReason::ParseError,
    DisconnectReason::ServerShuttingDown,
    DisconnectReason::ForcedServerClose,
    DisconnectReason::ClientNamespaceDisconnect,
    DisconnectReason::ServerNamespaceDisconnect,
];

/// Every refusal, in the order of their codes.
pub(crate) const REFUSALS: [Refusal; 6] = [
    Refusal::UnknownTransport,
    Refusal::UnknownSid,
    Refusal::BadHandshakeMethod,
    Refusal::BadRequest,
    Refusal::Forbidden,
    Refusal::UnsupportedProtocol,
];

/// Counters of a server, since its start but for `sessions` and `connections`.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Sessions that live.
    pub(crate) sessions: AtomicU32,
    /// Connections at work: a session may be over while its handlers are not, or its last words are not out.
    pub(crate) connections: AtomicU32,
    /// Handshakes that came through an edge.
    pub(crate) arrived: AtomicU64,
    /// Sessions that were opened.
    pub(crate) opened: AtomicU64,
    /// Sockets that entered a namespace.
    pub(crate) connects: AtomicU64,
    /// Clients that a guard refused, or that asked for a namespace that does not exist.
    pub(crate) connect_errors: AtomicU64,
    /// Functions that are being asked about names of namespaces.
    pub(crate) searches: AtomicU32,
    disconnects: [AtomicU64; REASONS.len()],
    refusals: [AtomicU64; REFUSALS.len()],
    limits: [AtomicU64; Limit::ALL.len()],
}

impl Counters {
    /// Adds one.
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A socket left its namespace.
    pub(crate) fn count_disconnect(&self, reason: DisconnectReason) {
        Self::count(&self.disconnects[reason as usize]);
    }

    /// A request was refused.
    pub(crate) fn count_refusal(&self, refusal: Refusal) {
        Self::count(&self.refusals[usize::from(refusal.code())]);
    }

    /// A limit was met.
    pub(crate) fn count_limit(&self, limit: Limit) {
        Self::count(&self.limits[limit as usize]);
    }

    /// Disconnects by reason.
    pub(crate) fn disconnects(&self) -> impl Iterator<Item = (DisconnectReason, u64)> {
        REASONS.into_iter().zip(self.disconnects.iter().map(read))
    }

    /// Refused requests by code.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (Refusal, u64)> {
        REFUSALS.into_iter().zip(self.refusals.iter().map(read))
    }

    /// Limits and how often they were met.
    pub(crate) fn limits(&self) -> impl Iterator<Item = (Limit, u64)> {
        Limit::ALL.into_iter().zip(self.limits.iter().map(read))
    }
}

/// Reads a counter.
pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_and_refusals_stand_where_their_counters_are() {
        for (index, reason) in REASONS.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{reason}");
        }
        for (index, refusal) in REFUSALS.into_iter().enumerate() {
            assert_eq!(usize::from(refusal.code()), index);
        }
    }
}
