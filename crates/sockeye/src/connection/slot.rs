//! One socket of a connection: its guards, its handlers, and how it enters and leaves.
//!
//! It handles one event at a time, in order; further ones wait here. Handlers are polled by the connection's own task: no task and
//! no channel per event.

use crate::core::Core;
use crate::counters::Counters;
use crate::delivery::{Claim, Mailbox};
use crate::draft::protocol_packet;
use crate::error::HandlerError;
use crate::event::Event;
use crate::handler::{Failure, OnEvent, Refusal, Running, unharmed};
use crate::handshake::Handshake;
use crate::meter::Meter;
use crate::realms::{Realm, Stay};
use crate::socket::Socket;
use serde::Deserialize;
use sockeye_cluster::Nsp;
use sockeye_proto::engine::Protocol;
use sockeye_proto::socket::DisconnectReason;
use sockeye_proto::socket::client::Client;
use sockeye_proto::socket::packet::Kind;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// One socket and its work.
pub(super) struct Slot {
    pub(super) realm: Arc<Realm>,
    pub(super) socket: Socket,
    pub(super) state: State,
    work: Option<Work>,
    pub(super) waiting: VecDeque<Job>,
    /// Keeps a namespace alive that a client brought to life.
    _stay: Option<Stay>,
    pub(super) meter: Meter,
    pub(super) expiry: Option<Expiry>,
    /// The session that it is to go on with.
    claim: Option<Box<Claim>>,
}

// The allocator's next larger size is 192.
const _: () = assert!(size_of::<Slot>() <= 160);

/// The end of a credential.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expiry {
    pub(super) at: Instant,
    /// When the hook is to be called, until it was.
    pub(super) notice_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// A guard has the word; the number of guards that said yes.
    Entering(u32),
    Entered,
    /// Gone from the namespace; what it sent before is still handled.
    Left,
}

pub(super) enum Work {
    Guard(Running<Result<(), Refusal>>),
    Handler(Running<Failure>),
}

pub(super) enum Job {
    Connected,
    Expiring,
    Event(Option<OnEvent>, Event),
    Disconnected(DisconnectReason),
}

/// What a connection lends its sockets.
pub(super) struct Ground<'a> {
    pub(super) core: &'a Arc<Core>,
    pub(super) mailbox: &'a Arc<Mailbox>,
    pub(super) handshake: &'a Handshake,
    pub(super) client: &'a mut Client,
}

/// What a client hears whose guard panicked.
const GUARD_PANICKED: &str = "internal error";

impl Expiry {
    /// An end, of which there is to be word that long before.
    pub(super) fn new(at: Instant, notice: Duration) -> Self {
        Self { at, notice_at: Some(at.checked_sub(notice).unwrap_or(at)) }
    }
}

/// How a client names its session: Socket.IO's `pid` and `offset`.
#[derive(Deserialize)]
pub(super) struct Named {
    pub(super) pid: String,
    pub(super) offset: Option<String>,
}

impl Slot {
    /// A socket that its namespace's guards have not seen yet, or only the first `passed` of them need not see.
    pub(super) fn new(
        realm: Arc<Realm>,
        socket: Socket,
        stay: Option<Stay>,
        claim: Option<Claim>,
        passed: u32,
    ) -> Box<Self> {
        Box::new(Self {
            realm,
            socket,
            state: State::Entering(passed),
            work: None,
            waiting: VecDeque::new(),
            _stay: stay,
            meter: Meter::default(),
            expiry: None,
            claim: claim.map(Box::new),
        })
    }

    /// Whether no handler runs or waits.
    pub(super) fn is_quiet(&self) -> bool {
        self.work.is_none() && self.waiting.is_empty()
    }

