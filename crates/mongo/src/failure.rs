//! What a failure of MongoDB means to the driver: that a later try may do, or that none will.

use mongodb::error::{Error, ErrorKind};
use sockeye_cluster::adapter::AdapterError;

use crate::config::Config;

/// Sorts a failure.
#[expect(clippy::wildcard_enum_match_arm, reason = "the kinds of the driver's errors are many, and not ours")]
pub(crate) fn sorted(config: &Config, error: &Error) -> AdapterError {
    let text = format!("{}: {}", config.place(), error.kind);
    let refused = match &*error.kind {
        ErrorKind::Authentication { .. }
        | ErrorKind::InvalidArgument { .. }
        | ErrorKind::BsonSerialization(_) => true,
        // The server's codes: Unauthorized, AuthenticationFailed, and what it says to a document that it does not take.
        ErrorKind::Command(command) => matches!(command.code, 2 | 9 | 13 | 18 | 73 | 121 | 10334 | 40573),
        ErrorKind::Write(_) | ErrorKind::InsertMany(_) => !error.contains_label("RetryableWriteError"),
        _ => false,
    };
    if refused { AdapterError::Refused(text) } else { AdapterError::Unreachable(text) }
}

/// Nothing came in the time that was left.
pub(crate) fn late(config: &Config) -> AdapterError {
    AdapterError::Unreachable(format!("{}: no answer in {:?}", config.place(), config.timeout))
}

/// Whether the server cannot go on from a place in its stream: it was too long ago.
pub(crate) fn lost_its_place(error: &Error) -> bool {
    // CappedPositionLost, InvalidResumeToken, ChangeStreamFatalError, ChangeStreamHistoryLost.
    matches!(&*error.kind, ErrorKind::Command(command) if matches!(command.code, 136 | 260 | 280 | 286))
}

/// Whether a collection was not made because there is one, or because who asks may not make any.
pub(crate) fn may_be_there(error: &Error) -> bool {
    // NamespaceExists, Unauthorized.
    matches!(&*error.kind, ErrorKind::Command(command) if matches!(command.code, 48 | 13))
}
