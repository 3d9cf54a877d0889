//! System calls without a safe wrapper, each behind a safe function: the only crate of the house with `unsafe`. A call is here because a measurement demands it, and its file says which.
//!
//! Absent: what has a safe wrapper elsewhere (`rustix`, `tokio`), and every decision when to call.

#[cfg(target_os = "linux")]
mod pages;

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
