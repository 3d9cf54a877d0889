//! One server's part in the cluster, decided without a socket: what to send for what was published here, what to do here
//! for what came from elsewhere, and when a request to all has been answered.
//!
//! A plain event is delivered to the library's own sockets first, without a node; the node is told what others should hear of. A
//! [`Request`] is put to this server as to any other, so that a driver answers its own questions as it answers those of others,
//! and there is one sum, one timeout and one account of what is missing. Requests work alone, too.
//!
//! Which peers exist is told by whoever knows: a [`Mesh`](crate::mesh::Mesh) by its connections. On a backplane ([`Node::on_backplane`]) they
//! are heard, or counted. A peer that leaves is waited for no more. Official servers have one uid for each namespace: on a backplane there is
//! a node for each namespace too; a mesh has one for all. An emitter (uid `emitter`) is no peer: its events are
//! delivered, and it is never answered.
//!
//! What a bus may do: a reply that is lost costs a request its timeout and shows as missing. A request that is repeated is
//! acted upon once ([`REPEATS_MAX`], [`REPEAT_BYTES_MAX`]), a repeated reply counts once, though one ack cannot be told from
//! another (the format has no name for it): of a server no more acks count than it has said that it has clients. A plain
//! event that the bus repeats is delivered again, for nothing in it tells that it is the same; a bus that can repeat has to
//! know its own offsets.
//!
//! A driver, on one page:
//!
//! ```
//! use std::time::Instant;
//!
//! use bytes::Bytes;
//! use sockeye_cluster::node::{Node, Output, Question, Step, To};
//! use sockeye_cluster::{Flags, Message, Nsp, Packet, Peer, Request, Selector};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = Instant::now();
//! let mut node = Node::new("a34a292dd6b7d25a".into());
//!
//! // Tell it who comes (of a mesh: when it says `Output::Joined`).
//! node.handle_joined(Peer { uid: "b0b".into(), tag: Some("Ab3dE_".parse()?), http: Some("/run/http/Ab3dE_.sock".parse()?), guest: false });
//! // Tell it what was published here, after local delivery.
//! node.handle_publish(&Nsp::new("/"), Message::Broadcast {
//!     selector: Selector::to("kitchen"),
//!     flags: Flags::default(),
//!     packet: Packet::text(r#"["hello",1]"#),
//!     request_id: None,
//! });
//! // Tell it what is to be asked. `io.to("kitchen").emit_with_ack(…)`:
//! let request = Request::Broadcast {
//!     selector: Selector::to("kitchen"),
//!     flags: Flags::default(),
//!     packet: Packet::text(r#"["ready?"]"#),
//! };
//! let random = 0x8f1e_22c0_71d5_3b46; // rand::random()
//! let id = node.handle_request(&Nsp::new("/"), request, random, now)?;
//! // let (tell, told) = oneshot::channel(); waiting.insert(id, tell);   … and the caller awaits `told`
//! // Tell it what came in.
//! node.handle_frame(&Bytes::from_static(br#"{"type":13,"uid":"b0b","nsp":"/"}"#));
//! // And the time, at `node.poll_timeout()`.
//! node.handle_timeout(now);
//!
//! // Do what it says.
//! let mut finished = Vec::new();
//! while let Some(step) = node.poll_step() {
//!     match step {
//!         Step::Act(Output::Send { to: To::All, frame }) => { /* to every member of the mesh: header, then frame */ }
//!         Step::Act(Output::Publish(letter)) => { /* of a node on a backplane, in place of `Send`: to its channel */ }
//!         Step::Act(Output::Send { to: To::One(uid), frame }) => { /* to node.peers().get(&uid), if it is there */ }
//!         Step::Act(Output::Deliver { nsp, selector, flags, packet }) => { /* hub.deliver(…) */ }
//!         Step::Act(Output::Join { nsp, selector, rooms }) => {}
//!         Step::Act(Output::Leave { nsp, selector, rooms }) => {}
//!         Step::Act(Output::Disconnect { nsp, selector, close }) => {}
//!         Step::Act(Output::PeerJoined(peer)) => { /* directory: peer.tag → peer.http */ }
//!         Step::Act(Output::PeerLeft(peer)) => {}
//!         Step::Answer(Question::DeliverWithAck { asker, nsp, selector, flags, packet }) => {
//!             /* let asker = Arc::new(asker); emit to each selected socket with an ack slot that ends after `flags.timeout`; */
//!             let clients = 1;
//!             node.handle_client_count(&asker, clients);
//!             /* and as each of them acks, with the ack's first argument: */
//!             node.handle_ack(&asker, Packet::text(r#""yes""#));
//!         }
//!         Step::Answer(Question::FetchSockets { asker, nsp, selector }) => {
//!             /* [{"id":…,"handshake":…,"rooms":[…],"data":…},…] of the selected sockets */
//!             node.handle_sockets(asker, Packet::text("[]"));
//!         }
//!         Step::Answer(Question::ServerSideEmit { asker, nsp, packet }) => {
//!             /* run the handlers; the first to answer takes the asker. No handler, or none that answers: drop it. */
//!             if let Some(asker) = asker {
//!                 node.handle_value(asker, Packet::text("42"));
//!             }
//!         }
//!         Step::Finish(outcome) => {
//!             /* waiting.remove(&outcome.request_id).map(|tell| tell.send(outcome)) */
//!             finished.push(outcome);
//!         }
//!     }
//! }
//! // b0b said goodbye without a word, our own client has acked: partial, and it says who.
//! assert_eq!(finished[0].request_id, id);
//! assert_eq!(finished[0].answers[0].packet, Packet::text(r#""yes""#));
//! assert_eq!(finished[0].missing[0].uid, "b0b");
//! # Ok(())
//! # }
//! ```

