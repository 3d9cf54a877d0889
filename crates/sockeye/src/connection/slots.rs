//! The sockets of one connection: who may enter, and whose handler runs.
//!
//! A socket handles one event at a time, in order; further ones wait, bounded: [`slot`](super::slot).

use super::slot::{Expiry, Ground, Job, Named, Slot, State, is_v4, poll_guarded};
use crate::config::EventsExcess;
use crate::core::{Application, Core};
use crate::counters::Counters;
use crate::delivery::{Claim, Hub};
use crate::draft::protocol_packet;
use crate::event::Event;
use crate::handler::Running;
use crate::handshake::Handshake;
use crate::limit::Limit;
use crate::payload::Args;
use crate::realms::{Entry, Found, Realm};
use crate::socket::Socket;
use smallvec::SmallVec;
use sockeye_cluster::Nsp;
use sockeye_proto::sid::Sid;
use sockeye_proto::socket::client::Message;
use sockeye_proto::socket::dialect::INVALID_NAMESPACE;
use sockeye_proto::socket::packet::Kind;
use sockeye_proto::socket::{DisconnectReason, Event as WireEvent};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// All sockets of a connection.
#[derive(Default)]
pub(super) struct Slots {
    slots: SmallVec<[Box<Slot>; 1]>,
    /// Namespaces that may or may not be: a function of the user is being asked.
    searches: Vec<Search>,
    /// The client is read no further until then, for its rate.
    paused_until: Option<Instant>,
    /// When the next credential ends or is about to.
    expiry: Option<Instant>,
}

/// A client's wish to enter a namespace that may be brought to life.
struct Search {
    id: Sid,
    nsp: Nsp,
    handshake: Handshake,
    work: Sought,
}

/// What is looked for.
enum Sought {
    /// Whether there is such a namespace.
    Namespace(Running<Option<Entry>>, #[expect(dead_code, reason = "its end counts")] Searching),
    /// The session that a client wants to go on with, in a namespace that there is. There are as many as there are clients on
    /// their way in, and the backplane is asked for few at once.
    Session(Option<Entry>, Running<Option<Claim>>),
}

/// A function that is being asked about a name, among those of all clients.
struct Searching(Arc<Core>);

/// What an event came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Handled, or waiting.
    Yes,
    /// Nobody wants it.
    Ignored,
    /// More events wait than a socket may have, although nobody reads on.
    Excess,
}

/// How many times the limit may wait while a handler awaits an ack of this very client.
const EXCESS_FACTOR: usize = 4;

/// What a client hears that wants to be in too many namespaces, or comes when too many are looked for.
const TOO_MANY_NAMESPACES: &str = r#"{"message":"too many namespaces"}"#;

impl Slots {
    /// Asks the guards of `nsp`; admits at once where there are none.
    pub(super) fn connect(
        &mut self,
        ground: &mut Ground<'_>,
        id: Sid,
        nsp: &str,
        auth: &str,
        cx: &mut Context<'_>,
    ) {
        let entered = self.slots.len() + self.searches.len();
        if entered >= ground.core.config.namespaces_per_client_max.get() {
            ground.core.counters.count_limit(Limit::NamespacesPerClientMax);
            return refuse(ground, nsp, TOO_MANY_NAMESPACES);
        }
        let handshake = ground.handshake.with_auth(auth);
        let found = match &ground.core.application {
            Application::SocketIo(realms) => realms.enter(nsp, || handshake.clone()),
            Application::Engine(_) => Found::Known(None),
        };
        match found {
            Found::Known(entry) => {
                self.open(ground, id, nsp, handshake, entry, cx);
                self.search(ground, cx);
            }
            Found::Asking(work) => {
                let Some(searching) = Searching::begin(ground.core) else {
                    ground.core.counters.count_limit(Limit::SearchesMax);
                    return refuse(ground, nsp, TOO_MANY_NAMESPACES);
                };
                let work = Sought::Namespace(work, searching);
                self.searches.push(Search { id, nsp: Nsp::new(nsp), handshake, work });
                self.poll(ground, cx);
            }
        }
    }

    fn open(
        &mut self,
        ground: &mut Ground<'_>,
        id: Sid,
        nsp: &str,
        handshake: Handshake,
        entry: Option<Entry>,
        cx: &mut Context<'_>,
    ) {
        let Some(entry) = entry else {
            return refuse(ground, nsp, INVALID_NAMESPACE);
        };
        let hub = &entry.realm.hub;
        let recovers = ground.core.config.connection_state_recovery.is_some() && is_v4(ground);
        let named = if recovers { named(hub, &handshake) } else { None };
        let claim = match named {
            Some(Named { pid, offset }) if hub.kept().is_some() => {
                let work = Box::pin(Arc::clone(hub).seek(pid, offset));
                let (nsp, work) = (Nsp::new(nsp), Sought::Session(Some(entry), work));
                // It is polled after this.
                return self.searches.push(Search { id, nsp, handshake, work });
            }
            Some(Named { pid, offset }) => hub.claim(&pid, offset),
            None => None,
        };
        self.enter(ground, id, handshake, entry, claim, cx);
    }

