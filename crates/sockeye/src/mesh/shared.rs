//! What the handles and the tasks of a mesh share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};
use sockeye_cluster::mesh::Spoken;
use sockeye_cluster::node::{Output, Question};
use sockeye_cluster::recovery::Sightings;
use sockeye_cluster::{Flags, Uid};
use sockeye_proto::sid::Tag;
use sockeye_relay::Address;
use tokio::sync::Notify;

use super::machines::{Machines, now};
use super::turn::{Chore, Delivery, Missed, Stats, Turn};

/// Hears what the others want done here, and who comes and goes. It is called from several tasks and must not block.
///
/// Messages of one member come in its order. `PeerJoined` and `PeerLeft` come in order among themselves, but a member's first
/// message may overtake its `PeerJoined`.
pub(crate) type Sink = Arc<dyn Fn(Output) + Send + Sync>;

/// Hears what is to be answered here, in order with what the sink hears; it must not block either. Answers go to
/// [`Mesh::answer`](super::Mesh::answer), at once or later.
pub(crate) type Answerer = Arc<dyn Fn(Question) + Send + Sync>;

/// Hears what is said about sessions, in order with what the sink hears; it must not block either.
pub(crate) type Keeper = Arc<dyn Fn(Kept) + Send + Sync>;

/// Hears what has not got through; called by a task of its own, and must not block for long.
pub(crate) type Reporter = Box<dyn Fn(Missed) + Send + Sync>;

/// What concerns sessions.
pub(crate) enum Kept {
    /// A member said something.
    Heard(Box<Spoken>),
    /// A connection to a member has begun: it wants to know which sessions are here.
    Greeted(Tag),
}

/// The machines, and what is looked at without them.
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) sink: Sink,
    pub(super) answerer: OnceLock<Answerer>,
    pub(super) keeper: OnceLock<Keeper>,
    pub(super) reporter: OnceLock<Reporter>,
    /// What was seen of the events of all, where sessions are kept.
    pub(super) sightings: Option<Arc<RwLock<Sightings>>>,
    /// Rings when the membership's task has something to look at.
    pub(super) bell: Notify,
    machines: Mutex<Machines>,
    /// A copy of the node's directory, for those who must not wait for an encode.
    owners: RwLock<BTreeMap<Tag, Address>>,
    has_peers: AtomicBool,
}

impl Shared {
    pub(super) fn new(dir: &Path, sink: Sink, machines: Machines) -> Self {
        Self {
            dir: dir.to_owned(),
            sink,
            answerer: OnceLock::new(),
            keeper: OnceLock::new(),
            reporter: OnceLock::new(),
            sightings: machines.sightings(),
            bell: Notify::new(),
            machines: Mutex::new(machines),
            owners: RwLock::default(),
            has_peers: AtomicBool::new(false),
        }
    }

    /// Lets the caller tell the machines something, and does what follows as far as it can be done at once. What is for the caller
    /// is returned; what is for the membership's task is rung for.
    pub(super) fn turn<R>(&self, tell: impl FnOnce(&mut Machines) -> R) -> (R, Turn) {
        let (told, turn) = {
            let mut machines = self.machines.lock();
            let told = tell(&mut machines);
            let turn = machines.settle();
            if turn.peers_changed {
                self.copy_peers(&machines);
            }
            (told, turn)
        };
        if turn.alarm {
            self.bell.notify_one();
        }
        (told, turn)
    }

    /// Does what a turn left to be done here. Without somebody who answers, an event that wants acks is still an event, and
    /// who asks is told by its timeout.
    pub(super) fn deliver(&self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            match (delivery, self.answerer.get()) {
                (Delivery::Act(output), _) => self.act(output),
                (Delivery::Marked(tag, number), _) => {
                    self.turn(|machines| machines.marked(tag, number));
                }
                (Delivery::Heard(spoken), _) => self.keep(Kept::Heard(Box::new(spoken))),
                (Delivery::Answer(question), Some(answerer)) => answerer(question),
                (
                    Delivery::Answer(Question::DeliverWithAck { nsp, selector, flags, packet, asker: _ }),
                    None,
                ) => (self.sink)(Output::Deliver { nsp, selector, flags, packet }),
                (Delivery::Answer(Question::FetchSockets { .. } | Question::ServerSideEmit { .. }), None) => {
                }
            }
        }
    }

    /// Has something done. An event with a place is seen once that is done.
    fn act(&self, output: Output) {
        let at = match &output {
            Output::Deliver { flags: Flags { at, .. }, .. } => *at,
            Output::Join { .. }
            | Output::Leave { .. }
            | Output::Disconnect { .. }
            | Output::PeerJoined(_)
            | Output::PeerLeft(_)
            | Output::Publish(_)
            | Output::Send { .. } => None,
        };
        let (Some(at), Some(sightings)) = (at, &self.sightings) else { return (self.sink)(output) };
        let (comes, lost) = {
            let mut sightings = sightings.write();
            let before = sightings.lost();
            (sightings.handle_coming(at, now()), sightings.lost() - before)
        };
        if lost > 0 {
            self.turn(|machines| machines.missed(at.tag, lost));
        }
        if comes {
            (self.sink)(output);
            sightings.write().handle_delivered(at);
        }
    }

    pub(super) fn report(&self, missed: Missed) {
        if let Some(reporter) = self.reporter.get() {
            reporter(missed);
        }
    }

    pub(super) fn keep(&self, kept: Kept) {
        if let Some(keeper) = self.keeper.get() {
            keeper(kept);
        }
    }

    pub(super) fn uid(&self) -> Uid {
        self.machines.lock().node.uid().clone()
    }

    pub(super) fn next_chore(&self) -> Option<Chore> {
        self.machines.lock().next_chore()
    }

    pub(super) fn due(&self) -> Option<tokio::time::Instant> {
        self.machines.lock().due().map(Into::into)
    }

    pub(super) fn stats(&self) -> Stats {
        self.machines.lock().stats()
    }

    pub(super) fn owner(&self, tag: Tag) -> Option<Address> {
        self.owners.read().get(&tag).cloned()
    }

    pub(super) fn has_peers(&self) -> bool {
        self.has_peers.load(Ordering::Relaxed)
    }

    fn copy_peers(&self, machines: &Machines) {
        let peers = machines.node.peers();
        let owners = peers.iter().filter_map(|peer| Some((peer.tag?, relay_address(peer.http.clone()?))));
        *self.owners.write() = owners.collect();
        self.has_peers.store(!peers.is_empty(), Ordering::Relaxed);
    }
}

fn relay_address(address: sockeye_cluster::Address) -> Address {
    match address {
        sockeye_cluster::Address::Unix(path) => Address::Unix(path),
        sockeye_cluster::Address::Tcp(address) => Address::Tcp(address),
    }
}