mod asker;
mod backplane;
mod roll;
mod stats;
mod step;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sockeye_proto::sid::Tag;

pub use asker::Asker;
pub use stats::Stats;
pub use step::{Output, Question, Step};

pub use crate::name::EMITTER;
pub use crate::to::To;

use self::roll::Roll;
use crate::adapter::Letter;

use crate::address::Address;
use crate::message::{Envelope, Message, Packet};
use crate::name::{Nsp, RequestId, Uid};
use crate::peers::{Peer, Peers};
use crate::request::{Outcome, REQUEST_TIMEOUT, REQUESTS_MAX, Refused, Request};
use crate::requests::{Kind, Reply, Requests, Strangers, Taken};
use crate::seen::Seen;
use crate::selector::Flags;
use crate::wire;

/// The longest time that a request may wait; a longer wish is cut to this.
pub const REQUEST_TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// How many requests of others are remembered, so that one which the bus repeats is acted upon once.
pub const REPEATS_MAX: usize = 4096;

/// The longest names of a server and its request, together, by which it is remembered; official ones have 32 bytes. A request
/// with longer ones is acted upon as often as it comes.
pub const REPEAT_BYTES_MAX: usize = 256;

/// One server's part in the cluster.
#[derive(Debug)]
pub struct Node {
    uid: Uid,
    peers: Peers,
    requests: Requests,
    seen: Seen<(Uid, RequestId)>,
    steps: VecDeque<Step>,
    roll: Roll,
    closed: bool,
    stats: Stats,
}

impl Node {
    /// Makes a node that signs with this uid, which must be unique in the cluster.
    pub fn new(uid: Uid) -> Self {
        Self {
            uid,
            peers: Peers::new(),
            requests: Requests::default(),
            seen: Seen::new(REPEATS_MAX),
            steps: VecDeque::new(),
            roll: Roll::Told,
            closed: false,
            stats: Stats::default(),
        }
    }

    /// Takes a message that was published here, for the other servers.
    ///
    /// Without peers nothing is encoded; a broadcast flagged `local` goes nowhere.
    pub fn handle_publish(&mut self, nsp: &Nsp, message: Message) {
        let local = matches!(&message, Message::Broadcast { flags, .. } if flags.local);
        if !local && self.has_hearers() {
            self.send(To::All, nsp, message);
        }
    }

    /// Writes a message that was published here, for a driver that itself says which of the other servers are to hear it. `None`: it goes nowhere.
    pub fn frame(&mut self, nsp: &Nsp, message: Message) -> Option<Bytes> {
        let local = matches!(&message, Message::Broadcast { flags, .. } if flags.local);
        (!local && self.has_hearers()).then(|| self.encode(nsp, message)).flatten()
    }

