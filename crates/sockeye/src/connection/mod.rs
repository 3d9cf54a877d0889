//! The driver of one session: waits for mail, bytes and time, tells the machines, does what they say.
//!
//! One task owns a connection from its handshake to its end, on whatever transport. It decides nothing: transports and
//! heartbeats are `engine::Session`'s, packets are `socket::Client`'s, handlers wait in [`slots`]. What comes in is taken apart in
//! [`intake`].

mod intake;
mod post;
mod slot;
mod slots;
mod upper;

use crate::core::{Core, Working};
use crate::delivery::{Control, Mail, Mailbox, Overflowed};
use crate::handshake::Handshake;
use crate::limit::Limit;
use crate::outgoing::Outgoing;
use crate::redacted::Redacted;
use crate::seat::Seat;
use crate::transport::{Answer, Flushed, Format, Polling, Reply, WebSocket};
use post::Post;
use smallvec::SmallVec;
use sockeye_proto::engine::session::{Leg, Output, PollAnswer, Session};
use sockeye_proto::engine::{CloseReason, Protocol, Transport};
use sockeye_proto::sid::Sid;
use sockeye_proto::socket::DisconnectReason;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::time::Sleep;
use tracing::Span;
use upper::Upper;

/// Rounds of one wake-up; then the task lets others run.
const ROUNDS_MAX: usize = 16;

static PING: LazyLock<Arc<Outgoing>> = LazyLock::new(|| Outgoing::raw(*b"\x81\x012").shared());
static PONG: LazyLock<Arc<Outgoing>> = LazyLock::new(|| Outgoing::raw(*b"\x81\x013").shared());
static PROBE_ANSWER: LazyLock<Arc<Outgoing>> = LazyLock::new(|| Outgoing::raw(*b"\x81\x063probe").shared());

/// One session and all that belongs to it.
pub(crate) struct Connection {
    core: Arc<Core>,
    sid: Sid,
    mailbox: Arc<Mailbox>,
    session: Session,
    upper: Upper,
    wire: Wire,
    probe: Option<Box<WebSocket>>,
    /// A POST that waits until its events are no longer too many.
    post: Option<Box<Post>>,
    timer: Option<Pin<Box<Sleep>>>,
    /// A ping waits for a poll.
    ping_owed: bool,
    /// The server closes the session once everything said before is out.
    closing: bool,
    /// The client is read no further until its handlers catch up.
    paused: bool,
    /// Nothing more to read came in this wake-up.
    read_blocked: bool,
    over: bool,
    /// Nothing can be sent at the moment.
    holding: bool,
    /// Why the session ends, where the official reason does not say: a limit's name, or a few words.
    cause: Option<&'static str>,
    /// Whether that was a limit.
    limited: bool,
    /// Its place among the sessions, until it ends.
    seat: Option<Seat>,
    /// For a server that closes: it waits for the end.
    _working: Working,
    /// What bears the session's id in the log, where anybody reads that much.
    span: Option<Box<Span>>,
}

/// The transport that carries the session.
enum Wire {
    Polling(Polling),
    WebSocket(WebSocket),
    Gone,
}

const _: () = assert!(size_of::<Connection>() <= 400);

impl Connection {
    /// Starts a polling session.
    pub(crate) fn polling(
        core: &Arc<Core>,
        sid: Sid,
        mailbox: Arc<Mailbox>,
        handshake: Handshake,
        seat: Seat,
        format: Format,
    ) -> Self {
        Self::new(core, sid, mailbox, handshake, seat, Wire::Polling(Polling { waiting: None, format }))
    }

    /// Starts a session on a WebSocket whose handshake is queued in its outlet.
    pub(crate) fn websocket(
        core: &Arc<Core>,
        sid: Sid,
        mailbox: Arc<Mailbox>,
        handshake: Handshake,
        seat: Seat,
        websocket: WebSocket,
    ) -> Self {
        Self::new(core, sid, mailbox, handshake, seat, Wire::WebSocket(websocket))
    }

