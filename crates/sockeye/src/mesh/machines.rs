//! The two machines and the lines to the members, which change together: what one machine says the other is told here.
//!
//! Does nothing that takes time or needs a task: that is left as [`Chore`]s and in [`Turn`].

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::RwLock;
use smallvec::SmallVec;
use sockeye_cluster::mesh::{self, Conn, DialError, Fetched, Fetches, Hello, Help, Mesh, Spoken, Word};
use sockeye_cluster::node::{Step, To};
use sockeye_cluster::recovery::{Places, Sightings};
use sockeye_cluster::{
    Flags, Message, Node, Nsp, Outcome, Packet, Pid, Refused, Request, RequestId, Selector, Uid, node,
};
use sockeye_proto::sid::Tag;
use tokio::sync::oneshot;

use super::board::Audience;
use super::line::{Line, Posted};
use super::turn::{Chore, Decoded, Delivery, Missed, Stats, Turn};

/// Who is there, what is said, and what waits to be written.
pub(super) struct Machines {
    /// What frames mean.
    pub(super) node: Node,
    /// Who is there.
    mesh: Mesh,
    lines: BTreeMap<Tag, Arc<Line>>,
    audience: Audience,
    chores: VecDeque<Chore>,
    /// Who waits for the end of which request.
    waiting: BTreeMap<RequestId, oneshot::Sender<Outcome>>,
    /// What was seen of the events of all, where sessions are kept; and the members that keep them, too.
    sightings: Option<Arc<RwLock<Sightings>>>,
    keepers: BTreeMap<Tag, Uid>,
    /// Sessions that others are asked for, and who waits for them.
    fetches: Fetches,
    seekers: BTreeMap<RequestId, oneshot::Sender<Option<Help>>>,
    /// Words about sessions that the next turn hands out.
    heard: Vec<Delivery>,
    /// The membership's task has something to look at.
    alarm: bool,
    left: bool,
    overflows: u64,
    dropped: u64,
    malformed: u64,
}

impl Machines {
    /// `sightings`: where sessions are kept.
    pub(super) fn new(dir: &Path, hello: Hello, node: Node, sightings: Option<Sightings>) -> Self {
        Self {
            audience: Audience::new(dir),
            sightings: sightings.map(|sightings| Arc::new(RwLock::new(sightings))),
            keepers: BTreeMap::new(),
            fetches: Fetches::default(),
            seekers: BTreeMap::new(),
            heard: Vec::new(),
            node,
            mesh: Mesh::new(hello),
            lines: BTreeMap::new(),
            chores: VecDeque::new(),
            waiting: BTreeMap::new(),
            alarm: false,
            left: false,
            overflows: 0,
            dropped: 0,
            malformed: 0,
        }
    }

    /// Takes a request to all members, this one included; the receiver hears how it ends.
    pub(super) fn request(
        &mut self,
        nsp: &Nsp,
        request: Request,
    ) -> Result<oneshot::Receiver<Outcome>, Refused> {
        let id = self.node.handle_request(nsp, request, rand::random(), now())?;
        let (tell, told) = oneshot::channel();
        self.waiting.insert(id, tell);
        // There is a deadline to be minded.
        self.alarm = true;
        Ok(told)
    }

    /// Tells the others something. What a guest says, who keeps nothing itself, is numbered here.
    pub(super) fn publish(&mut self, nsp: &Nsp, mut message: Message) {
        if let (Message::Broadcast { flags, request_id: None, .. }, Some(sightings)) =
            (&mut message, &self.sightings)
            && !flags.volatile
            && !flags.local
            && flags.at.is_none()
        {
            flags.at = Some(sightings.write().number());
        }
        self.send_out(nsp, message);
    }

    /// Sends a message to those whom it concerns. What was said before is in their lines already: each turn ends with that.
    fn send_out(&mut self, nsp: &Nsp, message: Message) {
        let moves = matches!(message, Message::SocketsJoin { .. });
        let hearers = self.audience.of(nsp, &message, self.lines.keys().copied());
        if hearers.is_empty() {
            return;
        }
        let Some(frame) = self.node.frame(nsp, message) else { return };
        for tag in hearers {
            self.post(tag, frame.clone());
            if moves {
                self.mark(tag);
            }
        }
    }

    /// Has a member say when it has come this far.
    fn mark(&mut self, tag: Tag) {
        if self.lines.contains_key(&tag)
            && let Some(number) = self.audience.ears().handle_moving(tag)
        {
            self.say_mark(tag, Word::Mark(number));
        }
    }

    /// Says to a member that what came before its mark is done.
    pub(super) fn marked(&mut self, tag: Tag, number: u64) {
        self.say_mark(tag, Word::Marked(number));
    }

