//! What reading a file asks of the world, told by whoever reads it.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Resolves a name and a port; the error is one line.
pub type Resolve<'a> = &'a dyn Fn(&str, u16) -> Result<Vec<SocketAddr>, String>;

/// The world, as far as it decides what a file means.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The directory from which paths in the file are meant.
    pub base: &'a Path,
    /// How many cores there are, for apps that run one worker on each.
    pub cores: NonZeroUsize,
    /// Resolves the names of servers.
    pub resolve: Resolve<'a>,
}

impl Facts<'_> {
    /// A path that the file names.
    pub(crate) fn path(&self, text: &str) -> PathBuf {
        self.base.join(text)
    }
}

/// Reads a path.
pub(crate) fn is_path(text: &str) -> Option<String> {
    (!text.is_empty() && !text.contains('\0')).then(|| text.to_owned())
}