    fn new(
        core: &Arc<Core>,
        sid: Sid,
        mailbox: Arc<Mailbox>,
        handshake: Handshake,
        seat: Seat,
        wire: Wire,
    ) -> Self {
        let now = Instant::now();
        let transport = match wire {
            Wire::Polling(_) => Transport::Polling,
            Wire::WebSocket(_) | Wire::Gone => Transport::WebSocket,
        };
        if let Wire::WebSocket(websocket) = &wire {
            mailbox.attach(&websocket.outlet, core.carriers.of(sid));
        }
        let protocol = mailbox.protocol();
        if protocol == Protocol::V3 {
            // It cannot be gone yet.
            drop(mailbox.control(Control::Begin));
        }
        Self {
            session: Session::with_protocol(core.timing(), protocol, transport, now),
            upper: Upper::new(core, &mailbox, handshake, core.limits(), now),
            core: Arc::clone(core),
            sid,
            mailbox,
            wire,
            probe: None,
            post: None,
            timer: None,
            ping_owed: false,
            closing: false,
            paused: false,
            read_blocked: false,
            over: false,
            holding: false,
            cause: None,
            limited: false,
            seat: Some(seat),
            _working: core.begin_connection(),
            span: None,
        }
    }

    /// Lets what is logged stand in `span`. Not by `tracing::Instrument`: that takes forty bytes of each task, logged or not.
    pub(crate) fn within(mut self, span: Span) -> Self {
        self.span = (!span.is_disabled()).then(|| Box::new(span));
        self
    }

