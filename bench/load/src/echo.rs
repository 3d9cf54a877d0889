//! Echo and ack: each client sends its own string and is answered it.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::Context as _;

use crate::flags::{Flags, Scenario};
use crate::meter::Meter;
use crate::open::{self, Link, Poller};
use crate::report::Report;
use crate::wire;

/// Runs the scenario `echo` or `ack`.
pub(crate) fn run(flags: &Flags) -> anyhow::Result<Report> {
    let mut poller = Poller::new()?;
    let mut clients = Vec::new();
    for number in 0..flags.clients() {
        let client = Client::open(flags, number)?;
        poller.add(&client.link, number)?;
        clients.push(client);
    }
    let mut scratch = open::scratch();
    let mut meter = Meter::start(flags)?;
    let mut next = (0..clients.len()).cycle();
    let mut open = 0;
    if !meter.paced() {
        for client in &mut clients {
            open += client.pump(&mut meter, Instant::now())?;
        }
    }
    loop {
        let now = Instant::now();
        if meter.over(now, open)? {
            return meter.report(flags);
        }
        while let Some(due) = meter.due(now) {
            let client = &mut clients[next.next().context("no clients")?];
            client.due.push_back(due);
            open += client.pump(&mut meter, now)?;
        }
        poller.wait(&meter.patience(now))?;
        for number in poller.ready() {
            let client = &mut clients[number];
            open -= client.read(&mut scratch, &mut meter)?;
            open += client.pump(&mut meter, Instant::now())?;
        }
    }
}

struct Client {
    link: Link,
    /// The frame, as often as it may be under way.
    frames: Vec<u8>,
    frame_bytes: usize,
    answer: Vec<u8>,
    /// When the unanswered were sent, or were due.
    sent: VecDeque<Instant>,
    /// When those to be sent were due.
    due: VecDeque<Instant>,
    in_flight: usize,
}

impl Client {
    fn open(flags: &Flags, number: usize) -> anyhow::Result<Self> {
        let link = Link::joined(flags.address(number), number)?;
        // Its own string for each client: an answer to another's would be seen.
        let text = wire::filled(&format!("c{number}-"), flags.payload());
        let (ask, answer) = if flags.scenario == Scenario::Ack {
            (format!("42{number}[\"echo-ack\",{text}]"), format!("43{number}[{text}]"))
        } else {
            (format!("42[\"echo\",{text}]"), format!("42[\"echo\",{text}]"))
        };
        let frame = wire::masked(&ask);
        Ok(Self {
            link,
            frames: frame.repeat(flags.in_flight()),
            frame_bytes: frame.len(),
            answer: wire::plain(&answer),
            sent: VecDeque::new(),
            due: VecDeque::new(),
            in_flight: flags.in_flight(),
        })
    }

    /// Sends as many as may be under way, and tells how many.
    #[inline]
    fn pump(&mut self, meter: &mut Meter, now: Instant) -> anyhow::Result<usize> {
        let room = self.in_flight - self.sent.len();
        let wanted = if meter.paced() { room.min(self.due.len()) } else { room };
        let count = meter.take(wanted);
        for _ in 0..count {
            self.sent.push_back(self.due.pop_front().unwrap_or(now));
        }
        if count > 0 {
            self.link.send(&self.frames[..count * self.frame_bytes])?;
        }
        Ok(count)
    }

    /// Reads the answers, and tells how many.
    #[inline]
    fn read(&mut self, scratch: &mut [u8], meter: &mut Meter) -> anyhow::Result<usize> {
        let mut bytes = self.link.read(scratch)?;
        let now = Instant::now();
        let mut count = 0;
        loop {
            if let Some(rest) = bytes.strip_prefix(self.answer.as_slice()) {
                bytes = rest;
                count += 1;
                meter.answered(self.sent.pop_front().context("an answer too many")?, now);
                continue;
            }
            let Some((payload, end)) = wire::text(bytes)? else { break };
            self.link.odd(payload, &self.answer)?;
            bytes = &bytes[end..];
        }
        self.link.keep(bytes);
        Ok(count)
    }
}
