//! This machine's workers, by the groups that they are in: each app of a file has one of its own.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;

use parking_lot::Mutex;
use sockeye_proto::Tag;
use sockeye_relay::Relay;

use crate::config::{Group, Members};
use crate::servers::{self, Servers};
use crate::stats::WorkerStats;

/// The workers that are made known by `Control`. They outlive the configuration that names their group, and come before the first that does.
pub(crate) struct Workers {
    relay: Relay,
    groups: Mutex<BTreeMap<String, Arc<Servers>>>,
}

impl Workers {
    /// Nobody so far.
    pub(crate) fn new(relay: &Relay) -> Self {
        Self { relay: relay.clone(), groups: Mutex::default() }
    }

    /// The servers of a group that nothing was said of before.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(crate) fn group(&self, name: &str) -> Arc<Servers> {
        let mut groups = self.groups.lock();
        if let Some(servers) = groups.get(name) {
            return Arc::clone(servers);
        }
        let group = Group::new(name, Members::Workers { ready_min: NonZero::<u32>::MIN });
        let servers = servers::open(&group, &self.relay);
        groups.insert(name.to_owned(), Arc::clone(&servers));
        servers
    }

    /// These are the servers of a group, workers among them or to come.
    pub(crate) fn put(&self, name: &str, servers: &Arc<Servers>) {
        self.groups.lock().insert(name.to_owned(), Arc::clone(servers));
    }

    /// The group of the worker with a tag, which no two have.
    pub(crate) fn of(&self, tag: Tag) -> Option<Arc<Servers>> {
        self.groups.lock().values().find(|servers| servers.owner(tag).is_some()).cloned()
    }

    /// Forgets the groups that nobody names and nobody is in.
    pub(crate) fn forget_others(&self, is_named: impl Fn(&str) -> bool) {
        self.groups.lock().retain(|name, servers| is_named(name) || !servers.worker_stats().is_empty());
    }

    pub(crate) fn stats(&self) -> Vec<WorkerStats> {
        let mut stats: Vec<WorkerStats> =
            self.groups.lock().values().flat_map(|servers| servers.worker_stats()).collect();
        stats.sort_unstable_by_key(|worker| worker.tag);
        stats
    }
}
