//! Connects: so many clients at once, each starts over as soon as it has arrived.
//!
//! By WebSocket a client has arrived when it has joined the namespace; by polling and upgrade, when the upgrade is
//! done and an echo came over the WebSocket. Either then closes its connections without a word.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{bail, ensure};

use crate::flags::{Flags, Scenario};
use crate::meter::Meter;
use crate::open::{self, Link, Poller};
use crate::report::Report;
use crate::wire;

/// Runs the scenario `connect-ws` or `connect-polling-upgrade`.
pub(crate) fn run(flags: &Flags) -> anyhow::Result<Report> {
    ensure!(flags.rate.is_none() && flags.in_flight() == 1, "connects know neither --rate nor --in-flight");
    let mut arrivals = Arrivals {
        to: flags.address(0),
        polling: flags.scenario == Scenario::ConnectPollingUpgrade,
        poller: Poller::new()?,
        scratch: open::scratch(),
        begun: 0,
    };
    let mut meter = Meter::start(flags)?;
    let mut attempts = Vec::new();
    for number in 0..flags.clients() {
        attempts.push(if meter.take(1) == 1 { Some(arrivals.begin(number)?) } else { None });
    }
    loop {
        let now = Instant::now();
        if meter.over(now, attempts.iter().flatten().count())? {
            return meter.report(flags);
        }
        arrivals.poller.wait(&meter.patience(now))?;
        let ready: Vec<usize> = arrivals.poller.ready().collect();
        for number in ready {
            let place = number / 2;
            let Some(attempt) = &mut attempts[place] else { continue };
            if !arrivals.advance(attempt, number)? {
                continue;
            }
            meter.answered(attempt.since, Instant::now());
            attempts[place] = None;
            if meter.take(1) == 1 {
                attempts[place] = Some(arrivals.begin(place)?);
            }
        }
    }
}

/// What all attempts share.
struct Arrivals {
    to: SocketAddr,
    polling: bool,
    poller: Poller,
    scratch: Vec<u8>,
    begun: usize,
}

/// One client on its way.
struct Attempt {
    since: Instant,
    place: usize,
    sid: String,
    /// The connection it polls on, under its place doubled.
    polls: Option<Link>,
    /// The connection of its WebSocket, under the number after that.
    socket: Option<Link>,
    polling: Polling,
    upgrade: Upgrade,
    /// A heartbeat came over polling; it is answered over the WebSocket.
    pong_owed: bool,
}

/// How far the connection it polls on has come.
enum Polling {
    /// The handshake's answer is to come.
    Handshake,
    /// The `ok` to the posted `40`.
    Posted,
    /// The sid in the namespace.
    Joining,
    /// The noop that ends polling.
    Waiting,
    /// Nothing.
    Over,
}

/// How far its WebSocket has come.
enum Upgrade {
    /// The 101 is to come, and without polling the open packet.
    Switching,
    /// The open packet.
    Opening,
    /// The sid in the namespace.
    Joining,
    /// The `3probe`.
    Probing,
    /// The noop on the other connection.
    Probed,
    /// The echo.
    Echo,
}

impl Arrivals {
    fn begin(&mut self, place: usize) -> anyhow::Result<Attempt> {
        let mut attempt = Attempt {
            since: Instant::now(),
            place,
            sid: String::new(),
            polls: None,
            socket: None,
            polling: Polling::Handshake,
            upgrade: Upgrade::Switching,
            pong_owed: false,
        };
        if self.polling {
            let link = self.connect(place * 2)?;
            link.send(wire::get(self.to, None).as_bytes())?;
            attempt.polls = Some(link);
        } else {
            attempt.polling = Polling::Over;
            attempt.socket = Some(self.switch(place, None)?);
        }
        Ok(attempt)
    }

    fn connect(&mut self, number: usize) -> anyhow::Result<Link> {
        self.begun += 1;
        let link = Link::connect(self.to, self.begun)?;
        self.poller.add(&link, number)?;
        Ok(link)
    }

    fn switch(&mut self, place: usize, sid: Option<&str>) -> anyhow::Result<Link> {
        let link = self.connect(place * 2 + 1)?;
        link.send(wire::upgrade(self.to, sid).as_bytes())?;
        Ok(link)
    }