    fn rounds(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.read_blocked = false;
        self.mailbox.attend();
        for _ in 0..ROUNDS_MAX {
            let moved = self.round(cx);
            if self.over && self.upper.is_quiet() {
                return Poll::Ready(());
            }
            if !moved && self.mailbox.sleep(cx, self.holding) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One round. `true` when something moved, so that another may find more.
    fn round(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        if !self.read_blocked {
            self.read_blocked = !self.read(cx);
            moved |= !self.read_blocked;
        }
        moved |= !self.upper.is_quiet() && self.upper.poll(cx);
        moved |= self.check_time(cx);
        moved |= self.check_congestion(cx);
        moved |= self.obey();
        // After the handlers: what they said leaves in the same round.
        moved |= self.take_mail(cx);
        moved | self.flush(cx)
    }

    /// Takes what came from other tasks, and writes what the socket takes. `true` when something changed by it.
    fn take_mail(&mut self, cx: &mut Context<'_>) -> bool {
        if self.over {
            return false;
        }
        let writable = self.session.is_writable();
        let mut controls = SmallVec::<[Box<Control>; 2]>::new();
        let taken = match &mut self.wire {
            Wire::WebSocket(websocket) => {
                // The carrier writes and counts under this lock, too.
                let mut sending = websocket.outlet.lock();
                let free = writable && sending.try_flush() == Flushed::Whole;
                self.holding = !free;
                self.mailbox.take(!free).map(|batch| {
                    for mail in batch {
                        match mail {
                            Mail::Packet(packet) => {
                                self.mailbox.tally().count_packet_out(packet.len());
                                sending.queue(packet);
                            }
                            Mail::Control(control) => controls.push(control),
                        }
                    }
                    if free {
                        self.holding = sending.try_flush() == Flushed::Stuck;
                    }
                })
            }
            Wire::Polling(polling) => {
                self.holding = polling.waiting.is_none() || !writable;
                self.mailbox.take(self.holding).map(|batch| {
                    let mut packets = SmallVec::<[_; 4]>::new();
                    for mail in batch {
                        match mail {
                            Mail::Packet(packet) => packets.push(packet),
                            Mail::Control(control) => controls.push(control),
                        }
                    }
                    self.answer_poll(&packets);
                    self.holding |= !packets.is_empty();
                })
            }
            Wire::Gone => Ok(()),
        };
        if let Err(Overflowed(limit)) = taken {
            self.cause = Some(self.limited(limit));
            self.session.discard(CloseReason::TransportClose);
            return true;
        }
        if controls.is_empty() {
            return false;
        }
        // A poll or a probe came perhaps: it has to be watched.
        self.read_blocked = self.paused;
        controls.into_iter().for_each(|control| self.control(*control, cx));
        true
    }

    /// Answers the poll that waits, if there is anything to say.
    fn answer_poll(&mut self, packets: &[Arc<Outgoing>]) {
        if (packets.is_empty() && !self.ping_owed) || !self.session.is_writable() {
            return;
        }
        let Wire::Polling(polling) = &mut self.wire else { return };
        let Some(reply) = polling.waiting.take() else { return };
        let heartbeat = std::mem::take(&mut self.ping_owed).then(|| match self.session.protocol() {
            Protocol::V3 => "3",
            Protocol::V4 => "2",
        });
        for packet in packets {
            self.mailbox.tally().count_packet_out(packet.len());
        }
        self.session.handle_poll_answered();
        reply.answer(polling.format.write(heartbeat, packets));
    }

    fn control(&mut self, control: Control, cx: &mut Context<'_>) {
        let now = Instant::now();
        match control {
            Control::Begin => self.upper.begin(self.sid, cx),
            Control::Poll(request) => self.take_poll(request.reply, now),
            Control::Post(request) => self.take_post(request, now, cx),
            Control::BadRequest => self.session.handle_bad_request(),
            Control::Probe(websocket) => {
                if self.session.handle_probe_opened(now) {
                    self.probe = Some(Box::new(websocket));
                } else {
                    self.core.farewell(websocket);
                }
            }
            Control::Disconnect { nsp, close } => {
                if self.upper.disconnect(&nsp) {
                    let goodbye = self.core.realm(&nsp).map(|realm| realm.hub.disconnect_packet());
                    goodbye.into_iter().for_each(|packet| self.mailbox.post(&packet.shared()));
                }
                if close {
                    for realm in self.upper.entered() {
                        self.mailbox.post(&realm.hub.disconnect_packet().shared());
                    }
                    self.upper.leave_all(DisconnectReason::ServerNamespaceDisconnect);
                    self.closing = true;
                }
            }
            Control::Expire { id, at } => self.upper.expire(id, at),
            Control::Close => self.closing = true,
            Control::Shutdown => {
                self.upper.leave_all(DisconnectReason::ServerShuttingDown);
                self.session.discard(CloseReason::ServerShuttingDown);
            }
        }
    }

    fn take_poll(&mut self, reply: Reply, now: Instant) {
        match &mut self.wire {
            Wire::Polling(polling) if polling.waiting.is_none() => {
                polling.waiting = Some(reply);
                self.session.handle_poll(now);
                self.obey();
                // A ping that was owed leaves with this poll.
                self.answer_poll(&[]);
            }
            Wire::Polling(_) => {
                self.session.handle_poll(now);
                reply.answer(Answer::Refused);
            }
            Wire::WebSocket(_) | Wire::Gone => reply.answer(Answer::Refused),
        }
    }

    /// Looks at the clock only when the timer rings; a later deadline just rings once in vain. The timer keeps this task's
    /// waker, so it is polled only after it was set.
    fn check_time(&mut self, cx: &mut Context<'_>) -> bool {
        let deadline = match (self.session.poll_timeout(), self.upper.poll_timeout()) {
            (_, _) if self.over => None,
            // It closes already: what else is due would ring for ever.
            (session, _) if !self.session.is_open() => session,
            (Some(session), Some(upper)) => Some(session.min(upper)),
            (session, upper) => session.or(upper),
        };
        let Some(deadline) = deadline else { return false };
        let deadline = tokio::time::Instant::from(deadline);
        match &mut self.timer {
            Some(timer) if timer.deadline() > deadline => timer.as_mut().reset(deadline),
            Some(timer) if !timer.is_elapsed() => return false,
            Some(_) => {}
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(deadline))),
        }
        let Some(timer) = &mut self.timer else { return false };
        if timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        let now = Instant::now();
        let upgrading = self.session.is_upgrading();
        self.session.handle_timeout(now);
        if upgrading && self.session.is_open() && !self.session.is_upgrading() {
            self.core.counters.count_limit(Limit::UpgradeTimeout);
        }
        for nsp in self.upper.handle_timeout(now) {
            self.core.counters.count_limit(Limit::ExpireAt);
            tracing::debug!(sid = %Redacted(self.sid), %nsp, "disconnected: its credential expired");
            self.control(Control::Disconnect { nsp, close: false }, cx);
        }
        if self.session.is_open() && self.upper.connect_by().is_some_and(|connect_by| connect_by <= now) {
            self.cause = Some(self.limited(Limit::ConnectTimeout));
            self.session.close(now);
        }
        // The next round sets it anew.
        self.timer = None;
        true
    }

    /// Stops reading while handlers are behind, and goes on when they caught up.
    fn check_congestion(&mut self, cx: &mut Context<'_>) -> bool {
        if self.post.as_ref().is_some_and(|post| !post.is_read()) {
            self.read_post(Instant::now(), cx);
        }
        let congested = self.upper.is_congested(self.core.config.events_waiting_max.get());
        if !congested && let Some(post) = self.post.take_if(|post| post.is_read()) {
            post.reply.answer(Answer::Taken);
        }
        if congested == self.paused {
            return false;
        }
        self.paused = congested;
        self.read_blocked = congested;
        if congested {
            self.session.suspend_heartbeat();
        } else {
            self.session.resume_heartbeat(Instant::now());
        }
        !congested
    }

