//! What a user's functions look like, and how they are kept.
//!
//! Handlers belong to a namespace by event name and are settled when the server starts: no closure per socket, no lock to
//! find one, and nothing that ties a session to its process.

use crate::delivery::OnRoom;
use crate::emitted::OnEmit;
use crate::error::HandlerError;
use crate::event::Event;
use crate::namespace::Namespace;
use crate::presence::{Presence, PresenceEvent};
use crate::server_event::ServerEvent;
use crate::socket::Socket;
use foldhash::fast::RandomState;
use futures_util::FutureExt;
use serde::Serialize;
use serde_json::value::RawValue;
use sockeye_proto::socket::event::RESERVED;
use sockeye_proto::socket::{Dialect, DisconnectReason};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;

/// Who hears of presence.
pub(crate) type OnPresence = Arc<dyn Fn(&Namespace, &PresenceEvent) + Send + Sync>;

/// A user's future, boxed.
pub(crate) type Running<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a handler failed with, if it did.
pub(crate) type Failure = Option<HandlerError>;

type OnSocket = Arc<dyn Fn(Socket) -> Running<Failure> + Send + Sync>;
type OnDisconnect = Arc<dyn Fn(Socket, DisconnectReason) -> Running<Failure> + Send + Sync>;
type OnDisconnecting = Arc<dyn Fn(Socket, DisconnectReason) -> Failure + Send + Sync>;
type OnError = Arc<dyn Fn(&Socket, HandlerError) + Send + Sync>;
type OnAny = Arc<dyn Fn(&Event) -> Failure + Send + Sync>;
type EventGuard = Arc<dyn Fn(Event) -> Running<Result<Event, HandlerError>> + Send + Sync>;
pub(crate) type OnEvent = Arc<dyn Fn(Event) -> Running<Failure> + Send + Sync>;
pub(crate) type OnServerEvent = Arc<dyn Fn(ServerEvent) -> Running<()> + Send + Sync>;
type Guard = Arc<dyn Fn(Socket) -> Running<Result<(), Refusal>> + Send + Sync>;

/// What a handler may return: nothing, or a result whose error goes to [`on_error`](crate::Definition::on_error), or to the log
/// where that is not set.
pub trait Outcome {
    /// The error.
    fn failure(self) -> Option<HandlerError>;
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
    pub(crate) on_expiring: Option<OnSocket>,
    pub(crate) on_disconnecting: Vec<OnDisconnecting>,
    pub(crate) on_disconnect: Option<OnDisconnect>,
    pub(crate) on_error: Option<OnError>,
    pub(crate) on_any: Vec<OnAny>,
    pub(crate) on_emit: Vec<OnEmit>,
    pub(crate) on_room: Option<OnRoom>,
    /// Whether it is known who is where on all servers, and how.
    pub(crate) presence: Option<Presence>,
    /// Who hears of that.
    pub(crate) on_presence: Option<OnPresence>,
    fallback: Option<OnEvent>,
    /// Nobody but the application adds to it, so its hash needs no key against clients.
    events: HashMap<Arc<str>, OnEvent, RandomState>,
    event_guards: Arc<Vec<EventGuard>>,
    server_events: HashMap<Arc<str>, OnServerEvent>,
    any_server_event: Option<OnServerEvent>,
}

impl Handlers {
    /// The handler of an event, with the name as it is kept; `None` when nobody would hear of the event.
    pub(crate) fn event(&self, name: &str) -> Option<(Arc<str>, Option<OnEvent>)> {
        if let Some((name, handler)) = self.events.get_key_value(name) {
            return Some((Arc::clone(name), Some(Arc::clone(handler))));
        }
        let is_heard = self.fallback.is_some() || !self.on_any.is_empty() || !self.event_guards.is_empty();
        is_heard.then(|| (name.into(), self.fallback.clone()))
    }

    /// Starts with an event: its guards, one by one, then its handler. As socket.io's `Socket.dispatch`.
    pub(crate) fn dispatch(&self, handler: Option<OnEvent>, event: Event) -> Option<Running<Failure>> {
        if self.event_guards.is_empty() {
            return handler.map(|handler| handler(event));
        }
        let guards = Arc::clone(&self.event_guards);
        Some(Box::pin(async move {
            let mut event = event;
            for guard in guards.iter() {
                event = match guard(event).await {
                    Ok(event) => event,
                    Err(error) => return Some(error),
                };
            }
            handler?(event).await
        }))
    }

    pub(crate) fn add_any(&mut self, listener: impl Fn(&Event) -> Failure + Send + Sync + 'static) {
        self.on_any.push(Arc::new(listener));
    }

    pub(crate) fn add_event_guard<F, R>(&mut self, guard: F)
    where
        F: Fn(Event) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Event, HandlerError>> + Send + 'static,
    {
        let guard: EventGuard = Arc::new(move |event| Box::pin(guard(event)));
        // Nobody else has them before the server starts.
        Arc::make_mut(&mut self.event_guards).push(guard);
    }

