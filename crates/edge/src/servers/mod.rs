//! Those who serve a group, with the doors to them, shared by all connections; and the tasks that look after them and for them.

mod crowd;
mod discovery;
mod dns;
mod intent;
mod keeper;
mod opening;
mod search;
mod state;

use std::sync::Arc;

use sockeye_relay::Relay;

pub(crate) use crowd::{Owner, Servers, TunnelOf, UnderWay};
pub(crate) use intent::{Intent, Suggestion};

use crate::config::Group;

/// The servers of a group, and the tasks that look after them, which end with them.
///
/// # Panics
///
/// Outside a tokio runtime.
pub(crate) fn open(group: &Group, relay: &Relay) -> Arc<Servers> {
    let servers = Servers::new(group, relay);
    // Ends by itself once the servers are gone.
    tokio::spawn(keeper::keep(Arc::downgrade(&servers), Arc::clone(&servers.changed)));
    servers
}
