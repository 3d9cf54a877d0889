//! The place of one session among those that a server allows.

use crate::core::Core;
use crate::gate::Entry;
use crate::limit::Limit;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// Kept for as long as the session lives. Without any rule nothing is kept.
pub(crate) struct Seat(Option<Box<(Arc<Core>, Entry)>>);

impl Core {
    /// Asks for a place.
    ///
    /// # Errors
    /// The limit that keeps the client out; it was counted.
    pub(crate) fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<Seat, Limit> {
        let Some(gate) = &self.gate else { return Ok(Seat(None)) };
        let entered = gate.lock().enter(peer, Instant::now());
        let (entry, met) = entered.inspect_err(|limit| {
            self.counters.count_limit(*limit);
            tracing::debug!(%limit, "a handshake was refused");
        })?;
        met.into_iter().for_each(|limit| self.counters.count_limit(limit));
        Ok(Seat(Some(Box::new((Arc::clone(self), entry)))))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(seat) = self.0.take()
            && let (core, entry) = *seat
            && let Some(gate) = &core.gate
        {
            gate.lock().leave(&entry, Instant::now());
        }
    }
}
