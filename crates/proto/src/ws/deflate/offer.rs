//! The server's half of a handshake: offers in, one answer out.
//!
//! For valid offers the answer is, byte for byte, that of the official server with the same options. Where one is invalid
//! RFC 7692 §7.1 rules, and only that offer is declined; the official server refuses the whole handshake by a 400.

use std::sync::Arc;

use super::agreement::{Agreement, Role};
use super::budget::{Budget, Lease};
use super::config::{DeflateConfig, Limit};
use super::grammar;
use super::params::{NAME, Param, Params};
use super::window::Window;

/// The answer to an offer.
#[derive(Debug)]
pub struct Answer {
    /// What is agreed upon.
    pub agreement: Agreement,
    /// The value of the answer's `Sec-WebSocket-Extensions`.
    pub header: String,
    /// What the connection keeps between messages; to be dropped when it ends.
    pub lease: Option<Lease>,
}

impl DeflateConfig {
    /// Answers the values of a request's `Sec-WebSocket-Extensions` fields; `None`: nothing is compressed.
    ///
    /// The first offer that can be accepted counts. Where `budget` does not hold what the connection would keep between
    /// messages, both sides are told to keep nothing.
    pub fn answer<'a>(
        &self,
        values: impl IntoIterator<Item = &'a [u8]>,
        budget: &Arc<Budget>,
    ) -> Option<Answer> {
        let mut params = values
            .into_iter()
            .filter_map(|value| grammar::parse(value.trim_ascii()))
            .flatten()
            .filter(|extension| extension.name == NAME)
            .find_map(|extension| self.settle(Params::read(&extension)?))?;
        let wanted = agreement(&params).context_bytes(Role::Server);
        let lease = if wanted > 0 { budget.lease(wanted) } else { None };
        if wanted > 0 && lease.is_none() {
            params.set(Param::ServerNoContextTakeover);
            params.set(Param::ClientNoContextTakeover);
        }
        Some(Answer { agreement: agreement(&params), header: params.to_string(), lease })
    }

    /// Makes an answer of an offer; `None` where the two do not go together.
    fn settle(&self, mut params: Params) -> Option<Params> {
        if self.server_no_context_takeover == Some(false) && params.server_no_context_takeover() {
            return None;
        }
        match (self.server_max_window_bits, params.server_max_window_bits()) {
            (Limit::Refused, Some(_)) => return None,
            (Limit::To(ours), Some(theirs)) if ours > theirs => return None,
            (Limit::AsOffered | Limit::Refused | Limit::To(_), _) => {}
        }
        match (self.client_max_window_bits, params.client_max_window_bits()) {
            // RFC 7692 §7.1.2.2: no window may be asked of a client that did not say that it understands.
            (Limit::To(_), None) => return None,
            (Limit::To(ours), Some(Some(theirs))) if ours > theirs => return None,
            (Limit::AsOffered | Limit::Refused | Limit::To(_), _) => {}
        }
        if self.server_no_context_takeover == Some(true) {
            params.set(Param::ServerNoContextTakeover);
        }
        if self.client_no_context_takeover {
            params.set(Param::ClientNoContextTakeover);
        }
        if let Limit::To(window) = self.server_max_window_bits {
            params.set(Param::ServerMaxWindowBits(window));
        }
        match self.client_max_window_bits {
            Limit::To(window) => params.set(Param::ClientMaxWindowBits(Some(window))),
            Limit::Refused => params.drop_client_window(),
            Limit::AsOffered if params.client_max_window_bits() == Some(None) => params.drop_client_window(),
            Limit::AsOffered => {}
        }
        Some(params)
    }
}

/// What an answer makes both sides hold to.
fn agreement(answer: &Params) -> Agreement {
    Agreement {
        server_no_context_takeover: answer.server_no_context_takeover(),
        client_no_context_takeover: answer.client_no_context_takeover(),
        server_max_window_bits: answer.server_max_window_bits().unwrap_or(Window::MAX),
        client_max_window_bits: answer.client_max_window_bits().flatten().unwrap_or(Window::MAX),
    }
}

#[cfg(test)]
mod tests;