    /// Reads what arrived under this number, and tells whether the client has arrived.
    fn advance(&mut self, attempt: &mut Attempt, number: usize) -> anyhow::Result<bool> {
        if number.is_multiple_of(2) {
            self.advance_polling(attempt)?;
        } else if self.advance_socket(attempt)? {
            return Ok(true);
        }
        let over = matches!(attempt.polling, Polling::Over) && matches!(attempt.upgrade, Upgrade::Probed);
        if let (true, Some(socket)) = (over, &attempt.socket) {
            let mut both = wire::masked("5");
            if attempt.pong_owed {
                both.extend(wire::masked("3"));
            }
            both.extend(wire::masked(ECHO));
            socket.send(&both)?;
            attempt.upgrade = Upgrade::Echo;
        }
        Ok(false)
    }

    fn advance_polling(&mut self, attempt: &mut Attempt) -> anyhow::Result<()> {
        let Some(link) = &mut attempt.polls else { return Ok(()) };
        let bytes = link.read(&mut self.scratch)?;
        let Some((body, end)) = wire::answer(bytes)? else {
            link.keep(bytes);
            return Ok(());
        };
        ensure!(end == bytes.len(), "more than one answer to a request");
        match attempt.polling {
            Polling::Handshake => {
                attempt.sid = wire::sid(body)?.into();
                link.send(wire::post(self.to, &attempt.sid, "40").as_bytes())?;
                attempt.polling = Polling::Posted;
            }
            Polling::Posted => {
                ensure!(body == b"ok", "expected ok, got {}", String::from_utf8_lossy(body));
                link.send(wire::get(self.to, Some(&attempt.sid)).as_bytes())?;
                attempt.polling = Polling::Joining;
            }
            Polling::Joining | Polling::Waiting if body == wire::PING => {
                attempt.pong_owed = true;
                link.send(wire::get(self.to, Some(&attempt.sid)).as_bytes())?;
            }
            Polling::Joining => {
                let (packets, ping) = wire::packets(body);
                attempt.pong_owed |= ping;
                packets.iter().try_for_each(|packet| wire::joined(packet))?;
                link.send(wire::get(self.to, Some(&attempt.sid)).as_bytes())?;
                attempt.polling = Polling::Waiting;
                attempt.socket = Some(self.switch(attempt.place, Some(&attempt.sid))?);
            }
            Polling::Waiting => {
                let (packets, ping) = wire::packets(body);
                attempt.pong_owed |= ping;
                ensure!(packets == [b"6"], "expected a noop, got {}", String::from_utf8_lossy(body));
                attempt.polling = Polling::Over;
                attempt.polls = None;
            }
            Polling::Over => bail!("an answer too many"),
        }
        Ok(())
    }

    fn advance_socket(&mut self, attempt: &mut Attempt) -> anyhow::Result<bool> {
        let Some(link) = &mut attempt.socket else { return Ok(false) };
        let mut bytes = link.read(&mut self.scratch)?;
        loop {
            if let Upgrade::Switching = attempt.upgrade {
                let Some(end) = wire::switched(bytes)? else { break };
                bytes = &bytes[end..];
                attempt.upgrade = if self.polling { Upgrade::Probing } else { Upgrade::Opening };
                if self.polling {
                    link.send(&wire::masked("2probe"))?;
                }
                continue;
            }
            let Some((payload, end)) = wire::text(bytes)? else { break };
            bytes = &bytes[end..];
            if payload == wire::PING {
                link.send(&wire::masked("3"))?;
                continue;
            }
            match attempt.upgrade {
                Upgrade::Opening => {
                    wire::sid(payload)?;
                    link.send(&wire::masked("40"))?;
                    attempt.upgrade = Upgrade::Joining;
                }
                Upgrade::Joining => {
                    wire::joined(payload)?;
                    return Ok(true);
                }
                Upgrade::Probing if payload == b"3probe" => attempt.upgrade = Upgrade::Probed,
                Upgrade::Echo if payload == ECHO.as_bytes() => return Ok(true),
                Upgrade::Switching | Upgrade::Probing | Upgrade::Probed | Upgrade::Echo => {
                    bail!("unexpected on the WebSocket: {}", String::from_utf8_lossy(payload));
                }
            }
        }
        link.keep(bytes);
        Ok(false)
    }
}

const ECHO: &str = r#"42["echo","arrived"]"#;