    /// Takes a request to the cluster; [`Step::Finish`] tells how it has ended. `random` makes its id.
    ///
    /// # Errors
    ///
    /// Refuses more than [`REQUESTS_MAX`] at a time, and what cannot be sent. Then nobody has been asked.
    pub fn handle_request(
        &mut self,
        nsp: &Nsp,
        request: Request,
        random: u64,
        now: Instant,
    ) -> Result<RequestId, Refused> {
        let id = self.requests.fresh_id(random);
        let asked = self.ask(nsp, &id, request);
        self.stats.refused += u64::from(asked.is_err());
        let (kind, timeout, everywhere, own) = asked?;
        self.stats.requests += 1;
        // A guest has no handlers, so nobody waits for them.
        let asked = |peer: &&Peer| everywhere && !(peer.guest && kind == Kind::Value);
        let others = self.peers.iter().filter(asked).map(|peer| peer.uid.clone());
        let uids: Vec<_> = others.chain(own.is_some().then(|| self.uid.clone())).collect();
        self.steps.extend(own.map(Step::Answer));
        let strangers = if everywhere { self.strangers() } else { Strangers::default() };
        let over = self.requests.begin(&id, nsp.clone(), kind, uids, strangers, now + timeout);
        self.finish(over);
        if self.closed {
            let over = self.requests.close();
            self.finish(over);
        }
        Ok(id)
    }

    /// Takes how many clients of this server got an event whose acks somebody wants.
    pub fn handle_client_count(&mut self, asker: &Asker, clients: u64) {
        let request_id = asker.request_id.clone();
        if asker.here {
            return self.counted(&request_id, &asker.uid, clients);
        }
        self.reply(asker, Message::BroadcastClientCount { request_id, client_count: clients });
    }

    /// Takes the ack of one of these clients: the first argument, or null.
    pub fn handle_ack(&mut self, asker: &Asker, packet: Packet) {
        let request_id = asker.request_id.clone();
        if asker.here {
            return self.answered(&request_id, &asker.uid, Reply::Ack, packet);
        }
        self.reply(asker, Message::BroadcastAck { request_id, packet });
    }

    /// Takes the sockets that were asked for: an array of id, handshake, rooms and data.
    pub fn handle_sockets(&mut self, asker: Asker, sockets: Packet) {
        let request_id = asker.request_id.clone();
        if asker.here {
            return self.answered(&request_id, &asker.uid, Reply::Sockets, sockets);
        }
        self.reply(&asker, Message::FetchSocketsResponse { request_id, sockets });
    }

    /// Takes what a handler answered to a server-side event.
    pub fn handle_value(&mut self, asker: Asker, packet: Packet) {
        let request_id = asker.request_id.clone();
        self.reply(&asker, Message::ServerSideEmitResponse { request_id, packet });
    }

    /// Takes bytes that another server sent. Never fails: what is no message is counted and skipped.
    pub fn handle_frame(&mut self, frame: &Bytes) {
        match wire::decode(frame) {
            Ok(envelope) => self.handle_envelope(envelope),
            Err(_) => self.stats.malformed += 1,
        }
    }

    /// Takes a message that another server sent, from an adapter with a format of its own.
    pub fn handle_envelope(&mut self, envelope: Envelope) {
        let Envelope { uid, nsp, message } = envelope;
        if uid == self.uid {
            self.stats.own += 1;
            return;
        }
        if uid == EMITTER && message.is_reply() {
            self.stats.stray += 1;
            return;
        }
        let Ok(asker) = self.asker(&uid, &nsp, &message) else {
            self.stats.repeated += 1;
            return;
        };
        let step = match message {
            Message::Broadcast { selector, flags, packet, .. } => match asker {
                Some(asker) => {
                    let flags = Flags { timeout: Some(wait(flags.timeout)), ..flags };
                    Step::Answer(Question::DeliverWithAck { asker, nsp, selector, flags, packet })
                }
                None => Step::Act(Output::Deliver { nsp, selector, flags, packet }),
            },
            Message::SocketsJoin { selector, rooms } => Step::Act(Output::Join { nsp, selector, rooms }),
            Message::SocketsLeave { selector, rooms } => Step::Act(Output::Leave { nsp, selector, rooms }),
            Message::DisconnectSockets { selector, close } => {
                Step::Act(Output::Disconnect { nsp, selector, close })
            }
            Message::FetchSockets { selector, .. } => match asker {
                Some(asker) => Step::Answer(Question::FetchSockets { asker, nsp, selector }),
                None => return,
            },
            Message::ServerSideEmit { packet, .. } => {
                Step::Answer(Question::ServerSideEmit { asker, nsp, packet })
            }
            Message::BroadcastClientCount { request_id, client_count } => {
                return self.counted(&request_id, &uid, client_count);
            }
            Message::BroadcastAck { request_id, packet } => {
                return self.answered(&request_id, &uid, Reply::Ack, packet);
            }
            Message::FetchSocketsResponse { request_id, sockets } => {
                return self.answered(&request_id, &uid, Reply::Sockets, sockets);
            }
            Message::ServerSideEmitResponse { request_id, packet } => {
                return self.answered(&request_id, &uid, Reply::Value, packet);
            }
            Message::AdapterClose => {
                self.stats.received += u64::from(self.peers.get(&uid).is_some());
                return self.handle_lost(&uid);
            }
            // Who is alive is told by whoever knows.
            Message::InitialHeartbeat | Message::Heartbeat => return,
        };
        self.stats.received += 1;
        self.steps.push_back(step);
    }

