//! One namespace on a backplane: what is said here goes to its channel, and what comes from there is done here.
//!
//! Who is there, what messages mean and when a request is over is decided in `sockeye_cluster`'s `Node`; an adapter carries messages.
//! One task publishes, one letter after the other, and keeps the time ([`task`]); what comes in is taken on the adapter's tasks. They
//! meet in one small lock ([`desk`]), under which nothing waits and nobody else's code runs.

mod desk;
mod event;
mod interest;
mod local;
mod queue;
mod shared;
mod task;

pub(crate) use self::event::OnBackplane;
pub use self::event::{BackplaneEvent, BackplaneStats, MeshStats};
pub(crate) use self::interest::Interest;
pub(crate) use self::local::{Local, Published};
use self::shared::Shared;
use crate::clock::until;
use crate::unanswered::Unanswered;
use futures_util::future::join_all;
use sockeye_cluster::adapter::{Adapter, AdapterError, Channel, Presence};
use sockeye_cluster::{Message, Node, Nsp, Outcome, REQUEST_TIMEOUT, Request, Room, Uid};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// One namespace of this server on a backplane; it leaves when this is gone, since the task holds [`Shared`] only.
pub(crate) struct Branch(Arc<Shared>);

/// Rooms that are heard for the sake of a client on its way in.
pub(crate) struct Holding {
    branch: Arc<Branch>,
    rooms: Vec<Room>,
}

impl Drop for Holding {
    fn drop(&mut self) {
        if let Some(interest) = self.branch.interest() {
            interest.release(&self.rooms);
        }
    }
}

/// How long after it came a server waits with its first question, where others say that they are there: each answers at once.
const ROLL_CALL: Duration = Duration::from_millis(250);

/// Whether a backplane could be reached.
pub(crate) type Opened = oneshot::Receiver<Result<(), AdapterError>>;

impl Branch {
    /// Makes one that collects what is said until it is opened. `ordered`: events are delivered in the order of the backplane, as they
    /// come back.
    pub(crate) fn new(adapter: Arc<dyn Adapter>, nsp: Nsp, ordered: bool, bytes_max: usize) -> Self {
        Self(Arc::new(Shared::new(adapter, nsp, ordered, bytes_max)))
    }

    /// The same for another namespace.
    pub(crate) fn anew(&self, nsp: Nsp) -> Self {
        let shared = &self.0;
        Self::new(Arc::clone(&shared.adapter), nsp, shared.ordered, shared.desk.lock().queue.bytes_max)
    }

    /// Begins to open its channel: again and again until that succeeds. Hears how the first attempt went. Where `once` is set, there is no
    /// second one. Must be called once, within a tokio runtime.
    pub(crate) fn open(&self, local: Arc<dyn Local>, once: bool) -> Opened {
        let (tell, told) = oneshot::channel();
        // Ends when this is gone.
        tokio::spawn(task::run(Arc::clone(&self.0), local, tell, once));
        told
    }

    /// Publishes a message. Never waits. `Refused`: too much waits already, and it was counted.
    pub(crate) fn publish(&self, message: Message) -> Published {
        self.0.publish(message)
    }

    /// Asks everybody, this node included, and waits for the end.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the answers; the request is sent once the servers are counted, where they are.
    pub(crate) async fn request(&self, request: Request) -> Result<Outcome, Unanswered> {
        let shared = &self.0;
        let servers = match shared.adapter.traits().presence {
            Presence::Heartbeats { .. } => {
                self.heard_out().await;
                None
            }
            // Where that cannot be told there is one more, and it does not answer.
            Presence::Counted => Some(self.count().await.unwrap_or(2)),
        };
        let told = shared.turn(|desk| {
            if let Some(servers) = servers {
                desk.node.handle_servers(servers);
            }
            desk.request(&shared.nsp, request)
        })?;
        told.await.map_err(|_| Unanswered::Gone)
    }

