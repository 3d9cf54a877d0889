//! The runtime of a process: its threads, and as many open files as the system allows.

use std::io;
use std::num::NonZeroUsize;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};

/// Makes a runtime of that many threads; one runs on the caller's.
pub(crate) fn build(threads: NonZeroUsize) -> io::Result<Runtime> {
    raise_open_files();
    let mut builder = if threads == NonZeroUsize::MIN {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    builder.worker_threads(threads.get()).enable_all().build()
}

/// A client costs a descriptor, and shells begin with a soft limit of 1024.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, ?limit, "the limit of open files stays low");
    }
}
