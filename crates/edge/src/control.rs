//! How the proxy hears of its workers, and of other configurations.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sockeye_link::{Connection, Handover};
use sockeye_proto::Tag;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::config::{self, Config, ConfigError, Endpoint, Listener, Members, Server, ServerState, Site};
use crate::group::Group;
use crate::leases::TooMany;
use crate::roster::Listed;
use crate::shared::Shared;
use crate::stats::Stats;

/// Tells a running [`Proxy`](crate::Proxy) what to do and which workers there are. Cheap to clone; no call waits.
#[derive(Clone)]
pub struct Control {
    pub(crate) shared: Arc<Shared>,
    pub(crate) returns: mpsc::Sender<Connection>,
}

impl Control {
    /// A worker of a group is ready: it takes connections by `handover` and requests at the Unix socket `http`.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn add(&self, group: &str, tag: Tag, instance: u32, http: PathBuf, handover: Handover) {
        self.shared.group_of_workers(group).add_worker(tag, instance, http, handover);
        info!(group, %tag, instance, "worker added");
    }

    /// A worker told its counts.
    pub fn load(&self, tag: Tag, sessions: u32, arrived: u64) {
        if let Some(workers) = self.shared.workers.of(tag) {
            workers.load(tag, sessions, arrived);
        }
    }

    /// A worker takes no more sessions. Requests of those it has still reach it.
    pub fn drain(&self, tag: Tag) {
        if let Some(workers) = self.shared.workers.of(tag) {
            workers.drain(tag);
            info!(%tag, "worker drains");
        }
    }

    /// A worker is about to be replaced: others get new sessions, where there are any that take them. Or it is not any more: it takes part as all do.
    pub fn wane(&self, tag: Tag, waning: bool) {
        if let Some(workers) = self.shared.workers.of(tag) {
            workers.wane(tag, waning);
        }
    }

    /// A worker is gone: its sids get the official 400 from here on.
    pub fn remove(&self, tag: Tag) {
        if let Some(door) = self.shared.workers.of(tag).and_then(|workers| workers.remove(tag)) {
            self.shared.relay.forget(door.upstream.address());
            info!(%tag, instance = door.instance, "worker removed");
        }
    }

    /// A connection that was handed over came back unserved: it is assigned anew.
    pub fn returned(&self, connection: Connection) {
        self.shared.counters.returned.add();
        if let Err(lost) = self.returns.try_send(connection) {
            let (mpsc::error::TrySendError::Full(lost) | mpsc::error::TrySendError::Closed(lost)) = lost;
            warn!(peer = %lost.peer, "returned connection closed: too many wait, or the edge has ended");
        }
    }

    /// Replaces the configuration without closing one connection. Addresses that stay are kept open and the others opened first; those that are not named
    /// stop accepting. Connections keep the terms they came under, their next requests find the new sites and groups. Certificates are read anew. What was
    /// opened by [`Control::listen`] stays. The limits towards upstreams and [`Limits::returned_max`](crate::Limits) are those of the start.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] says in one line what is wrong; all is as it was.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn apply(&self, config: Config) -> Result<(), ConfigError> {
        self.shared.apply(config)?;
        info!("configuration applied");
        Ok(())
    }

    /// Replaces groups and sites alone: nothing is opened, closed or read. Who serves in a group that stays goes on to serve.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] says in one line what is wrong; all is as it was.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn regroup(&self, groups: Vec<config::Group>, sites: Vec<Site>) -> Result<(), ConfigError> {
        self.shared.regroup(groups, sites)
    }

    /// Opens one more address beside the configuration, and says where it is.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the name or the address is taken, or nothing can be opened there.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn listen(&self, listener: Listener) -> Result<Endpoint, ConfigError> {
        let name = listener.name.clone();
        let at = self.shared.open_beside(listener)?;
        info!(name, %at, "listener opened");
        Ok(at)
    }

    /// Stops accepting at one listener, whoever opened it; its connections go on.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NotOpen`] when there is none of that name.
    pub fn unlisten(&self, name: &str) -> Result<(), ConfigError> {
        self.shared.places.close(name)?;
        info!(name, "listener closed");
        Ok(())
    }

    /// A server told how many sessions it has, and how many ever began there: from here on its word counts, and not what is seen of it.
    ///
    /// # Errors
    ///
    /// [`MemberError`] when there is no such group or server.
    pub fn report(&self, group: &str, server: &str, sessions: u32, arrived: u64) -> Result<(), MemberError> {
        if self.group(group)?.servers.report(server, sessions, arrived) {
            return Ok(());
        }
        Err(MemberError::NoServer { group: group.to_owned(), server: server.to_owned() })
    }

    /// A server registers in a group of [`Members::Registered`](crate::config::Members::Registered), or says so again before its lease ends. Without a
    /// lease of its own it gets the group's. Its state may be `drain`: that is how it says goodbye.
    ///
    /// # Errors
    ///
    /// [`MemberError`] says who is asked for that is not there, or what there is too much of.
    pub fn register(&self, group: &str, server: Server, lease: Option<Duration>) -> Result<(), MemberError> {
        let group = self.group(group)?;
        if !matches!(group.config.members, Members::Registered { .. }) {
            return Err(MemberError::NotRegistered(group.config.name.clone()));
        }
        if !crate::cookie::can_name(&server.name) {
            return Err(MemberError::Name(server.name));
        }
        Ok(group.servers.register(server, lease)?)
    }

    /// A server that registered takes its word back: it gets no new session, and is forgotten once it has none.
    ///
    /// # Errors
    ///
    /// [`MemberError`] when there is no such group or server.
    pub fn withdraw(&self, group: &str, server: &str) -> Result<(), MemberError> {
        let servers = &self.group(group)?.servers;
        if servers.withdraw(server) {
            return Ok(());
        }
        let is_there = servers.named(server).is_some();
        let (group, server) = (group.to_owned(), server.to_owned());
        Err(if is_there {
            MemberError::NeverRegistered { group, server }
        } else {
            MemberError::NoServer { group, server }
        })
    }

    /// What an operator wants of a server, until a list says otherwise or it is told again.
    ///
    /// # Errors
    ///
    /// [`MemberError`] when there is no such group or server.
    pub fn set_state(&self, group: &str, server: &str, state: ServerState) -> Result<(), MemberError> {
        if self.group(group)?.servers.want(server, state) {
            info!(group, server, ?state, "server told");
            return Ok(());
        }
        Err(MemberError::NoServer { group: group.to_owned(), server: server.to_owned() })
    }

    /// The nodes of ours in a group of [`Members::Directory`](crate::config::Members::Directory), each with its tag: this list replaces the last.
    ///
    /// # Errors
    ///
    /// [`MemberError`] when there is no such group.
    pub fn directory(&self, group: &str, nodes: Vec<(Tag, Server)>) -> Result<(), MemberError> {
        let group = self.group(group)?;
        if !matches!(group.config.members, Members::Directory { .. }) {
            return Err(MemberError::NoDirectory(group.config.name.clone()));
        }
        let nodes = nodes.into_iter().map(|(tag, server)| Listed { server, tag: Some(tag) });
        group.servers.list(nodes.collect());
        Ok(())
    }

    /// How many sessions the nodes of a group of [`Members::Directory`](crate::config::Members::Directory) say that they have in all: what other edges gave them counts in
    /// the choice as well.
    ///
    /// # Errors
    ///
    /// [`MemberError`] when there is no such group.
    pub fn loads(&self, group: &str, loads: &[(Tag, u32)]) -> Result<(), MemberError> {
        self.group(group)?.servers.handle_whole(loads);
        Ok(())
    }

    fn group(&self, name: &str) -> Result<Arc<Group>, MemberError> {
        let layout = self.shared.layout();
        layout.groups.get(name).cloned().ok_or_else(|| MemberError::NoGroup(name.to_owned()))
    }

    /// A view of the edge at this moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }
}