    /// Does what the session says. `true` when that was anything.
    fn obey(&mut self) -> bool {
        let mut moved = false;
        while let Some(output) = self.session.poll_output() {
            moved = true;
            match output {
                Output::Ping => match &mut self.wire {
                    Wire::WebSocket(websocket) => websocket.outlet.queue(match self.session.protocol() {
                        Protocol::V3 => &PONG,
                        Protocol::V4 => &PING,
                    }),
                    Wire::Polling(_) | Wire::Gone => {
                        self.ping_owed = true;
                        self.answer_poll(&[]);
                    }
                },
                Output::AnswerPoll(answer) => {
                    if let Wire::Polling(polling) = &mut self.wire
                        && let Some(reply) = polling.waiting.take()
                    {
                        let packet = match answer {
                            PollAnswer::Noop => "6",
                            PollAnswer::Close => "1",
                        };
                        reply.answer(polling.format.write(Some(packet), &[]));
                    }
                }
                // The one who handed the request in answers it.
                Output::RefuseRequest => {}
                Output::AnswerProbe => {
                    self.probe.iter_mut().for_each(|probe| probe.outlet.queue(&PROBE_ANSWER));
                }
                Output::CloseProbe => {
                    self.probe.take().into_iter().for_each(|probe| self.core.farewell(*probe));
                }
                Output::Upgraded => {
                    if let Some(probe) = self.probe.take() {
                        self.mailbox.attach(&probe.outlet, self.core.carriers.of(self.sid));
                        self.wire = Wire::WebSocket(*probe);
                    }
                }
                Output::CloseWebSocket => {}
                Output::Closed(reason) => self.end(reason),
            }
        }
        moved
    }

    /// Counts a limit that ends the session, and gives its name.
    fn limited(&mut self, limit: Limit) -> &'static str {
        self.limited = true;
        self.core.counters.count_limit(limit);
        limit.as_str()
    }

    fn end(&mut self, reason: CloseReason) {
        if reason == CloseReason::PingTimeout {
            self.core.counters.count_limit(Limit::PingTimeout);
        }
        // Once for each session, whatever ended it.
        match (self.cause, self.limited) {
            (Some(limit), true) => {
                tracing::info!(sid = %Redacted(self.sid), %reason, limit, "session ended by a limit")
            }
            (cause, _) => tracing::debug!(sid = %Redacted(self.sid), %reason, cause, "session ended"),
        }
        self.over = true;
        self.seat = None;
        // In this order: what the mailbox dropped is counted before its session is off the list.
        self.mailbox.close();
        self.core.close_session(self.sid);
        self.upper.leave_all(reason.into());
        if let Some(post) = self.post.take() {
            post.reply.answer(Answer::Taken);
        }
        if let Wire::WebSocket(websocket) = std::mem::replace(&mut self.wire, Wire::Gone) {
            self.core.farewell(websocket);
        }
    }

    /// Writes what waits. `true` when something ended by it.
    fn flush(&mut self, cx: &mut Context<'_>) -> bool {
        let mut failed = None;
        if let Some(probe) = &mut self.probe
            && let Poll::Ready(Err(_)) = probe.poll_flush(cx)
        {
            failed = Some(Leg::Probe);
        }
        if self.holding
            && let Wire::WebSocket(websocket) = &mut self.wire
        {
            match websocket.poll_flush(cx) {
                Poll::Ready(Ok(())) => self.holding = !self.session.is_writable(),
                Poll::Ready(Err(_)) => failed = Some(Leg::Current),
                Poll::Pending => {}
            }
        }
        if let Some(leg) = failed {
            self.session.handle_websocket_ended(leg, false);
            if leg == Leg::Probe {
                self.probe = None;
            }
            self.obey();
            return true;
        }
        if self.closing && !self.mailbox.has_packets() && self.is_flushed() {
            self.closing = false;
            self.session.close(Instant::now());
            self.obey();
            return true;
        }
        false
    }

    fn is_flushed(&self) -> bool {
        match &self.wire {
            Wire::WebSocket(websocket) => websocket.outlet.is_empty(),
            Wire::Polling(_) | Wire::Gone => true,
        }
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let Some(span) = this.span.take() else { return this.rounds(cx) };
        let outcome = span.in_scope(|| this.rounds(cx));
        this.span = Some(span);
        outcome
    }
}

impl Drop for Connection {
    /// Also when the runtime ends: nobody finds a session that nobody drives.
    fn drop(&mut self) {
        self.mailbox.close();
        self.core.close_session(self.sid);
    }
}
