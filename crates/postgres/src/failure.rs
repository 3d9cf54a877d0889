//! What a failure of PostgreSQL means to the driver: that a later try may do, or that none will.

use sockeye_cluster::adapter::AdapterError;
use tokio_postgres::error::SqlState;

use crate::config::{Config, error_text};

/// Sorts a failure.
pub(crate) fn sorted(config: &Config, error: &tokio_postgres::Error) -> AdapterError {
    let text = format!("{}: {}", config.place(), error_text(error));
    let Some(state) = error.code() else {
        return AdapterError::Unreachable(text);
    };
    // PostgreSQL, "Error Codes": connection, rollback, resources, object in use, operator, system. And the queue of notifications is full.
    let passing = ["08", "40", "53", "55", "57", "58"].iter().any(|class| state.code().starts_with(class));
    if passing || *state == SqlState::PROGRAM_LIMIT_EXCEEDED {
        AdapterError::Unreachable(text)
    } else {
        AdapterError::Refused(text)
    }
}

/// Nothing came in the time that was left.
pub(crate) fn late(config: &Config) -> AdapterError {
    AdapterError::Unreachable(format!("{}: no answer in {:?}", config.place(), config.publish_timeout))
}
