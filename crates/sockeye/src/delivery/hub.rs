//! One namespace's point of delivery: to the sockets here, and to the other nodes.

use super::{Attendance, Control, Kept, Rooms, Sessions};
use crate::backplane::{Branch, Interest, Published};
use crate::cluster::{Alone, Cluster};
use crate::draft::{Draft, protocol_packet};
use crate::emitted::{Emitted, OnEmit, Recipients};
use crate::id::SocketId;
use crate::mesh::Mesh;
use crate::outgoing::Outgoing;
use crate::payload::{Args, EmitError, Payload};
use parking_lot::RwLock;
use sockeye_cluster::recovery::Config;
use sockeye_cluster::{Flags, Message, Nsp, Packet, Pid, Room, Selector, Uid};
use sockeye_proto::sid::Sid;
use sockeye_proto::socket::packet::Kind;
use sockeye_proto::socket::{Dialect, Event, Parser};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

/// What all sockets of a namespace share.
pub(crate) struct Hub {
    nsp: Nsp,
    rooms: Rooms,
    mesh: Arc<OnceLock<Mesh>>,
    /// Its place on the backplane, if the server is on one; events go by it then, and not by the mesh.
    branch: Option<Arc<Branch>>,
    /// Who is asked where there is no mesh.
    alone: OnceLock<Arc<Alone>>,
    attachments_max: u32,
    parser: Parser,
    /// What is kept for clients whose connection broke, if anything is.
    sessions: Option<Sessions>,
    /// The same where the backplane keeps it.
    kept: Option<Arc<Kept>>,
    /// The same where the members of a mesh keep it, once this one has joined.
    meshed: OnceLock<Arc<Kept>>,
    /// Listeners of everything that goes out, once the server starts.
    listeners: OnceLock<Vec<OnEmit>>,
    /// Who is where on all servers, if that is tracked.
    attendance: OnceLock<Arc<Attendance>>,
    /// The namespaces that this one stands for, if it stands for others.
    children: Option<RwLock<Vec<Arc<Self>>>>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hub").field(&self.nsp).finish()
    }
}

impl Hub {
    /// Makes the hub of a namespace. `mesh` is set once the server joins one.
    pub(crate) fn new(
        nsp: Nsp,
        threads: usize,
        mesh: Arc<OnceLock<Mesh>>,
        attachments_max: u32,
        parser: Parser,
    ) -> Self {
        Self {
            nsp,
            rooms: Rooms::new(threads),
            mesh,
            branch: None,
            alone: OnceLock::new(),
            attachments_max,
            parser,
            sessions: None,
            kept: None,
            meshed: OnceLock::new(),
            listeners: OnceLock::new(),
            attendance: OnceLock::new(),
            children: None,
        }
    }

    /// Puts it on a backplane, or leaves it off.
    pub(crate) fn on_backplane(mut self, branch: Option<Branch>) -> Self {
        self.branch = branch.map(Arc::new);
        if self.branch.as_ref().is_some_and(|branch| branch.is_ordered()) {
            self.kept = self.sessions.take().map(|sessions| Kept::new(sessions.config));
        }
        self
    }

    /// Its place on the backplane. One that stands for others has none.
    pub(crate) fn branch(&self) -> Option<&Arc<Branch>> {
        self.branch.as_ref().filter(|_| self.children.is_none())
    }

    /// The rooms that it listens for, where the backplane selects them.
    pub(crate) fn interest(&self) -> Option<&Interest> {
        self.branch()?.interest()
    }

    /// Keeps what clients may miss.
    pub(crate) fn recovering(mut self, sessions: Option<Sessions>) -> Self {
        self.sessions = sessions;
        self
    }

    /// Whether clients whose connection broke may go on.
    pub(crate) fn recovers(&self) -> bool {
        self.sessions.is_some() || self.kept.is_some()
    }

    /// What its backplane keeps for clients whose connection broke.
    pub(crate) fn kept(&self) -> Option<&Arc<Kept>> {
        self.kept.as_ref().or_else(|| self.meshed.get())
    }

    /// The mesh, once it was joined.
    pub(super) fn mesh(&self) -> Option<&Mesh> {
        self.mesh.get()
    }

    /// Has the members of the mesh that was joined keep sessions, where no backplane carries the events.
    pub(crate) fn keep_on_mesh(&self) {
        if let (Some(sessions), None, Some(mesh)) = (&self.sessions, &self.branch, self.mesh.get())
            && mesh.keeps_sessions()
        {
            self.meshed.get_or_init(|| Kept::on_mesh(sessions.config));
        }
    }

    /// Shows to the mesh that was joined who is here.
    pub(crate) fn show_on_mesh(&self) {
        if let Some(board) = self.mesh.get().and_then(Mesh::board) {
            self.rooms.show(&self.nsp, board);
        }
    }