/// Why a word about a server means nothing here. Each message is one line that a person can act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// No group has this name.
    #[error("there is no group {0:?}")]
    NoGroup(String),
    /// No server of the group has this name.
    #[error("the group {group:?} has no server {server:?}")]
    NoServer {
        /// The group's name.
        group: String,
        /// The server's name.
        server: String,
    },
    /// It is there, but by no registration of its own.
    #[error(
        "the server {server:?} of the group {group:?} did not register, so it cannot be withdrawn: remove it where it is listed (the file, its watched list, DNS) and apply, or let it drain: POST /upstreams/{group}/{server}/drain"
    )]
    NeverRegistered {
        /// The group's name.
        group: String,
        /// The server's name.
        server: String,
    },
    /// Nobody can register there.
    #[error("the group {0:?} does not take registrations: its members come from elsewhere")]
    NotRegistered(String),
    /// The group has no directory.
    #[error("the group {0:?} is not the cluster's directory: its members come from elsewhere")]
    NoDirectory(String),
    /// The name cannot stand in a cookie.
    #[error(
        "{0:?} names no server: expected visible ASCII without quotes, commas, semicolons, backslashes and ~"
    )]
    Name(String),
    /// There are as many as may be.
    #[error(transparent)]
    TooMany(#[from] TooMany),
}
