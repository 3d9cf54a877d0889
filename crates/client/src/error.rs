//! What can go wrong, and who is to blame.

use crate::cause::Closed;

/// A client cannot begin: what it was told makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The address is none.
    #[error("expected a URL such as https://example.com:3000, got \"{url}\": {why}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong.
        why: &'static str,
    },
    /// [`Config::transports`](crate::Config::transports) is empty.
    #[error("`transports` is empty: expected polling, websocket or both")]
    NoTransport,
    /// What cannot stand in a request.
    #[error("`{field}` cannot stand in a request: \"{value}\"")]
    Field {
        /// The field of the configuration.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(String),
}

/// Why nothing was sent. The caller is to blame, or the connection.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    /// The value refuses to be JSON.
    #[error("expected a value that serializes to JSON: {0}")]
    Payload(#[from] serde_json::Error),
    /// The name is one of the protocol's own.
    #[error("\"{0}\" is a reserved event name")]
    ReservedName(String),
    /// Servers refuse a packet with more.
    #[error("expected at most {max} binary attachments in one packet, got {count}")]
    TooManyAttachments {
        /// How many there were.
        count: usize,
        /// How many may be.
        max: usize,
    },
    /// Too much waits already; the limit's name.
    #[error("too much waits to be sent or answered: `{limit}` is reached")]
    Full {
        /// The field of [`Limits`](crate::Limits).
        limit: &'static str,
    },
    /// The client was closed, or gave up.
    #[error("the client is closed")]
    Closed,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AckError {
    /// The event was not sent.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The answer is not of the type that was asked for.
    #[error("the answer: {0}")]
    Answer(#[from] serde_json::Error),
    /// The server did not answer in time; a late answer is dropped.
    #[error("operation has timed out")]
    TimedOut,
    /// The connection broke first; the server may have got the event.
    #[error("socket has been disconnected")]
    Disconnected,
}

/// A namespace cannot be asked for.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The credentials are no JSON object.
    #[error("expected credentials that serialize to a JSON object: {0}")]
    Auth(String),
    /// Too many namespaces.
    #[error("expected at most {0} namespaces: `sockets_max` is reached")]
    TooMany(usize),
    /// The client is closed, or too much waits.
    #[error(transparent)]
    Unsaid(#[from] EmitError),
}

/// The client is not in a namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The server refuses it: CONNECT_ERROR.
    #[error("{message}")]
    Refused {
        /// In the server's words.
        message: String,
        /// What the server added, as JSON.
        data: Option<String>,
    },
    /// There is no connection, and there will be no further try.
    #[error("no connection: {0}")]
    NoConnection(Closed),
}