    fn say_mark(&mut self, tag: Tag, word: Word) {
        self.tell(Some(tag), &Nsp::new("/"), word);
    }

    /// Numbers an event and tells the others; what was seen then, this event included. Without anybody who keeps sessions it is `None`.
    pub(super) fn say(
        &mut self,
        nsp: &Nsp,
        selector: Selector,
        flags: &mut Flags,
        packet: Packet,
    ) -> Option<Places> {
        let (at, seen) = {
            let mut sightings = self.sightings.as_ref()?.write();
            (sightings.number(), sightings.seen().clone())
        };
        flags.at = Some(at);
        let message = Message::Broadcast { selector, flags: flags.clone(), packet, request_id: None };
        self.send_out(nsp, message);
        Some(seen)
    }

    /// Says something about a session to one member, or to all that keep sessions; bytes that wait for the one that is furthest behind.
    pub(super) fn tell(&mut self, to: Option<Tag>, nsp: &Nsp, word: Word) -> usize {
        let spoken = Spoken { uid: self.node.uid().clone(), nsp: nsp.clone(), word };
        let Ok(frame) = spoken.encode() else { return 0 };
        let tags: SmallVec<[Tag; 16]> = match to {
            Some(tag) => [tag].into_iter().collect(),
            None => self.keepers.keys().copied().collect(),
        };
        let mut waiting = 0;
        for tag in tags {
            self.post(tag, frame.clone());
            waiting = waiting.max(self.lines.get(&tag).map_or(0, |line| line.waiting()));
        }
        waiting
    }

    /// Bytes that wait for the one of these members that is furthest behind.
    pub(super) fn waiting(&self, of: impl Fn(Tag) -> bool) -> usize {
        let lines = self.lines.iter().filter(|(tag, _)| of(**tag));
        lines.map(|(_, line)| line.waiting()).max().unwrap_or_default()
    }

    /// The member that signs like this.
    pub(super) fn tag_of(&self, uid: &Uid) -> Option<Tag> {
        self.node.peers().get(uid).and_then(|peer| peer.tag)
    }

    /// Asks the others for a session.
    pub(super) fn fetch(
        &mut self,
        nsp: &Nsp,
        pid: Pid,
        offset: Option<Arc<str>>,
    ) -> oneshot::Receiver<Option<Help>> {
        let (tell, told) = oneshot::channel();
        let request_id = RequestId::from(format!("{:016x}", rand::random::<u64>()));
        self.seekers.insert(request_id.clone(), tell);
        self.tell(None, nsp, Word::Fetch { request_id: request_id.clone(), pid, offset });
        let over = self.fetches.begin(request_id, self.keepers.values().cloned(), now());
        self.fetched(over);
        self.alarm = true;
        told
    }

    /// What was seen of the events of all, where sessions are kept.
    pub(super) fn sightings(&self) -> Option<Arc<RwLock<Sightings>>> {
        self.sightings.clone()
    }

    fn fetched(&mut self, over: impl IntoIterator<Item = Fetched>) {
        for Fetched { request_id, help } in over {
            if let Some(tell) = self.seekers.remove(&request_id) {
                // Who does not wait any more does not mind.
                drop(tell.send(help));
            }
        }
    }

    /// Takes a word about a session: answers are summed up here, the rest is for whoever keeps them.
    fn hear(&mut self, Spoken { uid, nsp, word }: Spoken) {
        if let (Word::Mark(number) | Word::Marked(number), Some(tag)) = (&word, self.tag_of(&uid)) {
            return self.hear_mark(tag, *number, matches!(word, Word::Marked(_)));
        }
        if self.sightings.is_none() || uid == *self.node.uid() {
            return;
        }
        let over = match word {
            Word::Missed { request_id, entry } => self.fetches.handle_missed(&request_id, &uid, entry),
            Word::Response { request_id, session, seen } => {
                self.fetches.handle_response(&request_id, &uid, session, seen)
            }
            word @ (Word::Session { .. } | Word::End(_) | Word::Fetch { .. }) => {
                self.heard.push(Delivery::Heard(Spoken { uid, nsp, word }));
                None
            }
            // Of nobody.
            Word::Mark(_) | Word::Marked(_) => None,
        };
        self.fetched(over);
    }

    fn hear_mark(&mut self, tag: Tag, number: u64, comes_back: bool) {
        if !comes_back {
            self.heard.push(Delivery::Marked(tag, number));
        } else if let Some(next) = self.audience.ears().handle_marked(tag, number) {
            self.say_mark(tag, Word::Mark(next));
        }
    }

