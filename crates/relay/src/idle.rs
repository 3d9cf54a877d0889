//! Idle connections, a bounded stack for each address.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::address::Address;
use crate::config::Config;
use crate::lane::Lane;
use crate::tally::{Open, Tally};
use crate::wire::Wire;

/// The idle connections of all addresses, and the task that closes the old ones.
pub(crate) struct Idle {
    slots: Mutex<HashMap<Address, Arc<Slot>>>,
    limits: Limits,
    sweeping: Mutex<bool>,
}

/// The idle connections to one address.
pub(crate) struct Slot {
    pub(crate) address: Address,
    idle: Weak<Idle>,
    resting: Mutex<VecDeque<(Instant, Box<Lane>)>>,
    wires: Mutex<VecDeque<(Instant, Wire)>>,
    /// Connections that there are, those in use included.
    open: Tally,
}

#[derive(Clone, Copy)]
struct Limits {
    per_address: usize,
    lifetime: Duration,
}

impl Idle {
    pub(crate) fn new(config: &Config) -> Arc<Self> {
        let per_address = config.idle_per_address_max.get() as usize;
        let limits = Limits { per_address, lifetime: config.idle_lifetime };
        Arc::new(Self { slots: Mutex::default(), limits, sweeping: Mutex::new(false) })
    }

    /// The place of an address, made at its first use.
    pub(crate) fn slot(self: &Arc<Self>, address: &Address) -> Arc<Slot> {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get(address) {
            return Arc::clone(slot);
        }
        let slot = Arc::new(Slot {
            address: address.clone(),
            idle: Arc::downgrade(self),
            resting: Mutex::default(),
            wires: Mutex::default(),
            open: Tally::default(),
        });
        slots.insert(address.clone(), Arc::clone(&slot));
        slot
    }

    /// Closes the idle connections of an address whose upstream is gone.
    pub(crate) fn forget(&self, address: &Address) {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get(address) {
            slot.resting.lock().clear();
            slot.wires.lock().clear();
            if Arc::strong_count(slot) == 1 {
                slots.remove(address);
            }
        }
    }

    /// How many connections rest.
    pub(crate) fn count(&self) -> usize {
        self.slots.lock().values().map(|slot| slot.resting.lock().len() + slot.wires.lock().len()).sum()
    }

    /// Starts the sweeper unless it runs. It ends by itself once nothing rests, or the relay is gone.
    fn sweep_later(self: &Arc<Self>) {
        let mut sweeping = self.sweeping.lock();
        if *sweeping {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        *sweeping = true;
        let idle = Arc::downgrade(self);
        let lifetime = self.limits.lifetime;
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(lifetime).await;
                let Some(idle) = idle.upgrade() else { return };
                if idle.sweep() {
                    return;
                }
            }
        });
    }

    /// Closes what has rested too long, forgets addresses nobody uses, and tells whether that was all.
    fn sweep(&self) -> bool {
        let mut sweeping = self.sweeping.lock();
        let mut slots = self.slots.lock();
        let now = Instant::now();
        slots.retain(|_, slot| {
            let mut resting = slot.resting.lock();
            while resting.front().is_some_and(|(since, _)| now - *since >= self.limits.lifetime) {
                resting.pop_front();
            }
            let mut wires = slot.wires.lock();
            while wires.front().is_some_and(|(since, _)| now - *since >= self.limits.lifetime) {
                wires.pop_front();
            }
            !resting.is_empty() || !wires.is_empty() || Arc::strong_count(slot) > 1
        });
        *sweeping =
            slots.values().any(|slot| !slot.resting.lock().is_empty() || !slot.wires.lock().is_empty());
        !*sweeping
    }
}

impl Slot {
    /// Counts a connection that was made.
    pub(crate) fn count(&self) -> Open {
        self.open.count()
    }

    /// How many connections carry a request at this moment: those that are there and do not rest.
    pub(crate) fn under_way(&self) -> u64 {
        let resting = self.resting.lock().len() + self.wires.lock().len();
        self.open.value().saturating_sub(resting as u64)
    }

    /// Takes the connection that came to rest last, if it is still open.
    pub(crate) fn wake(&self) -> Option<Box<Lane>> {
        loop {
            let (_, mut lane) = self.resting.lock().pop_back()?;
            if lane.is_idle() {
                return Some(lane);
            }
        }
    }

    /// The same, of those that the caller frames itself.
    pub(crate) fn wake_wire(&self) -> Option<Wire> {
        loop {
            let (_, mut wire) = self.wires.lock().pop_back()?;
            if wire.is_idle() {
                return Some(wire);
            }
        }
    }

    /// Keeps one of them.
    pub(crate) fn rest_wire(&self, mut wire: Wire, now: Instant) {
        let Some(idle) = self.idle.upgrade() else { return };
        wire.handle_rest();
        let (surplus, first) = {
            let mut wires = self.wires.lock();
            let first = wires.is_empty();
            wires.push_back((now, wire));
            (if wires.len() > idle.limits.per_address { wires.pop_front() } else { None }, first)
        };
        drop(surplus);
        // Where another rested the sweeper is at work.
        if first {
            idle.sweep_later();
        }
    }

    /// Keeps a connection whose request is done, unless it cannot be used again; the oldest is closed where there are too many.
    pub(crate) fn rest(&self, mut lane: Box<Lane>) {
        if !lane.is_idle() {
            return;
        }
        let Some(idle) = self.idle.upgrade() else { return };
        let surplus = {
            let mut resting = self.resting.lock();
            resting.push_back((Instant::now(), lane));
            if resting.len() > idle.limits.per_address { resting.pop_front() } else { None }
        };
        drop(surplus);
        idle.sweep_later();
    }
}
