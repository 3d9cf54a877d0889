//! The servers of one group: the machines under one lock, held for a look, never across an await.

use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sockeye_link::Handover;
use sockeye_proto::Tag;
use sockeye_proto::engine::Opened;
use sockeye_relay::{Address, Cord, Moment, Relay};
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;

use super::discovery;
use super::state::State;
use crate::config::{Endpoint, Group, Members, Server, ServerState};
use crate::door::Door;
use crate::learnt::Held;
use crate::leases::TooMany;
use crate::member::MemberId;
use crate::roster::Listed;
use crate::stats::{GroupStats, WorkerStats};

/// All servers of a group.
pub(crate) struct Servers {
    pub(super) state: Mutex<State>,
    relay: Relay,
    /// Rung when somebody may take sessions who could not.
    pub(super) ready: Notify,
    pub(super) waiting: Semaphore,
    /// Rung when the keeper has something to look at.
    pub(super) changed: Arc<Notify>,
    /// The task that looks for servers.
    seeker: Mutex<Option<(Members, AbortHandle)>>,
    me: Weak<Self>,
}

/// Where a session is.
pub(crate) enum Owner {
    /// There, and this request of it is under way.
    At(Arc<Door>, UnderWay),
    /// Nowhere any more: its server is dead or gone.
    Dead,
    /// Nobody knows.
    Unknown,
}

/// A request of a learnt session, for as long as it is under way.
pub(crate) struct UnderWay {
    servers: Arc<Servers>,
    held: Held,
    done: bool,
    /// How often its server's door had rung for sessions that were let go when this one was found there.
    moves: u64,
}