    /// Takes the sockets that stand in the directory.
    pub(super) fn listed(&mut self, tags: Vec<Tag>) {
        self.mesh.handle_listing(tags, now());
        self.alarm = true;
    }

    /// Takes an accepted connection.
    pub(super) fn accepted(&mut self) -> Conn {
        self.alarm = true;
        self.mesh.handle_accepted(now())
    }

    /// Takes the frames that have come on an accepted connection.
    pub(super) fn arrived(&mut self, conn: Conn, payloads: Vec<Bytes>) {
        let now = now();
        for payload in payloads {
            self.mesh.handle_frame(conn, payload, now);
        }
    }

    /// Takes how the decoding of received frames went.
    pub(super) fn decoded(&mut self, decoded: Vec<Decoded>, malformed: u64) {
        self.malformed += malformed;
        if malformed > 0 {
            self.report(Missed::Malformed(malformed));
        }
        for decoded in decoded {
            match decoded {
                Decoded::Message(envelope) => self.node.handle_envelope(envelope),
                Decoded::Word(spoken) => self.hear(spoken),
            }
        }
    }

    /// Takes the end of an accepted connection.
    pub(super) fn incoming_lost(&mut self, conn: Conn) {
        self.alarm = true;
        self.mesh.handle_incoming_lost(conn, now());
    }

    /// Takes the success of a dial; the line is for its writer, and opens with the hello.
    pub(super) fn dialled(&mut self, tag: Tag) -> Arc<Line> {
        self.alarm = true;
        let line = Arc::<Line>::default();
        if self.left {
            line.close();
            return line;
        }
        if let Some(older) = self.lines.insert(tag, Arc::clone(&line)) {
            self.give_up(tag, &older, 0);
        }
        if let Some(sightings) = &self.sightings {
            self.mesh.set_seen(sightings.read().hello());
        }
        self.mesh.handle_dialled(tag, now());
        if self.sightings.is_some() {
            self.leave_chore(Chore::Greet(tag));
        }
        line
    }

    /// Takes the failure of a dial.
    pub(super) fn dial_failed(&mut self, tag: Tag, error: DialError) {
        self.alarm = true;
        self.mesh.handle_dial_failed(tag, error, now());
    }

    /// Takes the end of a line; that of one which has been given up means nothing.
    pub(super) fn line_lost(&mut self, tag: Tag, line: &Arc<Line>) {
        if self.lines.get(&tag).is_some_and(|current| Arc::ptr_eq(current, line)) {
            self.lines.remove(&tag);
            self.give_up(tag, line, 0);
            self.alarm = true;
            self.mesh.handle_outgoing_lost(tag, now());
        }
    }

    /// Does what is due.
    pub(super) fn timeout(&mut self) {
        self.mesh.handle_timeout(now());
        self.node.handle_timeout(now());
        let over = self.fetches.handle_timeout(now());
        self.fetched(over);
        if let Some(sightings) = &self.sightings {
            sightings.write().handle_timeout(now());
        }
    }

    /// Says goodbye; after it the lines take nothing more.
    pub(super) fn close(&mut self) {
        self.node.handle_close();
        let _nothing = self.settle();
        self.lines.values().for_each(|line| line.finish());
        self.left = true;
        self.leave_chore(Chore::Leave);
    }

    /// Lets each machine hear what the other says, until neither says more.
    pub(super) fn settle(&mut self) -> Turn {
        let mut turn = Turn::default();
        loop {
            if let Some(output) = self.mesh.poll_output() {
                self.heed_mesh(output, &mut turn);
            } else if let Some(step) = self.node.poll_step() {
                self.heed_node(step, &mut turn);
            } else {
                break;
            }
        }
        turn.deliveries.append(&mut self.heard);
        turn.alarm = std::mem::take(&mut self.alarm);
        turn
    }

    pub(super) fn next_chore(&mut self) -> Option<Chore> {
        self.chores.pop_front()
    }

