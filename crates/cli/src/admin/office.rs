//! What all connections of operators share.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderValue;
use sockeye::{Secret, admin};

use crate::standing::Standing;

/// What runs, who may ask about it, and since when.
pub(super) struct Office {
    pub(super) standing: Arc<Standing>,
    pub(super) token: Option<Secret>,
    pub(super) since: Instant,
    /// The way to the clients of this machine's workers, where there are any.
    pub(super) clients: Option<Clients>,
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
