//! A namespace in the making: what happens in it.

use crate::delivery::{Hub, RoomEvent};
use crate::emitted::Emitted;
use crate::error::HandlerError;
use crate::event::Event;
use crate::handler::{Handlers, Outcome, Refusal};
use crate::namespace::Namespace;
use crate::payload::Args;
use crate::presence::{Presence, PresenceEvent};
use crate::server_event::ServerEvent;
use crate::socket::Socket;
use sockeye_proto::socket::DisconnectReason;
use std::future::Future;
use std::sync::Arc;

/// A namespace in the making.
pub struct Definition {
    pub(crate) hub: Arc<Hub>,
    pub(crate) handlers: Handlers,
}

impl Definition {
    /// A handle to speak to the namespace from anywhere.
    pub fn handle(&self) -> Namespace {
        Namespace::new(Arc::clone(&self.hub))
    }

    /// Adds a guard: it sees a client before it enters, with its `auth` payload and request, and may refuse it. Guards run in
    /// the order in which they were added; what one keeps in the socket's data is there for handlers.
    pub fn guard<F, R>(&mut self, guard: F) -> &mut Self
    where
        F: Fn(Socket) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        self.handlers.add_guard(guard);
        self
    }

    /// Adds what happens when a client has entered. Its events wait until that is done. Several handlers run one after the other.
    pub fn on_connect<F, R>(&mut self, handler: F) -> &mut Self
    where
        F: Fn(Socket) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        self.handlers.set_connect(handler);
        self
    }

    /// Adds what happens at the moment in which a client leaves: its rooms are still set, and it is still connected. Called at
    /// once, even while a handler of the socket works, so it cannot wait. Several hooks are called in their order.
    ///
    /// ```
    /// # use sockeye::{Config, DisconnectReason, Server, Socket};
    /// # let mut io = Server::new(Config::default());
    /// io.namespace("/").on_disconnecting(|socket: Socket, reason: DisconnectReason| {
    ///     for room in socket.rooms() {
    ///         socket.to(room).emit("left", (socket.id(), reason.as_str()))?;
    ///     }
    ///     sockeye::Ok(())
    /// });
    /// ```
    pub fn on_disconnecting<F, O>(&mut self, hook: F) -> &mut Self
    where
        F: Fn(Socket, DisconnectReason) -> O + Send + Sync + 'static,
        O: Outcome,
    {
        self.handlers.on_disconnecting.push(Arc::new(move |socket, reason| hook(socket, reason).failure()));
        self
    }

    /// Adds what happens when a client has left, whatever the reason. The socket is in no room any more. Several handlers run one
    /// after the other.
    pub fn on_disconnect<F, R>(&mut self, handler: F) -> &mut Self
    where
        F: Fn(Socket, DisconnectReason) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        self.handlers.set_disconnect(handler);
        self
    }

    /// Adds what happens shortly before the credential of a socket ends (`Config::expiry_notice`): the place to ask the client for
    /// another one. See [`Socket::expire_at`].
    pub fn on_expiring<F, R>(&mut self, handler: F) -> &mut Self
    where
        F: Fn(Socket) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        self.handlers.set_expiring(handler);
        self
    }

    /// Sets the handler of the event `reauth`, with which a client brings another credential. The handler checks it and says
    /// how long it is good ([`Socket::expire_at`]). The client's ack is `{"status":"ok"}`, or `{"status":"error"}` with the `message`
    /// and `data` of the refusal; a refusal leaves the socket as it is.
    ///
    /// ```
    /// use sockeye::{Args, Config, Refusal, Server, Socket};
    /// use std::time::Duration;
    ///
    /// fn check(token: &str) -> Result<Duration, Refusal> {
    ///     if token == "good" { Ok(Duration::from_secs(900)) } else { Err(Refusal::new("unknown token")) }
    /// }
    ///
    /// let mut io = Server::new(Config::default());
    /// io.namespace("/")
    ///     .guard(|socket: Socket| async move {
    ///         let auth: serde_json::Value = socket.handshake().auth()?;
    ///         socket.expire_in(check(auth["token"].as_str().unwrap_or_default())?);
    ///         Ok(())
    ///     })
    ///     .on_expiring(|socket: Socket| async move { socket.emit("expiring", ()) })
    ///     .on_reauth(|socket: Socket, args: Args| async move {
    ///         socket.expire_in(check(&args.data::<String>()?)?); // socket.emit("reauth", token, (answer) => …)
    ///         Ok(())
    ///     });
    /// ```
    pub fn on_reauth<F, R>(&mut self, handler: F) -> &mut Self
    where
        F: Fn(Socket, Args) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.on("reauth", move |event: Event| {
            let handler = Arc::clone(&handler);
            async move {
                match handler(event.socket().clone(), event.args().clone()).await {
                    Ok(()) => event.ack(serde_json::json!({"status": "ok"})),
                    Err(refusal) => event.ack(refusal.answer()),
                }
            }
        })
    }

    /// Adds a handler of an event. Several handlers of one event run one after the other, in the order in which they were added,
    /// each when the one before it is done; the first answer to the client's ack counts. A handler belongs to the namespace for
    /// good: there is no `off` and no `once`; what is for one time or one client is a matter of that socket's data.
    ///
    /// # Panics
    /// The name is one of the protocol's own (`connect`, `disconnect`, …), which no client can send.
    pub fn on<F, R>(&mut self, event: &str, handler: F) -> &mut Self
    where
        F: Fn(Event) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        self.handlers.set_event(event, handler);
        self
    }

    /// Sets the handler of an event that other servers send with
    /// [`server_side_emit`](Namespace::server_side_emit). Each runs in a task of its own, up to 1024 at a time in a
    /// process; in which order they run is not promised.
    ///
    /// # Panics
    /// The event has a handler already.
    pub fn on_server_event<F, R>(&mut self, event: &str, handler: F) -> &mut Self
    where
        F: Fn(ServerEvent) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        self.handlers.set_server_event(event, handler);
        self
    }

    /// Sets the handler of every event of other servers that has none of its own.
    pub fn on_any_server_event<F, R>(&mut self, handler: F) -> &mut Self
    where
        F: Fn(ServerEvent) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        self.handlers.set_any_server_event(handler);
        self
    }

    /// Adds a handler of every event that has none of its own. Several run one after the other.
    pub fn on_any_other<F, R>(&mut self, handler: F) -> &mut Self
    where
        F: Fn(Event) -> R + Send + Sync + 'static,
        R: Future<Output: Outcome> + Send + 'static,
    {
        self.handlers.set_fallback(handler);
        self
    }

    /// Adds a listener of every event that a client sends, with a handler or without. Listeners are called in the order in
    /// which they were added, before the event's guards and its handler.
    ///
    /// ```
    /// # use sockeye::{Config, Event, Server};
    /// # let mut io = Server::new(Config::default());
    /// io.namespace("/").on_any(|event: &Event| println!("{} says {}", event.socket().id(), event.name()));
    /// ```
    pub fn on_any<F, O>(&mut self, listener: F) -> &mut Self
    where
        F: Fn(&Event) -> O + Send + Sync + 'static,
        O: Outcome,
    {
        self.handlers.add_any(move |event| listener(event).failure());
        self
    }

    /// Adds a listener of every event that the server emits: once for each `emit` and before it is sent, and once on each further
    /// node that delivers it. Acks are no events. It runs within the `emit`, so it has to be quick.
    ///
    /// ```
    /// # use sockeye::{Config, Emitted, Server};
    /// # let mut io = Server::new(Config::default());
    /// io.namespace("/").on_any_outgoing(|emitted: &Emitted| println!("{} to {:?}", emitted.name(), emitted.recipients()));
    /// ```
    pub fn on_any_outgoing<F>(&mut self, listener: F) -> &mut Self
    where
        F: Fn(&Emitted<'_>) + Send + Sync + 'static,
    {
        self.handlers.on_emit.push(Arc::new(listener));
        self
    }

    /// Adds a guard of events (the official `socket.use`): it sees each event before its handler and passes it on, or refuses
    /// it by an error. The error goes to [`on_error`](Self::on_error); the client hears nothing of it, unless the guard answered
    /// the event's ack. Guards run in the order in which they were added.
    ///
    /// ```
    /// # use sockeye::{Config, Event, HandlerError, Server};
    /// # let mut io = Server::new(Config::default());
    /// io.namespace("/").guard_event(async |event: Event| match event.name() {
    ///     "admin" => {
    ///         event.ack("forbidden")?;
    ///         Err(HandlerError::new("not an admin"))
    ///     }
    ///     _ => Ok(event),
    /// });
    /// ```
    pub fn guard_event<F, R>(&mut self, guard: F) -> &mut Self
    where
        F: Fn(Event) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Event, HandlerError>> + Send + 'static,
    {
        self.handlers.add_event_guard(guard);
        self
    }

    /// Sets who hears of what handlers, listeners and guards of events fail with (the official `error` event). Where nobody does,
    /// it is logged. The last one set counts.
    pub fn on_error(&mut self, hook: impl Fn(&Socket, HandlerError) + Send + Sync + 'static) -> &mut Self {
        self.handlers.on_error = Some(Arc::new(hook));
        self
    }

    /// Makes known who is in which room, on all servers: [`Namespace::presence`]. All of them have to track it.
    ///
    /// ```
    /// use sockeye::{Config, Namespace, Presence, PresenceEvent, Server};
    /// use serde_json::{Value, json};
    ///
    /// let mut io = Server::new(Config::default());
    /// io.namespace("/")
    ///     .track_presence(Presence::default().of_rooms(|room| room.starts_with("doc:")).showing(|data| data["name"].clone()))
    ///     .on_presence(|namespace: &Namespace, event: &PresenceEvent| {
    ///         let PresenceEvent::Joined { room, who } = event else { return };
    ///         let name: Option<String> = who.data().unwrap_or_default();
    ///         // Each server is told, and tells its own clients.
    ///         drop(namespace.local().to(room.clone()).emit("here", name));
    ///     });
    /// ```
    pub fn track_presence(&mut self, presence: Presence) -> &mut Self {
        self.handlers.presence = Some(presence);
        self
    }

    /// Sets who hears that somebody joined or left a room, on whichever server; needs [`track_presence`](Self::track_presence). It is called on
    /// every server, by one task, so it has to be quick. The last one set counts.
    pub fn on_presence(
        &mut self,
        hook: impl Fn(&Namespace, &PresenceEvent) + Send + Sync + 'static,
    ) -> &mut Self {
        self.handlers.on_presence = Some(Arc::new(hook));
        self
    }

    /// Sets who hears of rooms that come and go on this node. What one thread does is told in order. Rooms of a namespace with
    /// such a listener are counted under one lock more; without one it costs nothing. The last one set counts.
    ///
    /// ```
    /// # use sockeye::{Config, RoomEvent, Server};
    /// # let mut io = Server::new(Config::default());
    /// io.namespace("/").on_room_event(|event: &RoomEvent| println!("{event:?}"));
    /// ```
    pub fn on_room_event(&mut self, listener: impl Fn(&RoomEvent) + Send + Sync + 'static) -> &mut Self {
        self.handlers.on_room = Some(Arc::new(listener));
        self
    }
}
