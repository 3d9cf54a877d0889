//! The task of a client: waits for requests, the WebSocket, the clock and its handles, tells the [`Session`], does what it says.

use crate::address::Address;
use crate::cause::Closed;
use crate::command::{Answer, Command, Room, Seat};
use crate::config::{Config, Limits};
use crate::error::{ConfigError, ConnectError};
use crate::inbox::{Arrival, Posted};
use crate::machine::{self, Output, Preference, Session, Settings};
use crate::notice::{Connected, Disconnected, Notice};
use crate::requests::{Requests, Told};
use crate::status::{Greeting, Phase, Status, Upgrade};
use crate::websocket::{Turn, WebSocket};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use sockeye_proto::payload::Args;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

/// Begins: the task ends when the client is closed, gave up, or has no handle any more.
pub(crate) fn start(
    address: Address,
    config: Config,
    commands: mpsc::Receiver<Command>,
    budget: Arc<AtomicUsize>,
    status: watch::Sender<Status>,
) -> Result<(), ConfigError> {
    let requests = Requests::new(address, &config)?;
    let settings = Settings {
        preference: Preference {
            transports: config.transports,
            try_all: config.try_all_transports,
            upgrade: config.upgrade,
        },
        limits: machine::Limits { connect_timeout: config.connect_timeout, close_timeout: CLOSE_TIMEOUT },
        reconnection: config.reconnection,
        attachments_max: config.limits.attachments_max,
    };
    let driver = Driver {
        session: Session::new(settings, SmallRng::from_rng(&mut rand::rng()), Instant::now()),
        requests,
        websocket: None,
        commands: Some(commands),
        budget,
        taken: 0,
        limits: config.limits,
        rooms: BTreeMap::new(),
        answers: BTreeMap::new(),
        status,
    };
    tokio::spawn(driver.run());
    Ok(())
}

struct Driver {
    session: Session,
    requests: Requests,
    websocket: Option<Box<WebSocket>>,
    /// `None` when nobody has anything to say any more.
    commands: Option<mpsc::Receiver<Command>>,
    budget: Arc<AtomicUsize>,
    /// Bytes of the budget that this task has taken over and not given back.
    taken: usize,
    limits: Limits,
    rooms: BTreeMap<Arc<str>, Arc<Room>>,
    answers: BTreeMap<(Arc<str>, u64), Answer>,
    status: watch::Sender<Status>,
}

/// What the driver waits for.
enum Woken {
    Wishes,
    HandlesGone,
    Told(Told),
    Turn(Turn),
    Time,
}

impl Driver {
    async fn run(mut self) {
        let mut wishes = Vec::with_capacity(WISHES_AT_ONCE);
        loop {
            while let Some(output) = self.session.poll_output(Instant::now()) {
                self.act(output);
            }
            self.settle();
            if self.session.phase() == machine::Phase::Over {
                break;
            }
            let deadline = self.session.poll_timeout();
            let woken = tokio::select! {
                count = receive(&mut self.commands, &mut wishes) => {
                    if count == 0 { Woken::HandlesGone } else { Woken::Wishes }
                }
                told = self.requests.told() => Woken::Told(told),
                turn = turn(&mut self.websocket) => Woken::Turn(turn),
                () = until(deadline) => Woken::Time,
            };
            let now = Instant::now();
            match woken {
                Woken::Wishes => wishes.drain(..).for_each(|wish| self.grant(wish, now)),
                Woken::HandlesGone => {
                    self.commands = None;
                    self.session.close(now);
                }
                Woken::Told(told) => self.tell(told, now),
                Woken::Turn(Turn::Frame(frame)) => self.session.handle_frame(frame, now),
                Woken::Turn(Turn::Written) => self.session.handle_written(),
                Woken::Turn(Turn::HungUp(cause, detail)) => {
                    self.websocket = None;
                    self.session.handle_hung_up(cause, &detail);
                }
                Woken::Time => self.session.handle_timeout(now),
            }
        }
        self.end();
    }

