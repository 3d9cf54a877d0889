//! Servers that registered themselves, each for as long as its lease lasts: a machine.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::config::Server;

/// Who is registered, by name.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    held: BTreeMap<String, (Server, Instant)>,
}

/// There are as many as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{LEASES_MAX} servers are registered, and no more may be: withdraw one first")]
pub struct TooMany;

impl Leases {
    /// A server registers, or again. Tells whether the list is another.
    pub(crate) fn handle_registered(
        &mut self,
        server: Server,
        lease: Duration,
        now: Instant,
    ) -> Result<bool, TooMany> {
        if self.held.len() >= LEASES_MAX && !self.held.contains_key(&server.name) {
            return Err(TooMany);
        }
        let before = self.held.insert(server.name.clone(), (server.clone(), now + lease));
        Ok(before.is_none_or(|(before, _)| before != server))
    }

    /// A server takes its word back. Tells whether it was there.
    pub(crate) fn handle_withdrawn(&mut self, name: &str) -> bool {
        self.held.remove(name).is_some()
    }

    /// Ends the leases that ran out. Tells whether one did.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        let before = self.held.len();
        self.held.retain(|_, (_, until)| *until > now);
        self.held.len() != before
    }

    /// Who is registered.
    pub(crate) fn servers(&self) -> Vec<Server> {
        self.held.values().map(|(server, _)| server.clone()).collect()
    }
}

/// The most servers that may be registered in a group.
const LEASES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::parse_servers;

    #[test]
    fn a_lease_lasts_as_long_as_it_is_renewed() {
        let (mut leases, start) = (Leases::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let server = |text| parse_servers(text).unwrap().remove(0);
        let lease = Duration::from_secs(15);
        let a = server("10.0.0.1:1 route=a");
        assert_eq!(leases.handle_registered(a.clone(), lease, at(0)), Ok(true));
        assert_eq!(leases.handle_registered(a, lease, at(10)), Ok(false));
        assert_eq!(leases.handle_registered(server("10.0.0.1:1 route=b"), lease, at(12)), Ok(true));
        assert!(!leases.handle_timeout(at(24)));
        assert!(leases.handle_timeout(at(25)));
        assert_eq!(leases.servers().len(), 1);
        assert_eq!(leases.handle_registered(server("10.0.0.1:1 route=b drain"), lease, at(26)), Ok(true));
        assert!(leases.handle_withdrawn("b") && !leases.handle_withdrawn("b"));
        assert_eq!(leases.servers(), []);
    }

    #[test]
    fn one_beyond_the_limit_is_refused() {
        let (mut leases, now) = (Leases::default(), Instant::now());
        let server =
            |n: usize| Server { name: n.to_string(), ..parse_servers("10.0.0.1:1").unwrap().remove(0) };
        for n in 0..LEASES_MAX {
            assert_eq!(leases.handle_registered(server(n), Duration::from_secs(1), now), Ok(true));
        }
        assert_eq!(leases.handle_registered(server(LEASES_MAX), Duration::from_secs(1), now), Err(TooMany));
        assert_eq!(leases.handle_registered(server(0), Duration::from_secs(1), now), Ok(false));
    }
}
