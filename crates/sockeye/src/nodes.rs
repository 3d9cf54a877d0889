//! Drives the directory of nodes: one channel of the adapter, one task, and a table that requests look into.
//!
//! What is said and what it means is decided in `sockeye_cluster::directory`. The task publishes and keeps the time; what comes in is
//! taken on the adapter's tasks. They meet in one small lock, under which nothing waits.

use crate::clock::{now, until};
use crate::nearby::{Neighbour, NeighbourAddress};
use parking_lot::Mutex;
use sockeye_cluster::adapter::{Adapter, AdapterError, Arrival, Channel, Letter, Opening, Presence};
use sockeye_cluster::directory::{Directory, Entry, NODES, Output};
use sockeye_cluster::{Nsp, Uid};
use sockeye_proto::sid::Tag;
use sockeye_relay::Address;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

/// How long leaving waits until the goodbye is out. Without it the others know when the lease has run out.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// The other nodes of the backplane. A clone is the same; with the last one the task ends.
#[derive(Clone)]
pub(crate) struct Nodes(Arc<Own>, watch::Receiver<u64>);

struct Own {
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    directory: Mutex<Directory>,
    /// Rings when there is something to look at.
    bell: Notify,
    /// Whether it may draw another tag.
    draws: bool,
    phase: watch::Sender<Phase>,
    /// How often somebody has come or gone, or has another number of sessions.
    turns: watch::Sender<u64>,
    /// Tells how many sessions there are here.
    load: OnceLock<Box<dyn Fn() -> u32 + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Settling,
    Settled,
    /// Another node has the tag that was given.
    Taken,
    Leaving,
    Left,
}

impl Nodes {
    /// Announces this node, which takes requests of others at a socket in the directory of that name, or at an address, under the tag that it was
    /// given, or one that it draws. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The backplane cannot be reached, or refuses.
    pub(crate) async fn join(
        adapter: Arc<dyn Adapter>,
        near: Option<(&str, &Path)>,
        tcp: Option<SocketAddr>,
        given: Option<Tag>,
    ) -> Result<Self, AdapterError> {
        let uid = Uid::from(format!("{:016x}", rand::random::<u64>()));
        // Without a socket it is on no machine but its own.
        let machine = near.map_or(uid.as_str(), |(place, _)| place).into();
        let unix = near.map(|(_, path)| path.to_owned());
        let entry = Entry { tag: given.unwrap_or_else(draw), machine, unix, tcp, load: 0 };
        Self::enter(adapter, uid, entry, given.is_none()).await
    }

    /// Takes a place among the nodes without taking requests: to see who is there. `place` is what the directory of this machine's sockets is called.
    ///
    /// # Errors
    /// As [`Nodes::join`].
    pub(crate) async fn watch(
        adapter: Arc<dyn Adapter>,
        place: Option<Box<str>>,
    ) -> Result<Self, AdapterError> {
        let uid = Uid::from(format!("{:016x}", rand::random::<u64>()));
        let machine = place.unwrap_or_else(|| uid.as_str().into());
        let entry = Entry { tag: draw(), machine, unix: None, tcp: None, load: 0 };
        Self::enter(adapter, uid, entry, true).await
    }

    async fn enter(
        adapter: Arc<dyn Adapter>,
        uid: Uid,
        entry: Entry,
        draws: bool,
    ) -> Result<Self, AdapterError> {
        let shared = Arc::new(Shared {
            directory: Mutex::new(Directory::new(uid.clone(), entry)),
            bell: Notify::new(),
            draws,
            phase: watch::Sender::new(Phase::Settling),
            turns: watch::Sender::new(0),
            load: OnceLock::new(),
        });
        let hears = Arc::clone(&shared);
        let inbox = Arc::new(move |arrival| hears.arrived(arrival));
        let channel = adapter.open(Opening { nsp: Nsp::new(NODES), uid, inbox }).await?;
        shared.tell(|directory| directory.handle_start(now()));
        let counted = adapter.traits().presence == Presence::Counted;
        // Aborted with the last handle.
        let task = tokio::spawn(run(Arc::clone(&shared), channel, counted)).abort_handle();
        let turns = shared.turns.subscribe();
        Ok(Self(Arc::new(Own { shared, task }), turns))
    }

    /// Where the living node that issued the sids with this tag takes requests.
    pub(crate) fn owner(&self, tag: Tag) -> Option<Address> {
        let directory = self.0.shared.directory.lock();
        Some(match directory.owner(tag)? {
            sockeye_cluster::Address::Tcp(address) => Address::Node(*address),
            sockeye_cluster::Address::Unix(path) => Address::Unix(path.clone()),
        })
    }