    /// Hands answers in.
    pub(crate) fn answer(&self, answer: impl FnOnce(&mut Node)) {
        self.0.turn(|desk| answer(&mut desk.node));
    }

    /// How this server signs.
    pub(crate) fn uid(&self) -> &Uid {
        &self.0.uid
    }

    /// Counts the others, where the backplane can. `false`: it cannot at present.
    pub(crate) async fn knows_all(&self) -> bool {
        match self.0.adapter.traits().presence {
            Presence::Heartbeats { .. } => {
                self.heard_out().await;
                true
            }
            Presence::Counted => match self.count().await {
                Some(servers) => {
                    self.0.turn(|desk| desk.node.handle_servers(servers));
                    true
                }
                None => false,
            },
        }
    }

    /// Whether every other server is known, and is one of Sockeye's.
    pub(crate) fn is_all_sockeye(&self) -> bool {
        self.0.desk.lock().node.is_among_its_own()
    }

    /// The channel, as soon as it is open; `None`: it never will be.
    pub(crate) async fn opened(&self) -> Option<Arc<dyn Channel>> {
        let mut channel = self.0.channel.subscribe();
        channel.wait_for(Option::is_some).await.ok()?.clone()
    }

    /// The channel, if it is open.
    pub(crate) fn channel(&self) -> Option<Arc<dyn Channel>> {
        self.0.channel.borrow().clone()
    }

    /// Whether events are delivered in the order of the backplane.
    pub(crate) fn is_ordered(&self) -> bool {
        self.0.ordered
    }

    /// Rooms that servers listen for, where the backplane selects them.
    pub(crate) fn interest(&self) -> Option<&Interest> {
        self.0.interest.as_ref()
    }

    /// Has rooms heard though nobody is in them here yet, and waits until they are. `None`: the backplane selects none.
    pub(crate) async fn hold(self: &Arc<Self>, rooms: &[Room]) -> Option<Holding> {
        let interest = self.interest()?;
        interest.hold(rooms);
        let holding = Holding { branch: Arc::clone(self), rooms: rooms.to_vec() };
        join_all(rooms.iter().map(|room| interest.heard(room))).await;
        Some(holding)
    }

    /// Begins to leave.
    pub(crate) fn close(&self) {
        self.0.close();
    }

    /// Says goodbye to the others and leaves. What was published before is sent, for as long as [`task::LEAVE_TIMEOUT`].
    ///
    /// # Cancel safety
    /// The leaving goes on when the future is dropped.
    pub(crate) async fn leave(&self) {
        self.0.close();
        self.0.left().await;
    }

    /// Where the backplane is.
    pub(crate) fn place(&self) -> String {
        self.0.adapter.place()
    }

    /// What was counted so far.
    pub(crate) fn stats(&self) -> BackplaneStats {
        self.0.stats()
    }

    /// Waits until those who are there have had the time to say so, after this server came.
    async fn heard_out(&self) {
        let heard_out = async {
            self.opened().await;
            let opened_at = self.0.opened_at.get();
            until(opened_at.and_then(|opened| opened.checked_add(ROLL_CALL))).await;
        };
        // What is known after that time has to do.
        drop(tokio::time::timeout(REQUEST_TIMEOUT, heard_out).await);
    }

    /// How many servers there are, if that can be told.
    async fn count(&self) -> Option<u64> {
        let counted = tokio::time::timeout(REQUEST_TIMEOUT, async {
            match self.opened().await {
                Some(channel) => channel.servers().await,
                None => Err(AdapterError::Unreachable("it is not open".into())),
            }
        });
        match counted.await {
            Ok(Ok(servers)) => Some(servers.max(1)),
            Ok(Err(error)) => {
                tracing::warn!(nsp = %self.0.nsp, %error, "the servers of a backplane cannot be counted");
                None
            }
            Err(_) => None,
        }
    }
}

impl Drop for Branch {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl fmt::Debug for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Branch").field("nsp", &self.0.nsp).finish_non_exhaustive()
    }
}
