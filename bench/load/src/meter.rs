//! When a run warms up, measures and ends, how much may be sent, and what was measured.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use rustix::time::Timespec;

use crate::cpu::{Cpu, Used};
use crate::flags::Flags;
use crate::hist::Histogram;
use crate::report::{Cost, Latency, Report};

/// Measures one run.
pub(crate) struct Meter {
    phase: Phase,
    /// When the phase ends, if time ends it.
    until: Instant,
    seconds: Duration,
    /// Messages still to send when a count ends the run.
    left: Option<u64>,
    pace: Option<Pace>,
    sleeps: bool,
    servers: Vec<u32>,
    window: Window,
    /// Sampled when the measured time ended.
    end: Option<Window>,
    messages: u64,
    latencies: Histogram,
}

#[derive(PartialEq)]
enum Phase {
    WarmUp,
    Measure,
    /// Nothing more is sent; what is unanswered has to be answered yet.
    Drain,
}

/// What was sampled at the start or the end of the measured time.
struct Window {
    at: Instant,
    server: Cpu,
    load: Cpu,
}

struct Pace {
    next: Instant,
    gap: Duration,
}

impl Meter {
    /// Starts the warm-up.
    pub(crate) fn start(flags: &Flags) -> anyhow::Result<Self> {
        let now = Instant::now();
        let window = Window::open(&flags.server_pid, now)?;
        let seconds = Duration::try_from_secs_f64(flags.seconds)?;
        let (phase, until) = match flags.count {
            Some(_) => (Phase::Measure, now + COUNTED_RUN_MAX),
            None => (Phase::WarmUp, now + Duration::try_from_secs_f64(flags.warmup)?),
        };
        let pace = match flags.rate {
            Some(rate) => Some(Pace { next: now, gap: Duration::try_from_secs_f64(1.0 / rate)? }),
            None => None,
        };
        Ok(Self {
            phase,
            until,
            seconds,
            left: flags.count,
            pace,
            sleeps: flags.sleep,
            servers: flags.server_pid.clone(),
            window,
            end: None,
            messages: 0,
            latencies: Histogram::new(),
        })
    }

    /// Moves on to the next phase, or tells that the run is over. `open` is how many messages are unanswered.
    pub(crate) fn over(&mut self, now: Instant, open: usize) -> anyhow::Result<bool> {
        if open == 0 && (self.phase == Phase::Drain || self.left == Some(0)) {
            return Ok(true);
        }
        if now < self.until {
            return Ok(false);
        }
        match self.phase {
            Phase::WarmUp => {
                self.phase = Phase::Measure;
                self.window = Window::open(&self.servers, now)?;
                self.until = now + self.seconds;
            }
            Phase::Measure => {
                ensure!(self.left.is_none(), "{open} messages unanswered, {:?} unsent", self.left);
                self.phase = Phase::Drain;
                self.end = Some(Window::open(&self.servers, now)?);
                self.left = Some(0);
                self.until = now + DRAIN_MAX;
            }
            Phase::Drain => bail!("{open} messages were never answered"),
        }
        Ok(false)
    }

    /// Takes up to `count` messages from what is left to send.
    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> usize {
        let Some(left) = &mut self.left else { return count };
        let taken = (count as u64).min(*left);
        *left -= taken;
        usize::try_from(taken).unwrap_or(count)
    }

    /// Counts messages answered now, all sent (or due) at the same time.
    #[inline]
    pub(crate) fn answered(&mut self, since: Instant, now: Instant) {
        if self.phase == Phase::Measure {
            self.messages += 1;
            self.latencies.record(now.saturating_duration_since(since));
        }
    }

    /// Whether messages are due by the clock and not by the answers.
    pub(crate) fn paced(&self) -> bool {
        self.pace.is_some()
    }

    /// The time the next message was due, if it is.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Instant> {
        let pace = self.pace.as_mut().filter(|_| self.phase != Phase::Drain)?;
        let due = pace.next;
        (due <= now).then(|| {
            pace.next += pace.gap;
            due
        })
    }

    /// How long to wait for events before looking at the clock again.
    pub(crate) fn patience(&self, now: Instant) -> Timespec {
        if !self.sleeps {
            return Timespec { tv_sec: 0, tv_nsec: 0 };
        }
        let wait = match &self.pace {
            Some(pace) => pace.next.saturating_duration_since(now).min(TURN_MAX),
            None => TURN_MAX,
        };
        Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() }
    }

    /// What was measured.
    pub(crate) fn report(self, flags: &Flags) -> anyhow::Result<Report> {
        let end = match self.end {
            Some(end) => end,
            None => Window::open(&self.servers, Instant::now())?,
        };
        let elapsed = end.at.duration_since(self.window.at).as_secs_f64();
        let (load, server) = (end.load.since(self.window.load), end.server.since(self.window.server));
        ensure!(self.messages > 0, "no message was answered within the measured time");
        #[expect(clippy::cast_precision_loss, reason = "messages of a run fit in 53 bits")]
        let messages = self.messages as f64;
        let cost = |used: Used| {
            let each = used.total_ns / messages / 1000.0;
            Cost {
                cpu_us_per_message: each,
                user_us_per_message: each * used.user_share,
                system_us_per_message: each * (1.0 - used.user_share),
                core_share: used.total_ns / 1e9 / elapsed,
            }
        };
        let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
        Ok(Report {
            scenario: flags.scenario.name(),
            clients: flags.clients(),
            in_flight: flags.in_flight(),
            payload: flags.payload(),
            messages: Some(self.messages),
            seconds: Some(elapsed),
            per_second: Some(messages / elapsed),
            latency: Some(Latency {
                p50_us: micros(self.latencies.quantile(0.5)),
                p99_us: micros(self.latencies.quantile(0.99)),
                max_us: micros(self.latencies.max()),
                corrected: self.pace.is_some(),
            }),
            server: (!self.servers.is_empty()).then(|| cost(server)),
            load: Some(cost(load)),
            memory: None,
        })
    }
}

impl Window {
    fn open(servers: &[u32], at: Instant) -> anyhow::Result<Self> {
        Ok(Self { at, server: Cpu::of(servers)?, load: Cpu::of(&[std::process::id()])? })
    }
}

/// The longest wait for events.
const TURN_MAX: Duration = Duration::from_millis(20);
/// How long the last messages may take once nothing more is sent.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// A counted run that has not ended by then has lost a message.
const COUNTED_RUN_MAX: Duration = Duration::from_secs(300);
