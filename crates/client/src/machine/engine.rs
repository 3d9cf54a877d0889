//! One Engine.IO v4 session, the client's half: transports, the move between them, heartbeat, what is sent when.
//!
//! It knows no namespaces. It is told what came of each request and each WebSocket, and tells what to begin next.

use super::frame::{Frame, take_payload};
use crate::cause::{Cause, Closed};
use serde::Deserialize;
use sockeye_proto::engine::packet::{Content, Packet};
use sockeye_proto::engine::{Transport, payload};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Which transports a session may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Preference {
    /// In the order in which they are tried; not empty.
    pub(crate) transports: Vec<Transport>,
    /// Whether the next one is tried where the first cannot be opened.
    pub(crate) try_all: bool,
    /// Whether to move from polling to a WebSocket.
    pub(crate) upgrade: bool,
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// From the first request to the server's greeting.
    pub(crate) connect_timeout: Duration,
    /// From the wish to close to the end, whatever the server does.
    pub(crate) close_timeout: Duration,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Send a GET; tell [`Engine::handle_polled`].
    Get,
    /// Send a POST; tell [`Engine::handle_posted`].
    Post(Vec<u8>),
    /// Open a WebSocket; tell [`Engine::handle_dialed`].
    Dial,
    /// Write to the WebSocket; tell [`Engine::handle_written`].
    Write(Vec<Frame>),
    /// Say goodbye on the WebSocket, after what was written; tell [`Engine::handle_hung_up`].
    Farewell,
    /// Drop the WebSocket.
    DropWebSocket,
    /// Drop everything.
    DropAll,
    /// The server has greeted.
    Opened,
    /// The session moved to the WebSocket.
    Upgraded,
    /// It will not move.
    StayedOnPolling(String),
    /// A message.
    Received(Frame),
    /// The end: nothing follows.
    Closed(Closed),
}

/// One session.
#[derive(Debug)]
pub(super) struct Engine {
    preference: Preference,
    limits: Limits,
    state: State,
    transport: Transport,
    /// How many transports were tried.
    tried: usize,
    greeting: Option<Greeting>,
    probe: Probe,
    getting: bool,
    posting: bool,
    writing: bool,
    queue: VecDeque<Frame>,
    queued: usize,
    /// The moment after which the session is given up: for the greeting, the next ping, or the end.
    deadline: Option<Instant>,
    outputs: VecDeque<Output>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Opening,
    Open,
    Closing,
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    None,
    Dialing,
    Asked,
    /// The server answered: the move waits for the requests that are under way.
    Pausing,
    Over,
}

/// What the server says first.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Greeting {
    pub(crate) sid: String,
    #[serde(default)]
    pub(crate) upgrades: Vec<String>,
    pub(crate) ping_interval: u32,
    pub(crate) ping_timeout: u32,
    /// `None` from servers before Engine.IO 6.
    pub(crate) max_payload: Option<usize>,
}

impl Greeting {
    fn silence_max(&self) -> Duration {
        Duration::from_millis(u64::from(self.ping_interval) + u64::from(self.ping_timeout))
    }
}