    fn enter(
        &mut self,
        ground: &mut Ground<'_>,
        id: Sid,
        handshake: Handshake,
        Entry { realm, stay }: Entry,
        claim: Option<Claim>,
        cx: &mut Context<'_>,
    ) {
        let (hub, mailbox) = (Arc::clone(&realm.hub), Arc::clone(ground.mailbox));
        let config = &ground.core.config;
        let recovery = config.connection_state_recovery;
        let id = claim.as_ref().map_or(id, |claim| claim.sid);
        let socket = Socket::new(id, hub, mailbox, handshake, config.ack_timeout);
        let mut passed = 0;
        if let Some(claim) = &claim {
            socket.take_over(claim);
            if recovery.is_some_and(|recovery| recovery.skip_middlewares) {
                passed = u32::try_from(realm.handlers.guards.len()).unwrap_or(u32::MAX);
            }
        }
        // Guards may be skipped, and a credential ends nevertheless.
        let ends = claim.as_ref().and_then(|claim| claim.ends);
        let mut slot = Slot::new(realm, socket, stay, claim, passed);
        slot.expiry = ends.map(|at| Expiry::new(at, config.expiry_notice));
        slot.advance(ground, cx);
        if !slot.is_done() {
            self.slots.push(slot);
        }
        if ends.is_some() {
            self.schedule();
        }
    }

    /// Hands an event to its socket, where it begins or waits.
    pub(super) fn event(&mut self, message: Message<'_>, limit: usize) -> Taken {
        let Some(slot) = self.entered(message.nsp) else { return Taken::Ignored };
        // The packet was checked when it was decoded.
        let Ok(event) = WireEvent::split(message.data) else { return Taken::Ignored };
        let Some((name, handler)) = slot.realm.handlers.event(&event.name) else { return Taken::Ignored };
        let args = Args::new(event.args.as_bytes(), message.attachments);
        let event = Event::new(slot.socket.clone(), name, args, message.id);
        slot.take(Job::Event(handler, event));
        if slot.waiting.len() > limit * EXCESS_FACTOR {
            return Taken::Excess;
        }
        Taken::Yes
    }

    /// Meters an event, wanted or not. `false`: it is one too many, and the connection has to close.
    pub(super) fn meter(&mut self, nsp: &str, rate: NonZeroU32, core: &Core) -> bool {
        let until = self.entered(nsp).and_then(|slot| slot.meter.charge(rate, Instant::now()));
        let Some(until) = until else { return true };
        match core.config.events_excess {
            EventsExcess::Pause => {
                core.counters.count_limit(Limit::EventsPerSecond);
                self.paused_until = self.paused_until.max(Some(until));
                true
            }
            EventsExcess::Close => false,
        }
    }

    /// Hands an answer to whoever awaits it.
    pub(super) fn ack(&mut self, message: Message<'_>) {
        let (Some(slot), Some(id)) = (self.entered(message.nsp), message.id) else { return };
        let array = message.data.trim();
        let elements = array.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(array);
        let args = Args::new(elements.as_bytes(), message.attachments);
        slot.socket.acks().resolve(id, args);
    }

