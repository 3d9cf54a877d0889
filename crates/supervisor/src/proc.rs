//! What the system says of processes: who they are, what they use, what marks them. Reads `/proc`; decides nothing.

use std::fs;
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// A process that cannot be mistaken for a later one of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Its number.
    pub pid: u32,
    /// When it began, in ticks since the system did.
    pub start: u64,
}

/// What a process uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory in bytes.
    pub memory: u64,
    /// Time on the processors since it began, in user and kernel.
    pub cpu: Duration,
}

impl Identity {
    /// Who has that number, if anybody.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        stat(pid).map(|stat| Self { pid, start: stat.start })
    }

    /// Whether it lives; one that ended and is not reaped does not.
    #[must_use]
    pub fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.start == self.start && !matches!(stat.state, b'Z' | b'X'))
    }
}

/// What a process uses at this moment.
#[must_use]
pub fn usage(pid: u32) -> Option<Usage> {
    let stat = stat(pid)?;
    let memory = stat.pages.saturating_mul(page_size() as u64);
    let cpu = Duration::from_secs_f64(stat.ticks as f64 / clock_ticks_per_second() as f64);
    Some(Usage { memory, cpu })
}

/// The processes whose environment has this variable with this value.
#[must_use]
pub fn marked(variable: &str, value: &str) -> Vec<u32> {
    let mark = format!("{variable}={value}");
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has_mark = |pid: &u32| {
        // Others' environments cannot be read: they are not ours.
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
    };
    pids.filter(|pid| *pid != std::process::id()).filter(has_mark).collect()
}

/// Kills all that are marked so, and whatever they start meanwhile. How many there were.
pub fn kill_marked(variable: &str, value: &str) -> usize {
    let mut killed = 0;
    for _ in 0..KILL_ROUNDS_MAX {
        let pids = marked(variable, value);
        let alive: Vec<_> =
            pids.iter().filter_map(|pid| Identity::of(*pid)).filter(|one| one.is_alive()).collect();
        if alive.is_empty() {
            break;
        }
        for one in alive {
            if let Some(pid) = i32::try_from(one.pid).ok().and_then(Pid::from_raw) {
                killed += usize::from(kill_process(pid, Signal::KILL).is_ok());
            }
        }
    }
    killed
}

/// How often one looks for what was started while the others were killed.
const KILL_ROUNDS_MAX: usize = 8;

struct Stat {
    state: u8,
    ticks: u64,
    start: u64,
    pages: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// proc(5): the name, which may hold anything, is in parentheses; fields are counted from 3 after it.
fn parse(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<_> = rest.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        ticks: number(14)? + number(15)?,
        start: number(22)?,
        pages: number(24)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself() {
        let me = Identity::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(!Identity { start: me.start + 1, ..me }.is_alive());
        assert!(usage(me.pid).unwrap().memory > 100_000);
        assert_eq!(Identity::of(u32::MAX), None);
    }

    #[test]
    fn a_name_with_parentheses_is_no_field() {
        let stat = parse(
            "7 (a) b) R 1 7 7 0 -1 4194304 9 0 0 0 12 3 0 0 20 0 1 0 4711 1000 250 18446744073709551615 1",
        );
        let stat = stat.unwrap();
        assert_eq!((stat.state, stat.ticks, stat.start, stat.pages), (b'R', 15, 4711, 250));
        for wrong in ["", "7", "7 (a)", "7 (a) R 1"] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn whoever_is_marked_is_found_and_killed() {
        let mark = crate::config::random_tag();
        let mut child =
            std::process::Command::new("sleep").arg("100").env("SOCKEYE_TEST_MARK", &mark).spawn().unwrap();
        // The environment is there once the program is.
        while marked("SOCKEYE_TEST_MARK", &mark).is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(marked("SOCKEYE_TEST_MARK", &mark), [child.id()]);
        assert!(kill_marked("SOCKEYE_TEST_MARK", &mark) >= 1);
        assert!(!child.wait().unwrap().success());
    }
}