    fn grant(&mut self, wish: Command, now: Instant) {
        self.taken += wish.bytes();
        match wish {
            Command::Join { room, auth } => {
                let nsp = Arc::clone(&room.nsp);
                room.seat.send_replace(Seat::Out);
                self.rooms.insert(Arc::clone(&nsp), room);
                self.session.join(&nsp, auth);
            }
            Command::Auth { nsp, auth } => self.session.set_auth(&nsp, auth),
            Command::Leave { nsp } => {
                self.session.leave(&nsp);
                self.left(&nsp, Disconnected::ByClient);
            }
            Command::Emit { nsp, draft, ack: None, .. } => {
                self.session.emit(&nsp, draft, None);
            }
            Command::Emit { ack: Some((_, answer)), .. } if self.session.acks() >= self.limits.acks_max => {
                // Whoever asked may be gone.
                let _ = answer.send(Err(None));
            }
            Command::Emit { nsp, draft, ack: Some((timeout, answer)), .. } => {
                if let Some(id) = self.session.emit(&nsp, draft, Some(now + timeout)) {
                    self.answers.insert((nsp, id), answer);
                }
            }
            Command::Volatile { nsp, draft, .. } => {
                self.session.emit_volatile(&nsp, draft);
            }
            Command::Answer { nsp, id, draft, .. } => self.session.answer(&nsp, id, draft),
            Command::Close => self.session.close(now),
        }
    }

    fn tell(&mut self, told: Told, now: Instant) {
        match told {
            Told::Polled(answer) => self.session.handle_polled(answer, now),
            Told::Posted(answer) => self.session.handle_posted(answer),
            Told::Dialed(Ok(websocket)) => {
                self.websocket = Some(websocket);
                self.session.handle_dialed(Ok(()));
            }
            Told::Dialed(Err(error)) => self.session.handle_dialed(Err(error)),
        }
    }

    fn act(&mut self, output: Output) {
        let sid = self.session.greeting().map(|greeting| greeting.sid.clone());
        match output {
            Output::Get => self.requests.get(sid.as_deref()),
            Output::Post(payload) => self.requests.post(sid.as_deref(), payload),
            Output::Dial => self.requests.dial(sid.as_deref()),
            Output::Write(frames) => {
                if let Some(websocket) = &mut self.websocket {
                    websocket.queue(frames);
                }
            }
            Output::Farewell => {
                if let Some(websocket) = &mut self.websocket {
                    websocket.farewell();
                }
            }
            Output::DropWebSocket => self.websocket = None,
            Output::DropAll => {
                self.websocket = None;
                self.requests.drop_all();
            }
            Output::Opened => self.opened(),
            Output::Upgraded => {
                self.status.send_modify(|status| status.upgrade = Upgrade::Done);
            }
            Output::StayedOnPolling(why) => {
                tracing::debug!(%why, "stays on polling");
                self.status.send_modify(|status| status.upgrade = Upgrade::Failed(why));
            }
            Output::Ended { closed, retry } => self.ended(closed, retry),
            Output::Entered { nsp, id, recovered } => {
                let connected = Connected { id, recovered };
                self.seat(&nsp, Seat::In(connected.clone()), Notice::Connected(connected));
            }
            Output::Refused { nsp, message, data } => {
                let refused = ConnectError::Refused { message: message.clone(), data: data.clone() };
                self.seat(&nsp, Seat::Refused(refused), Notice::Refused { message, data });
            }
            Output::PutOut { nsp } => self.left(&nsp, Disconnected::ByServer),
            Output::CutOff { nsp, closed } => self.left(&nsp, Disconnected::Connection(closed)),
            Output::Event { nsp, name, args, ack } => self.event(&nsp, name, args, ack),
            Output::Answered { nsp, id, args } => self.answer(&nsp, id, Ok(args)),
            Output::Lost { nsp, id, why } => self.answer(&nsp, id, Err(Some(why))),
        }
    }

