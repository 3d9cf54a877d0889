//! What can go wrong with a relayed request, and what the caller may do about it.

use std::io;
use std::time::Duration;

use http::Request;

use crate::body::Body;

/// Says why there is no answer, and whether the upstream may have acted on the request.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The upstream took no connection. Nothing of the request was sent, so it may go elsewhere: it is handed back whole.
    #[error("upstream refused the connection: {source}")]
    Refused {
        /// The request as it came, its body unread.
        request: Box<Request<Body>>,
        /// Why there is no connection.
        source: io::Error,
    },
    /// The upstream broke off, spoke no HTTP or nothing at all, after bytes of the request may have reached it. The request must not be sent again; the client
    /// gets a 502.
    #[error("upstream broke off before its answer: {0}")]
    Broken(#[source] Breach),
    /// The upstream switched protocols although nobody asked it to, or to another protocol than the one asked for.
    #[error("upstream switched protocols unasked")]
    Switched,
}

/// Says how an upstream failed to answer.
#[derive(Debug, thiserror::Error)]
pub enum Breach {
    /// Its connection ended, or what it said was no HTTP.
    #[error(transparent)]
    Ended(hyper::Error),
    /// It said nothing for [`Config::answer_time_max`](crate::Config::answer_time_max).
    #[error("silent for {0:?}")]
    Silent(Duration),
}

/// Tells whether a refused connection means that nobody listens: the upstream is dead. Others, as a lack of descriptors here, say nothing of it.
#[must_use]
pub fn is_nobody(refusal: &io::Error) -> bool {
    matches!(
        refusal.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}
