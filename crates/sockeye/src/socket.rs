//! A socket: one client in one namespace.

use crate::acks::Acks;
use crate::broadcast::Broadcast;
use crate::config::MailboxExcess;
use crate::delivery::{Claim, Control, Hub, Mailbox, Member};
use crate::handshake::Handshake;
use crate::id::SocketId;
use crate::namespace::Namespace;
use crate::outgoing::Outgoing;
use crate::payload::{EmitError, FromArgs, Payload};
use crate::profile::Profile;
use crate::traffic::Unanswered;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sockeye_cluster::{Flags, Pid, Room, Selector};
use sockeye_proto::engine::{Protocol, Transport};
use sockeye_proto::sid::Sid;
use sockeye_proto::socket::DisconnectReason;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// A handle to one client in one namespace. Cheap to clone; valid, if without effect, after the client is gone.
///
/// ```
/// use sockeye::{Config, Server, Socket};
///
/// let mut io = Server::new(Config::default());
/// io.namespace("/").on_connect(async |socket: Socket| -> sockeye::Result {
///     socket.join(["lobby"]);
///     socket.to("lobby").emit("came", socket.id())?; // everybody there but this one
///     let name: String = socket.emit_with_ack("what is your name?", ()).await?;
///     socket.set_data(&name)?;
///     socket.emit("hello", name)?;
///     Ok(())
/// });
/// ```
#[derive(Clone)]
pub struct Socket(Arc<State>);

struct State {
    id: Sid,
    hub: Arc<Hub>,
    mailbox: Arc<Mailbox>,
    profile: Arc<Profile>,
    ack_timeout: Duration,
    connected: AtomicBool,
    /// The client left or never got in: what is said from here on would reach another socket of its connection.
    gone: AtomicBool,
    /// It goes on with a session.
    recovered: AtomicBool,
    /// Its credential ended.
    expired: AtomicBool,
}

/// Why an ack did not arrive, or not as the type it was awaited as.
#[derive(Debug, thiserror::Error)]
pub enum AckError {
    /// The client did not answer in time. The official words.
    #[error("operation has timed out")]
    TimedOut,
    /// The client went away first, or was gone already.
    #[error("the socket disconnected before it answered")]
    Disconnected,
    /// Too many acks of this socket are awaited; the limit is 1024.
    #[error("expected at most 1024 awaited acks of one socket")]
    TooManyPending,
    /// The question could not be sent.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The answer is not of the awaited type.
    #[error("unexpected answer: {0}")]
    Answer(#[from] serde_json::Error),
}

impl Socket {
    pub(crate) fn new(
        id: Sid,
        hub: Arc<Hub>,
        mailbox: Arc<Mailbox>,
        handshake: Handshake,
        ack_timeout: Duration,
    ) -> Self {
        Self(Arc::new(State {
            id,
            hub,
            mailbox,
            profile: Arc::new(Profile::new(handshake)),
            ack_timeout,
            connected: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            recovered: AtomicBool::new(false),
            expired: AtomicBool::new(false),
        }))
    }

    /// The socket's id, which is also the name of a room that it is alone in.
    pub fn id(&self) -> SocketId {
        SocketId::new(self.0.id)
    }

    /// The namespace that the socket is in.
    pub fn namespace(&self) -> Namespace {
        Namespace::new(Arc::clone(&self.0.hub))
    }

    /// What is known from the request that opened the session, and the `auth` payload.
    pub fn handshake(&self) -> &Handshake {
        &self.0.profile.handshake
    }

    /// Whether the client came back and goes on where it was, with its id, rooms, data and what it missed:
    /// [`Config::connection_state_recovery`](crate::Config::connection_state_recovery).
    pub fn recovered(&self) -> bool {
        self.0.recovered.load(Ordering::Acquire)
    }

    /// Whether the client is in the namespace.
    pub fn is_connected(&self) -> bool {
        self.0.connected.load(Ordering::Acquire)
    }

    /// The transport in use at the moment.
    pub fn transport(&self) -> Transport {
        if self.0.mailbox.is_polling() { Transport::Polling } else { Transport::WebSocket }
    }

    /// Emits an event to this client. Never waits; to a closed socket it is a no-op.
    ///
    /// # Errors
    /// [`EmitError`]: the payload cannot be sent as it is.
    pub fn emit(&self, event: &str, payload: impl Payload) -> Result<(), EmitError> {
        self.emit_as(Flags::default(), event, &payload)
    }

    /// The same, but the event is dropped when the client cannot take it right away.
    ///
    /// # Errors
    /// As [`Socket::emit`].
    pub fn emit_volatile(&self, event: &str, payload: impl Payload) -> Result<(), EmitError> {
        self.emit_as(Flags { volatile: true, ..Flags::default() }, event, &payload)
    }

