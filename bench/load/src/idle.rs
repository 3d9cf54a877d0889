//! Idle connections: what each costs the server in resident memory, once that holds still.

use std::time::{Duration, Instant};

use anyhow::ensure;
use rustix::time::Timespec;

use crate::cpu;
use crate::flags::Flags;
use crate::open::{self, Link, Poller};
use crate::report::{Memory, Report};
use crate::wire;

/// Runs the scenario `idle`.
pub(crate) fn run(flags: &Flags) -> anyhow::Result<Report> {
    ensure!(!flags.server_pid.is_empty(), "idle memory is the server's: give its --server-pid");
    let mut room = Room { poller: Poller::new()?, scratch: open::scratch(), links: Vec::new() };
    // The first client makes the server allocate what it has once.
    room.open(flags)?;
    let before = room.settle(flags)?;
    for _ in 0..flags.clients() {
        room.open(flags)?;
    }
    let after = room.settle(flags)?;
    #[expect(clippy::cast_precision_loss, reason = "KiB of a machine fit in 53 bits")]
    let each = (after.kib as f64 - before.kib as f64) / flags.clients() as f64;
    Ok(Report {
        scenario: flags.scenario.name(),
        clients: flags.clients(),
        in_flight: 0,
        payload: 0,
        messages: None,
        seconds: None,
        per_second: None,
        latency: None,
        server: None,
        load: None,
        memory: Some(Memory {
            before_kib: before.kib,
            after_kib: after.kib,
            kib_per_connection: each,
            settled_after: after.waited.as_secs_f64(),
            settled: before.still && after.still,
        }),
    })
}

struct Room {
    poller: Poller,
    scratch: Vec<u8>,
    links: Vec<Link>,
}

/// The server's memory when it held still, or when the wait for that ended.
struct Settled {
    kib: u64,
    waited: Duration,
    still: bool,
}

impl Room {
    fn open(&mut self, flags: &Flags) -> anyhow::Result<()> {
        let link = Link::joined(flags.address(self.links.len()), self.links.len())?;
        self.poller.add(&link, self.links.len())?;
        self.links.push(link);
        Ok(())
    }

    /// Answers heartbeats until the last samples of the server's memory are all but equal.
    fn settle(&mut self, flags: &Flags) -> anyhow::Result<Settled> {
        let start = Instant::now();
        let mut samples = vec![cpu::resident_kib(&flags.server_pid)?];
        let mut next = start + SAMPLE_GAP;
        loop {
            self.poller.wait(&Timespec { tv_sec: 0, tv_nsec: 20_000_000 })?;
            for number in self.poller.ready() {
                answer(&mut self.links[number], &mut self.scratch)?;
            }
            if Instant::now() < next {
                continue;
            }
            next += SAMPLE_GAP;
            samples.push(cpu::resident_kib(&flags.server_pid)?);
            let recent = &samples[samples.len().saturating_sub(SAMPLES)..];
            let (low, high) = (recent.iter().min().copied(), recent.iter().max().copied());
            let (low, high) = (low.unwrap_or(0), high.unwrap_or(0));
            let still = recent.len() == SAMPLES && high - low <= (high / 500).max(64);
            let waited = start.elapsed();
            if still || waited > WAIT_MAX {
                return Ok(Settled { kib: samples[samples.len() - 1], waited, still });
            }
        }
    }
}

/// The only thing that may arrive is a heartbeat.
fn answer(link: &mut Link, scratch: &mut [u8]) -> anyhow::Result<()> {
    let mut bytes = link.read(scratch)?;
    while let Some((payload, end)) = wire::text(bytes)? {
        link.odd(payload, b"nothing but heartbeats")?;
        bytes = &bytes[end..];
    }
    link.keep(bytes);
    Ok(())
}

/// Between two samples of the memory.
const SAMPLE_GAP: Duration = Duration::from_millis(250);
/// Memory holds still when so many samples in a row are within 0.2 % (or 64 KiB) of each other: two seconds.
const SAMPLES: usize = 8;
/// A server whose memory still moves by then is measured as it is.
const WAIT_MAX: Duration = Duration::from_secs(30);
