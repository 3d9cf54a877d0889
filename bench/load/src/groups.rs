//! Fan-out and rooms: one member of each group sends to all of it, itself included.
//!
//! A message is answered when every member has it, in the order it was sent; what is counted is deliveries.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::{Context as _, ensure};

use crate::flags::{Flags, Scenario};
use crate::meter::Meter;
use crate::open::{self, Link, Poller};
use crate::report::Report;
use crate::wire;

/// Runs the scenario `fanout` (one group of all) or `rooms`.
pub(crate) fn run(flags: &Flags) -> anyhow::Result<Report> {
    let size = if flags.scenario == Scenario::Rooms { flags.room_size() } else { flags.clients() };
    ensure!(flags.clients().is_multiple_of(size), "{} clients do not fill rooms of {size}", flags.clients());
    let mut poller = Poller::new()?;
    let mut members = Vec::new();
    for number in 0..flags.clients() {
        let link = open_member(flags, number, number / size)?;
        poller.add(&link, number)?;
        members.push(Member { link, seen: 0 });
    }
    let mut groups: Vec<Group> =
        (0..flags.clients() / size).map(|number| Group::new(flags, number, size)).collect();
    let mut scratch = open::scratch();
    let mut meter = Meter::start(flags)?;
    let mut next = (0..groups.len()).cycle();
    let mut open = 0;
    if !meter.paced() {
        for (group, members) in groups.iter_mut().zip(members.chunks(size)) {
            open += group.pump(&members[0].link, &mut meter, Instant::now())?;
        }
    }
    loop {
        let now = Instant::now();
        if meter.over(now, open)? {
            return meter.report(flags);
        }
        while let Some(due) = meter.due(now) {
            let number = next.next().context("no groups")?;
            groups[number].due.push_back(due);
            open += groups[number].pump(&members[number * size].link, &mut meter, now)?;
        }
        poller.wait(&meter.patience(now))?;
        for number in poller.ready() {
            let group = &mut groups[number / size];
            let complete = members[number].read(group, &mut scratch, &mut meter)?;
            if complete > 0 {
                open -= complete;
                let sender = &members[number / size * size].link;
                open += group.pump(sender, &mut meter, Instant::now())?;
            }
        }
    }
}

fn open_member(flags: &Flags, number: usize, room: usize) -> anyhow::Result<Link> {
    let mut link = Link::joined(flags.address(number), number)?;
    if flags.scenario == Scenario::Rooms {
        link.send(&wire::masked(&format!("420[\"join\",\"r{room}\"]")))?;
        link.await_text(|answer| {
            ensure!(answer.starts_with(b"430["), "expected an ack, got {}", String::from_utf8_lossy(answer));
            Ok(())
        })?;
    }
    Ok(link)
}

struct Member {
    link: Link,
    /// Messages of its group it has.
    seen: usize,
}

impl Member {
    /// Reads deliveries, and tells how many messages are complete by them.
    #[inline]
    fn read(&mut self, group: &mut Group, scratch: &mut [u8], meter: &mut Meter) -> anyhow::Result<usize> {
        let mut bytes = self.link.read(scratch)?;
        let now = Instant::now();
        let mut complete = 0;
        loop {
            let slot = &mut group.slots[self.seen % VARIANTS];
            if let Some(rest) = bytes.strip_prefix(slot.delivery.as_slice()) {
                ensure!(slot.missing > 0, "a delivery too many");
                bytes = rest;
                self.seen += 1;
                meter.answered(slot.since, now);
                slot.missing -= 1;
                if slot.missing == 0 {
                    group.open -= 1;
                    complete += 1;
                }
                continue;
            }
            let Some((payload, end)) = wire::text(bytes)? else { break };
            self.link.odd(payload, &slot.delivery)?;
            bytes = &bytes[end..];
        }
        self.link.keep(bytes);
        Ok(complete)
    }
}

struct Group {
    size: usize,
    /// Message number n is in slot n modulo their number, so a lost, doubled or swapped one is seen.
    slots: Vec<Slot>,
    /// The frames of all slots, twice: any run of them is in one piece.
    frames: Vec<u8>,
    frame_bytes: usize,
    sent: usize,
    open: usize,
    due: VecDeque<Instant>,
    in_flight: usize,
}

struct Slot {
    delivery: Vec<u8>,
    missing: usize,
    since: Instant,
}

impl Group {
    fn new(flags: &Flags, number: usize, size: usize) -> Self {
        let mut slots = Vec::new();
        let mut frames = Vec::new();
        for slot in 0..VARIANTS {
            let text = wire::filled(&format!("r{number}-{slot:02}-"), flags.payload());
            let (ask, delivery) = if flags.scenario == Scenario::Rooms {
                (format!("42[\"room\",\"r{number}\",{text}]"), format!("42[\"room\",{text}]"))
            } else {
                (format!("42[\"broadcast\",{text}]"), format!("42[\"broadcast\",{text}]"))
            };
            frames.extend(wire::masked(&ask));
            slots.push(Slot { delivery: wire::plain(&delivery), missing: 0, since: Instant::now() });
        }
        let frame_bytes = frames.len() / VARIANTS;
        let frames = frames.repeat(2);
        let in_flight = flags.in_flight();
        Self { size, slots, frames, frame_bytes, sent: 0, open: 0, due: VecDeque::new(), in_flight }
    }

    /// Sends as many as may be under way, and tells how many.
    fn pump(&mut self, sender: &Link, meter: &mut Meter, now: Instant) -> anyhow::Result<usize> {
        let room = self.in_flight - self.open;
        let wanted = if meter.paced() { room.min(self.due.len()) } else { room };
        let count = meter.take(wanted);
        if count == 0 {
            return Ok(0);
        }
        let first = self.sent % VARIANTS;
        for _ in 0..count {
            let slot = &mut self.slots[self.sent % VARIANTS];
            slot.missing = self.size;
            slot.since = self.due.pop_front().unwrap_or(now);
            self.sent += 1;
        }
        self.open += count;
        sender.send(&self.frames[first * self.frame_bytes..][..count * self.frame_bytes])?;
        Ok(count)
    }
}

/// Different messages of a group; more than may be under way.
const VARIANTS: usize = 80;