impl Engine {
    /// Begins with the first transport.
    pub(super) fn new(preference: Preference, limits: Limits, now: Instant) -> Self {
        let mut engine = Self {
            transport: preference.transports.first().copied().unwrap_or(Transport::Polling),
            preference,
            limits,
            state: State::Opening,
            tried: 0,
            greeting: None,
            probe: Probe::None,
            getting: false,
            posting: false,
            writing: false,
            queue: VecDeque::new(),
            queued: 0,
            deadline: Some(now + limits.connect_timeout),
            outputs: VecDeque::new(),
        };
        engine.begin();
        engine
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Sends messages, or keeps them until that is possible.
    pub(super) fn send(&mut self, frames: impl IntoIterator<Item = Frame>) {
        if matches!(self.state, State::Opening | State::Open) {
            for frame in frames {
                self.queued += frame.len();
                self.queue.push_back(frame);
            }
            self.flush();
        }
    }

    /// Ends the session in order.
    pub(super) fn close(&mut self, now: Instant) {
        match self.state {
            State::Closing | State::Closed => {}
            State::Opening => self.end(Cause::Closed, "closed before it was open"),
            State::Open => {
                if matches!(self.probe, Probe::Dialing | Probe::Asked) {
                    self.give_up_probe("the client closed");
                }
                self.state = State::Closing;
                self.deadline = Some(now + self.limits.close_timeout);
                self.push(Frame::Text("1".to_owned()));
                self.flush();
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        let silence = self.greeting.as_ref().map_or(0, |greeting| greeting.silence_max().as_millis());
        match self.state {
            State::Opening => {
                let waited = self.limits.connect_timeout.as_millis();
                self.end(Cause::TimedOut, &format!("expected the server's greeting within {waited} ms"));
            }
            State::Open => {
                self.end(Cause::PingTimeout, &format!("expected a ping within {silence} ms, got none"));
            }
            State::Closing => self.end(Cause::Closed, "the server did not answer the goodbye"),
            State::Closed => {}
        }
    }

    /// A GET was answered, or failed.
    pub(super) fn handle_polled(&mut self, answer: Result<String, String>, now: Instant) {
        self.getting = false;
        let body = match answer {
            Ok(body) => body,
            Err(error) => return self.fail(Cause::TransportError, &error),
        };
        for packet in payload::decode(&body) {
            match packet {
                Ok(packet) => self.handle_packet(packet, now),
                Err(error) => self.fail(Cause::ParseError, &error.to_string()),
            }
            if self.transport == Transport::WebSocket || matches!(self.state, State::Opening | State::Closed)
            {
                return;
            }
        }
        self.resume();
    }

    /// A POST was answered, or failed.
    pub(super) fn handle_posted(&mut self, answer: Result<(), String>) {
        self.posting = false;
        if let Err(error) = answer {
            return self.fail(Cause::TransportError, &error);
        }
        if self.state == State::Closing && self.queue.is_empty() && self.transport == Transport::Polling {
            return self.end(Cause::Closed, "");
        }
        self.resume();
    }

    /// A WebSocket is open, or cannot be.
    pub(super) fn handle_dialed(&mut self, answer: Result<(), String>) {
        match (self.transport, answer) {
            (Transport::WebSocket, Ok(())) => {}
            (Transport::WebSocket, Err(error)) => self.fail(Cause::TransportError, &error),
            (Transport::Polling, Ok(())) if self.probe == Probe::Dialing => {
                self.probe = Probe::Asked;
                self.outputs.push_back(Output::Write(vec![Frame::Text("2probe".to_owned())]));
            }
            // It was given up in between.
            (Transport::Polling, Ok(())) => self.outputs.push_back(Output::DropWebSocket),
            (Transport::Polling, Err(error)) => self.give_up_probe(&error),
        }
    }

    /// A frame came by the WebSocket.
    pub(super) fn handle_frame(&mut self, frame: Frame, now: Instant) {
        if self.transport == Transport::Polling {
            // Engine.IO v4, "Upgrade": the server answers 3probe.
            if self.probe == Probe::Asked && frame == Frame::Text("3probe".to_owned()) {
                self.probe = Probe::Pausing;
                self.resume();
            } else {
                self.give_up_probe("expected 3probe, got another packet");
            }
            return;
        }
        match frame {
            Frame::Binary(bytes) => self.outputs.push_back(Output::Received(Frame::Binary(bytes))),
            Frame::Text(text) => match Packet::decode_text(&text) {
                Ok(packet) => self.handle_packet(packet, now),
                Err(error) => self.end(Cause::ParseError, &error.to_string()),
            },
        }
    }

    /// All that was to be written was written.
    pub(super) fn handle_written(&mut self) {
        self.writing = false;
        self.flush();
    }

    /// The WebSocket is gone.
    pub(super) fn handle_hung_up(&mut self, cause: Cause, detail: &str) {
        match (self.transport, self.state) {
            (_, State::Closed) => {}
            (Transport::Polling, _) => self.give_up_probe(detail),
            (Transport::WebSocket, State::Closing) => self.end(Cause::Closed, ""),
            (Transport::WebSocket, State::Opening | State::Open) => self.fail(cause, detail),
        }
    }

    /// The namespaces above cannot make sense of what the server says.
    pub(super) fn misbehaved(&mut self, what: &str) {
        // What came with it, in the same answer to a poll, is not told any more.
        self.outputs.retain(|output| !matches!(output, Output::Received(_)));
        self.end(Cause::ParseError, what);
    }

    fn handle_packet(&mut self, packet: Packet<'_>, now: Instant) {
        match (packet, self.state) {
            (_, State::Closed) => {}
            (Packet::Open(json), State::Opening) => self.greeted(json, now),
            (_, State::Opening) => {
                self.fail(Cause::ParseError, "expected the server's greeting, got another packet")
            }
            (Packet::Ping(_), State::Open | State::Closing) => {
                if let (Some(greeting), State::Open) = (&self.greeting, self.state) {
                    self.deadline = Some(now + greeting.silence_max());
                }
                self.push(Frame::Text("3".to_owned()));
                self.flush();
            }
            (Packet::Message(Content::Text(text)), _) => {
                self.outputs.push_back(Output::Received(Frame::Text(text.to_owned())));
            }
            (Packet::Message(Content::Binary(bytes)), _) => {
                self.outputs.push_back(Output::Received(Frame::Binary(bytes.into_owned().into())));
            }
            (Packet::Close, _) => self.end(Cause::TransportClose, "the server closed the session"),
            // The official client passes over what makes no sense.
            (Packet::Open(_) | Packet::Pong(_) | Packet::Upgrade | Packet::Noop, _) => {}
        }
    }

    fn greeted(&mut self, json: &str, now: Instant) {
        let greeting: Greeting = match serde_json::from_str(json) {
            Ok(greeting) => greeting,
            Err(error) => return self.fail(Cause::ParseError, &format!("the server's greeting: {error}")),
        };
        self.state = State::Open;
        self.deadline = Some(now + greeting.silence_max());
        let moves = self.preference.upgrade
            && self.transport == Transport::Polling
            && self.preference.transports.contains(&Transport::WebSocket);
        let offered = greeting.upgrades.iter().any(|name| name == Transport::WebSocket.name());
        self.greeting = Some(greeting);
        self.outputs.push_back(Output::Opened);
        if moves && offered {
            self.probe = Probe::Dialing;
            self.outputs.push_back(Output::Dial);
        } else if moves {
            self.probe = Probe::Over;
            self.outputs.push_back(Output::StayedOnPolling("the server offers no WebSocket".to_owned()));
        }
        self.flush();
    }

    /// Begins, or begins with the next transport.
    fn begin(&mut self) {
        self.tried += 1;
        match self.transport {
            Transport::Polling => {
                self.getting = true;
                self.outputs.push_back(Output::Get);
            }
            Transport::WebSocket => self.outputs.push_back(Output::Dial),
        }
    }

    /// Goes on after a request: with the move to the WebSocket, the next poll, the next post.
    fn resume(&mut self) {
        if self.transport == Transport::WebSocket || matches!(self.state, State::Opening | State::Closed) {
            return;
        }
        if self.probe == Probe::Pausing {
            if self.getting || self.posting {
                return;
            }
            // Engine.IO v4, "Upgrade": nothing is under way on polling when the client says 5.
            self.probe = Probe::Over;
            self.transport = Transport::WebSocket;
            self.writing = true;
            self.outputs.push_back(Output::Write(vec![Frame::Text("5".to_owned())]));
            self.outputs.push_back(Output::Upgraded);
            return;
        }
        if !self.getting {
            self.getting = true;
            self.outputs.push_back(Output::Get);
        }
        self.flush();
    }

    fn flush(&mut self) {
        let ready = matches!(self.state, State::Open | State::Closing) && self.probe != Probe::Pausing;
        if !ready || self.queue.is_empty() {
            return;
        }
        match self.transport {
            Transport::Polling if !self.posting => {
                let max = self.greeting.as_ref().and_then(|greeting| greeting.max_payload);
                let (payload, taken) = take_payload(&mut self.queue, max.unwrap_or(usize::MAX));
                self.queued -= taken;
                self.posting = true;
                self.outputs.push_back(Output::Post(payload));
            }
            Transport::WebSocket if !self.writing => {
                self.queued = 0;
                self.writing = true;
                let closing = self.state == State::Closing;
                let mut frames: Vec<_> = self.queue.drain(..).collect();
                if closing {
                    // On a WebSocket its own close frame is the goodbye.
                    frames.retain(|frame| *frame != Frame::Text("1".to_owned()));
                }
                self.outputs.push_back(Output::Write(frames));
                if closing {
                    self.outputs.push_back(Output::Farewell);
                }
            }
            Transport::Polling | Transport::WebSocket => {}
        }
    }

    fn push(&mut self, frame: Frame) {
        self.queued += frame.len();
        self.queue.push_back(frame);
    }

    fn give_up_probe(&mut self, why: &str) {
        if matches!(self.probe, Probe::Dialing | Probe::Asked | Probe::Pausing) {
            self.probe = Probe::Over;
            self.outputs.push_back(Output::DropWebSocket);
            self.outputs.push_back(Output::StayedOnPolling(why.to_owned()));
            self.resume();
        }
    }

    /// Ends, or tries the next transport while there is no session.
    fn fail(&mut self, cause: Cause, detail: &str) {
        let next = self.preference.transports.get(self.tried).filter(|_| self.preference.try_all);
        if let (State::Opening, Some(next)) = (self.state, next) {
            self.transport = *next;
            self.outputs.push_back(Output::DropAll);
            self.begin();
        } else if self.state == State::Closing {
            self.end(Cause::Closed, detail);
        } else {
            self.end(cause, detail);
        }
    }

    fn end(&mut self, cause: Cause, detail: &str) {
        if self.state == State::Closed {
            return;
        }
        self.state = State::Closed;
        self.deadline = None;
        self.queue.clear();
        self.queued = 0;
        self.outputs.push_back(Output::DropAll);
        self.outputs.push_back(Output::Closed(Closed { cause, detail: detail.to_owned() }));
    }

    /// Whether a message would leave at once.
    pub(super) fn is_writable(&self) -> bool {
        let busy = match self.transport {
            Transport::Polling => self.posting,
            Transport::WebSocket => self.writing,
        };
        self.state == State::Open && !busy && self.probe != Probe::Pausing
    }

    pub(super) fn transport(&self) -> Transport {
        self.transport
    }

    pub(super) fn greeting(&self) -> Option<&Greeting> {
        self.greeting.as_ref()
    }

    /// Bytes that wait to be sent.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }
}

#[cfg(test)]
mod tests;