    fn opened(&self) {
        let greeting = self.session.greeting().map(|greeting| Greeting {
            sid: greeting.sid.clone(),
            upgrades: greeting.upgrades.clone(),
            ping_interval: Duration::from_millis(greeting.ping_interval.into()),
            ping_timeout: Duration::from_millis(greeting.ping_timeout.into()),
        });
        self.status.send_modify(|status| {
            status.phase = Phase::Open;
            status.connections += 1;
            status.greeting = greeting;
        });
    }

    fn ended(&self, closed: Closed, retry: Option<Duration>) {
        tracing::debug!(%closed, ?retry, "connection ended");
        self.status.send_modify(|status| {
            status.last_end = Some(closed);
            status.greeting = None;
            status.upgrade = Upgrade::Pending;
            if retry.is_some() {
                status.phase = Phase::Waiting;
            }
        });
    }

    fn event(&mut self, nsp: &str, name: String, args: Args, ack: Option<u64>) {
        let Some(room) = self.rooms.get(nsp) else { return };
        let bytes =
            name.len() + args.json().len() + args.attachments().iter().map(bytes::Bytes::len).sum::<usize>();
        match room.inbox.post(Arrival::Event { name, args, ack }, bytes, &self.limits) {
            Posted::Kept => {}
            Posted::Dropped(count) => self.status.send_modify(|status| status.dropped += count),
            Posted::Full => self.session.overrun(Instant::now()),
        }
    }

    fn left(&self, nsp: &str, why: Disconnected) {
        let is_in = self.rooms.get(nsp).is_some_and(|room| matches!(*room.seat.borrow(), Seat::In(_)));
        if is_in {
            self.seat(nsp, Seat::Out, Notice::Disconnected(why));
        }
    }

    fn seat(&self, nsp: &str, seat: Seat, notice: Notice) {
        if let Some(room) = self.rooms.get(nsp) {
            room.seat.send_replace(seat);
            // A notice beyond what may wait is lost; how things stand is in the seat.
            room.inbox.post(Arrival::Notice(notice), 0, &self.limits);
        }
    }

    fn answer(&mut self, nsp: &str, id: u64, answer: Result<Args, Option<machine::Lost>>) {
        if let Some(sender) = self.answers.remove(&(Arc::from(nsp), id)) {
            // Whoever asked may be gone.
            let _ = sender.send(answer);
        }
    }

    /// Gives back what was written, and shows what changed.
    fn settle(&mut self) {
        let unwritten = self.websocket.as_ref().map_or(0, |websocket| websocket.unwritten());
        let left = self.taken.min(self.session.queued() + unwritten);
        self.budget.fetch_sub(self.taken - left, Ordering::AcqRel);
        self.taken = left;
        let (transport, attempts) = (self.session.transport(), self.session.attempts());
        let connecting = self.session.phase() == machine::Phase::Connected;
        self.status.send_if_modified(|status| {
            let phase =
                if status.phase == Phase::Waiting && connecting { Phase::Connecting } else { status.phase };
            let changed = (status.transport, status.attempts, status.phase) != (transport, attempts, phase);
            (status.transport, status.attempts, status.phase) = (transport, attempts, phase);
            changed
        });
    }

    fn end(self) {
        let closed = self.status.borrow().last_end.clone();
        let closed = closed.unwrap_or(Closed { cause: crate::cause::Cause::Closed, detail: String::new() });
        for room in self.rooms.values() {
            room.seat.send_replace(Seat::Refused(ConnectError::NoConnection(closed.clone())));
            room.inbox.end();
        }
        self.status.send_modify(|status| status.phase = Phase::Over);
    }
}

/// Takes what handles say: 0 when there are none any more.
async fn receive(commands: &mut Option<mpsc::Receiver<Command>>, into: &mut Vec<Command>) -> usize {
    match commands {
        Some(commands) => commands.recv_many(into, WISHES_AT_ONCE).await,
        None => std::future::pending().await,
    }
}

async fn turn(websocket: &mut Option<Box<WebSocket>>) -> Turn {
    match websocket {
        Some(websocket) => websocket.turn().await,
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Wishes that are granted before the connection is looked at again.
const WISHES_AT_ONCE: usize = 64;
/// For the answer to a goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