impl Servers {
    /// The servers of a group; nobody looks after them yet.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(super) fn new(group: &Group, relay: &Relay) -> Arc<Self> {
        let servers = Arc::new_cyclic(|me| Self {
            state: Mutex::new(State::new(group)),
            relay: relay.clone(),
            ready: Notify::new(),
            waiting: Semaphore::new(group.queue.waiters_max as usize),
            changed: Arc::new(Notify::new()),
            seeker: Mutex::default(),
            me: me.clone(),
        });
        servers.settle(group);
        servers
    }

    /// Takes on another configuration of the group; who serves stays.
    pub(crate) fn settle(&self, group: &Group) {
        self.state.lock().settle(group);
        match &group.members {
            Members::Workers { .. } => {
                self.seek(None);
                // Workers are on no list: whoever was on one is no worker.
                self.list(Vec::new());
            }
            Members::Directory { .. } => self.seek(None),
            Members::Static(servers) => {
                self.seek(None);
                self.list(servers.iter().cloned().map(|server| Listed { tag: server.tag, server }).collect());
            }
            Members::Dns { .. } | Members::File(_) => self.seek(Some(&group.members)),
            Members::Registered { .. } => {
                self.seek(None);
                self.list_registered();
            }
        }
        self.changed.notify_one();
        self.ready.notify_waiters();
    }

    /// A worker is ready.
    pub(crate) fn add_worker(&self, tag: Tag, instance: u32, http: PathBuf, handover: Handover) {
        let upstream = self.relay.to(&Address::Unix(http));
        let mut state = self.state.lock();
        let id = state.draw();
        state.add_worker(Door::to_worker(id, tag, instance, handover, upstream), Instant::now());
        drop(state);
        self.ready.notify_waiters();
        self.changed.notify_one();
    }

    pub(crate) fn load(&self, tag: Tag, sessions: u32, arrived: u64) {
        self.state.lock().handle_load(tag, sessions, arrived);
    }

    /// The server of this name told its counts, which count from here on in the place of what is seen. Tells whether there is one.
    pub(crate) fn report(&self, name: &str, sessions: u32, arrived: u64) -> bool {
        self.state.lock().handle_told(name, sessions, arrived)
    }

    /// The nodes with these tags said how many sessions they have in all.
    pub(crate) fn handle_whole(&self, loads: &[(Tag, u32)]) {
        let mut state = self.state.lock();
        for (tag, sessions) in loads {
            if let Some(door) = state.by_tag(*tag) {
                state.pool.handle_whole(door.id, *sessions);
            }
        }
    }

    /// A worker takes no new sessions.
    pub(crate) fn drain(&self, tag: Tag) {
        self.state.lock().want(|door| door.tag == Some(tag), ServerState::Drain, Instant::now());
        self.changed.notify_one();
    }

    /// A worker is about to be replaced, or is not any more.
    pub(crate) fn wane(&self, tag: Tag, waning: bool) {
        self.state.lock().wane(tag, waning, Instant::now());
        self.ready.notify_waiters();
    }

    /// What an operator wants of the server of this name. Tells whether there is one.
    pub(crate) fn want(&self, name: &str, wanted: ServerState) -> bool {
        let found = self.state.lock().want(|door| door.name == name, wanted, Instant::now());
        self.ready.notify_waiters();
        self.changed.notify_one();
        found
    }

    /// Forgets a worker, and returns the door that leads nowhere any more.
    pub(crate) fn remove(&self, tag: Tag) -> Option<Arc<Door>> {
        let id = self.state.lock().by_tag(tag)?.id;
        self.state.lock().remove(id)
    }

    /// These are the servers from here on.
    pub(crate) fn list(&self, list: Vec<Listed>) {
        let now = Instant::now();
        let mut state = self.state.lock();
        // A directory names nodes of ours by the ports that are for nodes, who let in whoever is known to them.
        let of_nodes =
            matches!(state.group.members, Members::Directory { .. }) && self.relay.has_node_trust();
        state.handle_list(list, now, |id, listed| {
            let address = match &listed.server.at {
                Endpoint::Tcp(address) if of_nodes => Address::Node(*address),
                Endpoint::Tcp(address) => Address::Tcp(*address),
                Endpoint::Unix(path) => Address::Unix(path.clone()),
            };
            Door::new(id, listed.server.name.clone(), listed.tag, self.relay.to(&address))
        });
        drop(state);
        self.ready.notify_waiters();
        self.changed.notify_one();
    }

    /// A server registers, for as long as its lease lasts.
    pub(crate) fn register(&self, server: Server, lease: Option<Duration>) -> Result<(), TooMany> {
        let other = self.state.lock().register(server, lease, Instant::now())?;
        if other {
            self.list_registered();
        }
        Ok(())
    }

    /// A registered server takes its word back. Tells whether it was there.
    pub(crate) fn withdraw(&self, name: &str) -> bool {
        let was_there = self.state.lock().leases.handle_withdrawn(name);
        if was_there {
            self.list_registered();
        }
        was_there
    }

    pub(super) fn list_registered(&self) {
        let servers = self.state.lock().leases.servers();
        self.list(servers.into_iter().map(|server| Listed { server, tag: None }).collect());
    }

    /// The node of ours that holds the sessions of a tag, if it lives.
    pub(crate) fn owner(&self, tag: Tag) -> Option<Arc<Door>> {
        self.state.lock().by_tag(tag)
    }

    /// Who has a session whose sid tells nothing; its request is under way from here on.
    pub(crate) fn session(&self, sid: &str, now: Instant) -> Owner {
        let mut state = self.state.lock();
        let Some((id, held)) = state.learnt.handle_request(sid, now) else { return Owner::Unknown };
        let door = state.reachable(id);
        // Under the lock: who lets it go later rings later.
        let moves = door.as_ref().map_or(0, |door| door.moved.rings());
        drop(state);
        let under_way = UnderWay { servers: self.me(), held, done: false, moves };
        match door {
            Some(door) => Owner::At(door, under_way),
            None => {
                under_way.over();
                Owner::Dead
            }
        }
    }

    /// The only server there is, if it is one.
    pub(crate) fn only(&self) -> Option<Arc<Door>> {
        self.state.lock().only()
    }

    /// Waits until the session of a request is let go by its server.
    pub(crate) async fn moved(&self, door: &Door, request: &UnderWay) {
        let mut ear = door.moved.listen(request.moves);
        poll_fn(|cx| {
            while ear.poll_rang(cx) {
                if !self.state.lock().learnt.holds(&request.held) {
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        })
        .await;
    }

    /// Whether a server that broke a connection off is gone; others hear of it.
    pub(crate) async fn is_dead(&self, door: &Door) -> bool {
        if door.tag.is_some_and(|tag| self.owner(tag).is_none()) {
            return true;
        }
        let dead = !door.upstream.is_listening().await;
        if dead {
            self.handle_refused(door.id);
        }
        dead
    }

    /// A session is over.
    pub(crate) fn handle_over(&self, sid: &str) {
        self.state.lock().handle_over(sid);
    }

    /// A server's answer to a handshake opened a session, or did not.
    pub(crate) fn handle_answer(&self, id: MemberId, opened: Option<Opened<'_>>) {
        self.state.lock().handle_answer(id, opened, Instant::now());
        self.changed.notify_one();
    }

    /// A server refused a connection: nobody listens there.
    pub(crate) fn handle_refused(&self, id: MemberId) {
        if self.state.lock().handle_refused(id, Instant::now()) {
            self.changed.notify_one();
        }
    }

    /// A hold on a tunnel to be, of a session or of one that begins with it, or of neither. It counts while it is open.
    pub(crate) fn tunnel(&self, door: &Arc<Door>, of: TunnelOf, under_way: Option<UnderWay>) -> HeldTunnel {
        let (servers, id, weak) = (self.me.clone(), door.id, Arc::downgrade(door));
        let ended = Mutex::new(under_way);
        let (key, cord) = door.hold(|key| {
            Arc::new(Cord::new(move |moment| {
                match moment {
                    Moment::Opened if of == TunnelOf::NewSession => {
                        if let Some(servers) = servers.upgrade() {
                            servers.state.lock().pool.handle_begun(id);
                        }
                    }
                    Moment::Opened => {
                        if let (Some(servers), Some(under_way)) = (servers.upgrade(), &*ended.lock()) {
                            servers.state.lock().learnt.handle_tunnel(&under_way.held);
                        }
                    }
                    Moment::Ended => {
                        if let Some(door) = weak.upgrade() {
                            door.let_go(key);
                        }
                        let Some(servers) = servers.upgrade() else { return };
                        match of {
                            TunnelOf::NewSession => servers.state.lock().pool.handle_ended(id),
                            // The session had moved to this tunnel, and ends with it.
                            TunnelOf::Session => {
                                if let Some(under_way) = ended.lock().take() {
                                    under_way.over();
                                }
                            }
                            TunnelOf::Neither => {}
                        }
                    }
                }
            }))
        });
        HeldTunnel { door: Arc::clone(door), key, cord, opened: false }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.state.lock().pool.is_ready()
    }

    pub(crate) fn worker_stats(&self) -> Vec<WorkerStats> {
        self.state.lock().worker_stats()
    }

    pub(crate) fn stats(&self, name: &str) -> GroupStats {
        self.state.lock().stats(name)
    }

    /// The server of a name that a cookie holds, as it stands there or as an older balancer wrote it.
    pub(crate) fn named(&self, name: &str) -> Option<MemberId> {
        let state = self.state.lock();
        state.by_name(name).or_else(|| crate::cookie::migrated(name).and_then(|name| state.by_name(name)))
    }

    fn me(&self) -> Arc<Self> {
        self.me.upgrade().expect("it lives while somebody calls it")
    }

    /// Starts the task that looks for servers, unless it looks in the same place; or ends it.
    fn seek(&self, members: Option<&Members>) {
        let mut seeker = self.seeker.lock();
        if seeker.as_ref().map(|(members, _)| members) == members {
            return;
        }
        if let Some((_, task)) = seeker.take() {
            task.abort();
        }
        // Ends with the servers, or when they are sought elsewhere.
        let me = self.me.clone();
        let tell = move |list: Vec<Server>| {
            let Some(servers) = me.upgrade() else { return false };
            servers.list(list.into_iter().map(|server| Listed { server, tag: None }).collect());
            true
        };
        *seeker = members.map(|members| (members.clone(), discovery::seek(Box::new(tell), members)));
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if let Some((_, task)) = self.seeker.lock().take() {
            task.abort();
        }
        self.changed.notify_one();
    }
}

/// Whose a tunnel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TunnelOf {
    /// A session begins with it.
    NewSession,
    /// A session goes on in it.
    Session,
    /// It is the application's own.
    Neither,
}

/// A hold on a tunnel to be; dropped before it opened it lets go.
pub(crate) struct HeldTunnel {
    door: Arc<Door>,
    key: usize,
    pub(crate) cord: Arc<Cord>,
    opened: bool,
}

impl HeldTunnel {
    /// The tunnel is there: from here on it lets go by itself.
    pub(crate) fn opened(mut self) {
        self.opened = true;
    }
}

impl Drop for HeldTunnel {
    fn drop(&mut self) {
        if !self.opened {
            self.door.let_go(self.key);
        }
    }
}

impl UnderWay {
    pub(crate) fn sid(&self) -> &str {
        self.held.sid()
    }

    /// The session is over.
    pub(crate) fn over(mut self) {
        self.servers.state.lock().handle_over(self.held.sid());
        self.done = true;
    }

    /// The request is done, at this time. Dropped it is, too.
    pub(crate) fn done(mut self, now: Instant) {
        self.end(now);
    }

    fn end(&mut self, now: Instant) {
        self.servers.state.lock().learnt.handle_done(&self.held, now);
        self.done = true;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.done {
            self.end(Instant::now());
        }
    }
}
