//! One Engine.IO session as a machine: transports, upgrade, heartbeat, close. v3 differs in the heartbeat alone.
//!
//! It is told what arrived (`handle_*`) and tells what follows ([`Session::poll_output`]); it holds no message. What the
//! server wants to say waits in the owner's mailbox until [`Session::is_writable`]; messages from the client pass straight
//! through [`Session::handle_packet`] to the caller.

use super::{CloseReason, Content, Packet, Protocol, Transport};
use smallvec::SmallVec;
use std::time::{Duration, Instant};

/// Pause between two `noop` answers to polls while a probe is under way.
///
/// Engine.IO v4, "Upgrade": a pending poll is ended so that the client can switch; the official server looks every 100 ms.
const NOOP_EVERY: Duration = Duration::from_millis(100);

/// How long a polling session that the server closes waits for a poll to say so (the official `closeTimeout`).
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// How late a timer may ring without moving what follows: deadlines stay where the options put them. A longer delay is the
/// server's own fault, and the client gets its full time.
const TIMER_SLACK: Duration = Duration::from_millis(20);

/// The timing of a session; the fields bear the official option names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From a pong to the next ping. Default 25 s.
    pub ping_interval: Duration,
    /// From a ping to the end of the session when no pong came. Default 20 s.
    pub ping_timeout: Duration,
    /// From the opening of a probe to its end when the client did not complete the upgrade. Default 10 s.
    pub upgrade_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
        }
    }
}

/// What the driver has to do, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Send the server's half of the heartbeat, [`Session::heartbeat_packet`]: on the WebSocket, or as part of the answer
    /// to a poll (it waits for one like any message). In v3 this is a `pong`.
    Ping,
    /// Answer the waiting poll with this alone.
    AnswerPoll(PollAnswer),
    /// Refuse the request that was just handed in with an empty 400.
    RefuseRequest,
    /// Send `3probe` on the probing WebSocket.
    AnswerProbe,
    /// Close the probing WebSocket; the session stays where it is.
    CloseProbe,
    /// The probing WebSocket is the session's transport from here on: flush what waits.
    Upgraded,
    /// Close the WebSocket with a close frame.
    CloseWebSocket,
    /// The session is over. Nothing follows.
    Closed(CloseReason),
}

/// The packet that ends a waiting poll without a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollAnswer {
    /// `6`.
    Noop,
    /// `1`.
    Close,
}

/// On which connection something arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leg {
    /// The transport that carries the session.
    Current,
    /// A WebSocket that a polling session may move to.
    Probe,
}

/// The machine of one session.
#[derive(Debug)]
pub struct Session {
    timing: Timing,
    protocol: Protocol,
    transport: Transport,
    state: State,
    upgrade: Upgrade,
    heartbeat: Heartbeat,
    poll_waits: bool,
    outputs: SmallVec<[Output; 2]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// A polling session that the server closed while no poll waited.
    Closing {
        until: Instant,
    },
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upgrade {
    Possible,
    Probing { until: Instant, noop_at: Option<Instant> },
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heartbeat {
    Resting {
        ping_at: Instant,
    },
    /// A ping is out. `refreshed`: one packet other than a pong may postpone the end once (engine.io 6.6.11).
    Waiting {
        until: Instant,
        refreshed: bool,
    },
    /// v3: the client pings, and is gone when it does not by then.
    Listening {
        until: Instant,
    },
    /// The reader pauses, so the client's sign of life may be in the kernel: nobody is to blame for silence.
    Suspended,
}

impl Heartbeat {
    /// The state after a sign of life.
    fn rested(protocol: Protocol, timing: Timing, now: Instant) -> Self {
        match protocol {
            Protocol::V3 => Self::Listening { until: now + timing.ping_interval + timing.ping_timeout },
            Protocol::V4 => Self::Resting { ping_at: now + timing.ping_interval },
        }
    }
}

const _: () = assert!(size_of::<Session>() <= 192);

impl Session {
    /// Opens a session of v4 on its first transport.
    pub fn new(timing: Timing, transport: Transport, now: Instant) -> Self {
        Self::with_protocol(timing, Protocol::V4, transport, now)
    }

    /// Opens a session on its first transport.
    pub fn with_protocol(timing: Timing, protocol: Protocol, transport: Transport, now: Instant) -> Self {
        Self {
            timing,
            protocol,
            transport,
            state: State::Open,
            upgrade: match transport {
                Transport::Polling => Upgrade::Possible,
                Transport::WebSocket => Upgrade::Done,
            },
            heartbeat: Heartbeat::rested(protocol, timing, now),
            poll_waits: false,
            outputs: SmallVec::new(),
        }
    }

    /// Takes a packet and returns the message in it, if it is one for the application.
    pub fn handle_packet<'a>(&mut self, leg: Leg, packet: Packet<'a>, now: Instant) -> Option<Content<'a>> {
        match leg {
            Leg::Probe => {
                self.handle_probe_packet(&packet, now);
                None
            }
            Leg::Current => self.handle_session_packet(packet, now),
        }
    }

