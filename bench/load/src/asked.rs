//! Plain requests: what each server has, session ids that nobody has, and paths where nothing is. One after the other by each client, on a
//! connection that stays.

use std::time::Instant;

use anyhow::{Context as _, ensure};

use crate::flags::{Flags, Scenario};
use crate::meter::Meter;
use crate::open::{self, Link, Poller};
use crate::report::Report;
use crate::wire;

/// Runs the scenario `http`, `unknown-sid` or `not-found`.
pub(crate) fn run(flags: &Flags) -> anyhow::Result<Report> {
    let mut poller = Poller::new()?;
    let mut clients = Vec::new();
    for number in 0..flags.clients() {
        let link = Link::connect(flags.address(number), number)?;
        poller.add(&link, number)?;
        clients.push(Client { link, asked: 0, since: Instant::now() });
    }
    let mut scratch = open::scratch();
    let mut meter = Meter::start(flags)?;
    let mut open = 0;
    for (number, client) in clients.iter_mut().enumerate() {
        open += client.ask(flags, number, &mut meter)?;
    }
    loop {
        let now = Instant::now();
        if meter.over(now, open)? {
            return meter.report(flags);
        }
        poller.wait(&meter.patience(now))?;
        for number in poller.ready() {
            let client = &mut clients[number];
            if client.answered(flags, &mut scratch, &mut meter)? {
                open -= 1;
                open += client.ask(flags, number, &mut meter)?;
            }
        }
    }
}

struct Client {
    link: Link,
    asked: u64,
    since: Instant,
}

impl Client {
    fn ask(&mut self, flags: &Flags, number: usize, meter: &mut Meter) -> anyhow::Result<usize> {
        if meter.take(1) == 0 {
            return Ok(0);
        }
        let to = flags.address(number);
        self.asked += 1;
        let request = if flags.scenario == Scenario::Http {
            wire::page(to)
        } else if flags.scenario == Scenario::UnknownSid {
            // Another one each time, of a node that is not there: nothing remembers the answer.
            wire::get(to, Some(&format!("{:020}", self.asked * 1000 + number as u64)))
        } else {
            wire::elsewhere(to)
        };
        self.since = Instant::now();
        self.link.send(request.as_bytes())?;
        Ok(1)
    }

    fn answered(&mut self, flags: &Flags, scratch: &mut [u8], meter: &mut Meter) -> anyhow::Result<bool> {
        let expected = if flags.scenario == Scenario::Http {
            "200"
        } else if flags.scenario == Scenario::UnknownSid {
            "400"
        } else {
            "404"
        };
        let bytes = self.link.read(scratch)?;
        let Some(end) = wire::refusal(bytes, expected).context("the answer to a plain request")? else {
            self.link.keep(bytes);
            return Ok(false);
        };
        ensure!(end == bytes.len(), "more than one answer");
        meter.answered(self.since, Instant::now());
        Ok(true)
    }
}