    /// What is kept here for clients whose connection broke.
    pub(crate) fn sessions(&self) -> Option<&Sessions> {
        self.sessions.as_ref().filter(|_| self.meshed.get().is_none())
    }

    /// Who is where on all servers, if that is tracked.
    pub(crate) fn attendance(&self) -> Option<&Arc<Attendance>> {
        self.attendance.get()
    }

    /// Tracks that from here on; the first one set counts.
    pub(crate) fn attend(&self, attendance: Arc<Attendance>) {
        drop(self.attendance.set(attendance));
    }

    /// How this server signs among the others, once it is among them.
    pub(super) fn uid(&self) -> Option<Uid> {
        match (self.branch(), self.mesh.get()) {
            (Some(branch), _) => Some(branch.uid().clone()),
            (None, mesh) => mesh.map(Mesh::uid),
        }
    }

    /// Makes it one that stands for others: what is told it is told each of them.
    pub(crate) fn parent(mut self) -> Self {
        self.children = Some(RwLock::default());
        self
    }

    /// Makes the hub of a namespace that this one is to stand for.
    pub(crate) fn child(&self, nsp: &str) -> Self {
        let child = Self::new(
            Nsp::new(nsp),
            self.rooms.shards(),
            Arc::clone(&self.mesh),
            self.attachments_max,
            self.parser,
        )
        .recovering(self.recovery().map(Sessions::new))
        .on_backplane(self.branch.as_ref().map(|branch| branch.anew(Nsp::new(nsp))));
        child.keep_on_mesh();
        child.show_on_mesh();
        child
    }

    fn recovery(&self) -> Option<Config> {
        let (here, kept) = (self.sessions.as_ref(), self.kept.as_ref());
        here.map(|here| here.config).or_else(|| kept.map(|kept| kept.config))
    }

    /// Stands for a namespace from here on.
    pub(crate) fn adopt(&self, child: &Arc<Self>) {
        if let Some(children) = &self.children {
            children.write().push(Arc::clone(child));
        }
    }

    /// Stands for a namespace no longer.
    pub(crate) fn disown(&self, child: &Arc<Self>) {
        if let Some(children) = &self.children {
            children.write().retain(|other| !Arc::ptr_eq(other, child));
        }
    }

    /// How many sockets of the namespace are on this node.
    pub(crate) fn len(&self) -> usize {
        match self.children() {
            Some(children) => children.iter().map(|child| child.len()).sum(),
            None => self.rooms.len(),
        }
    }

    /// The namespaces that this one stands for, copied: what is done to them runs under no lock.
    fn children(&self) -> Option<Vec<Arc<Self>>> {
        self.children.as_ref().map(|children| children.read().clone())
    }

    /// The namespace's name.
    pub(crate) fn nsp(&self) -> &Nsp {
        &self.nsp
    }

    /// Who is in which room here.
    pub(crate) fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// Sets who hears of everything that goes out; the first ones set count.
    pub(crate) fn listen(&self, listeners: Vec<OnEmit>) {
        if !listeners.is_empty() {
            drop(self.listeners.set(listeners));
        }
    }

    /// Encodes an event for one socket of this namespace.
    pub(crate) fn event(
        &self,
        id: Sid,
        name: &str,
        payload: &impl Payload,
        ack: Option<u64>,
    ) -> Result<Outgoing, EmitError> {
        self.draft(id, name, payload)?.seal_event(self.parser, ack)
    }

