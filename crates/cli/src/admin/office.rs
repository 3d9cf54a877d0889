//! What all connections of operators share.

use std::sync::Arc;
use std::time::Instant;

use sockeye::Secret;

use crate::standing::Standing;

/// What runs, who may ask about it, and since when.
pub(super) struct Office {
    pub(super) standing: Arc<Standing>,
    pub(super) token: Option<Secret>,
    pub(super) since: Instant,
}
