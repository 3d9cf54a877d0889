//! What reading a file asks of the world, told by whoever reads it.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use sockeye_edge::config::{Certificate, Endpoint};
use sockeye_supervisor::AppSpec;

/// Resolves a name and a port; the error is one line.
pub type Resolve<'a> = &'a dyn Fn(&str, u16) -> Result<Vec<SocketAddr>, String>;

/// Something of this machine that a file names.
#[derive(Clone, Copy, Debug)]
pub enum Thing<'a> {
    /// A certificate with its key.
    Certificate(&'a Certificate),
    /// A file that holds a token.
    Token(&'a Path),
    /// A file that is appended to, and may not be there yet.
    Log(&'a Path),
    /// A Unix socket at which somebody is about to listen.
    Socket(&'a Path),
    /// A directory whose files are served.
    Directory(&'a Path),
    /// A file that is read again and again, and may come later.
    Watched(&'a Path),
    /// A program that is about to run.
    App {
        /// Its name.
        name: &'a str,
        /// What is said of it.
        spec: &'a AppSpec,
    },
}

/// Why something that a file names cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key, of several that were asked about, that is wrong: `key` of a certificate, `cron` of an app.
    pub key: String,
    /// What is wrong, and the fix, in a line.
    pub message: String,
}

/// Looks whether something can be used, and does nothing with it.
pub type Look<'a> = &'a dyn Fn(&Thing<'_>) -> Result<(), Fault>;

/// The world, as far as it decides what a file means.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The directory from which paths in the file are meant.
    pub base: &'a Path,
    /// How many cores there are, for apps that run one worker on each.
    pub cores: NonZeroUsize,
    /// Resolves the names of servers.
    pub resolve: Resolve<'a>,
    /// Looks at what the file names; [`unseen`] where that is somebody else's to find out.
    pub look: Look<'a>,
}

/// Takes everything as good.
///
/// # Errors
///
/// Never.
pub fn unseen(_: &Thing<'_>) -> Result<(), Fault> {
    Ok(())
}

impl Facts<'_> {
    /// A path that the file names.
    pub(crate) fn path(&self, text: &str) -> PathBuf {
        self.base.join(text)
    }

    /// Whether somebody can listen there, as far as that can be told before.
    pub(crate) fn takes(&self, at: &Endpoint) -> Result<(), String> {
        match at {
            Endpoint::Unix(path) => (self.look)(&Thing::Socket(path)).map_err(|fault| fault.message),
            Endpoint::Tcp(_) => Ok(()),
        }
    }
}

/// Reads a path.
pub(crate) fn is_path(text: &str) -> Option<String> {
    (!text.is_empty() && !text.contains('\0')).then(|| text.to_owned())
}
