//! Echo over polling: each client keeps a GET waiting on one connection and posts on another, as browsers do.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::{Context as _, ensure};

use crate::flags::Flags;
use crate::meter::Meter;
use crate::open::{self, Link, Poller};
use crate::report::Report;
use crate::wire;

/// Runs the scenario `polling`.
pub(crate) fn run(flags: &Flags) -> anyhow::Result<Report> {
    ensure!(flags.in_flight() == 1, "polling has one message under way");
    let mut poller = Poller::new()?;
    let mut clients = Vec::new();
    for number in 0..flags.clients() {
        let client = Client::open(flags, number)?;
        poller.add(&client.get, number * 2)?;
        poller.add(&client.post, number * 2 + 1)?;
        clients.push(client);
    }
    let mut scratch = open::scratch();
    let mut meter = Meter::start(flags)?;
    let mut next = (0..clients.len()).cycle();
    let mut open = 0;
    for client in &mut clients {
        client.get.send(&client.get_request)?;
        open += client.pump(&mut meter, Instant::now())?;
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
            let client = &mut clients[number / 2];
            if number.is_multiple_of(2) {
                open -= client.polled(&mut scratch, &mut meter)?;
            } else {
                client.posted(&mut scratch)?;
            }
            open += client.pump(&mut meter, Instant::now())?;
        }
    }
}

struct Client {
    get: Link,
    post: Link,
    get_request: Vec<u8>,
    post_request: Vec<u8>,
    pong_request: Vec<u8>,
    /// The packet that is echoed.
    packet: Vec<u8>,
    /// When the unanswered message was sent, or was due.
    since: Option<Instant>,
    /// Whether a POST is unanswered.
    posting: bool,
    pong_owed: bool,
    due: VecDeque<Instant>,
}

impl Client {
    fn open(flags: &Flags, number: usize) -> anyhow::Result<Self> {
        let first = flags.address(number);
        let mut get = Link::connect(first, number)?;
        get.send(wire::get(first, None).as_bytes())?;
        let sid = get.await_answer(|body| wire::sid(body).map(String::from))?;
        let to = flags.later_address(number);
        if to != first {
            get = Link::connect(to, number)?;
        }
        let mut post = Link::connect(to, number)?;
        post.send(wire::post(to, &sid, "40").as_bytes())?;
        post.await_answer(accepted)?;
        let mut pong_owed = false;
        let mut is_joined = false;
        while !is_joined {
            get.send(wire::get(to, Some(&sid)).as_bytes())?;
            (is_joined, pong_owed) = get.await_answer(|body| {
                let (packets, ping) = wire::packets(body);
                packets.iter().try_for_each(|packet| wire::joined(packet))?;
                Ok((!packets.is_empty(), pong_owed || ping))
            })?;
        }
        let text = wire::filled(&format!("c{number}-"), flags.payload());
        let packet = format!("42[\"echo\",{text}]");
        Ok(Self {
            get,
            post,
            get_request: wire::get(to, Some(&sid)).into(),
            post_request: wire::post(to, &sid, &packet).into(),
            pong_request: wire::post(to, &sid, "3").into(),
            packet: packet.into(),
            since: None,
            posting: false,
            pong_owed,
            due: VecDeque::new(),
        })
    }

    /// Posts what may be posted, and tells how many messages that is.
    fn pump(&mut self, meter: &mut Meter, now: Instant) -> anyhow::Result<usize> {
        if self.posting {
            return Ok(0);
        }
        if self.pong_owed {
            self.pong_owed = false;
            self.posting = true;
            self.post.send(&self.pong_request)?;
            return Ok(0);
        }
        let ready = self.since.is_none() && (!meter.paced() || !self.due.is_empty());
        if !ready || meter.take(1) == 0 {
            return Ok(0);
        }
        self.since = Some(self.due.pop_front().unwrap_or(now));
        self.posting = true;
        self.post.send(&self.post_request)?;
        Ok(1)
    }

    /// Reads the answer to the GET, sends the next, and tells how many echoes came.
    fn polled(&mut self, scratch: &mut [u8], meter: &mut Meter) -> anyhow::Result<usize> {
        let bytes = self.get.read(scratch)?;
        let Some((body, end)) = wire::answer(bytes)? else {
            self.get.keep(bytes);
            return Ok(0);
        };
        ensure!(end == bytes.len(), "more than one answer to a GET");
        let mut count = 0;
        if body == self.packet {
            count = 1;
        } else {
            let (packets, ping) = wire::packets(body);
            self.pong_owed |= ping;
            for packet in packets {
                ensure!(packet == self.packet, "wrong answer: {}", String::from_utf8_lossy(packet));
                count += 1;
            }
        }
        if count > 0 {
            meter.answered(self.since.take().context("an answer too many")?, Instant::now());
        }
        ensure!(count < 2, "an answer too many");
        self.get.send(&self.get_request)?;
        Ok(count)
    }

    fn posted(&mut self, scratch: &mut [u8]) -> anyhow::Result<()> {
        let bytes = self.post.read(scratch)?;
        match wire::answer(bytes)? {
            Some((body, _)) => {
                self.posting = false;
                accepted(body)
            }
            None => {
                self.post.keep(bytes);
                Ok(())
            }
        }
    }
}

fn accepted(body: &[u8]) -> anyhow::Result<()> {
    ensure!(body == b"ok", "expected ok to a POST, got {}", String::from_utf8_lossy(body));
    Ok(())
}
