//! What the command knows of backplanes: nothing but whom to ask. Their clients are most of what there is to compile and to map, and few commands need one, so they are in a program
//! of their own, `sockeye-backplanes`: the same command, with them. Where one is needed this program becomes that one, with the same words.
//!
//! Absent: which backplanes there are, and what an address of theirs means.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::pin::Pin;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, anyhow, bail};
use sockeye::Adapter;

/// The program that has them, beside this one.
const PROGRAM: &str = "sockeye-backplanes";

/// An adapter that is being made.
pub type Opening = Pin<Box<dyn Future<Output = anyhow::Result<Arc<dyn Adapter>>> + Send>>;

/// The clients of backplanes, as a program that has them hands them over. No error of theirs repeats an address: it may hold a password.
#[derive(Debug, Clone, Copy)]
pub struct Backplanes {
    /// Says what is wrong with an address.
    pub check: fn(&str) -> anyhow::Result<()>,
    /// Makes the adapter of an address.
    pub open: fn(String) -> Opening,
}

static AT_HAND: OnceLock<Backplanes> = OnceLock::new();

/// Whether this program has begun to serve, and so cannot become another.
static KEPT: AtomicBool = AtomicBool::new(false);

/// From here on this program stays what it is.
pub(crate) fn keep() {
    KEPT.store(true, Ordering::Relaxed);
}

/// Has the commands use these.
pub(crate) fn bring(backplanes: Backplanes) {
    // `main` brings them once.
    let _ = AT_HAND.set(backplanes);
}

/// What is at hand; a program without them becomes the one that has them, and the error says why it cannot. To be asked before anything is read, opened or started.
pub(crate) fn at_hand() -> anyhow::Result<Backplanes> {
    if let Some(backplanes) = AT_HAND.get() {
        return Ok(*backplanes);
    }
    if KEPT.load(Ordering::Relaxed) {
        bail!("it was started without a backplane, and cannot have one while it runs: stop and start anew");
    }
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let beside = own.with_file_name(PROGRAM);
    if !beside.is_file() {
        bail!("{}", missing(&beside));
    }
    let mut words = std::env::args_os();
    words.next();
    let error = Command::new(&beside).args(words).exec();
    Err(anyhow!("cannot run {}: {error}", beside.display()))
}

fn missing(beside: &Path) -> String {
    format!(
        "a backplane needs the program {PROGRAM} beside this one, and there is no {}: build it with cargo build --release -p {PROGRAM}, or install it with cargo install --path crates/backplanes",
        beside.display()
    )
}
