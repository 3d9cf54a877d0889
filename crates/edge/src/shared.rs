//! What all connections of the edge share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Cache};
use parking_lot::Mutex;
use sockeye_relay::Relay;

use crate::admission::Admission;
use crate::config::{Config, ConfigError, Endpoint, Group, Listener, Site};
use crate::layout::{self, Layout};
use crate::places::Places;
use crate::servers::Servers;
use crate::stats::{Counters, Stats};
use crate::workers::Workers;

/// The configuration in force, the open addresses, this machine's workers, the relay to all servers, the counters, and whether the end has begun.
pub(crate) struct Shared {
    layout: ArcSwap<Layout>,
    /// Held while one configuration replaces another.
    replacing: Mutex<()>,
    pub(crate) places: Places,
    pub(crate) workers: Workers,
    admission: Mutex<Admission>,
    pub(crate) relay: Relay,
    pub(crate) counters: Counters,
    draining: AtomicBool,
}

impl Shared {
    /// Opens every address of a configuration.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(crate) fn open(config: Config) -> Result<Self, ConfigError> {
        let places = Places::default();
        let relay = Relay::new(config.relay.clone());
        let workers = Workers::new(&relay);
        let counters = Counters::default();
        let layout = Layout::settle(config, None, &workers, &relay, &[], &counters.log_dropped)?;
        places.adopt(places.prepare(&layout.config.listeners)?);
        let admission = Mutex::new(Admission::new(layout.config.limits.sessions_per_second));
        Ok(Self {
            layout: ArcSwap::from_pointee(layout),
            replacing: Mutex::default(),
            places,
            workers,
            admission,
            relay,
            counters,
            draining: AtomicBool::new(false),
        })
    }

    /// Replaces the configuration, or leaves all as it was.
    pub(crate) fn apply(&self, config: Config) -> Result<(), ConfigError> {
        let _one_at_a_time = self.replacing.lock();
        let before = self.layout.load_full();
        // What can fail comes first, and before all what is wrong in itself: no address is opened for it.
        let beside = self.places.beside();
        layout::look_over(&config, &beside)?;
        let change = self.places.prepare(&config.listeners)?;
        let dropped = &self.counters.log_dropped;
        let layout = Layout::settle(config, Some(&before), &self.workers, &self.relay, &beside, dropped)?;
        self.admission.lock().handle_rate(layout.config.limits.sessions_per_second);
        self.adopt(layout);
        self.places.adopt(change);
        Ok(())
    }

    /// Other groups and sites take the place of those there are, or all is as it was.
    pub(crate) fn regroup(&self, groups: Vec<Group>, sites: Vec<Site>) -> Result<(), ConfigError> {
        let _one_at_a_time = self.replacing.lock();
        let before = self.layout.load_full();
        let layout = before.regroup(groups, sites, &self.workers, &self.relay, &self.places.beside())?;
        self.adopt(layout);
        Ok(())
    }

    fn adopt(&self, layout: Layout) {
        let layout = Arc::new(layout);
        self.workers.forget_others(|name| layout.groups.contains_key(name));
        self.layout.store(layout);
    }

    /// Opens one more address beside the configuration.
    pub(crate) fn open_beside(&self, listener: Listener) -> Result<Endpoint, ConfigError> {
        let _one_at_a_time = self.replacing.lock();
        self.layout.load().check(&listener)?;
        self.places.open(listener)
    }

    /// The servers of a group, one of which is about to be a worker of this machine.
    pub(crate) fn group_of_workers(&self, name: &str) -> Arc<Servers> {
        let layout = self.layout.load();
        let Some(group) = layout.groups.get(name) else { return self.workers.group(name) };
        self.workers.put(name, &group.servers);
        Arc::clone(&group.servers)
    }

    /// Lets one more session in, or says how long it had better wait.
    pub(crate) fn admit(&self) -> Result<(), Duration> {
        let admitted = self.admission.lock().admit(Instant::now());
        if admitted.is_err() {
            self.counters.held_off.add();
        }
        admitted
    }

    /// The configuration in force.
    pub(crate) fn layout(&self) -> Arc<Layout> {
        self.layout.load_full()
    }

    /// The same at any later time, for who asks again and again.
    pub(crate) fn latest_layout(&self) -> Cache<&ArcSwap<Layout>, Arc<Layout>> {
        Cache::new(&self.layout)
    }

    /// From here on the edge is not ready any more.
    pub(crate) fn begin_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn stats(&self) -> Stats {
        let counters = &self.counters;
        Stats {
            accepted: counters.accepted.value(),
            shed: counters.shed.value(),
            open: counters.open.value(),
            handed_over: counters.handed_over.value(),
            returned: counters.returned.value(),
            bad_heads: counters.bad_heads.value(),
            unknown_sids: counters.unknown_sids.value(),
            unavailable: counters.unavailable.value(),
            log_dropped: counters.log_dropped.value(),
            relay: self.relay.stats(),
            held_off: counters.held_off.value(),
            workers: self.workers.stats(),
            groups: self.layout().groups.iter().map(|(name, group)| group.servers.stats(name)).collect(),
            listeners: self.places.all().iter().map(|place| place.terms().stats(&place.at)).collect(),
        }
    }
}
