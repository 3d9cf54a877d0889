//! Descriptors that whoever started this process passed to it: sd_listen_fds(3).

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// SD_LISTEN_FDS_START: the first descriptor that a service manager passes.
const FIRST: RawFd = 3;

/// Where a program that executes itself anew says which is the first: it cannot put one into the place of another that it may own.
pub(crate) const FIRST_VARIABLE: &str = "SOCKEYE_PASSED_FIRST";

/// More are not taken: a service keeps a few.
const PASSED_MAX: RawFd = 64;

/// Whether they were taken: a descriptor has one owner.
static TAKEN: AtomicBool = AtomicBool::new(false);

pub(crate) fn take(variable: impl Fn(&str) -> Option<String>) -> Vec<(String, OwnedFd)> {
    let Some(count) = count(&variable, std::process::id()) else { return Vec::new() };
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Vec::new();
    }
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let number = |at| (at, names.next().unwrap_or_default().to_owned());
    let first = variable(FIRST_VARIABLE).and_then(|first| first.parse().ok()).unwrap_or(FIRST).max(FIRST);
    let passed: Vec<_> = (first..first.saturating_add(count)).map(number).collect();
    passed.into_iter().filter_map(|(at, name)| Some((name, own(at)?))).collect()
}

/// How many there are for this process.
fn count(variable: &impl Fn(&str) -> Option<String>, own: u32) -> Option<RawFd> {
    let is_for_us = variable("LISTEN_PID")?.parse() == Ok(own);
    let count: RawFd = variable("LISTEN_FDS")?.parse().ok()?;
    (is_for_us && (1..=PASSED_MAX).contains(&count)).then_some(count)
}

#[expect(
    unsafe_code,
    reason = "a number becomes an owned descriptor: nothing safe can know that nobody else owns it"
)]
fn own(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: fcntl with these words reads and writes the descriptor's flags alone, and fails where there is none of this number.
    let is_open = unsafe {
        let flags = libc::fcntl(number, libc::F_GETFD);
        flags != -1 && libc::fcntl(number, libc::F_SETFD, flags | libc::FD_CLOEXEC) != -1
    };
    // SAFETY: it is open. Whoever started this process says, by its own process id in LISTEN_PID, that these numbers were passed to it, so nothing in this process made them and owns them; TAKEN lets each be taken once.
    is_open.then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_passed_to_others_is_left() {
        let rows: [(&str, &str, Option<RawFd>); 7] = [
            ("7", "1", Some(1)),
            ("7", "64", Some(64)),
            ("8", "1", None),
            ("7", "0", None),
            ("7", "65", None),
            ("7", "-1", None),
            ("", "one", None),
        ];
        for (pid, count_said, expected) in rows {
            let variable = |name: &str| match name {
                "LISTEN_PID" => Some(pid.to_owned()),
                "LISTEN_FDS" => Some(count_said.to_owned()),
                _ => None,
            };
            assert_eq!(count(&variable, 7), expected, "{pid} {count_said}");
        }
        assert_eq!(count(&|_: &str| None, 7), None);
        assert!(take(|_| None).is_empty());
    }
}