    pub(crate) fn set_event<F, R>(&mut self, name: &str, handler: F)
    where
        F: Fn(Event) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        assert!(
            !RESERVED.contains(&name),
            "no client can send the event {name:?}: expected a name that is not reserved (on_connect, on_disconnect, … are methods)"
        );
        let next = on_event(handler);
        let handler = match self.events.remove(name) {
            Some(first) => both(first, next),
            None => next,
        };
        self.events.insert(name.into(), handler);
    }

    /// The handler of an event of other servers.
    pub(crate) fn server_event(&self, name: &str) -> Option<(Arc<str>, OnServerEvent)> {
        match self.server_events.get_key_value(name) {
            Some((name, handler)) => Some((Arc::clone(name), Arc::clone(handler))),
            None => self.any_server_event.as_ref().map(|handler| (name.into(), Arc::clone(handler))),
        }
    }

    pub(crate) fn set_server_event<F, R>(&mut self, name: &str, handler: F)
    where
        F: Fn(ServerEvent) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        let before = self.server_events.insert(name.into(), on_server_event(handler));
        assert!(before.is_none(), "expected one handler of the server event {name:?}, got another one");
    }

    pub(crate) fn set_any_server_event<F, R>(&mut self, handler: F)
    where
        F: Fn(ServerEvent) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        let before = self.any_server_event.replace(on_server_event(handler));
        assert!(before.is_none(), "expected one handler of any server event, got another one");
    }

    pub(crate) fn set_fallback<F, R>(&mut self, handler: F)
    where
        F: Fn(Event) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        let next = on_event(handler);
        self.fallback = Some(match self.fallback.take() {
            Some(first) => both(first, next),
            None => next,
        });
    }

    pub(crate) fn set_connect<F, R>(&mut self, handler: F)
    where
        F: Fn(Socket) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        self.on_connect = Some(after(self.on_connect.take(), on_socket(handler)));
    }

    pub(crate) fn set_expiring<F, R>(&mut self, handler: F)
    where
        F: Fn(Socket) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        self.on_expiring = Some(after(self.on_expiring.take(), on_socket(handler)));
    }

    pub(crate) fn set_disconnect<F, R>(&mut self, handler: F)
    where
        F: Fn(Socket, DisconnectReason) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        let next: OnDisconnect = Arc::new(move |socket, reason| Box::pin(failure(handler(socket, reason))));
        self.on_disconnect = Some(match self.on_disconnect.take() {
            None => next,
            Some(first) => Arc::new(move |socket, reason| {
                let first = first(socket.clone(), reason);
                in_turn(first, Arc::clone(&next), move |next| next(socket, reason))
            }),
        });
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

    /// What a client gets whose credential was refused while it is connected.
    pub(crate) fn answer(&self) -> serde_json::Value {
        let data = self.data.as_ref().map(|data| serde_json::to_value(data).unwrap_or_default());
        serde_json::json!({"status": "error", "message": self.message, "data": data})
    }

    /// The message.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The payload of the CONNECT_ERROR packet.
    pub(crate) fn json(&self, dialect: Dialect) -> String {
        dialect.refusal(&self.message, self.data.as_deref().map(RawValue::get))
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
    fn failure(self) -> Option<HandlerError> {
        None
    }
}

impl<T, E: fmt::Display> Outcome for Result<T, E> {
    fn failure(self) -> Option<HandlerError> {
        self.err().map(|error| HandlerError::new(error.to_string()))
    }
}

fn on_event<F, R>(handler: F) -> OnEvent
where
    F: Fn(Event) -> R + Send + Sync + 'static,
    R: Future<Output: Outcome> + Send + 'static,
{
    Arc::new(move |event| Box::pin(failure(handler(event))))
}

fn on_socket<F, R>(handler: F) -> OnSocket
where
    F: Fn(Socket) -> R + Send + Sync + 'static,
    R: Future<Output: Outcome> + Send + 'static,
{
    Arc::new(move |socket| Box::pin(failure(handler(socket))))
}

fn after(first: Option<OnSocket>, next: OnSocket) -> OnSocket {
    let Some(first) = first else { return next };
    Arc::new(move |socket| {
        let first = first(socket.clone());
        in_turn(first, Arc::clone(&next), move |next| next(socket))
    })
}

fn both(first: OnEvent, next: OnEvent) -> OnEvent {
    Arc::new(move |mut event| {
        let first = first(event.twin());
        in_turn(first, Arc::clone(&next), move |next| next(event))
    })
}

/// One handler after the other, whatever becomes of the first. Of two failures the first one counts, and the other is logged.
fn in_turn<H>(
    first: Running<Failure>,
    next: H,
    call: impl FnOnce(H) -> Running<Failure> + Send + 'static,
) -> Running<Failure>
where
    H: Send + 'static,
{
    Box::pin(async move {
        let first = first.await;
        let next = call(next).await;
        if let (Some(_), Some(error)) = (&first, &next) {
            tracing::warn!(%error, "a further handler of the same event failed as well");
        }
        first.or(next)
    })
}

fn on_server_event<F, R>(handler: F) -> OnServerEvent
where
    F: Fn(ServerEvent) -> R + Send + Sync + 'static,
    R: Future<Output: Outcome> + Send + 'static,
{
    Arc::new(move |event| {
        let work = failure(handler(event));
        Box::pin(async move {
            if let Some(error) = work.await {
                tracing::warn!(%error, "a handler of a server's event failed");
            }
        })
    })
}

// No `async fn`: that would hold its argument twice.
fn failure(work: impl Future<Output: Outcome> + Send) -> impl Future<Output = Failure> + Send {
    work.map(Outcome::failure)
}

/// Runs a user's code; a panic is reported, and takes nobody along.
pub(crate) fn unharmed<T>(work: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(work));
    if result.is_err() {
        tracing::error!("handler panicked; the socket goes on with its next event");
    }
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_the_official_payload() {
        assert_eq!(Refusal::new("no \"way\"").json(Dialect::default()), r#"{"message":"no \"way\""}"#);
        let refusal = Refusal::new("nope").with_data(serde_json::json!({"code": 42})).unwrap();
        assert_eq!(refusal.json(Dialect::default()), r#"{"message":"nope","data":{"code":42}}"#);
    }
}
