//! One server's part in the cluster, decided without a socket: what to send for what was published here, and what
//! to do here for what came from elsewhere.
//!
//! Local delivery does not pass through here: the library delivers to its own sockets first and tells the node what
//! others should hear of. Which peers exist is told by whoever knows: a [`Mesh`](crate::mesh::Mesh) by its
//! connections, a backplane's adapter by heartbeats. Requests with replies (fetchSockets, acks, server-side emit), and
//! with them a clock, are not decided here yet; [`Node::handle_frame`] counts them as unanswered.
//!
//! A driver, on one page:
//!
//! ```
//! use bytes::Bytes;
//! use sockeye_cluster::{Message, Flags, Node, Nsp, Packet, Peer, Selector, node::Output};
//!
//! let mut node = Node::new("a34a292dd6b7d25a".into());
//!
//! // Tell it who comes (of a mesh: when it says `Output::Joined`).
//! node.handle_joined(Peer { uid: "b0b".into(), tag: Some("Ab3dE_".parse()?), http: Some("/run/http/Ab3dE_.sock".parse()?) });
//! // Tell it what was published here, after local delivery.
//! node.handle_publish(&Nsp::new("/"), Message::Broadcast {
//!     selector: Selector::to("kitchen"),
//!     flags: Flags::default(),
//!     packet: Packet::text(r#"["hello",1]"#),
//!     request_id: None,
//! });
//! // Tell it what came in.
//! node.handle_frame(&Bytes::from_static(br#"{"type":13,"uid":"b0b","nsp":"/"}"#));
//!
//! // Do what it says.
//! while let Some(output) = node.poll_output() {
//!     match output {
//!         Output::Send { frame } => { /* to every member of the mesh: header, then frame */ }
//!         Output::Deliver { nsp, selector, flags, packet } => { /* hub.deliver(…) */ }
//!         Output::Join { nsp, selector, rooms } => {}
//!         Output::Leave { nsp, selector, rooms } => {}
//!         Output::Disconnect { nsp, selector, close } => {}
//!         Output::PeerJoined(peer) => { /* directory: peer.tag → peer.http */ }
//!         Output::PeerLeft(peer) => {}
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::VecDeque;

use bytes::Bytes;
use sockeye_proto::sid::Tag;

use crate::address::Address;
use crate::message::{Envelope, Message, Packet};
use crate::name::{Nsp, Room, Uid};
use crate::peers::{Peer, Peers};
use crate::selector::{Flags, Selector};
use crate::wire;

/// What the driver has to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes to every other server.
    Send {
        /// An envelope on the wire.
        frame: Bytes,
    },
    /// Deliver an event to the selected sockets of this server.
    Deliver {
        /// The namespace.
        nsp: Nsp,
        /// The sockets.
        selector: Selector,
        /// How to treat it.
        flags: Flags,
        /// The event.
        packet: Packet,
    },
    /// Let the selected sockets of this server join rooms.
    Join {
        /// The namespace.
        nsp: Nsp,
        /// The sockets.
        selector: Selector,
        /// The rooms.
        rooms: Vec<Room>,
    },
    /// Let the selected sockets of this server leave rooms.
    Leave {
        /// The namespace.
        nsp: Nsp,
        /// The sockets.
        selector: Selector,
        /// The rooms.
        rooms: Vec<Room>,
    },
    /// Disconnect the selected sockets of this server.
    Disconnect {
        /// The namespace.
        nsp: Nsp,
        /// The sockets.
        selector: Selector,
        /// Whether to close the connection below too.
        close: bool,
    },
    /// A server has come.
    PeerJoined(Peer),
    /// A server has gone: the sids with its tag belong to nobody.
    PeerLeft(Peer),
}

/// What a node has counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages sent.
    pub sent: u64,
    /// Messages taken from others and acted upon.
    pub received: u64,
    /// Messages of its own that came back.
    pub own: u64,
    /// Frames that were no message; each was skipped.
    pub malformed: u64,
    /// Requests and replies of kinds that this node does not answer; each was skipped.
    pub unanswered: u64,
    /// Messages that could not be sent: no JSON, or too long.
    pub unsendable: u64,
}

/// One server's part in the cluster.
#[derive(Debug)]
pub struct Node {
    uid: Uid,
    peers: Peers,
    outputs: VecDeque<Output>,
    stats: Stats,
}

impl Node {
    /// Makes a node that signs with this uid, which must be unique in the cluster.
    pub fn new(uid: Uid) -> Self {
        Self { uid, peers: Peers::new(), outputs: VecDeque::new(), stats: Stats::default() }
    }

    /// Takes a message that was published here, for the other servers.
    ///
    /// Without peers nothing is encoded; a broadcast flagged `local` goes nowhere.
    pub fn handle_publish(&mut self, nsp: &Nsp, message: Message) {
        let local = matches!(&message, Message::Broadcast { flags, .. } if flags.local);
        if local || self.peers.is_empty() {
            return;
        }
        let envelope = Envelope { uid: self.uid.clone(), nsp: nsp.clone(), message };
        match wire::encode(&envelope) {
            Ok(frame) => {
                self.stats.sent += 1;
                self.outputs.push_back(Output::Send { frame });
            }
            Err(_) => self.stats.unsendable += 1,
        }
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
        let output = match message {
            // A broadcast that wants acks is still an event for the clients.
            Message::Broadcast { selector, flags, packet, request_id } => {
                self.stats.unanswered += u64::from(request_id.is_some());
                Output::Deliver { nsp, selector, flags, packet }
            }
            Message::SocketsJoin { selector, rooms } => Output::Join { nsp, selector, rooms },
            Message::SocketsLeave { selector, rooms } => Output::Leave { nsp, selector, rooms },
            Message::DisconnectSockets { selector, close } => Output::Disconnect { nsp, selector, close },
            Message::AdapterClose => match self.peers.leave(&uid) {
                Some(peer) => Output::PeerLeft(peer),
                None => return,
            },
            // Who is alive, a mesh knows by its connections.
            Message::InitialHeartbeat | Message::Heartbeat => return,
            Message::FetchSockets { .. }
            | Message::FetchSocketsResponse { .. }
            | Message::ServerSideEmit { .. }
            | Message::ServerSideEmitResponse { .. }
            | Message::BroadcastClientCount { .. }
            | Message::BroadcastAck { .. } => {
                self.stats.unanswered += 1;
                return;
            }
        };
        self.stats.received += 1;
        self.outputs.push_back(output);
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
        self.outputs.extend(replaced.into_iter().map(Output::PeerLeft));
        self.outputs.push_back(Output::PeerJoined(peer));
    }

    /// Takes note that the server with this tag is gone.
    pub fn handle_left(&mut self, tag: Tag) {
        if let Some(peer) = self.peers.leave_tag(tag) {
            self.outputs.push_back(Output::PeerLeft(peer));
        }
    }

    /// Says goodbye: the last thing a node sends, when its sockets are closed.
    pub fn handle_close(&mut self) {
        self.handle_publish(&Nsp::new("/"), Message::AdapterClose);
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The id under which the node signs.
    pub const fn uid(&self) -> &Uid {
        &self.uid
    }

    /// The other servers.
    pub const fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Where the owner of the sids with this tag takes relayed requests; `None`: nobody alive owns them.
    pub fn owner(&self, tag: Tag) -> Option<&Address> {
        self.peers.owner(tag)
    }

    /// What was counted so far.
    pub const fn stats(&self) -> Stats {
        self.stats
    }
}