    /// Takes note of a server that has come, or has come again with another address.
    pub fn handle_joined(&mut self, peer: Peer) {
        if peer.uid == self.uid {
            return;
        }
        let replaced = self.peers.join(peer.clone());
        if replaced.contains(&peer) {
            return;
        }
        for gone in replaced {
            self.left(gone);
        }
        self.steps.push_back(Step::Act(Output::PeerJoined(peer)));
    }

    /// Takes note that the server with this tag is gone.
    pub fn handle_left(&mut self, tag: Tag) {
        if let Some(peer) = self.peers.leave_tag(tag) {
            self.left(peer);
        }
    }

    /// Takes note that the server with this uid is gone: its heartbeats have ceased, say.
    pub fn handle_lost(&mut self, uid: &Uid) {
        self.strike_off(uid);
        if let Some(peer) = self.peers.leave(uid) {
            self.left(peer);
        }
    }

    /// Ends what is overdue.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.call_roll(now);
        let over = self.requests.expire(now);
        self.finish(over);
    }

    /// Says goodbye: the last thing a node sends, when its sockets are closed. Its requests end, and those that follow end at once.
    pub fn handle_close(&mut self) {
        self.closed = true;
        let over = self.requests.close();
        self.finish(over);
        // Where servers are counted, leaving is not being counted.
        if !matches!(self.roll, Roll::Counted(_)) {
            self.handle_publish(&Nsp::new("/"), Message::AdapterClose);
        }
    }

    /// What to do next, until there is nothing.
    pub fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// When [`Node::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.requests.deadline().into_iter().chain(self.roll.poll_timeout()).min()
    }

    /// The id under which the node signs.
    pub const fn uid(&self) -> &Uid {
        &self.uid
    }

    /// The other servers.
    pub const fn peers(&self) -> &Peers {
        &self.peers
    }

    /// How many requests are under way.
    pub fn pending(&self) -> usize {
        self.requests.len()
    }

    /// Where the owner of the sids with this tag takes relayed requests; `None`: nobody alive owns them.
    pub fn owner(&self, tag: Tag) -> Option<&Address> {
        self.peers.owner(tag)
    }

    /// What was counted so far.
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Sends a request to the others, and says what is to be asked here: the kind of the answers, how long they are waited for,
    /// whether the others were meant, and the question to this server.
    fn ask(
        &mut self,
        nsp: &Nsp,
        id: &RequestId,
        request: Request,
    ) -> Result<(Kind, Duration, bool, Option<Question>), Refused> {
        if self.requests.len() >= REQUESTS_MAX {
            return Err(Refused::TooMany);
        }
        let asker = Asker { uid: self.uid.clone(), nsp: nsp.clone(), request_id: id.clone(), here: true };
        let nsp_here = nsp.clone();
        let request_id = id.clone();
        let (kind, flags, message, own) = match request {
            Request::Broadcast { selector, flags, packet } => {
                let flags = Flags { timeout: Some(wait(flags.timeout)), ..flags };
                let own = Question::DeliverWithAck {
                    asker,
                    nsp: nsp_here,
                    selector: selector.clone(),
                    flags: flags.clone(),
                    packet: packet.clone(),
                };
                let request_id = Some(request_id);
                let kind = Kind::Acks { single: flags.expect_single_response };
                let message = Message::Broadcast { selector, flags: flags.clone(), packet, request_id };
                (kind, flags, message, Some(own))
            }
            Request::FetchSockets { selector, flags } => {
                let own = Question::FetchSockets { asker, nsp: nsp_here, selector: selector.clone() };
                let message = Message::FetchSockets { selector, flags: flags.clone(), request_id };
                (Kind::Sockets, flags, message, Some(own))
            }
            Request::ServerSideEmit { packet, timeout } => {
                let flags = Flags { timeout, ..Flags::default() };
                let request_id = Some(request_id);
                (Kind::Value, flags, Message::ServerSideEmit { packet, request_id }, None)
            }
        };
        if !flags.local && self.has_hearers() && !self.is_alone() && !self.send(To::All, nsp, message) {
            return Err(Refused::Unsendable);
        }
        Ok((kind, wait(flags.timeout), !flags.local, own))
    }

    /// Who waits for the answer to a message; nobody where it asks for none, or comes from an emitter. An error: it has come before.
    fn asker(&mut self, uid: &Uid, nsp: &Nsp, message: &Message) -> Result<Option<Asker>, Repeated> {
        let Some(request_id) = message.asks() else { return Ok(None) };
        let short = uid.len() + request_id.len() <= REPEAT_BYTES_MAX;
        if short && !self.seen.insert((uid.clone(), request_id.clone())) {
            return Err(Repeated);
        }
        let (uid, nsp, request_id) = (uid.clone(), nsp.clone(), request_id.clone());
        Ok((uid != EMITTER).then_some(Asker { uid, nsp, request_id, here: false }))
    }

    fn reply(&mut self, asker: &Asker, message: Message) {
        self.send(To::One(asker.uid.clone()), &asker.nsp, message);
    }

    fn counted(&mut self, id: &RequestId, uid: &Uid, clients: u64) {
        let (taken, over) = self.requests.count(id, uid, clients);
        self.took(taken, uid, over);
    }

    fn answered(&mut self, id: &RequestId, uid: &Uid, reply: Reply, packet: Packet) {
        let (taken, over) = self.requests.answer(id, uid, reply, packet);
        self.took(taken, uid, over);
    }

    fn took(&mut self, taken: Taken, uid: &Uid, over: Option<Outcome>) {
        match taken {
            Taken::Counted => self.stats.received += u64::from(*uid != self.uid),
            Taken::Dropped => self.stats.dropped += 1,
            Taken::Stray => self.stats.stray += 1,
        }
        self.finish(over);
    }

    fn finish(&mut self, over: impl IntoIterator<Item = Outcome>) {
        for outcome in over {
            self.stats.partial += u64::from(!outcome.is_complete());
            self.steps.push_back(Step::Finish(outcome));
        }
    }

    fn left(&mut self, peer: Peer) {
        let over = self.requests.leave(&peer.uid);
        self.steps.push_back(Step::Act(Output::PeerLeft(peer)));
        self.finish(over);
    }

    /// Sends a message; `false`: it cannot be written.
    fn send(&mut self, to: To, nsp: &Nsp, message: Message) -> bool {
        if !matches!(self.roll, Roll::Told) {
            self.stats.sent += 1;
            self.steps.push_back(Step::Act(Output::Publish(Letter { to, message })));
            return true;
        }
        let Some(frame) = self.encode(nsp, message) else { return false };
        self.steps.push_back(Step::Act(Output::Send { to, frame }));
        true
    }

    fn encode(&mut self, nsp: &Nsp, message: Message) -> Option<Bytes> {
        let envelope = Envelope { uid: self.uid.clone(), nsp: nsp.clone(), message };
        let frame = wire::encode(&envelope).ok();
        *(if frame.is_some() { &mut self.stats.sent } else { &mut self.stats.unsendable }) += 1;
        frame
    }
}

/// A request that has come before.
struct Repeated;

/// How long to wait, given a wish.
fn wait(wish: Option<Duration>) -> Duration {
    wish.unwrap_or(REQUEST_TIMEOUT).min(REQUEST_TIMEOUT_MAX)
}
