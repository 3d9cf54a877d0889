//! What is asked for, by host and path, and what answers.

use std::path::PathBuf;

use super::listener::Redirect;

/// A rule: requests for these hosts, below this path, are answered so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Listeners by name; empty: all.
    pub listeners: Vec<String>,
    /// Hosts without their ports, in lower case; `*.example.com` is any name below; empty: all.
    pub hosts: Vec<String>,
    /// The beginning of the path, ending at a `/` or at the end: `/app` is `/app` and `/app/x`, but not `/apple`. Default `/`.
    pub path: String,
    /// Only upgrades to a WebSocket, or only what is none. Default: both.
    pub upgrade: Option<bool>,
    /// What answers.
    pub does: Does,
}

impl Site {
    /// Everything to one group.
    #[must_use]
    pub fn everything(group: &str) -> Self {
        Self {
            listeners: Vec::new(),
            hosts: Vec::new(),
            path: "/".to_owned(),
            upgrade: None,
            does: Does::Relay { group: group.to_owned() },
        }
    }
}

/// What answers a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Does {
    /// A server of a group.
    Relay {
        /// The group's name.
        group: String,
    },
    /// A file below a directory; what is no file goes to the group, if one is named, and is a 404 otherwise.
    Files {
        /// The directory.
        root: PathBuf,
        /// The group's name.
        group: Option<String>,
    },
    /// Another address.
    Redirect(Redirect),
    /// `GET` and `HEAD` of the edge's own health: 200 while it lives (`ready`: while somebody serves, else 503), with an empty body. The edge answers no
    /// path that it was not told to; `/health`, `/health.txt` and `/ready` before workers of ours are the exception.
    Health {
        /// Whether the groups count.
        ready: bool,
    },
}
