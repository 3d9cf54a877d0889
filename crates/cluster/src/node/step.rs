//! What a node tells its driver: what to do, what to answer, what has ended.

use bytes::Bytes;

use super::asker::Asker;
use crate::adapter::Letter;
use crate::message::Packet;
use crate::name::{Nsp, Room};
use crate::peers::Peer;
use crate::request::Outcome;
use crate::selector::{Flags, Selector};
use crate::to::To;

/// What the driver hears, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Something to do; nobody waits for what comes of it.
    Act(Output),
    /// Something to do here whose result is handed back to the node.
    Answer(Question),
    /// A request of this server is over. Said once for each that was not refused, at the latest when its time is up.
    Finish(Outcome),
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Publish a message on the backplane; only of a node that is on one. What became of it goes to
    /// [`Node::handle_published`](crate::Node::handle_published) or [`Node::handle_unpublished`](crate::Node::handle_unpublished).
    Publish(Letter),
    /// Send these bytes to other servers; of any other node.
    Send {
        /// To whom.
        to: To,
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

/// What the driver is asked, by another server or by this one. A question that goes unanswered costs its asker the timeout.
#[derive(Debug, PartialEq, Eq)]
pub enum Question {
    /// Deliver an event to the selected sockets of this server and ask each for an ack. How many there are goes to
    /// [`Node::handle_client_count`](crate::Node::handle_client_count) at once, also when there are none; each ack to
    /// [`Node::handle_ack`](crate::Node::handle_ack). After `flags.timeout`, which is always there, nobody waits any more.
    DeliverWithAck {
        /// Who asks.
        asker: Asker,
        /// The namespace.
        nsp: Nsp,
        /// The sockets.
        selector: Selector,
        /// How to treat it.
        flags: Flags,
        /// The event.
        packet: Packet,
    },
    /// Which sockets of this server are selected? The answer goes to [`Node::handle_sockets`](crate::Node::handle_sockets).
    FetchSockets {
        /// Who asks.
        asker: Asker,
        /// The namespace.
        nsp: Nsp,
        /// The sockets.
        selector: Selector,
    },
    /// An event for the server itself. Where there is an asker, a handler's first answer goes to
    /// [`Node::handle_value`](crate::Node::handle_value).
    ServerSideEmit {
        /// Who waits for an answer, if anybody does.
        asker: Option<Asker>,
        /// The namespace.
        nsp: Nsp,
        /// The event, an array.
        packet: Packet,
    },
}
