//! A client as a whole: connections one after the other, and the namespaces above them.
//!
//! Joins [`Engine`], [`Sockets`] and [`Reconnect`]; whoever drives it does the [`Output`]s and tells what came of them.

use super::engine::{self, Engine, Greeting, Limits, Preference};
use super::frame::Frame;
use super::reconnect::{Reconnect, Reconnection};
use super::sockets::{self, Draft, Lost, Sockets};
use crate::cause::{Cause, Closed};
use rand::RngExt as _;
use rand::rngs::SmallRng;
use sockeye_proto::engine::Transport;
use sockeye_proto::payload::Args;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What is settled when a client begins.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) preference: Preference,
    pub(crate) limits: Limits,
    pub(crate) reconnection: Option<Reconnection>,
    pub(crate) attachments_max: u32,
}

/// Where a client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A connection is being opened, or open.
    Connected,
    /// Waiting for the next try.
    Waiting,
    /// Nothing more will happen.
    Over,
}

/// What is to be done, or to be told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Send a GET; tell [`Session::handle_polled`].
    Get,
    /// Send a POST; tell [`Session::handle_posted`].
    Post(Vec<u8>),
    /// Open a WebSocket; tell [`Session::handle_dialed`].
    Dial,
    /// Write to the WebSocket; tell [`Session::handle_written`].
    Write(Vec<Frame>),
    /// Say goodbye on the WebSocket, after what was written.
    Farewell,
    /// Drop the WebSocket.
    DropWebSocket,
    /// Drop the WebSocket and all requests: the connection is over.
    DropAll,
    /// The server has greeted.
    Opened,
    /// The connection moved to the WebSocket.
    Upgraded,
    /// It will not move.
    StayedOnPolling(String),
    /// The connection ended; the next try is due after this time, or never.
    Ended { closed: Closed, retry: Option<Duration> },
    /// The client is in a namespace.
    Entered { nsp: String, id: String, recovered: bool },
    /// The client may not enter.
    Refused { nsp: String, message: String, data: Option<String> },
    /// The server put the client out.
    PutOut { nsp: String },
    /// The client is out, since the connection ended.
    CutOff { nsp: String, closed: Closed },
    /// An event.
    Event { nsp: String, name: String, args: Args, ack: Option<u64> },
    /// An answer.
    Answered { nsp: String, id: u64, args: Args },
    /// No answer.
    Lost { nsp: String, id: u64, why: Lost },
}

/// One client.
#[derive(Debug)]
pub(crate) struct Session {
    settings: Settings,
    engine: Option<Engine>,
    sockets: Sockets,
    reconnect: Reconnect,
    retry_at: Option<Instant>,
    closing: bool,
    rng: SmallRng,
    outputs: VecDeque<Output>,
}

impl Session {
    /// Begins to connect.
    pub(crate) fn new(settings: Settings, rng: SmallRng, now: Instant) -> Self {
        Self {
            engine: Some(Engine::new(settings.preference.clone(), settings.limits, now)),
            sockets: Sockets::new(settings.attachments_max),
            reconnect: Reconnect::new(settings.reconnection),
            settings,
            retry_at: None,
            closing: false,
            rng,
            outputs: VecDeque::new(),
        }
    }

    /// What is next; call until there is nothing.
    pub(crate) fn poll_output(&mut self, now: Instant) -> Option<Output> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
            if let Some(output) = self.sockets.poll_output() {
                self.take_sockets(output);
            } else if let Some(output) = self.engine.as_mut().and_then(Engine::poll_output) {
                self.take_engine(output, now);
            } else {
                return None;
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let engine = self.engine.as_ref().and_then(Engine::poll_timeout);
        [engine, self.sockets.poll_timeout(), self.retry_at].into_iter().flatten().min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.sockets.handle_timeout(now);
        if let Some(engine) = &mut self.engine {
            engine.handle_timeout(now);
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.engine = Some(Engine::new(self.settings.preference.clone(), self.settings.limits, now));
        }
    }

    /// The client wants to be in a namespace.
    pub(crate) fn join(&mut self, nsp: &str, auth: String) {
        self.sockets.join(nsp, auth);
    }

    /// Changes the credentials for the next time.
    pub(crate) fn set_auth(&mut self, nsp: &str, auth: String) {
        self.sockets.set_auth(nsp, auth);
    }

    /// The client wants to be out of it.
    pub(crate) fn leave(&mut self, nsp: &str) {
        self.sockets.leave(nsp);
    }

    /// Sends an event, or keeps it; `by` is until when an answer is waited for: its id.
    pub(crate) fn emit(&mut self, nsp: &str, draft: Draft, by: Option<Instant>) -> Option<u64> {
        self.sockets.emit(nsp, draft, by)
    }

    /// Sends an event if that is possible at once, else drops it. Whether it was sent.
    pub(crate) fn emit_volatile(&mut self, nsp: &str, draft: Draft) -> bool {
        let writable = self.engine.as_ref().is_some_and(Engine::is_writable) && self.sockets.is_in(nsp);
        if writable {
            self.sockets.emit(nsp, draft, None);
        }
        writable
    }