    /// Takes a text or payload that no packet could be read from.
    pub fn handle_malformed(&mut self, leg: Leg) {
        match leg {
            Leg::Probe => self.end_probe(),
            Leg::Current => self.end(CloseReason::ParseError),
        }
    }

    /// Takes a poll (GET). It waits until the driver answers it and says so with [`Session::handle_poll_answered`].
    pub fn handle_poll(&mut self, now: Instant) {
        // A poll that comes after the end, but before the timer rang, must not revive the session.
        self.handle_timeout(now);
        match self.state {
            State::Closed => self.outputs.push(Output::RefuseRequest),
            State::Closing { .. } => {
                self.poll_waits = true;
                self.end(CloseReason::ForcedClose);
            }
            State::Open if self.poll_waits => {
                // Engine.IO v4, "HTTP long-polling": two polls at once end the session.
                self.outputs.push(Output::RefuseRequest);
                self.end(CloseReason::TransportError);
            }
            State::Open => {
                self.poll_waits = true;
                self.noop(now);
            }
        }
    }

    /// The waiting poll was answered with messages.
    pub fn handle_poll_answered(&mut self) {
        self.poll_waits = false;
    }

    /// The client went away from its waiting poll, from a POST, or sent one that the transport does not allow (two at once,
    /// a binary one).
    pub fn handle_bad_request(&mut self) {
        self.end(CloseReason::TransportError);
    }

    /// A waiting poll lost its client.
    pub fn handle_poll_aborted(&mut self) {
        self.poll_waits = false;
        self.end(CloseReason::TransportError);
    }

    /// A WebSocket with this session's id arrived. `false`: close it, the session cannot move (again).
    pub fn handle_probe_opened(&mut self, now: Instant) -> bool {
        let free = self.state == State::Open && self.upgrade == Upgrade::Possible;
        if free {
            self.upgrade = Upgrade::Probing { until: now + self.timing.upgrade_timeout, noop_at: None };
        }
        free
    }

    /// The WebSocket ended: `clean` tells an orderly end from an error.
    pub fn handle_websocket_ended(&mut self, leg: Leg, clean: bool) {
        match leg {
            Leg::Probe => self.upgrade = Upgrade::Possible,
            Leg::Current => {
                self.end(if clean { CloseReason::TransportClose } else { CloseReason::TransportError });
            }
        }
    }

    /// The server closes the session: `forced close` follows, at once or, on polling, with the next poll.
    pub fn close(&mut self, now: Instant) {
        if self.state != State::Open {
            return;
        }
        match self.transport {
            Transport::Polling if !self.poll_waits => {
                self.state = State::Closing { until: now + CLOSE_TIMEOUT };
                self.end_probe();
            }
            Transport::Polling | Transport::WebSocket => self.end(CloseReason::ForcedClose),
        }
    }

    /// The server ends the session without a farewell for which a poll would have to come.
    pub fn discard(&mut self, reason: CloseReason) {
        self.end(reason);
    }

    /// The driver stops reading: the client's deadline is suspended.
    pub fn suspend_heartbeat(&mut self) {
        self.heartbeat = Heartbeat::Suspended;
    }

