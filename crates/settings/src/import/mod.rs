//! Configurations of nginx, HAProxy and Apache, turned into a file of ours, with a note for each line that has no counterpart.
//!
//! Meant for the parts that concern Socket.IO. Absent: includes, variables of one's own, and everything that is no balancer's.

mod apache;
mod draft;
mod haproxy;
mod imported;
mod nginx;
mod virtual_host;

pub use imported::{Imported, Note};

/// Whose configuration it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// nginx.
    Nginx,
    /// HAProxy.
    HaProxy,
    /// Apache httpd.
    Apache,
}

impl Kind {
    /// Whose it looks like.
    #[must_use]
    pub fn guess(text: &str) -> Option<Self> {
        let lines = || text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        let begins = |words: &[&str]| {
            lines().any(|line| words.contains(&line.split_whitespace().next().unwrap_or_default()))
        };
        if lines().any(|line| line.starts_with('<'))
            || begins(&["BalancerMember", "ProxyPass", "RewriteRule"])
        {
            Some(Self::Apache)
        } else if lines().any(|line| line.ends_with(['{', ';'])) {
            Some(Self::Nginx)
        } else if begins(&["frontend", "backend", "listen", "defaults", "bind"]) {
            Some(Self::HaProxy)
        } else {
            None
        }
    }
}

/// Turns a configuration into a file of ours.
#[must_use]
pub fn import(kind: Kind, text: &str) -> Imported {
    let draft = match kind {
        Kind::Nginx => nginx::read(text),
        Kind::HaProxy => haproxy::read(text),
        Kind::Apache => apache::read(text),
    };
    draft.finish()
}
