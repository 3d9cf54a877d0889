//! What the client's errors mean to the contract: whom one may try again, and who has to be told.

use std::error::Error;
use std::fmt::Display;

use async_nats::client::PublishErrorKind;
use async_nats::jetstream::context::{PublishError as KeepError, PublishErrorKind as KeepErrorKind};
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{ConnectError, ConnectErrorKind};
use sockeye_cluster::adapter::AdapterError;

/// The backplane cannot be reached.
pub(crate) fn unreachable(what: impl Display) -> AdapterError {
    AdapterError::Unreachable(what.to_string())
}

/// A connection that could not be made.
pub(crate) fn connecting(error: &ConnectError, place: &str) -> AdapterError {
    let text = format!("{place}: {}", with_causes(error));
    match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            AdapterError::Refused(format!(
                "{text}: give nats://user:password@…, nats://token@…, ?nkey=SEED or ?creds=FILE as the server expects it"
            ))
        }
        ConnectErrorKind::Tls => AdapterError::Refused(format!(
            "{text}: give ?ca=FILE if its certificate is signed by an authority of your own"
        )),
        ConnectErrorKind::ServerParse => AdapterError::Refused(text),
        ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => AdapterError::Unreachable(text),
    }
}

/// A message that could not be published.
pub(crate) fn publishing(
    error: &async_nats::client::PublishError,
    bytes: usize,
    bytes_max: usize,
) -> AdapterError {
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => too_long(bytes, bytes_max),
        PublishErrorKind::InvalidSubject => AdapterError::Refused(error.to_string()),
        PublishErrorKind::Send => unreachable(error),
    }
}

/// A message that the stream did not take.
pub(crate) fn keeping(error: &KeepError, bytes: usize, bytes_max: usize) -> AdapterError {
    match error.kind() {
        KeepErrorKind::MaxPayloadExceeded => too_long(bytes, bytes_max),
        KeepErrorKind::StreamNotFound => AdapterError::Refused("its stream is not there any more".into()),
        KeepErrorKind::WrongLastMessageId | KeepErrorKind::WrongLastSequence | KeepErrorKind::Other => {
            AdapterError::Refused(with_causes(error))
        }
        KeepErrorKind::TimedOut | KeepErrorKind::BrokenPipe | KeepErrorKind::MaxAckPending => {
            unreachable(error)
        }
    }
}

/// What JetStream says no to.
pub(crate) fn jetstream(error: &jetstream::Error, what: &str) -> AdapterError {
    let fix = match error.error_code() {
        ErrorCode::JETSTREAM_NOT_ENABLED => ": start nats-server with -js, or leave ?recovery= out",
        ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            ": enable JetStream for this account, or leave ?recovery= out"
        }
        _ => "",
    };
    AdapterError::Refused(format!("{what}: {error}{fix}"))
}

/// An error with what has caused it.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

fn too_long(bytes: usize, bytes_max: usize) -> AdapterError {
    AdapterError::Refused(format!(
        "a message has {bytes} bytes, the server takes {bytes_max}: raise max_payload in its configuration"
    ))
}