    /// Answers an event.
    pub(crate) fn answer(&mut self, nsp: &str, id: u64, draft: Draft) {
        self.sockets.answer(nsp, id, draft);
    }

    /// Leaves for good, in order.
    pub(crate) fn close(&mut self, now: Instant) {
        self.closing = true;
        self.retry_at = None;
        self.sockets.leave_all();
        while let Some(output) = self.sockets.poll_output() {
            self.take_sockets(output);
        }
        if let Some(engine) = &mut self.engine {
            engine.close(now);
        }
    }

    /// Ends this connection at once; the next one begins as after any other end.
    pub(crate) fn overrun(&mut self, now: Instant) {
        self.ended(
            Closed { cause: Cause::Overrun, detail: "events came faster than they were taken".to_owned() },
            now,
        );
        self.outputs.push_front(Output::DropAll);
    }

    pub(crate) fn handle_polled(&mut self, answer: Result<String, String>, now: Instant) {
        if let Some(engine) = &mut self.engine {
            engine.handle_polled(answer, now);
        }
    }

    pub(crate) fn handle_posted(&mut self, answer: Result<(), String>) {
        if let Some(engine) = &mut self.engine {
            engine.handle_posted(answer);
        }
    }

    pub(crate) fn handle_dialed(&mut self, answer: Result<(), String>) {
        if let Some(engine) = &mut self.engine {
            engine.handle_dialed(answer);
        }
    }

    pub(crate) fn handle_frame(&mut self, frame: Frame, now: Instant) {
        if let Some(engine) = &mut self.engine {
            engine.handle_frame(frame, now);
        }
    }

    pub(crate) fn handle_written(&mut self) {
        if let Some(engine) = &mut self.engine {
            engine.handle_written();
        }
    }

    pub(crate) fn handle_hung_up(&mut self, cause: Cause, detail: &str) {
        if let Some(engine) = &mut self.engine {
            engine.handle_hung_up(cause, detail);
        }
    }

    fn take_engine(&mut self, output: engine::Output, now: Instant) {
        let output = match output {
            engine::Output::Received(frame) => return self.sockets.handle(frame),
            engine::Output::Closed(closed) => return self.ended(closed, now),
            engine::Output::Opened => {
                self.reconnect.reset();
                self.sockets.handle_opened();
                Output::Opened
            }
            engine::Output::Get => Output::Get,
            engine::Output::Post(payload) => Output::Post(payload),
            engine::Output::Dial => Output::Dial,
            engine::Output::Write(frames) => Output::Write(frames),
            engine::Output::Farewell => Output::Farewell,
            engine::Output::DropWebSocket => Output::DropWebSocket,
            engine::Output::DropAll => Output::DropAll,
            engine::Output::Upgraded => Output::Upgraded,
            engine::Output::StayedOnPolling(why) => Output::StayedOnPolling(why),
        };
        self.outputs.push_back(output);
    }

    fn take_sockets(&mut self, output: sockets::Output) {
        let output = match output {
            sockets::Output::Send(frames) => {
                if let Some(engine) = &mut self.engine {
                    engine.send(frames);
                }
                return;
            }
            sockets::Output::Misbehaved(what) => {
                if let Some(engine) = &mut self.engine {
                    engine.misbehaved(&what);
                }
                return;
            }
            sockets::Output::Entered { nsp, id, recovered } => Output::Entered { nsp, id, recovered },
            sockets::Output::Refused { nsp, message, data } => Output::Refused { nsp, message, data },
            sockets::Output::PutOut { nsp } => Output::PutOut { nsp },
            sockets::Output::Event { nsp, name, args, ack } => Output::Event { nsp, name, args, ack },
            sockets::Output::Answered { nsp, id, args } => Output::Answered { nsp, id, args },
            sockets::Output::Lost { nsp, id, why } => Output::Lost { nsp, id, why },
        };
        self.outputs.push_back(output);
    }

    fn ended(&mut self, closed: Closed, now: Instant) {
        self.engine = None;
        for nsp in self.sockets.handle_closed() {
            self.outputs.push_back(Output::CutOff { nsp, closed: closed.clone() });
        }
        let retry = if self.closing { None } else { self.reconnect.next(self.rng.random()) };
        self.retry_at = retry.map(|wait| now + wait);
        self.outputs.push_back(Output::Ended { closed, retry });
    }

    pub(crate) fn phase(&self) -> Phase {
        match (&self.engine, self.retry_at) {
            (Some(_), _) => Phase::Connected,
            (None, Some(_)) => Phase::Waiting,
            (None, None) => Phase::Over,
        }
    }

    pub(crate) fn transport(&self) -> Option<Transport> {
        self.engine.as_ref().filter(|engine| engine.greeting().is_some()).map(Engine::transport)
    }

    pub(crate) fn greeting(&self) -> Option<&Greeting> {
        self.engine.as_ref().and_then(Engine::greeting)
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.reconnect.attempts()
    }

    /// Bytes that wait to be sent.
    pub(crate) fn queued(&self) -> usize {
        self.sockets.queued() + self.engine.as_ref().map_or(0, Engine::queued)
    }

    pub(crate) fn acks(&self) -> usize {
        self.sockets.acks()
    }
}

#[cfg(test)]
mod tests;
