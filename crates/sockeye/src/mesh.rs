//! Drives this node's part in the mesh: the sockets and tasks around `sockeye_cluster`'s `Mesh` and `Node`.
//!
//! Who is a member, who is dialled again and what a frame means is decided in `sockeye_cluster`; the format stands in
//! `docs/mesh.md`. One task ([`membership`]) accepts, dials and keeps the time; each accepted connection has a task that reads
//! ([`incoming`]), each dialled one a task that writes ([`outgoing`]). They meet in one small lock ([`machines`]), under which
//! nothing waits and nobody else's code runs.

mod board;
mod door;
mod incoming;
mod line;
mod machines;
mod membership;
mod outgoing;
mod shared;
#[cfg(test)]
mod tests;
mod turn;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sockeye_cluster::mesh::{BOARD_BYTES, Hello, Help, Word};
use sockeye_cluster::recovery::{Places, Sightings};
use sockeye_cluster::{Flags, Message, Node, Nsp, Outcome, Packet, Pid, Refused, Request, Selector, Uid};
use sockeye_proto::sid::Tag;
use sockeye_relay::Address;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

pub(crate) use self::board::Board;
use self::door::Door;
use self::machines::Machines;
use self::membership::Phase;
use self::shared::Shared;
pub(crate) use self::shared::{Answerer, Keeper, Kept, Reporter, Sink};
pub(crate) use self::turn::{Missed, Stats};

/// This node among those of the machine. A clone is the same node; with the last one the node is gone from the mesh.
#[derive(Clone)]
pub(crate) struct Mesh {
    own: Arc<Own>,
}

/// What the handles share; the tasks hold [`Shared`] only, so that they end with the last handle.
struct Own {
    shared: Arc<Shared>,
    phase: watch::Receiver<Phase>,
    board: Option<Arc<Board>>,
    /// The task that owns all others.
    membership: AbortHandle,
}

impl Mesh {
    /// Binds `<dir>/<tag>.sock` (0600) and begins to join the members that are there; [`Mesh::settled`] tells when that is done.
    ///
    /// `http` is where this node takes relayed requests, unless it is a guest; `sink` hears what is to be done here. Where sessions are kept, `age_max`
    /// is how long ago the last thing is that a client can have missed. With `selects` it has a [`Board`], and hears only what that shows. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    ///
    /// Fails when the socket cannot be made, and as `AddrInUse` when a living member has this tag.
    pub(crate) fn join(
        dir: &Path,
        tag: Tag,
        http: Option<PathBuf>,
        age_max: Option<Duration>,
        selects: bool,
        sink: Sink,
    ) -> io::Result<Self> {
        let node = Node::new(format!("{:016x}", rand::random::<u64>()).into());
        let guest = http.is_none();
        let http = http.map(sockeye_cluster::Address::Unix);
        let door = Door::open(dir, tag)?;
        let board = if selects && !guest { Board::open(dir, tag).inspect_err(unshown).ok() } else { None };
        let bytes = board.as_ref().map(|_| BOARD_BYTES);
        let hello = Hello { tag, uid: node.uid().clone(), http, guest, seen: None, board: bytes };
        let members = door::members(dir)?;
        let sightings = age_max.map(|age_max| Sightings::new(tag, age_max));
        let shared = Arc::new(Shared::new(dir, sink, Machines::new(dir, hello, node, sightings)));
        shared.turn(|machines| machines.listed(members));
        let (told, phase) = watch::channel(Phase::Joining);
        let membership = tokio::spawn(membership::run(Arc::clone(&shared), door, told)).abort_handle();
        Ok(Self { own: Arc::new(Own { shared, phase, board: board.map(Arc::new), membership }) })
    }

    /// Sends a message to every other member. Never waits: a member that reads too slowly is cut off, and dialled again.
    ///
    /// Without other members it costs an atomic read.
    pub(crate) fn publish(&self, nsp: &Nsp, message: Message) {
        if self.has_peers() {
            self.own.shared.turn(|machines| machines.publish(nsp, message));
        }
    }

    /// Puts a request to all members, this one included, and returns who hears of its end; it always ends, see
    /// [`sockeye_cluster::node`]. Works alone, too. The question to this node is put to the answerer before this returns.
    ///
    /// # Errors
    ///
    /// Refuses what is too much, or cannot be sent.
    pub(crate) fn request(&self, nsp: &Nsp, request: Request) -> Result<oneshot::Receiver<Outcome>, Refused> {
        let (told, turn) = self.own.shared.turn(|machines| machines.request(nsp, request));
        self.own.shared.deliver(turn.deliveries);
        told
    }

    /// Sets who answers questions, for good. Until then nobody does.
    pub(crate) fn set_answerer(&self, answerer: Answerer) {
        // The first one stays.
        drop(self.own.shared.answerer.set(answerer));
    }

