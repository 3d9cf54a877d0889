//! What makes a keeper restart workers that run: memory, the clock, changed files. It also knows what workers use.

use std::collections::BTreeMap;
use std::future;
use std::time::{Duration, Instant, SystemTime};

use sockeye_supervisor::proc::{Usage, usage};
use sockeye_supervisor::watch::{Ignore, watch};
use sockeye_supervisor::{Cron, Launch, Size, WorkerView, Zone};
use tokio::sync::mpsc;

/// How often memory is looked at, where it is limited.
const MEMORY_PAUSE: Duration = Duration::from_secs(2);

/// The shortest time over which the use of processors is reckoned; a question within it gets the last answer.
const CPU_SPAN_MIN: Duration = Duration::from_millis(250);

/// The longest sleep until a moment of the calendar: the clock may be set meanwhile.
const CRON_SLEEP_MAX: Duration = Duration::from_secs(60);

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A worker, or all, shall be restarted.
    Restart {
        /// Which.
        instance: Option<u32>,
        /// What a person is told.
        why: String,
    },
    /// The moment has come.
    Cron,
}

/// The causes of restarts.
pub(super) struct Health {
    memory_max: Option<Size>,
    memory_at: Option<Instant>,
    cron: Option<(Cron, Zone)>,
    cron_at: Option<SystemTime>,
    changes: Option<mpsc::Receiver<String>>,
    quiet: Duration,
    changed: Option<(Instant, String)>,
    samples: BTreeMap<u32, (Instant, Duration, f64)>,
}

impl Health {
    pub(super) fn new(launch: &Launch, now: Instant, clock: SystemTime) -> anyhow::Result<Self> {
        let spec = &launch.spec;
        let cron = spec.cron.as_deref().map(str::parse::<Cron>).transpose().map_err(anyhow::Error::msg)?;
        let cron = cron.map(|cron| (cron, Zone::of(&launch.environment())));
        let changes = match spec.watch.paths.is_empty() {
            true => None,
            false => {
                let (sender, changes) = mpsc::channel(1);
                let ignore = Ignore::new(&spec.watch.ignore);
                watch(launch.directory(), &spec.watch.paths, ignore, move |path| {
                    // One that waits stands for all.
                    !matches!(
                        sender.try_send(path.display().to_string()),
                        Err(mpsc::error::TrySendError::Closed(_))
                    )
                })
                .map_err(|error| anyhow::anyhow!("watch: {error}"))?;
                Some(changes)
            }
        };
        Ok(Self {
            memory_max: spec.max_memory,
            memory_at: spec.max_memory.map(|_| now + MEMORY_PAUSE),
            cron_at: cron.as_ref().and_then(|(cron, zone)| cron.next(clock, zone)),
            cron,
            changes,
            quiet: spec.watch.delay.duration(),
            changed: None,
            samples: BTreeMap::new(),
        })
    }

