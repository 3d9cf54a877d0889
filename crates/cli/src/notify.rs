//! What a service manager is told, and keeps for this program: sd_notify(3), its store of descriptors, its watchdog. Where none asks, nothing happens.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketType,
    sendmsg_addr, socket,
};

/// The variables of this protocol: of one process, and of none that it starts.
pub(crate) const VARIABLES: [&str; 7] = [
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "SOCKEYE_PASSED_FIRST",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
];

/// Whether a service manager started this program and wants to hear of it.
pub(crate) fn is_heard() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Says that this program is ready.
pub(crate) fn ready() {
    say("READY=1", None);
}

/// Says that this program ends.
pub(crate) fn stopping() {
    say("STOPPING=1", None);
}

/// Has a descriptor kept until the service is stopped: the next process of this service gets it by that name.
pub(crate) fn store(name: &str, descriptor: &impl AsFd) {
    say(&format!("FDSTORE=1\nFDNAME={name}"), Some(descriptor.as_fd()));
}

/// Has what was kept by that name closed.
pub(crate) fn forget(name: &str) {
    say(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), None);
}

/// Says again and again that this program lives, where that is asked for: each time half of the time is over. Ends when it is dropped.
pub(crate) async fn live() {
    let Some(period) = watchdog(|name| std::env::var(name).ok(), std::process::id()) else { return };
    let mut ticks = tokio::time::interval(period / 2);
    loop {
        ticks.tick().await;
        say("WATCHDOG=1", None);
    }
}

/// Within which time a service manager wants to hear that this program lives: sd_watchdog_enabled(3).
fn watchdog(variable: impl Fn(&str) -> Option<String>, own: u32) -> Option<Duration> {
    let is_for_us = variable("WATCHDOG_PID").is_none_or(|pid| pid.parse() == Ok(own));
    let period = Duration::from_micros(variable("WATCHDOG_USEC")?.parse().ok()?);
    (is_for_us && !period.is_zero()).then_some(period)
}

fn say(words: &str, descriptor: Option<BorrowedFd<'_>>) {
    if let Err(error) = send(words, descriptor) {
        tracing::warn!(%error, words, "the service manager does not hear this");
    }
}

fn send(words: &str, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddrUnix::new_abstract_name(name)?,
        None => SocketAddrUnix::new(path.as_bytes())?,
    };
    let socket = socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
    let descriptors = Vec::from_iter(descriptor);
    let mut space = [const { MaybeUninit::uninit() }; rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        let pushed = control.push(SendAncillaryMessage::ScmRights(&descriptors));
        debug_assert!(pushed, "there is room for one descriptor");
    }
    sendmsg_addr(&socket, &address, &[IoSlice::new(words.as_bytes())], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_asks_the_process_that_it_names() {
        let rows: [(Option<&str>, Option<&str>, Option<u64>); 6] = [
            (None, None, None),
            (Some("2000000"), None, Some(2000)),
            (Some("2000000"), Some("7"), Some(2000)),
            (Some("2000000"), Some("8"), None),
            (Some("0"), None, None),
            (Some("soon"), None, None),
        ];
        for (micros, pid, expected) in rows {
            let variable = |name: &str| match name {
                "WATCHDOG_USEC" => micros.map(str::to_owned),
                "WATCHDOG_PID" => pid.map(str::to_owned),
                _ => None,
            };
            assert_eq!(watchdog(variable, 7), expected.map(Duration::from_millis), "{micros:?} {pid:?}");
        }
    }
}
