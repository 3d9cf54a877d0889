//! All open addresses, and how a new configuration changes them: what stays is never closed, and what fails changes nothing.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::config::{ConfigError, Endpoint, Listener};
use crate::place::{Place, Terms};

/// The open addresses. The driver is told of each change.
#[derive(Default)]
pub(crate) struct Places {
    open: Mutex<Vec<Arc<Place>>>,
    changed: Notify,
}

/// What a configuration makes of the addresses, opened and not yet in use.
pub(crate) struct Change {
    stay: Vec<(Arc<Place>, Terms)>,
    fresh: Vec<Arc<Place>>,
}

impl Places {
    /// Opens what is asked for and not open yet. Nothing changes until [`Places::adopt`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(crate) fn prepare(&self, listeners: &[Listener]) -> Result<Change, ConfigError> {
        let open = self.open.lock().clone();
        let mut change = Change { stay: Vec::new(), fresh: Vec::new() };
        let stays =
            |place: &Arc<Place>| place.beside || listeners.iter().any(|listener| place.is_for(listener));
        let leaving: Vec<Arc<Place>> = open.iter().filter(|place| !stays(place)).cloned().collect();
        for (at, listener) in listeners.iter().enumerate() {
            let earlier = &listeners[..at];
            let beside = open.iter().filter(|place| place.beside && !place.is_for(listener));
            let taken = beside.map(|place| place.name()).any(|name| name == listener.name);
            if taken || earlier.iter().any(|other| other.name == listener.name) {
                return Err(ConfigError::NameTwice { kind: "listener", name: listener.name.clone() });
            }
            match open.iter().find(|place| place.is_for(listener)) {
                Some(place) => {
                    if let Some((_, first)) = change.stay.iter().find(|(other, _)| Arc::ptr_eq(other, place))
                    {
                        let (first, second) = (first.listener.name.clone(), listener.name.clone());
                        return Err(ConfigError::AddressTwice { first, second });
                    }
                    change.stay.push((Arc::clone(place), place.draft(listener.clone())?));
                }
                None => {
                    let place = Place::open_next_to(listener.clone(), false, &leaving)?;
                    change.fresh.push(Arc::new(place));
                }
            }
        }
        Ok(change)
    }

    /// Puts a change into effect: what the configuration does not name closes, but for what was opened beside it.
    pub(crate) fn adopt(&self, change: Change) {
        let mut open = self.open.lock();
        let mut kept: Vec<Arc<Place>> = Vec::new();
        for (place, terms) in change.stay {
            place.settle(terms);
            kept.push(place);
        }
        kept.extend(change.fresh);
        let beside: Vec<_> = open
            .iter()
            .filter(|place| place.beside && !kept.iter().any(|other| Arc::ptr_eq(other, place)))
            .cloned()
            .collect();
        kept.extend(beside);
        *open = kept;
        drop(open);
        self.changed.notify_one();
    }

    /// Opens one more, which stays until [`Places::close`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(crate) fn open(&self, listener: Listener) -> Result<Endpoint, ConfigError> {
        let mut open = self.open.lock();
        if open.iter().any(|place| place.name() == listener.name) {
            return Err(ConfigError::NameTwice { kind: "listener", name: listener.name });
        }
        let place = Place::open(listener, true)?;
        let at = place.at.clone();
        open.push(Arc::new(place));
        drop(open);
        self.changed.notify_one();
        Ok(at)
    }

    /// Stops accepting at one; its connections go on.
    pub(crate) fn close(&self, name: &str) -> Result<(), ConfigError> {
        let mut open = self.open.lock();
        let there = open.len();
        open.retain(|place| place.name() != name);
        if open.len() == there {
            return Err(ConfigError::NotOpen(name.to_owned()));
        }
        drop(open);
        self.changed.notify_one();
        Ok(())
    }

    /// Closes all.
    pub(crate) fn clear(&self) {
        self.open.lock().clear();
    }

    pub(crate) fn all(&self) -> Vec<Arc<Place>> {
        self.open.lock().clone()
    }

    /// The names of those that were opened beside the configuration.
    pub(crate) fn beside(&self) -> Vec<String> {
        self.open.lock().iter().filter(|place| place.beside).map(|place| place.name()).collect()
    }

    /// Waits for a change; one that came before is told at once.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}
