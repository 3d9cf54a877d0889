//! Where servers of one machine meet that share a backplane.

use std::path::PathBuf;

/// How servers of one machine that share a backplane ([`Config::adapter`](crate::Config::adapter)) carry requests to each other, so that
/// none of them needs sticky sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NodeSockets {
    /// In a directory of the user: `$XDG_RUNTIME_DIR/sockeye-nodes`, else `sockeye-nodes-<user id>` in the directory for temporary files. Where
    /// it cannot be had, the server says so in its log, and knows its own sessions only.
    #[default]
    User,
    /// In this directory. It is made where it is not there, and has to be this user's alone (mode 700).
    In(PathBuf),
    /// Not at all.
    Off,
}
