//! How many descriptors this process may hold.

use rustix::process::{Resource, getrlimit, setrlimit};
use tracing::debug;

/// Raises the soft limit to the hard one, as far as the system lets it: each client costs a descriptor, a relayed one two. Children inherit it.
pub(crate) fn raise() {
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(FILES_MAX, |hard| hard.min(FILES_MAX));
    if limit.current.is_none_or(|soft| soft >= most) {
        return;
    }
    limit.current = Some(most);
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        debug!(%error, "the limit of open files stays as it was");
    }
}

/// More than this is not asked for: there are programs that close every descriptor that they might have.
const FILES_MAX: u64 = 1 << 20;
