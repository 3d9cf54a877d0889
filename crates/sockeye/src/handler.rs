//! What a user's functions look like, and how they are kept.
//!
//! Handlers belong to a namespace by event name and are settled when the server starts: no closure per socket, no lock to
//! find one, and nothing that ties a session to its process.

use crate::event::Event;
use crate::socket::Socket;
use serde::Serialize;
use serde_json::value::RawValue;
use sockeye_proto::socket::DisconnectReason;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A user's future, boxed.
pub(crate) type Running<T = ()> = Pin<Box<dyn Future<Output = T> + Send>>;

type OnSocket = Arc<dyn Fn(Socket) -> Running + Send + Sync>;
type OnDisconnect = Arc<dyn Fn(Socket, DisconnectReason) -> Running + Send + Sync>;
pub(crate) type OnEvent = Arc<dyn Fn(Event) -> Running + Send + Sync>;
type Guard = Arc<dyn Fn(Socket) -> Running<Result<(), Refusal>> + Send + Sync>;

/// What a handler may return: nothing, or a result whose error is logged.
pub trait Outcome {
    /// The error, as text.
    fn failure(self) -> Option<String>;
}

/// Why a client may not enter a namespace: the `connect_error` that it gets.
#[derive(Debug)]
pub struct Refusal {
    message: String,
    data: Option<Box<RawValue>>,
}

/// The functions of one namespace.
#[derive(Clone, Default)]
pub(crate) struct Handlers {
    pub(crate) guards: Vec<Guard>,
    pub(crate) on_connect: Option<OnSocket>,
    pub(crate) on_disconnect: Option<OnDisconnect>,
    pub(crate) fallback: Option<OnEvent>,
    events: HashMap<Arc<str>, OnEvent>,
}

impl Handlers {
    /// The handler of an event, with the name as it is kept.
    pub(crate) fn event(&self, name: &str) -> Option<(Arc<str>, OnEvent)> {
        if let Some((name, handler)) = self.events.get_key_value(name) {
            return Some((Arc::clone(name), Arc::clone(handler)));
        }
        self.fallback.as_ref().map(|handler| (name.into(), Arc::clone(handler)))
    }

    pub(crate) fn set_event<F, R>(&mut self, name: &str, handler: F)
    where
        F: Fn(Event) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        self.events.insert(name.into(), on_event(handler));
    }

    pub(crate) fn set_fallback<F, R>(&mut self, handler: F)
    where
        F: Fn(Event) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        self.fallback = Some(on_event(handler));
    }

    pub(crate) fn set_connect<F, R>(&mut self, handler: F)
    where
        F: Fn(Socket) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        self.on_connect = Some(Arc::new(move |socket| Box::pin(report("connect", handler(socket)))));
    }

    pub(crate) fn set_disconnect<F, R>(&mut self, handler: F)
    where
        F: Fn(Socket, DisconnectReason) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        self.on_disconnect =
            Some(Arc::new(move |socket, reason| Box::pin(report("disconnect", handler(socket, reason)))));
    }

    pub(crate) fn add_guard<F, R>(&mut self, guard: F)
    where
        F: Fn(Socket) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        self.guards.push(Arc::new(move |socket| Box::pin(guard(socket))));
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers")
            .field("guards", &self.guards.len())
            .field("events", &self.events.keys())
            .finish_non_exhaustive()
    }
}

impl Refusal {
    /// Refuses with a message, which the client sees as `error.message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), data: None }
    }

    /// Adds what the client sees as `error.data`.
    ///
    /// # Errors
    /// The value refuses to be JSON.
    pub fn with_data(mut self, data: impl Serialize) -> Result<Self, serde_json::Error> {
        self.data = Some(serde_json::value::to_raw_value(&data)?);
        Ok(self)
    }

    /// The payload of the CONNECT_ERROR packet.
    pub(crate) fn json(&self) -> String {
        let message = serde_json::Value::from(self.message.as_str());
        match &self.data {
            Some(data) => format!(r#"{{"message":{message},"data":{data}}}"#),
            None => format!(r#"{{"message":{message}}}"#),
        }
    }
}

impl From<&str> for Refusal {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<serde_json::Error> for Refusal {
    fn from(error: serde_json::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl Outcome for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<T, E: fmt::Display> Outcome for Result<T, E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

fn on_event<F, R>(handler: F) -> OnEvent
where
    F: Fn(Event) -> R + Send + Sync + 'static,
    R: Future<Output: Outcome> + Send + 'static,
{
    Arc::new(move |event| Box::pin(report("event", handler(event))))
}

async fn report(what: &'static str, work: impl Future<Output: Outcome>) {
    if let Some(error) = work.await.failure() {
        tracing::warn!(handler = what, %error, "handler failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_the_official_payload() {
        assert_eq!(Refusal::new("no \"way\"").json(), r#"{"message":"no \"way\""}"#);
        let refusal = Refusal::new("nope").with_data(serde_json::json!({"code": 42})).unwrap();
        assert_eq!(refusal.json(), r#"{"message":"nope","data":{"code":42}}"#);
    }
}