    /// Emits an event and waits for the client's answer, at most the server's `ack_timeout`.
    ///
    /// # Errors
    /// [`AckError`]: no answer, or not of that type (a tuple takes several arguments).
    ///
    /// # Cancel safety
    /// Dropping the future forgets the answer; the event is sent at the first poll.
    pub async fn emit_with_ack<T: FromArgs>(
        &self,
        event: &str,
        payload: impl Payload,
    ) -> Result<T, AckError> {
        self.ask_as(&Flags::default(), event, payload).await
    }

    /// The same with a timeout of its own.
    ///
    /// # Errors
    /// As [`Socket::emit_with_ack`].
    pub async fn emit_with_ack_within<T: FromArgs>(
        &self,
        timeout: Duration,
        event: &str,
        payload: impl Payload,
    ) -> Result<T, AckError> {
        self.ask_as(&Flags { timeout: Some(timeout), ..Flags::default() }, event, payload).await
    }

    pub(crate) fn emit_as(&self, flags: Flags, event: &str, payload: &impl Payload) -> Result<(), EmitError> {
        if self.0.profile.pid.get().is_some() {
            return self.0.hub.keep_for(self.0.id, flags, event, payload);
        }
        let outgoing = match (self.0.hub.recovers(), self.0.mailbox.protocol()) {
            // A guard has the word: nothing said before the session is to look as if it ended in an offset.
            (true, Protocol::V4) => self.0.hub.event_without_offset(self.0.id, event, payload)?,
            (_, Protocol::V3 | Protocol::V4) => self.0.hub.event(self.0.id, event, payload, None)?,
        };
        self.post(self.0.hub.marked(outgoing, &flags));
        Ok(())
    }

    pub(crate) async fn ask_as<T: FromArgs>(
        &self,
        flags: &Flags,
        event: &str,
        payload: impl Payload,
    ) -> Result<T, AckError> {
        let mut pending = match self.0.profile.acks.expect() {
            Some(pending) => pending,
            None if self.is_connected() => {
                self.0.mailbox.tally().count_ack(Unanswered::NotAsked);
                return Err(AckError::TooManyPending);
            }
            None => return Err(AckError::Disconnected),
        };
        let outgoing = self.0.hub.event(self.0.id, event, &payload, Some(pending.id))?;
        self.post(self.0.hub.marked(outgoing, flags));
        let timeout = flags.timeout.unwrap_or(self.0.ack_timeout);
        match tokio::time::timeout(timeout, &mut pending.answer).await {
            Ok(Ok(args)) => Ok(args.data()?),
            Ok(Err(_)) => Err(AckError::Disconnected),
            Err(_) => {
                self.0.mailbox.tally().count_ack(Unanswered::Late);
                Err(AckError::TimedOut)
            }
        }
    }

    /// Joins rooms.
    pub fn join<I: IntoIterator<Item: Into<Room>>>(&self, rooms: I) {
        for room in rooms {
            self.0.hub.join_one(self.0.id, self.0.profile.pid.get(), &room.into());
        }
    }

    /// The same, and waits until what other servers say to these rooms from here on reaches this one. That matters only where a backplane
    /// carries what is said to a room to servers with members of it alone (sharded Redis, NATS): everywhere else it is so at once.
    ///
    /// # Cancel safety
    /// The rooms are joined at the first poll.
    pub async fn join_and_listen<I: IntoIterator<Item: Into<Room>>>(&self, rooms: I) {
        let rooms: Vec<Room> = rooms.into_iter().map(Into::into).collect();
        self.join(rooms.iter().cloned());
        self.0.hub.joined(&rooms, false).await;
    }

    /// Leaves a room.
    pub fn leave(&self, room: &str) {
        self.0.hub.leave_one(self.0.id, self.0.profile.pid.get(), room);
    }

    /// The rooms that the socket is in, its own first; none once it is gone.
    pub fn rooms(&self) -> Vec<Room> {
        self.0.hub.rooms().rooms_of(self.0.id)
    }

    /// Speaks to everybody in the namespace but this socket.
    pub fn broadcast(&self) -> Broadcast {
        Broadcast::new(Arc::clone(&self.0.hub), Selector::all().and_except(self.0.id.as_str()))
            .said_by_socket()
    }

    /// Speaks to a room, but not to this socket.
    pub fn to(&self, room: impl Into<Room>) -> Broadcast {
        self.broadcast().to(room)
    }

    /// Speaks to everybody but this socket and the sockets of a room.
    pub fn except(&self, room: impl Into<Room>) -> Broadcast {
        self.broadcast().except(room)
    }

    /// Sets what happens when this client does not take its mail, other than
    /// [`Config::mailbox_excess`](crate::Config::mailbox_excess) says. It holds for the client's connection, so for its sockets in
    /// other namespaces too, for as long as the connection lives.
    pub fn set_mailbox_excess(&self, excess: MailboxExcess) {
        self.0.mailbox.set_excess(excess);
    }

    /// Keeps data with the socket, as JSON, so that it can move with the session.
    ///
    /// # Errors
    /// The value refuses to be JSON.
    pub fn set_data(&self, data: impl Serialize) -> Result<(), serde_json::Error> {
        let data = serde_json::value::to_raw_value(&data)?;
        *self.0.profile.data.lock() = Some(data);
        self.0.hub.session_changed(self.0.profile.pid.get());
        if let Some(attendance) = self.0.hub.attendance() {
            attendance.look_at_all(self.0.hub.rooms(), self.0.id);
        }
        Ok(())
    }