    /// When [`Machines::timeout`] is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let fetches = self.fetches.poll_timeout();
        self.mesh.poll_timeout().into_iter().chain(self.node.poll_timeout()).chain(fetches).min()
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            members: self.node.peers().len(),
            dropped: self.dropped,
            lost: self.sightings.as_ref().map_or(0, |sightings| sightings.read().lost()),
            mesh: self.mesh.stats(),
            node: self.node.stats(),
            overflows: self.overflows,
            malformed: self.malformed,
            spared: self.audience.spared(),
        }
    }

    fn heed_mesh(&mut self, output: mesh::Output, turn: &mut Turn) {
        match output {
            mesh::Output::Dial(tag) => self.leave_chore(Chore::Dial(tag)),
            mesh::Output::Close(conn) => self.leave_chore(Chore::Close(conn)),
            mesh::Output::Unlink(tag) => self.leave_chore(Chore::Unlink(tag)),
            mesh::Output::Settled => self.leave_chore(Chore::Settled),
            // A hello, the first frame of a line.
            mesh::Output::Write { to, payload } => {
                self.post(to, payload);
                self.mark(to);
            }
            mesh::Output::HangUp(tag) => {
                if let Some(line) = self.lines.remove(&tag) {
                    self.give_up(tag, &line, 0);
                }
            }
            mesh::Output::Hears { tag, hears } => {
                self.audience.greeted(tag, hears);
                self.mark(tag);
            }
            mesh::Output::Seen { tag, uid, seen } => {
                if let Some(sightings) = &self.sightings {
                    let lost = {
                        let mut sightings = sightings.write();
                        let before = sightings.lost();
                        sightings.handle_hello(tag, &seen, now());
                        sightings.lost() - before
                    };
                    self.keepers.insert(tag, uid);
                    self.missed(tag, lost);
                }
            }
            mesh::Output::Joined(peer) => self.node.handle_joined(peer),
            mesh::Output::Left(tag) => self.left(tag),
            mesh::Output::Received { from: _, payload } => turn.received.push(payload),
        }
    }

    fn left(&mut self, tag: Tag) {
        self.node.handle_left(tag);
        self.audience.left(tag);
        if let Some(sightings) = &self.sightings {
            sightings.write().handle_left(tag, now());
        }
        if let Some(uid) = self.keepers.remove(&tag) {
            let over = self.fetches.handle_left(&uid);
            self.fetched(over);
        }
    }

    fn heed_node(&mut self, step: Step, turn: &mut Turn) {
        match step {
            Step::Act(output) => self.act(output, turn),
            Step::Answer(question) => turn.deliveries.push(Delivery::Answer(question)),
            Step::Finish(outcome) => {
                if let Some(tell) = self.waiting.remove(&outcome.request_id) {
                    // Who does not wait any more does not mind.
                    drop(tell.send(outcome));
                }
            }
        }
    }

    fn act(&mut self, output: node::Output, turn: &mut Turn) {
        match output {
            node::Output::Send { to: To::One(uid), frame } => {
                if let Some(tag) = self.node.peers().get(&uid).and_then(|peer| peer.tag) {
                    self.post(tag, frame);
                }
            }
            node::Output::Send { to: To::All, frame } => {
                let tags: SmallVec<[Tag; 16]> = self.lines.keys().copied().collect();
                for tag in tags {
                    self.post(tag, frame.clone());
                }
            }
            // A node of a mesh speaks in frames.
            node::Output::Publish(_) => {}
            node::Output::PeerJoined(_) | node::Output::PeerLeft(_) => {
                turn.peers_changed = true;
                self.leave_chore(Chore::Tell(output));
            }
            node::Output::Deliver { .. }
            | node::Output::Join { .. }
            | node::Output::Leave { .. }
            | node::Output::Disconnect { .. } => turn.deliveries.push(Delivery::Act(output)),
        }
    }

    /// Posts a frame to a member; one for whom too much waits is cut off.
    fn post(&mut self, to: Tag, payload: Bytes) {
        let Some(line) = self.lines.get(&to) else { return };
        match line.post(payload) {
            Posted::Queued | Posted::Dropped => {}
            Posted::Overflow => {
                if let Some(line) = self.lines.remove(&to) {
                    self.give_up(to, &line, 1);
                }
                self.overflows += 1;
                self.alarm = true;
                tracing::warn!(member = %to, overflows = self.overflows, "a member of the mesh reads too slowly and is cut off");
                self.mesh.handle_outgoing_lost(to, now());
            }
        }
    }

    /// Ends a line: what waited in it is lost, and so many frames that it had no room for.
    fn give_up(&mut self, tag: Tag, line: &Line, more: u64) {
        let dropped = line.close() + more;
        self.audience.ears().handle_lost(tag);
        if dropped > 0 && !self.left {
            self.dropped += dropped;
            self.report(Missed::There(tag, dropped));
        }
    }

    /// Takes note that events of a member are known not to have come here.
    pub(super) fn missed(&mut self, tag: Tag, lost: u64) {
        if lost > 0 {
            self.report(Missed::Here(tag, lost));
        }
    }

    fn report(&mut self, missed: Missed) {
        self.leave_chore(Chore::Report(missed));
    }

    fn leave_chore(&mut self, chore: Chore) {
        self.chores.push_back(chore);
        self.alarm = true;
    }
}

/// The clock of the runtime, which tests can stop.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