    /// Takes a socket out of its namespace. `false` when it is not in it.
    pub(super) fn leave(&mut self, counters: &Counters, nsp: &str, reason: DisconnectReason) -> bool {
        self.searches.retain(|search| *search.nsp != *nsp);
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.is_in(nsp)) else { return false };
        slot.leave(counters, reason);
        self.slots.retain(|slot| !slot.is_done());
        true
    }

    /// The namespaces that the client is in.
    pub(super) fn realms_entered(&self) -> impl Iterator<Item = Arc<Realm>> {
        self.slots.iter().filter(|slot| slot.state == State::Entered).map(|slot| Arc::clone(&slot.realm))
    }

    /// Takes every socket out of its namespace.
    pub(super) fn leave_all(&mut self, counters: &Counters, reason: DisconnectReason) {
        self.searches.clear();
        self.slots.iter_mut().for_each(|slot| slot.leave(counters, reason));
        self.slots.retain(|slot| !slot.is_done());
    }

    /// Runs handlers on. Ready when something moved.
    pub(super) fn poll(&mut self, ground: &mut Ground<'_>, cx: &mut Context<'_>) -> bool {
        let (mut moved, mut done) = (false, false);
        for slot in &mut self.slots {
            moved |= slot.advance(ground, cx);
            done |= slot.is_done();
        }
        if done {
            self.slots.retain(|slot| !slot.is_done());
        }
        moved |= !self.searches.is_empty() && self.search(ground, cx);
        if moved && self.slots.iter().any(|slot| slot.expiry.is_some()) {
            self.schedule();
        }
        moved
    }

    /// Lets those in for whom a namespace was found.
    fn search(&mut self, ground: &mut Ground<'_>, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        let mut index = 0;
        while let Some(search) = self.searches.get_mut(index) {
            match &mut search.work {
                Sought::Namespace(work, _) => match poll_guarded(work, cx) {
                    Poll::Pending => index += 1,
                    Poll::Ready(found) => {
                        moved = true;
                        let Search { id, nsp, handshake, work: _ } = self.searches.remove(index);
                        self.open(ground, id, &nsp, handshake, found.flatten(), cx);
                    }
                },
                Sought::Session(entry, work) => match poll_guarded(work, cx) {
                    Poll::Pending => index += 1,
                    Poll::Ready(claim) => {
                        moved = true;
                        let entry = entry.take();
                        let Search { id, handshake, .. } = self.searches.remove(index);
                        if let Some(entry) = entry {
                            self.enter(ground, id, handshake, entry, claim.flatten(), cx);
                        }
                    }
                },
            }
        }
        moved
    }

    /// Whether events have to wait outside: a socket has as many waiting as it may, and no handler of it awaits an ack that
    /// only further reading can bring.
    pub(super) fn is_congested(&self, limit: usize) -> bool {
        self.paused_until.is_some()
            || self.slots.iter().any(|slot| slot.waiting.len() >= limit && !slot.socket.acks().is_awaited())
    }

    /// Whether no handler runs or waits.
    pub(super) fn is_quiet(&self) -> bool {
        self.searches.is_empty() && self.slots.iter().all(|slot| slot.is_quiet())
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.paused_until, self.expiry].into_iter().flatten().min()
    }

    /// Ends a pause, calls the hooks of credentials that are about to end, and names the namespaces of those that have ended.
    pub(super) fn handle_timeout(&mut self, now: Instant, notice: Duration) -> Vec<Nsp> {
        self.paused_until = self.paused_until.filter(|&until| until > now);
        let mut expired = Vec::new();
        for slot in self.slots.iter_mut().filter(|slot| slot.state == State::Entered) {
            let Some(expiry) = &mut slot.expiry else { continue };
            if expiry.at <= now {
                slot.socket.set_expired();
                expired.push(slot.nsp().clone());
                slot.expiry = None;
            } else if expiry.notice_at.take_if(|at| *at <= now).is_some()
                && slot.realm.handlers.on_expiring.is_some()
            {
                tracing::trace!(?notice, "a credential is about to end");
                slot.waiting.push_back(Job::Expiring);
            }
        }
        self.schedule();
        expired
    }

    /// Sets when the credential of a socket ends.
    pub(super) fn expire(&mut self, id: Sid, at: Option<Instant>, notice: Duration) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.socket.sid() == id) {
            slot.expiry = at.map(|at| Expiry::new(at, notice));
            slot.socket.set_ends(at.is_some());
        }
        self.schedule();
    }

    fn schedule(&mut self) {
        let entered = self.slots.iter().filter(|slot| slot.state == State::Entered);
        self.expiry = entered
            .filter_map(|slot| slot.expiry)
            .map(|expiry| expiry.notice_at.map_or(expiry.at, |notice| notice.min(expiry.at)))
            .min();
    }

    fn entered(&mut self, nsp: &str) -> Option<&mut Slot> {
        self.slots
            .iter_mut()
            .find(|slot| slot.state == State::Entered && slot.is_in(nsp))
            .map(|slot| &mut **slot)
    }
}

impl Searching {
    /// `None` where as many are asked as may be.
    fn begin(core: &Arc<Core>) -> Option<Self> {
        let before = core.counters.searches.fetch_add(1, Ordering::Relaxed);
        // Its end takes it back.
        let searching = Self(Arc::clone(core));
        (before < core.config.searches_max).then_some(searching)
    }
}

impl Drop for Searching {
    fn drop(&mut self) {
        self.0.counters.searches.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Keeps a client out of a namespace.
fn refuse(ground: &mut Ground<'_>, nsp: &str, message: &str) {
    Counters::count(&ground.core.counters.connect_errors);
    ground.client.refuse(nsp);
    let answer = protocol_packet(ground.core.config.parser, Kind::ConnectError, nsp, message);
    ground.mailbox.post(&answer.shared());
}

/// The session that a client names in its `auth` payload.
fn named(hub: &Hub, handshake: &Handshake) -> Option<Named> {
    if hub.recovers() { handshake.auth().ok() } else { None }
}
