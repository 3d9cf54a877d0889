//! Why a configuration cannot be taken on.

use std::io;
use std::path::PathBuf;

use super::bind_error::BindError;
use super::fault::GroupFault;
use super::tls_error::TlsError;

/// Why a configuration cannot be taken on; the edge goes on as it was. Each message is one line that a person can act on.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// An address cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A listener's certificates cannot be used.
    #[error("the listener {listener:?}: {source}")]
    Tls {
        /// The listener's name.
        listener: String,
        /// What is wrong.
        source: TlsError,
    },
    /// The access log cannot be opened.
    #[error("cannot open the access log {}: {source}", path.display())]
    AccessLog {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Two of a kind have one name.
    #[error("two {kind}s are named {name:?}: give one of them another name")]
    NameTwice {
        /// `listener` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// Two listeners have one address.
    #[error("the listeners {first:?} and {second:?} have one address: leave one out")]
    AddressTwice {
        /// The name of one.
        first: String,
        /// The name of the other.
        second: String,
    },
    /// Something names a group that is not there.
    #[error("{by} names the group {group:?}, which is not there: there are {there}")]
    NoGroup {
        /// What names it.
        by: String,
        /// The group's name.
        group: String,
        /// The groups that there are.
        there: String,
    },
    /// Bytes without HTTP are to go to workers of this machine, which trust what comes by their private sockets.
    #[error(
        "the listener {0:?} carries TCP to this machine's workers: it can do so at a TCP port, without TLS and without send_proxy; else let it speak HTTP, or name a group of servers"
    )]
    TcpToWorkers(String),
    /// A site names a listener that is not there.
    #[error("the site for {path} names the listener {listener:?}, which is not there")]
    NoListener {
        /// The site's path.
        path: String,
        /// The listener's name.
        listener: String,
    },
    /// A group cannot work as it was told.
    #[error("the group {group:?}: {fault}")]
    Group {
        /// Its name.
        group: String,
        /// What is wrong with it.
        fault: GroupFault,
    },
    /// Nothing of this name is open.
    #[error("no listener is named {0:?}")]
    NotOpen(String),
}
