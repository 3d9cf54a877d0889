//! Follows the directory of a cluster for a group of the edge: nodes that come and go need no configuration.
//!
//! Where the backplane cannot be reached the last list stays, and it is tried again.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use sockeye::{Neighbour, NeighbourAddress, NodeSockets, Observer};
use sockeye_edge::Control;
use sockeye_edge::config::{Config, Endpoint, Server, ServerState};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tracing::warn;

use crate::board::directories;
use crate::{backplane, exit};

/// The pause before a backplane that cannot be reached is tried again; it doubles up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Those who follow, by their groups and the addresses of their backplanes.
pub(super) struct Followers {
    control: Control,
    /// Whether nodes of other machines know this one.
    is_known: bool,
    tasks: BTreeMap<(String, String), Follower>,
}

struct Follower {
    task: JoinHandle<()>,
    leave: Arc<Notify>,
}

impl Followers {
    pub(super) fn new(control: Control, is_known: bool) -> Self {
        Self { control, is_known, tasks: BTreeMap::new() }
    }

    /// Follows for the groups of a configuration, and for no others.
    pub(super) fn follow(&mut self, edge: &Config) {
        let wanted: Vec<(String, String)> = directories(edge).collect();
        for key in &wanted {
            if !self.tasks.contains_key(key) {
                let leave = Arc::new(Notify::new());
                let (group, url) = key.clone();
                // Ends by `leave`, or with this value.
                let task = tokio::spawn(Box::pin(follow(
                    self.control.clone(),
                    self.is_known,
                    group,
                    url,
                    Arc::clone(&leave),
                )));
                self.tasks.insert(key.clone(), Follower { task, leave });
            }
        }
        let (kept, gone) =
            std::mem::take(&mut self.tasks).into_iter().partition(|(key, _)| wanted.contains(key));
        self.tasks = kept;
        let gone: BTreeMap<_, Follower> = gone;
        for follower in gone.into_values() {
            follower.leave.notify_one();
        }
    }

    /// Ends, with a goodbye to each backplane.
    pub(super) async fn leave(self) {
        let mut leaving = JoinSet::new();
        for follower in self.tasks.into_values() {
            follower.leave.notify_one();
            leaving.spawn(follower.task);
        }
        leaving.join_all().await;
    }
}

async fn follow(control: Control, is_known: bool, group: String, url: String, leave: Arc<Notify>) {
    let mut pause = PAUSE_MIN;
    loop {
        let joined = tokio::select! {
            joined = join(&url) => joined,
            () = leave.notified() => return,
        };
        match joined {
            Ok(mut observer) => {
                let mut told = is_known;
                loop {
                    let nodes = observer.nodes();
                    let links = || nodes.iter().any(|node| matches!(node.at, NeighbourAddress::Link(_)));
                    if !std::mem::replace(&mut told, true) && links() {
                        exit::complain(
                            exit::FAILED,
                            &format!(
                                "upstream.{group}.directory: nodes of other machines let in whom they know: set SOCKEYE_NODE_SECRET as they have it, or the certificates of [cluster]"
                            ),
                        );
                    }
                    let loads: Vec<_> = nodes.iter().map(|node| (node.tag, node.sessions)).collect();
                    let nodes = nodes.into_iter().map(server).collect();
                    let told = control.directory(&group, nodes).and_then(|()| control.loads(&group, &loads));
                    if let Err(error) = told {
                        warn!(%error, "the directory is followed for nobody");
                    }
                    tokio::select! {
                        () = observer.changed() => {}
                        () = leave.notified() => break,
                    }
                }
                return observer.leave().await;
            }
            Err(error) => {
                exit::complain(
                    exit::FAILED,
                    &format!("upstream.{group}.directory: {error:#}; it is tried again in {pause:?}"),
                );
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
            () = leave.notified() => return,
        }
    }
}

async fn join(url: &str) -> anyhow::Result<Observer> {
    let adapter = (backplane::at_hand()?.open)(url.to_owned()).await?;
    Observer::join(adapter, &NodeSockets::User).await.context("cannot see the cluster's nodes")
}

/// A node as the edge knows servers.
fn server(node: Neighbour) -> (sockeye_proto::Tag, Server) {
    let at = match node.at {
        NeighbourAddress::Socket(path) => Endpoint::Unix(path),
        NeighbourAddress::Link(address) => Endpoint::Tcp(address),
    };
    let server = Server {
        name: node.tag.to_string(),
        at,
        weight: NonZero::<u16>::MIN,
        sessions_max: None,
        tag: Some(node.tag),
        state: ServerState::Up,
    };
    (node.tag, server)
}
