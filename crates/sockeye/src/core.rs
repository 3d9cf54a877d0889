//! What all connections of a server share: settings, namespaces, sessions, the way to other nodes.

use crate::config::Config;
use crate::counters::Counters;
use crate::delivery::{Carriers, Control, Mailbox};
use crate::gate::{Gate, Rules};
use crate::mesh::Mesh;
use crate::nodes::Nodes;
use crate::realms::{Realm, Realms};
use crate::stranger::Strangers;
use crate::traffic::Traffic;
use crate::transport::WebSocket;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use sockeye_link::Reporter;
use sockeye_proto::engine::session::Timing;
use sockeye_proto::sid::{Sid, Tag};
use sockeye_proto::socket::client::Limits;
use sockeye_proto::ws::deflate::{Answer, Budget};
use sockeye_relay::Address;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio::sync::Notify;

/// What an engine-only server does with messages.
pub(crate) type OnMessage = Arc<dyn Fn(&crate::engine::Client, crate::engine::Message<'_>) + Send + Sync>;

/// What lies above the engine.
pub(crate) enum Application {
    /// Socket.IO.
    SocketIo(Arc<Realms>),
    /// Bare Engine.IO.
    Engine(OnMessage),
}

/// The shared state.
pub(crate) struct Core {
    /// The settings.
    pub(crate) config: Config,
    /// This node's tag.
    pub(crate) tag: Tag,
    /// What lies above the engine.
    pub(crate) application: Application,
    /// The other nodes, once a mesh was joined.
    pub(crate) mesh: Arc<OnceLock<Mesh>>,
    /// Whether this server only visits the others: it has no clients, and its namespaces are on no backplane.
    pub(crate) is_guest: AtomicBool,
    /// The nodes of other machines, once this one is known to them.
    pub(crate) nodes: OnceLock<Nodes>,
    /// Who hears of the load, under a supervisor.
    pub(crate) reporter: OnceLock<Reporter>,
    /// What was counted.
    pub(crate) counters: Counters,
    /// What connections may keep for compression.
    deflate_budget: Arc<Budget>,
    /// Which unknown ids were logged.
    pub(crate) strangers: Strangers,
    /// Who may open a session; `None` lets everybody.
    pub(crate) gate: Option<Mutex<Gate>>,
    /// Who brings mail to sockets.
    pub(crate) carriers: Carriers,
    sessions: Sessions,
    /// The load is another than the one that was told.
    load_changed: Notify,
    /// The last connection is over, for now.
    quiet: Notify,
    closing: AtomicBool,
}

/// A connection at work.
pub(crate) struct Working(Arc<Core>);

/// The sessions of this node by id.
#[derive(Debug)]
struct Sessions([Mutex<Shard>; SESSION_SHARDS]);

#[derive(Debug, Default)]
struct Shard {
    open: HashMap<Sid, Arc<Mailbox>, RandomState>,
    /// What the sessions that are gone had counted.
    retired: Traffic,
}

const SESSION_SHARDS: usize = 16;

impl Core {
    pub(crate) fn new(
        config: Config,
        tag: Tag,
        application: Application,
        mesh: Arc<OnceLock<Mesh>>,
    ) -> Arc<Self> {
        let rules = Rules::new(&config);
        let deflate_bytes =
            config.per_message_deflate.as_ref().map_or(0, |deflate| deflate.context_bytes_max);
        Arc::new(Self {
            gate: (!rules.are_none()).then(|| Mutex::new(Gate::new(rules))),
            deflate_budget: Budget::new(deflate_bytes),
            carriers: Carriers::new(config.threads.get()),
            config,
            tag,
            application,
            mesh,
            is_guest: AtomicBool::new(false),
            nodes: OnceLock::new(),
            reporter: OnceLock::new(),
            counters: Counters::default(),
            strangers: Strangers::new(Instant::now()),
            sessions: Sessions(std::array::from_fn(|_| Mutex::default())),
            load_changed: Notify::new(),
            quiet: Notify::new(),
            closing: AtomicBool::new(false),
        })
    }

    /// Where the living node that issued the sids with this tag takes relayed requests: on this machine, or on another.
    pub(crate) fn owner(&self, tag: Tag) -> Option<Address> {
        let near = self.mesh.get().and_then(|mesh| mesh.owner(tag));
        near.or_else(|| self.nodes.get()?.owner(tag))
    }

    /// The timing of sessions.
    pub(crate) fn timing(&self) -> Timing {
        Timing {
            ping_interval: self.config.ping_interval,
            ping_timeout: self.config.ping_timeout,
            upgrade_timeout: self.config.upgrade_timeout,
        }
    }

    /// The limits of clients.
    pub(crate) fn limits(&self) -> Limits {
        Limits { connect_timeout: self.config.connect_timeout, attachments_max: self.config.attachments_max }
    }

    /// Answers a WebSocket's offers of compression, the values of `Sec-WebSocket-Extensions`; `None`: nothing is compressed.
    pub(crate) fn agree_on_deflate<'a>(&self, offers: impl Iterator<Item = &'a [u8]>) -> Option<Answer> {
        self.config.per_message_deflate.as_ref()?.answer(offers, &self.deflate_budget)
    }

    /// A new id, of a session or of a socket.
    pub(crate) fn new_sid(&self) -> Sid {
        Sid::new(self.tag, rand::random())
    }

    /// The namespace of that name.
    pub(crate) fn realm(&self, nsp: &str) -> Option<Arc<Realm>> {
        match &self.application {
            Application::SocketIo(realms) => realms.get(nsp),
            Application::Engine(_) => None,
        }
    }

    /// All namespaces.
    pub(crate) fn realms(&self) -> Vec<Arc<Realm>> {
        match &self.application {
            Application::SocketIo(realms) => realms.all(),
            Application::Engine(_) => Vec::new(),
        }
    }

    /// Whether this server wants to hear what is said to clients that are elsewhere.
    pub(crate) fn hears_all(&self) -> bool {
        matches!(&self.application, Application::SocketIo(realms) if realms.are_listened_to())
    }

    /// Lists a session; `false` when the server is closing.
    pub(crate) fn open_session(&self, sid: Sid, mailbox: &Arc<Mailbox>) -> bool {
        let mut shard = self.sessions.shard(sid).lock();
        // Under the lock: `close_all` finds every session that got past this line.
        if self.is_closing() {
            return false;
        }
        shard.open.insert(sid, Arc::clone(mailbox));
        drop(shard);
        Counters::count(&self.counters.opened);
        self.counters.sessions.fetch_add(1, Ordering::Relaxed);
        self.report_load();
        true
    }

    /// Takes a session off the list.
    pub(crate) fn close_session(&self, sid: Sid) {
        let mut shard = self.sessions.shard(sid).lock();
        let gone = shard.open.remove(&sid);
        if let Some(mailbox) = &gone {
            // Under the lock: whoever sums up finds the numbers in one place or the other.
            shard.retired += mailbox.tally().traffic();
        }
        drop(shard);
        if gone.is_some() {
            if self.counters.sessions.fetch_sub(1, Ordering::AcqRel) == 1 {
                self.quiet.notify_waiters();
            }
            self.report_load();
        }
    }

    /// The door of a session.
    pub(crate) fn session(&self, sid: Sid) -> Option<Arc<Mailbox>> {
        self.sessions.shard(sid).lock().open.get(&sid).cloned()
    }

    /// What all sessions counted, past ones too.
    pub(crate) fn traffic(&self) -> Traffic {
        let mut sum = Traffic::default();
        for shard in &self.sessions.0 {
            let shard = shard.lock();
            sum += shard.retired;
            shard.open.values().for_each(|mailbox| sum += mailbox.tally().traffic());
        }
        sum
    }

    /// Lets a WebSocket end in order, on its own: the task ends by itself within a named time, and nobody needs its result.
    pub(crate) fn farewell(self: &Arc<Self>, websocket: WebSocket) {
        let working = self.begin_connection();
        tokio::spawn(async move {
            websocket.farewell().await;
            drop(working);
        });
    }

    /// Counts a connection for as long as the result is kept.
    pub(crate) fn begin_connection(self: &Arc<Self>) -> Working {
        self.counters.connections.fetch_add(1, Ordering::Relaxed);
        Working(Arc::clone(self))
    }

    /// Waits until every session, every handler and every farewell is over. A server that closes begins none.
    ///
    /// # Cancel safety
    /// It only waits.
    pub(crate) async fn quiet(&self) {
        let mut notified = pin!(self.quiet.notified());
        loop {
            notified.as_mut().enable();
            if self.is_quiet() {
                return;
            }
            notified.as_mut().await;
            notified.set(self.quiet.notified());
        }
    }

    fn is_quiet(&self) -> bool {
        self.counters.sessions.load(Ordering::Acquire) == 0
            && self.counters.connections.load(Ordering::Acquire) == 0
    }

    /// Whether the server takes no more sessions.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Takes no more sessions and ends those that live.
    pub(crate) fn close_all(&self) {
        self.closing.store(true, Ordering::Release);
        for shard in &self.sessions.0 {
            let mailboxes: Vec<_> = shard.lock().open.values().cloned().collect();
            for mailbox in mailboxes {
                // A connection that is gone needs no word.
                drop(mailbox.control(Control::Shutdown));
            }
        }
    }

    /// Ends so many sessions, whichever: their clients come back, to another node perhaps.
    pub(crate) fn let_go(&self, sessions: u64) {
        let mut left = usize::try_from(sessions).unwrap_or(usize::MAX);
        for shard in &self.sessions.0 {
            let mailboxes: Vec<_> = shard.lock().open.values().take(left).cloned().collect();
            left -= mailboxes.len();
            for mailbox in mailboxes {
                // A connection that is gone needs no word.
                drop(mailbox.control(Control::Shutdown));
            }
        }
    }

    /// Counts a request without a session that came through an edge.
    pub(crate) fn count_arrival(&self) {
        self.counters.arrived.fetch_add(1, Ordering::Relaxed);
        self.report_load();
    }

    /// Has the supervisor told how many sessions there are, if there is one.
    pub(crate) fn report_load(&self) {
        self.load_changed.notify_one();
    }

    /// Tells the supervisor how many sessions there are, whenever that changes. One task tells, so an older pair of numbers never
    /// overtakes a newer one; what changes while it is at work is told once.
    ///
    /// # Cancel safety
    /// A change may go untold.
    pub(crate) async fn tell_load_changes(&self) {
        loop {
            self.load_changed.notified().await;
            self.tell_load();
        }
    }

    /// Tells the supervisor how many sessions there are.
    pub(crate) fn tell_load(&self) {
        if let Some(reporter) = self.reporter.get() {
            let arrived = self.counters.arrived.load(Ordering::Relaxed);
            reporter.load(self.counters.sessions.load(Ordering::Relaxed), arrived);
        }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        if self.0.counters.connections.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.quiet.notify_waiters();
        }
    }
}

impl Sessions {
    fn shard(&self, sid: Sid) -> &Mutex<Shard> {
        let last = sid.as_str().as_bytes()[Sid::LEN - 1];
        &self.0[usize::from(last) % SESSION_SHARDS]
    }
}
