//! What all connections of operators share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::HeaderValue;
use sockeye::{Secret, admin};

use super::workers::Workers;
use crate::standing::Standing;

/// What runs, who may ask about it, and since when.
pub(super) struct Office {
    pub(super) standing: Arc<Standing>,
    pub(super) token: Option<Secret>,
    pub(super) since: Instant,
    pub(super) ways: Ways,
}

/// The ways to this machine's workers and to their clients, by their apps. They come and go with these.
#[derive(Clone, Default)]
pub(crate) struct Ways {
    clients: Arc<Mutex<BTreeMap<String, Arc<Clients>>>>,
    workers: Workers,
}

impl Ways {
    /// An app is there.
    pub(crate) fn insert(&self, app: &str, clients: Clients) {
        self.all().insert(app.to_owned(), Arc::new(clients));
    }

    /// An app is gone.
    pub(crate) fn remove(&self, app: &str) {
        self.all().remove(app);
        self.workers.remove_app(app);
    }

    /// The workers themselves.
    pub(crate) fn workers(&self) -> &Workers {
        &self.workers
    }

    /// The way to an app's clients, or to those of the only one; else the names that there are.
    pub(super) fn to(&self, app: Option<&str>) -> Result<Arc<Clients>, Vec<String>> {
        let all = self.all();
        let found = match app {
            Some(app) => all.get(app),
            None => all.values().next().filter(|_| all.len() == 1),
        };
        found.cloned().ok_or_else(|| all.keys().cloned().collect())
    }

    /// Nothing under this lock panics halfway.
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Clients>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The library's own admin API, and the word by which this listener is known to it: who may come is decided here.
pub(crate) struct Clients {
    pub(super) service: admin::Service,
    pub(super) word: HeaderValue,
}

impl Clients {
    /// Speaks through a guest of the workers.
    pub(crate) fn new(guest: &sockeye::Guest) -> anyhow::Result<Self> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|error| anyhow::anyhow!("the system has no randomness: {error}"))?;
        let word: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let config = admin::Config { token: Some(Secret::new(&word)?), ..admin::Config::default() };
        let service = admin::Service::new(&guest.handle(), &config)?;
        Ok(Self { service, word: HeaderValue::from_str(&format!("Bearer {word}"))? })
    }
}
