//! One group of servers at run time: what it was told, and who they are.

use std::sync::Arc;

use sockeye_relay::Relay;

use crate::config::{self, Affinity, Cookie, Members};
use crate::servers::{self, Servers};
use crate::workers::Workers;

/// A group as requests find it. A new configuration makes a new one; those who serve, and what is known of them, are shared with the one before.
pub(crate) struct Group {
    pub(crate) config: config::Group,
    pub(crate) servers: Arc<Servers>,
}

impl Group {
    /// Settles a group; `before` is the one that had its name.
    pub(crate) fn settle(
        config: config::Group,
        before: Option<&Self>,
        workers: &Workers,
        relay: &Relay,
    ) -> Self {
        // Whoever was named and is not any more leaves in order, and who waits goes on waiting: it is the same group whatever its servers are found by.
        let known = before.map(|before| Arc::clone(&before.servers));
        let known = known.or_else(|| is_local(&config).then(|| workers.group(&config.name)));
        let servers = match known {
            Some(servers) => {
                servers.settle(&config);
                servers
            }
            None => servers::open(&config, relay),
        };
        if is_local(&config) {
            workers.put(&config.name, &servers);
        }
        Self { config, servers }
    }

    /// Whether its servers are this machine's workers, to whom whole connections can be handed.
    pub(crate) const fn is_local(&self) -> bool {
        is_local(&self.config)
    }

    /// Whether its servers are nodes of ours, whose sids tell whose they are.
    pub(crate) const fn has_tags(&self) -> bool {
        matches!(self.config.members, Members::Workers { .. } | Members::Directory { .. })
    }

    /// Whether a session that was seen to begin stays where it was placed, whatever else names a server. A key may have chosen another one then than
    /// it would now: with a bound, where one was full, or was away.
    pub(crate) fn learns(&self) -> bool {
        let places = |rule: &Affinity| match rule {
            Affinity::Sid | Affinity::Address { .. } | Affinity::ForwardedFor | Affinity::Header(_) => true,
            Affinity::Cookie(_) => false,
        };
        !self.has_tags() && self.config.affinity.iter().any(places)
    }

    /// The cookie that names a server.
    pub(crate) fn cookie(&self) -> Option<&Cookie> {
        self.config.affinity.iter().find_map(|rule| match rule {
            Affinity::Cookie(cookie) => Some(cookie),
            Affinity::Sid | Affinity::Address { .. } | Affinity::ForwardedFor | Affinity::Header(_) => None,
        })
    }
}

const fn is_local(config: &config::Group) -> bool {
    matches!(config.members, Members::Workers { .. })
}