    /// Writes an event for one socket of this namespace, and tells who listens.
    pub(super) fn draft(&self, id: Sid, name: &str, payload: &impl Payload) -> Result<Draft<'_>, EmitError> {
        let draft = Draft::event(&self.nsp, name, payload, self.attachments_max)?;
        self.tell_listeners(Recipients::Socket(SocketId::new(id)), &draft);
        Ok(draft)
    }

    /// Encodes an event that another node, or the whole cluster, is asked to deliver.
    pub(super) fn remote_event(&self, packet: &Packet, ack: Option<u64>) -> Result<Outgoing, EmitError> {
        Draft::remote(&self.nsp, packet).seal_event(self.parser, ack)
    }

    /// Delivers an event to one socket of this node by its room: it may be one that is away.
    pub(crate) fn keep_for(
        &self,
        id: Sid,
        flags: Flags,
        name: &str,
        payload: &impl Payload,
    ) -> Result<(), EmitError> {
        let (draft, selector) = (self.draft(id, name, payload)?, Selector::to(id.as_str()));
        // On a mesh a volatile one concerns nobody else.
        if self.kept().is_some_and(|kept| kept.ledger.is_none() || !flags.volatile) {
            return self.send_out(selector, flags, draft);
        }
        self.post(&selector, flags, draft)
    }

    /// Encodes the answer to an event that asked for one.
    pub(crate) fn ack(&self, id: u64, payload: &impl Payload) -> Result<Outgoing, EmitError> {
        Draft::ack(&self.nsp, payload, self.attachments_max)?.seal_ack(self.parser, id)
    }

    /// Encodes the answer to a client that may enter.
    pub(crate) fn connect_packet(&self, dialect: Dialect, id: Sid, pid: Option<&Pid>) -> Outgoing {
        let payload = dialect.admission(id.as_str(), pid.map(Pid::as_str)).unwrap_or_default();
        protocol_packet(dialect.parser, Kind::Connect, &self.nsp, &payload)
    }

    /// Encodes the word to a client that has to leave.
    pub(crate) fn disconnect_packet(&self) -> Outgoing {
        protocol_packet(self.parser, Kind::Disconnect, &self.nsp, "")
    }

    /// Delivers an event to the selected sockets, here and on the other nodes. Never waits.
    pub(crate) fn publish(
        &self,
        selector: Selector,
        flags: Flags,
        name: &str,
        payload: &impl Payload,
    ) -> Result<(), EmitError> {
        let draft = Draft::event(&self.nsp, name, payload, self.attachments_max)?;
        if let Some(children) = self.children() {
            return children
                .iter()
                .try_for_each(|child| child.publish(selector.clone(), flags.clone(), name, payload));
        }
        self.tell_listeners(Recipients::Rooms { rooms: &selector.rooms, except: &selector.except }, &draft);
        self.send_out(selector, flags, draft)
    }

    /// Hands an event to the selected sockets, here and on the other nodes. Where clients go on from one place of the backplane to the
    /// next it comes here from there.
    fn send_out(&self, selector: Selector, flags: Flags, draft: Draft<'_>) -> Result<(), EmitError> {
        if let Some((_, placed)) = self.placed()
            && !flags.local
            && !flags.volatile
        {
            return self.say(placed, selector, flags, draft.packet());
        }
        if flags.local || !self.has_hearers() {
            return self.post(&selector, flags, draft);
        }
        let message = Message::Broadcast {
            selector: selector.clone(),
            flags: flags.clone(),
            packet: draft.packet(),
            request_id: None,
        };
        match (self.branch(), &self.kept) {
            (Some(branch), Some(_)) if !flags.volatile => match branch.publish(message) {
                Published::Queued => Ok(()),
                Published::Refused => self.post(&selector, flags, draft),
            },
            _ => {
                self.tell(message);
                self.post(&selector, flags, draft)
            }
        }
    }

    /// Delivers an event that another node published.
    pub(crate) fn deliver_remote(&self, selector: &Selector, flags: Flags, packet: &Packet) {
        let draft = Draft::remote(&self.nsp, packet);
        self.tell_listeners(Recipients::Rooms { rooms: &selector.rooms, except: &selector.except }, &draft);
        let delivered = match self.placed() {
            Some((_, placed)) if flags.at.is_some() => self.deliver_placed(placed, selector, flags, packet),
            _ => self.post(selector, flags, draft),
        };
        if let Err(error) = delivered {
            tracing::debug!(%error, "an event of another node cannot be written for our clients");
        }
    }

    /// Says something to the other nodes themselves.
    pub(crate) fn tell_servers(&self, name: &str, payload: &impl Payload) -> Result<(), EmitError> {
        let packet = self.server_packet(name, payload)?;
        for child in self.children().unwrap_or_default() {
            child.tell(Message::ServerSideEmit { packet: packet.clone(), request_id: None });
        }
        self.tell(Message::ServerSideEmit { packet, request_id: None });
        Ok(())
    }

    /// Encodes an event for clients, as it goes to other nodes.
    pub(crate) fn packet(&self, name: &str, payload: &impl Payload) -> Result<Packet, EmitError> {
        Ok(Draft::event(&self.nsp, name, payload, self.attachments_max)?.packet())
    }

    /// Encodes an event for servers.
    pub(crate) fn server_packet(&self, name: &str, payload: &impl Payload) -> Result<Packet, EmitError> {
        Ok(Draft::server_event(&self.nsp, name, payload)?.packet())
    }

    /// Whether it stands for other namespaces.
    pub(super) fn is_parent(&self) -> bool {
        self.children.is_some()
    }

    /// Whom this namespace asks.
    pub(crate) fn cluster(&self) -> Cluster {
        match (self.branch(), self.mesh.get()) {
            (Some(branch), _) => Cluster::Backplane(Arc::clone(branch)),
            (None, Some(mesh)) => Cluster::Mesh(mesh.clone()),
            (None, None) => Cluster::Alone(Arc::clone(self.alone.get_or_init(|| Arc::new(Alone::new())))),
        }
    }

    /// Lets the selected sockets join rooms, here and on the other nodes.
    pub(crate) fn join(&self, selector: Selector, rooms: Vec<Room>) {
        for child in self.children().unwrap_or_default() {
            child.join(selector.clone(), rooms.clone());
        }
        self.join_here(&selector, &rooms);
        self.tell(Message::SocketsJoin { selector, rooms });
    }

    /// Lets the selected sockets leave rooms, here and on the other nodes.
    pub(crate) fn leave(&self, selector: Selector, rooms: Vec<Room>) {
        for child in self.children().unwrap_or_default() {
            child.leave(selector.clone(), rooms.clone());
        }
        self.leave_here(&selector, &rooms);
        self.tell(Message::SocketsLeave { selector, rooms });
    }

    /// Disconnects the selected sockets, here and on the other nodes.
    pub(crate) fn disconnect(&self, selector: Selector, close: bool) {
        for child in self.children().unwrap_or_default() {
            child.disconnect(selector.clone(), close);
        }
        self.disconnect_here(&selector, close);
        self.tell(Message::DisconnectSockets { selector, close });
    }

    /// Lets the selected sockets of this node join rooms.
    pub(crate) fn join_here(&self, selector: &Selector, rooms: &[Room]) {
        for member in self.rooms.select(selector) {
            rooms.iter().for_each(|room| self.join_one(member.id, member.profile.pid.get(), room));
        }
    }

    /// Lets the selected sockets of this node leave rooms.
    pub(crate) fn leave_here(&self, selector: &Selector, rooms: &[Room]) {
        for member in self.rooms.select(selector) {
            rooms.iter().for_each(|room| self.leave_one(member.id, member.profile.pid.get(), room));
        }
    }

    /// Disconnects the selected sockets of this node.
    pub(crate) fn disconnect_here(&self, selector: &Selector, close: bool) {
        for member in self.rooms.select(selector) {
            // A connection that is gone has disconnected already.
            drop(member.mailbox.control(Control::Disconnect { nsp: self.nsp.clone(), close }));
        }
    }

    pub(super) fn post(&self, selector: &Selector, flags: Flags, draft: Draft<'_>) -> Result<(), EmitError> {
        if let Some((_, placed)) = self.placed() {
            return self.post_stamped(placed, selector, &flags, &draft.packet());
        }
        let post = |outgoing: Outgoing| {
            let outgoing = self.marked(outgoing, &flags).shared();
            self.rooms.for_each(selector, |member| member.mailbox.post(&outgoing));
        };
        if let Some(kept) = &self.kept {
            return self
                .with_stamp(kept, &draft.packet(), |packet| self.remote_event(packet, None).map(post));
        }
        match self.sessions() {
            Some(sessions) => sessions.deliver(selector, flags.volatile, &draft.packet(), |packet| {
                self.remote_event(packet, None).map(post)
            }),
            None => draft.seal_event(self.parser, None).map(post),
        }
    }

    /// A message that is treated as the flags say.
    pub(crate) fn marked(&self, outgoing: Outgoing, flags: &Flags) -> Outgoing {
        let compress = flags.compress.unwrap_or(true);
        // Sockets of one client share its mailbox, whatever their namespace.
        let key = flags.coalesce.as_ref().map(|key| format!("{}\n{key}", self.nsp).into());
        outgoing.volatile(flags.volatile).compress(compress).coalesced(key)
    }

    pub(super) fn tell_listeners(&self, to: Recipients<'_>, draft: &Draft<'_>) {
        let Some(listeners) = self.listeners.get() else { return };
        let Packet { data, attachments } = draft.packet();
        let Some(Ok(event)) = std::str::from_utf8(&data).ok().map(Event::split) else { return };
        let args = Args::new(event.args.as_bytes(), attachments);
        let emitted = Emitted { nsp: &self.nsp, name: &event.name, args, to };
        for listener in listeners {
            // Whoever emits, be it another node's word, is not to fall with a listener.
            if catch_unwind(AssertUnwindSafe(|| listener(&emitted))).is_err() {
                tracing::error!("a listener of outgoing events panicked");
            }
        }
    }

    /// Whether anybody else may be there.
    fn has_hearers(&self) -> bool {
        match &self.branch {
            Some(_) => true,
            None => self.mesh.get().is_some_and(Mesh::has_peers),
        }
    }

    pub(super) fn tell(&self, message: Message) {
        if self.children.is_some() {
            return;
        }
        match (&self.branch, self.mesh.get()) {
            // What is refused is counted and told by the branch.
            (Some(branch), _) => drop(branch.publish(message)),
            (None, Some(mesh)) => mesh.publish(&self.nsp, message),
            (None, None) => {}
        }
    }
}