    /// Reads the data kept with the socket; `None` when there is none.
    ///
    /// # Errors
    /// The data is not of that type.
    pub fn data<T: DeserializeOwned>(&self) -> Result<Option<T>, serde_json::Error> {
        self.0.profile.data.lock().as_ref().map(|data| serde_json::from_str(data.get())).transpose()
    }

    /// Ends this socket at that time, unless another time is set before: the client hears `io server disconnect`, the reason is
    /// `server namespace disconnect`, [`Socket::has_expired`] says why, and the limit `expire_at` is counted. A time that is past ends it
    /// at once. Guards may call it. The time is converted when it is set: a clock that is put later does not move it.
    pub fn expire_at(&self, time: SystemTime) {
        self.expire_in(time.duration_since(SystemTime::now()).unwrap_or_default());
    }

    /// The same with the time that is left.
    pub fn expire_in(&self, left: Duration) {
        // A time that the clock cannot name is never.
        self.expire(Instant::now().checked_add(left));
    }

    /// Lets this socket live as long as it likes.
    pub fn expire_never(&self) {
        self.expire(None);
    }

    /// Whether the socket was disconnected because its credential expired.
    pub fn has_expired(&self) -> bool {
        self.0.expired.load(Ordering::Acquire)
    }

    /// Takes the client out of this namespace; it hears `io server disconnect` and does not come back by itself.
    pub fn disconnect(&self) {
        self.disconnect_by(false);
    }

    /// Closes the client's connection and with it all of its namespaces.
    pub fn disconnect_and_close(&self) {
        self.disconnect_by(true);
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.0.hub
    }

    /// Sends a packet; to a socket that is gone it is a no-op.
    pub(crate) fn post(&self, packet: Outgoing) {
        if !self.0.gone.load(Ordering::Acquire) {
            self.0.mailbox.post(&packet.shared());
        }
    }

    pub(crate) fn set_expired(&self) {
        self.0.expired.store(true, Ordering::Release);
    }

    fn expire(&self, at: Option<Instant>) {
        // A connection that is gone needs no end.
        drop(self.0.mailbox.control(Control::Expire { id: self.0.id, at }));
    }

    /// Takes the place of a socket whose session goes on.
    pub(crate) fn take_over(&self, claim: &Claim) {
        self.0.recovered.store(true, Ordering::Release);
        let data = std::str::from_utf8(&claim.data).ok().filter(|data| !data.is_empty());
        let data = data.and_then(|data| RawValue::from_string(data.to_owned()).ok());
        *self.0.profile.data.lock() = data;
    }

    /// Begins anew after all.
    pub(crate) fn start_over(&self) {
        self.0.recovered.store(false, Ordering::Release);
        *self.0.profile.data.lock() = None;
    }

    /// The session that begins with it.
    pub(crate) fn pid_or_new(&self) -> Pid {
        self.0.profile.pid.get_or_init(|| format!("{:032x}", rand::random::<u128>()).into()).clone()
    }

    /// Lets its session wait for the client, if the reason allows it.
    pub(crate) fn part(&self, reason: DisconnectReason, ends: Option<Instant>) {
        if let Some(pid) = self.0.profile.pid.get() {
            let data = self.0.profile.data.lock().clone();
            self.0.hub.part(&self.member(), pid, reason, data.as_deref().map(RawValue::get), ends);
        }
    }

    /// Takes note of whether its credential ends.
    pub(crate) fn set_ends(&self, ends: bool) {
        self.0.hub.set_ends(self.0.profile.pid.get(), ends);
    }

    /// What its namespace keeps of it.
    pub(crate) fn member(&self) -> Member {
        Member { id: self.0.id, mailbox: Arc::clone(&self.0.mailbox), profile: Arc::clone(&self.0.profile) }
    }

    pub(crate) fn acks(&self) -> &Acks {
        &self.0.profile.acks
    }

    pub(crate) fn sid(&self) -> Sid {
        self.0.id
    }

    pub(crate) fn set_connected(&self) {
        self.0.connected.store(true, Ordering::Release);
    }

    /// Leaves every room and fails what is awaited. `false` when that was done before.
    pub(crate) fn close(&self) -> bool {
        self.0.gone.store(true, Ordering::Release);
        let was = self.0.connected.swap(false, Ordering::AcqRel);
        self.0.hub.rooms().remove(self.0.id, &self.0.profile);
        self.0.profile.acks.close();
        was
    }

    fn disconnect_by(&self, close: bool) {
        // A connection that is gone has disconnected already.
        drop(self.0.mailbox.control(Control::Disconnect { nsp: self.0.hub.nsp().clone(), close }));
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.0.id.as_str())
            .field("nsp", self.0.hub.nsp())
            .field("connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}
