//! System calls without a safe wrapper, each behind a safe function: the only crate of the house with `unsafe`. A call is here because a measurement demands it, or a protocol that can be spoken in no other way; its file says which.
//!
//! Absent: what has a safe wrapper elsewhere (`rustix`, `tokio`), and every decision when to call.

#[cfg(target_os = "linux")]
mod pages;
#[cfg(unix)]
mod passed;

/// Gives back the memory that holds unmodified pages of this process' files: code that has run, above all. What runs again is mapped again, at the price of a soft page fault for 16 pages, while it is in the system's
/// cache. Returns how many bytes were looked at; 0 where the system is not Linux or does not show its mappings.
///
/// A program that has started keeps the pages of all that ran once: of a small server they are two thirds of its resident memory, since the kernel maps 64 KiB around each page that is touched.
pub fn release_unmodified_pages() -> usize {
    #[cfg(target_os = "linux")]
    let looked_at = pages::release();
    #[cfg(not(target_os = "linux"))]
    let looked_at = 0;
    looked_at
}

/// The descriptors that a service manager passed to this process, with their names, by sd_listen_fds(3): `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES` of the environment. A program that is executed later does not inherit
/// them. They are given out once; where none were passed there are none.
///
/// To be called first thing: a program that closes descriptors it does not own, and opens others in their place, would find those here.
#[cfg(unix)]
pub fn passed_descriptors() -> Vec<(String, std::os::fd::OwnedFd)> {
    passed::take(|name| std::env::var(name).ok())
}

/// The variables by which a process that is about to execute another program passes that one a descriptor by a name. Whoever does so lets go of `FD_CLOEXEC` itself.
#[cfg(unix)]
pub fn pass_descriptor(name: &str, descriptor: std::os::fd::BorrowedFd<'_>) -> [(&'static str, String); 4] {
    use std::os::fd::AsRawFd;
    [
        ("LISTEN_PID", std::process::id().to_string()),
        ("LISTEN_FDS", "1".to_owned()),
        ("LISTEN_FDNAMES", name.to_owned()),
        (passed::FIRST_VARIABLE, descriptor.as_raw_fd().to_string()),
    ]
}