    /// Sets who hears what concerns sessions, for good. Until then nobody does.
    pub(crate) fn set_keeper(&self, keeper: Keeper) {
        // The first one stays.
        drop(self.own.shared.keeper.set(keeper));
    }

    /// Sets who hears what has not got through, for good. Until then nobody does.
    pub(crate) fn set_reporter(&self, reporter: Reporter) {
        // The first one stays.
        drop(self.own.shared.reporter.set(reporter));
    }

    /// Whether sessions are kept.
    pub(crate) fn keeps_sessions(&self) -> bool {
        self.own.shared.sightings.is_some()
    }

    /// Numbers an event and sends it to every other member; its flags tell its place then. What was seen until then, this event included.
    /// Must be called where nobody else says anything in this namespace. `None`: no sessions are kept.
    pub(crate) fn say(
        &self,
        nsp: &Nsp,
        selector: Selector,
        flags: &mut Flags,
        packet: Packet,
    ) -> Option<Places> {
        self.own.shared.turn(|machines| machines.say(nsp, selector, flags, packet)).0
    }

    /// Says something about a session to all that keep sessions.
    pub(crate) fn tell(&self, nsp: &Nsp, word: Word) {
        self.own.shared.turn(|machines| machines.tell(None, nsp, word));
    }

    /// Says something about a session to one member; how many bytes wait for it.
    pub(crate) fn tell_one(&self, to: Tag, nsp: &Nsp, word: Word) -> usize {
        self.own.shared.turn(|machines| machines.tell(Some(to), nsp, word)).0
    }

    /// Bytes that wait for a member.
    pub(crate) fn waiting(&self, tag: Tag) -> usize {
        self.own.shared.turn(|machines| machines.waiting(|other| other == tag)).0
    }

    /// Bytes that wait for the member that is furthest behind.
    pub(crate) fn waiting_most(&self) -> usize {
        self.own.shared.turn(|machines| machines.waiting(|_| true)).0
    }

    /// The member that signs like this.
    pub(crate) fn tag_of(&self, uid: &Uid) -> Option<Tag> {
        self.own.shared.turn(|machines| machines.tag_of(uid)).0
    }

    /// Asks the others for a session; who hears of the end, which comes within [`sockeye_cluster::mesh::FETCH_TIMEOUT`].
    pub(crate) fn fetch(
        &self,
        nsp: &Nsp,
        pid: Pid,
        offset: Option<Arc<str>>,
    ) -> oneshot::Receiver<Option<Help>> {
        self.own.shared.turn(|machines| machines.fetch(nsp, pid, offset)).0
    }

    /// Looks at what was seen of the events of all; `None`: no sessions are kept.
    pub(crate) fn with_sightings<R>(&self, look: impl FnOnce(&Sightings) -> R) -> Option<R> {
        self.own.shared.sightings.as_ref().map(|sightings| look(&sightings.read()))
    }

    /// Hands answers in: the node's `handle_client_count`, `handle_ack`, `handle_sockets`, `handle_value`.
    pub(crate) fn answer(&self, answer: impl FnOnce(&mut Node)) {
        self.own.shared.turn(|machines| answer(&mut machines.node));
    }

    /// Where this node shows what it hears; without one it hears everything.
    pub(crate) fn board(&self) -> Option<&Arc<Board>> {
        self.own.board.as_ref()
    }

    /// How this node signs.
    pub(crate) fn uid(&self) -> Uid {
        self.own.shared.uid()
    }

    /// Where the living member that issued the sids with this tag takes relayed requests.
    pub(crate) fn owner(&self, tag: Tag) -> Option<Address> {
        self.own.shared.owner(tag)
    }

    /// Whether there is any other member.
    pub(crate) fn has_peers(&self) -> bool {
        self.own.shared.has_peers()
    }

    /// Waits until each member that was there at [`Mesh::join`] is connected both ways, or gone, or has been too slow (1 s).
    pub(crate) async fn settled(&self) {
        self.reached(|phase| phase != Phase::Joining).await;
    }

    /// Removes the socket, says goodbye to the others and ends. What was published before is sent, within
    /// [`membership::LEAVE_TIMEOUT`]; what is published after is not.
    ///
    /// # Cancel safety
    ///
    /// The leaving goes on when the future is dropped.
    pub(crate) async fn leave(&self) {
        self.own.shared.turn(Machines::close);
        self.reached(|phase| phase == Phase::Left).await;
    }

    /// What was counted so far.
    pub(crate) fn stats(&self) -> Stats {
        self.own.shared.stats()
    }

    async fn reached(&self, there: impl Fn(Phase) -> bool) {
        // An error means that the mesh has ended, and with it every phase.
        let _ = self.own.phase.clone().wait_for(|phase| there(*phase)).await;
    }
}

fn unshown(error: &io::Error) {
    tracing::warn!(%error, "there is no board of rooms: this member of the mesh hears everything");
}

impl Drop for Own {
    fn drop(&mut self) {
        self.membership.abort();
    }
}