    /// Polls what runs and starts what waits. `true` when anything ended.
    pub(super) fn advance(&mut self, ground: &mut Ground<'_>, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        loop {
            match self.work.take() {
                Some(Work::Handler(mut handler)) => match poll_guarded(&mut handler, cx) {
                    Poll::Ready(outcome) => {
                        moved = true;
                        outcome.flatten().into_iter().for_each(|error| self.fail(error));
                    }
                    Poll::Pending => {
                        self.work = Some(Work::Handler(handler));
                        return moved;
                    }
                },
                Some(Work::Guard(mut guard)) => match poll_guarded(&mut guard, cx) {
                    Poll::Ready(verdict) => {
                        moved = true;
                        self.judge(verdict.unwrap_or_else(|| Err(Refusal::new(GUARD_PANICKED))), ground);
                    }
                    Poll::Pending => {
                        self.work = Some(Work::Guard(guard));
                        return moved;
                    }
                },
                None if !self.start(ground) => return moved,
                None => moved = true,
            }
        }
    }

    /// Starts the next piece of work. `false` when there is none.
    fn start(&mut self, ground: &mut Ground<'_>) -> bool {
        if let State::Entering(passed) = self.state {
            match self.realm.handlers.guards.get(passed as usize) {
                Some(guard) => match unharmed(|| guard(self.socket.clone())) {
                    Some(guard) => self.work = Some(Work::Guard(guard)),
                    None => self.judge(Err(Refusal::new(GUARD_PANICKED)), ground),
                },
                None => self.admit(ground),
            }
            return true;
        }
        let Some(job) = self.waiting.pop_front() else { return false };
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        self.begin(job);
        true
    }

    /// Begins with a job right away where nothing is before it; no queue is touched then.
    pub(super) fn take(&mut self, job: Job) {
        if self.work.is_none() && self.waiting.is_empty() {
            self.begin(job);
        } else {
            self.waiting.push_back(job);
        }
    }

    fn begin(&mut self, job: Job) {
        let handlers = &self.realm.handlers;
        let socket = || self.socket.clone();
        let running = unharmed(|| match job {
            Job::Expiring => handlers.on_expiring.as_ref().map(|handler| handler(socket())),
            Job::Connected => handlers.on_connect.as_ref().map(|handler| handler(socket())),
            Job::Event(handler, event) => {
                for listener in &handlers.on_any {
                    let failure = unharmed(|| listener(&event)).flatten();
                    failure.into_iter().for_each(|error| self.fail(error));
                }
                handlers.dispatch(handler, event)
            }
            Job::Disconnected(reason) => {
                handlers.on_disconnect.as_ref().map(|handler| handler(socket(), reason))
            }
        });
        self.work = running.flatten().map(Work::Handler);
    }

    fn judge(&mut self, verdict: Result<(), Refusal>, ground: &mut Ground<'_>) {
        let State::Entering(passed) = self.state else { return };
        match verdict {
            Ok(()) => self.state = State::Entering(passed + 1),
            Err(refusal) => {
                self.state = State::Left;
                if let Some(claim) = self.claim.take() {
                    self.socket.hub().forget(&claim.pid);
                }
                self.socket.close();
                Counters::count(&ground.core.counters.connect_errors);
                let nsp = self.nsp().clone();
                ground.client.refuse(&nsp);
                let dialect = ground.client.dialect();
                let json = refusal.json(dialect);
                let answer = protocol_packet(dialect.parser, Kind::ConnectError, &nsp, &json);
                ground.mailbox.post(&answer.shared());
            }
        }
    }

    /// Socket.IO v5, "Connection to a namespace": the answer goes out before anything else reaches the socket.
    fn admit(&mut self, ground: &mut Ground<'_>) {
        let hub = Arc::clone(self.socket.hub());
        let dialect = ground.client.dialect();
        let id = self.socket.sid();
        if let Some(claim) = self.claim.take() {
            let welcome = hub.connect_packet(dialect, id, Some(&claim.pid));
            if hub.resume(&self.socket.member(), *claim, welcome) {
                return self.entered(ground);
            }
            // It cannot go on after all: whoever was let in as somebody known is looked at.
            self.socket.start_over();
            self.state = State::Entering(0);
            return;
        }
        let recovers = hub.recovers() && is_v4(ground);
        let pid = recovers.then(|| self.socket.pid_or_new());
        let welcome = hub.connect_packet(dialect, id, pid.as_ref());
        let offset = if recovers { self.socket.handshake().auth().ok() } else { None };
        let offset = offset.and_then(|named: Named| named.offset);
        hub.open(self.socket.member(), pid.as_ref(), offset.as_deref(), welcome);
        self.entered(ground);
    }

    fn entered(&mut self, ground: &mut Ground<'_>) {
        let hub = self.socket.hub();
        self.state = State::Entered;
        Counters::count(&ground.core.counters.connects);
        ground.client.admit(hub.nsp());
        self.socket.set_connected();
        self.socket.set_ends(self.expiry.is_some());
        if self.realm.handlers.on_connect.is_some() {
            self.waiting.push_back(Job::Connected);
        }
    }

    /// Leaves the namespace; what waits is still handled.
    pub(super) fn leave(&mut self, counters: &Counters, reason: DisconnectReason) {
        match self.state {
            State::Left => {}
            State::Entering(_) => {
                self.state = State::Left;
                self.work = None;
                self.socket.close();
            }
            State::Entered => {
                self.state = State::Left;
                counters.count_disconnect(reason);
                for hook in &self.realm.handlers.on_disconnecting {
                    let failure = unharmed(|| hook(self.socket.clone(), reason)).flatten();
                    failure.into_iter().for_each(|error| self.fail(error));
                }
                self.socket.part(reason, self.ends());
                self.socket.close();
                if self.realm.handlers.on_disconnect.is_some() {
                    self.waiting.push_back(Job::Disconnected(reason));
                }
            }
        }
    }

    /// Tells who wants to know that a handler failed.
    fn fail(&self, error: HandlerError) {
        match &self.realm.handlers.on_error {
            Some(hook) => drop(unharmed(|| hook(&self.socket, error))),
            None => tracing::warn!(nsp = %self.nsp(), %error, "handler failed"),
        }
    }

    /// When its credential ends.
    fn ends(&self) -> Option<Instant> {
        self.expiry.map(|expiry| expiry.at)
    }

    /// The name of its namespace.
    pub(super) fn nsp(&self) -> &Nsp {
        self.socket.hub().nsp()
    }

    /// Whether it is in a namespace or on its way in.
    pub(super) fn is_in(&self, nsp: &str) -> bool {
        self.state != State::Left && *self.nsp() == *nsp
    }

    /// Whether nothing is left to do for it.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Left && self.is_quiet()
    }
}

impl Drop for Slot {
    /// However the connection ended, its sockets are in no room after it.
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.socket.hub().abandon(*claim);
        }
        if self.state == State::Entered {
            self.socket.part(DisconnectReason::TransportClose, self.ends());
        }
        self.socket.close();
    }
}

/// Clients of v3 know no sessions.
pub(super) fn is_v4(ground: &Ground<'_>) -> bool {
    match ground.client.dialect().protocol {
        Protocol::V3 => false,
        Protocol::V4 => true,
    }
}

/// Polls a user's future; one that panics is over.
pub(super) fn poll_guarded<T>(work: &mut Running<T>, cx: &mut Context<'_>) -> Poll<Option<T>> {
    match unharmed(|| work.as_mut().poll(cx)) {
        Some(Poll::Ready(value)) => Poll::Ready(Some(value)),
        Some(Poll::Pending) => Poll::Pending,
        None => Poll::Ready(None),
    }
}