    /// Waits for the next change of a file. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        let heard = match &mut self.changes {
            Some(changes) => changes.recv().await,
            None => future::pending().await,
        };
        match heard {
            Some(path) => self.changed = Some((Instant::now() + self.quiet, path)),
            None => self.changes = None,
        }
    }

    /// When to call [`Self::handle_timeout`].
    pub(super) fn poll_timeout(&self, now: Instant, clock: SystemTime) -> Option<Instant> {
        let cron = self.cron_at.map(|at| {
            let wait = at.duration_since(clock).unwrap_or_default();
            now + wait.min(CRON_SLEEP_MAX)
        });
        [self.memory_at, cron, self.changed.as_ref().map(|(at, _)| *at)].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(
        &mut self,
        workers: &[WorkerView],
        now: Instant,
        clock: SystemTime,
    ) -> Vec<Due> {
        let mut due = Vec::new();
        if let Some((_, path)) = self.changed.take_if(|(at, _)| *at <= now) {
            due.push(Due::Restart { instance: None, why: format!("{path} changed") });
        }
        if self.cron_at.is_some_and(|at| at <= clock) {
            self.cron_at = self.cron.as_ref().and_then(|(cron, zone)| cron.next(clock, zone));
            due.push(Due::Cron);
        }
        if self.memory_at.is_some_and(|at| at <= now) {
            self.memory_at = Some(now + MEMORY_PAUSE);
            due.extend(workers.iter().filter_map(|worker| self.is_too_large(worker)));
        }
        due
    }

    fn is_too_large(&self, worker: &WorkerView) -> Option<Due> {
        let (max, used) = (self.memory_max?, usage(worker.pid?)?.memory);
        let why = || {
            format!("instance {} used {}, more than max_memory {max}", worker.place, Size::from_bytes(used))
        };
        (used > max.bytes()).then(|| Due::Restart { instance: Some(worker.instance), why: why() })
    }

    /// Resident memory, and the share of a processor in percent.
    pub(super) fn usage(&mut self, pid: Option<u32>) -> (u64, f64) {
        let Some((pid, Usage { memory, cpu })) = pid.and_then(|pid| Some((pid, usage(pid)?))) else {
            return (0, 0.0);
        };
        let now = Instant::now();
        let share = match self.samples.get(&pid) {
            Some((at, _, share)) if now.duration_since(*at) < CPU_SPAN_MIN => return (memory, *share),
            Some((at, before, _)) => {
                let spent = cpu.saturating_sub(*before).as_secs_f64();
                100.0 * spent / now.duration_since(*at).as_secs_f64()
            }
            None => 0.0,
        };
        let share = (share * 10.0).round() / 10.0;
        if self.samples.len() > SAMPLES_MAX {
            self.samples.clear();
        }
        self.samples.insert(pid, (now, cpu, share));
        (memory, share)
    }
}

/// Of so many processes the use is remembered: several times the workers there can be.
const SAMPLES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use sockeye_supervisor::AppSpec;
    use std::path::PathBuf;

    #[test]
    fn a_restart_by_the_clock_is_due_at_its_moment_once_and_again_the_next_day() {
        let mut spec = AppSpec::new("/bin/true");
        spec.cron = Some("30 3 * * *".to_owned());
        spec.env.insert("TZ".to_owned(), "CET-1".to_owned());
        let launch = Launch { name: "a".to_owned(), spec, cwd: PathBuf::from("/"), env: BTreeMap::default() };
        let (start, day) = (Instant::now(), Duration::from_secs(86_400));
        // 2026-11-30 02:00 by the clock of that zone.
        let clock = SystemTime::UNIX_EPOCH + Duration::from_secs(1_796_000_400);
        let mut health = Health::new(&launch, start, clock).unwrap();
        let moment = Duration::from_secs(90 * 60);
        let mut look = |after: Duration| health.handle_timeout(&[], start + after, clock + after);
        assert_eq!(look(Duration::ZERO), []);
        assert_eq!(look(moment - Duration::from_secs(1)), []);
        assert_eq!(look(moment), [Due::Cron]);
        assert_eq!(look(moment), []);
        assert_eq!(look(moment + day - Duration::from_secs(1)), []);
        assert_eq!(look(moment + day), [Due::Cron]);
        // A machine that slept makes up for what it missed once.
        assert_eq!(look(moment + day * 5), [Due::Cron]);
        assert_eq!(look(moment + day * 5), []);
        // It wakes now and then, since the clock may be set meanwhile.
        let wake = health.poll_timeout(start, clock).unwrap();
        assert_eq!(wake - start, CRON_SLEEP_MAX);
    }

    #[test]
    fn a_clock_that_is_set_forward_is_followed() {
        let mut spec = AppSpec::new("/bin/true");
        spec.cron = Some("0 0 1 1 *".to_owned());
        let launch = Launch { name: "a".to_owned(), spec, cwd: PathBuf::from("/"), env: BTreeMap::default() };
        let (now, clock) = (Instant::now(), SystemTime::UNIX_EPOCH);
        let mut health = Health::new(&launch, now, clock).unwrap();
        let later = clock + Duration::from_secs(366 * 86_400);
        assert_eq!(health.handle_timeout(&[], now, later), [Due::Cron]);
    }
}
