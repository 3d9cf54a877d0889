//! What a handler may fail with: any error at all.

use std::error::Error;
use std::fmt;

/// What a handler returns that uses `?`, whatever the errors are.
///
/// ```
/// use sockeye::{Config, Event, Server};
///
/// let mut io = Server::new(Config::default());
/// io.namespace("/").on("add", async |event: Event| -> sockeye::Result {
///     let (a, b): (i64, i64) = event.data()?; // a serde_json::Error
///     event.ack(a + b)?; // an EmitError
///     Ok(())
/// });
/// ```
pub type Result<T = (), E = HandlerError> = std::result::Result<T, E>;

/// `Ok` of [`Result`], for the end of a block whose type is written nowhere.
///
/// ```
/// # use sockeye::{Config, Event, Server};
/// # let mut io = Server::new(Config::default());
/// let limit = 10_i64;
/// io.namespace("/").on("add", move |event: Event| async move {
///     event.ack(event.data::<i64>()?.min(limit))?;
///     sockeye::Ok(())
/// });
/// ```
///
/// # Errors
/// Never.
#[expect(non_snake_case, reason = "it stands for the variant of the same name")]
pub fn Ok<T>(value: T) -> Result<T> {
    Result::Ok(value)
}

/// An error of a handler or of an event's guard. Every error becomes one by `?`.
///
/// It is no `std::error::Error` itself: then it could not be made of all of them.
pub struct HandlerError(Box<dyn Error + Send + Sync>);

impl HandlerError {
    /// Takes an error, or a text.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into())
    }

    /// The error, if it is one of that type.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl From<HandlerError> for Box<dyn Error + Send + Sync> {
    fn from(error: HandlerError) -> Self {
        error.0
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