    /// The driver reads again.
    pub fn resume_heartbeat(&mut self, now: Instant) {
        if self.heartbeat == Heartbeat::Suspended {
            self.heartbeat = Heartbeat::rested(self.protocol, self.timing, now);
        }
    }

    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let State::Closing { until } = self.state
            && until <= now
        {
            self.end(CloseReason::ForcedClose);
        }
        if let Upgrade::Probing { until, .. } = self.upgrade
            && until <= now
        {
            self.end_probe();
        }
        self.noop(now);
        if self.state != State::Open {
            return;
        }
        match self.heartbeat {
            Heartbeat::Resting { ping_at } if ping_at <= now => {
                self.outputs.push(Output::Ping);
                let sent_at = if now - ping_at <= TIMER_SLACK { ping_at } else { now };
                self.heartbeat =
                    Heartbeat::Waiting { until: sent_at + self.timing.ping_timeout, refreshed: false };
            }
            Heartbeat::Waiting { until, .. } | Heartbeat::Listening { until } if until <= now => {
                self.end(CloseReason::PingTimeout);
            }
            Heartbeat::Resting { .. }
            | Heartbeat::Waiting { .. }
            | Heartbeat::Listening { .. }
            | Heartbeat::Suspended => {}
        }
    }

    /// Tells when [`Session::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let heartbeat = match (self.state, self.heartbeat) {
            (State::Closed, _) => return None,
            (State::Closing { until }, _) => Some(until),
            (State::Open, Heartbeat::Resting { ping_at }) => Some(ping_at),
            (State::Open, Heartbeat::Waiting { until, .. } | Heartbeat::Listening { until }) => Some(until),
            (State::Open, Heartbeat::Suspended) => None,
        };
        let upgrade = match self.upgrade {
            Upgrade::Probing { until, noop_at: Some(at) } if self.poll_waits => Some(until.min(at)),
            Upgrade::Probing { until, .. } => Some(until),
            Upgrade::Possible | Upgrade::Done => None,
        };
        [heartbeat, upgrade].into_iter().flatten().min()
    }

    /// Tells the next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty() { None } else { Some(self.outputs.remove(0)) }
    }

    /// Whether a message can leave right away: a WebSocket, or a poll that waits.
    pub fn is_writable(&self) -> bool {
        self.state == State::Open && (self.transport == Transport::WebSocket || self.poll_waits)
    }

    /// Whether a poll waits for its answer.
    pub fn poll_waits(&self) -> bool {
        self.poll_waits
    }

    /// Whether the session takes and gives messages.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether the session is over.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether a WebSocket is probing.
    pub fn is_upgrading(&self) -> bool {
        matches!(self.upgrade, Upgrade::Probing { .. })
    }

    /// What [`Output::Ping`] sends: `2` in v4; in v3 the `3` that answers the client's ping.
    pub fn heartbeat_packet(&self) -> Packet<'static> {
        match self.protocol {
            Protocol::V3 => Packet::Pong(""),
            Protocol::V4 => Packet::Ping(""),
        }
    }

    /// The version that the client speaks.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The transport that carries the session.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    fn handle_session_packet<'a>(&mut self, packet: Packet<'a>, now: Instant) -> Option<Content<'a>> {
        if self.state != State::Open {
            return None;
        }
        if let Heartbeat::Waiting { until, refreshed } = &mut self.heartbeat
            && !*refreshed
            && !matches!(packet, Packet::Pong(_))
        {
            *until = now + self.timing.ping_timeout;
            *refreshed = true;
        }
        match packet {
            Packet::Message(content) => return Some(content),
            // Engine.IO, "Heartbeat": in v4 only the server pings, in v3 only the client.
            Packet::Pong(_) if self.protocol == Protocol::V4 => {
                self.heartbeat = Heartbeat::rested(Protocol::V4, self.timing, now);
            }
            Packet::Ping(_) if self.protocol == Protocol::V3 => {
                if self.heartbeat != Heartbeat::Suspended {
                    self.heartbeat = Heartbeat::rested(Protocol::V3, self.timing, now);
                }
                self.outputs.push(Output::Ping);
            }
            Packet::Ping(_) | Packet::Pong(_) => self.end(CloseReason::TransportError),
            Packet::Close => {
                if self.poll_waits {
                    self.poll_waits = false;
                    self.outputs.push(Output::AnswerPoll(PollAnswer::Noop));
                }
                self.end(CloseReason::TransportClose);
            }
            // The official server ignores these here, too.
            Packet::Open(_) | Packet::Upgrade | Packet::Noop => {}
        }
        None
    }

    fn handle_probe_packet(&mut self, packet: &Packet<'_>, now: Instant) {
        let Upgrade::Probing { until, noop_at } = self.upgrade else { return };
        match packet {
            Packet::Ping("probe") => {
                self.outputs.push(Output::AnswerProbe);
                self.upgrade = Upgrade::Probing { until, noop_at: Some(noop_at.unwrap_or(now)) };
                self.noop(now);
            }
            Packet::Upgrade if self.state == State::Open => {
                if self.poll_waits {
                    self.poll_waits = false;
                    self.outputs.push(Output::AnswerPoll(PollAnswer::Noop));
                }
                self.upgrade = Upgrade::Done;
                self.transport = Transport::WebSocket;
                self.outputs.push(Output::Upgraded);
            }
            Packet::Open(_)
            | Packet::Close
            | Packet::Ping(_)
            | Packet::Pong(_)
            | Packet::Message(_)
            | Packet::Upgrade
            | Packet::Noop => self.end_probe(),
        }
    }

    fn noop(&mut self, now: Instant) {
        if let Upgrade::Probing { noop_at: Some(at), .. } = &mut self.upgrade
            && self.poll_waits
            && *at <= now
        {
            *at = now + NOOP_EVERY;
            self.poll_waits = false;
            self.outputs.push(Output::AnswerPoll(PollAnswer::Noop));
        }
    }

    fn end_probe(&mut self) {
        if self.is_upgrading() {
            self.upgrade = Upgrade::Possible;
            self.outputs.push(Output::CloseProbe);
        }
    }

    fn end(&mut self, reason: CloseReason) {
        if self.state == State::Closed {
            return;
        }
        self.state = State::Closed;
        self.end_probe();
        match self.transport {
            Transport::Polling if self.poll_waits => {
                self.poll_waits = false;
                self.outputs.push(Output::AnswerPoll(PollAnswer::Close));
            }
            Transport::Polling => {}
            Transport::WebSocket => self.outputs.push(Output::CloseWebSocket),
        }
        self.outputs.push(Output::Closed(reason));
    }
}

#[cfg(test)]
mod tests;