    /// The other nodes that can be reached, by their tags.
    pub(crate) fn neighbours(&self) -> Vec<Neighbour> {
        let directory = self.0.shared.directory.lock();
        let reached = directory.iter().filter_map(|peer| {
            let tag = peer.tag?;
            let at = match directory.owner(tag)? {
                sockeye_cluster::Address::Tcp(address) => NeighbourAddress::Link(*address),
                sockeye_cluster::Address::Unix(path) => NeighbourAddress::Socket(path.clone()),
            };
            Some(Neighbour { tag, at, sessions: directory.load(tag).unwrap_or(0) })
        });
        let mut all: Vec<Neighbour> = reached.collect();
        all.sort_unstable_by_key(|node| node.tag);
        all.dedup_by_key(|node| node.tag);
        all
    }

    /// Others hear how many sessions there are here, whenever they hear of this node.
    pub(crate) fn tell(&self, load: impl Fn() -> u32 + Send + Sync + 'static) {
        // Set once.
        drop(self.0.shared.load.set(Box::new(load)));
    }

    /// Waits until somebody has come or gone, or has another number of sessions, since it was last called.
    pub(crate) async fn changed(&mut self) {
        // The sender is here.
        drop(self.1.changed().await);
    }

    /// The tag of this node; it is its own once it is settled.
    pub(crate) fn tag(&self) -> Tag {
        self.0.shared.directory.lock().tag()
    }

    /// Whether another node has the tag that this one was given.
    pub(crate) fn is_taken(&self) -> bool {
        *self.0.shared.phase.borrow() == Phase::Taken
    }

    /// Waits until every node that is known knows this one, or is too slow (1 s).
    pub(crate) async fn settled(&self) {
        self.reached(|phase| phase != Phase::Settling).await;
    }

    /// Says goodbye.
    pub(crate) async fn leave(&self) {
        self.0.shared.phase.send_replace(Phase::Leaving);
        self.0.shared.tell(Directory::handle_close);
        drop(tokio::time::timeout(LEAVE_TIMEOUT, self.reached(|phase| phase == Phase::Left)).await);
    }

    async fn reached(&self, there: impl Fn(Phase) -> bool) {
        // The sender is here.
        drop(self.0.shared.phase.subscribe().wait_for(|phase| there(*phase)).await);
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn tell(&self, tell: impl FnOnce(&mut Directory)) {
        tell(&mut self.directory.lock());
        self.bell.notify_one();
    }

    fn arrived(&self, arrival: Arrival) {
        match arrival {
            Arrival::Message { envelope, offset: _ } => {
                let mut turned = false;
                self.tell(|directory| {
                    let before = directory.stats().loads;
                    directory.handle_envelope(envelope, now());
                    turned = directory.stats().loads != before;
                });
                if turned {
                    self.turns.send_modify(|turns| *turns += 1);
                }
            }
            // What nodes say is not kept on any backplane.
            Arrival::Resumed { whole: _ } => self.tell(|directory| directory.handle_resumed(now())),
            Arrival::Malformed => {}
        }
    }

    /// What is to be published.
    fn letters(&self) -> Vec<Letter> {
        let mut directory = self.directory.lock();
        let mut letters = Vec::new();
        while let Some(output) = directory.poll_output() {
            match output {
                Output::Send(letter) => letters.push(letter),
                Output::Joined(peer) => {
                    tracing::info!(?peer, "a node is there");
                    self.turns.send_modify(|turns| *turns += 1);
                }
                Output::Left(peer) => {
                    tracing::info!(?peer, "a node is gone");
                    self.turns.send_modify(|turns| *turns += 1);
                }
                Output::TagTaken(_) if !self.draws => {
                    self.phase.send_replace(Phase::Taken);
                }
                Output::TagTaken(tag) => {
                    tracing::info!(%tag, "another node has this tag: another is drawn");
                    directory.handle_tag(draw(), now());
                }
                Output::Settled => {
                    self.phase.send_if_modified(|phase| {
                        let settling = *phase == Phase::Settling;
                        if settling {
                            *phase = Phase::Settled;
                        }
                        settling
                    });
                }
            }
        }
        letters
    }
}

async fn run(shared: Arc<Shared>, channel: Arc<dyn Channel>, mut counted: bool) {
    loop {
        let letters = shared.letters();
        if !letters.is_empty() {
            let results = channel.publish(letters).await;
            let published = results.iter().all(Result::is_ok);
            shared.tell(|directory| directory.handle_published(published, now()));
            continue;
        }
        if std::mem::take(&mut counted)
            && let Ok(nodes) = channel.servers().await
        {
            shared.tell(|directory| directory.handle_nodes(nodes, now()));
            continue;
        }
        if *shared.phase.borrow() == Phase::Leaving {
            channel.close().await;
            shared.phase.send_replace(Phase::Left);
            return;
        }
        let due = shared.directory.lock().poll_timeout();
        tokio::select! {
            () = shared.bell.notified() => {}
            () = until(due) => shared.tell(|directory| {
                if let Some(load) = shared.load.get() {
                    directory.handle_load(load());
                }
                directory.handle_timeout(now());
            }),
        }
    }
}

fn draw() -> Tag {
    Tag::from_bits(rand::random())
}
