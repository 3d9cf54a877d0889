//! What a turn of the machines leaves to be done, and what they have counted.

use bytes::Bytes;
use sockeye_cluster::Envelope;
use sockeye_cluster::mesh::{self, Conn, Spoken};
use sockeye_cluster::node::{self, Question};
use sockeye_proto::sid::Tag;

/// What only the membership's task may do, in order.
#[derive(Debug)]
pub(super) enum Chore {
    /// Connect to a member.
    Dial(Tag),
    /// End the task that reads this connection.
    Close(Conn),
    /// Remove a member's socket.
    Unlink(Tag),
    /// Everyone who was there is connected.
    Settled,
    /// Tell the sink who has come or gone.
    Tell(node::Output),
    /// Tell a member which sessions are here.
    Greet(Tag),
    /// Tell the application what was missed.
    Report(Missed),
    /// End.
    Leave,
}

/// What is to be done or answered here, in the order in which it came.
#[derive(Debug)]
pub(super) enum Delivery {
    /// For the sink.
    Act(node::Output),
    /// For whoever answers.
    Answer(Question),
    /// For whoever keeps sessions.
    Heard(Spoken),
    /// A member wants to hear this number when all that came before is done.
    Marked(Tag, u64),
}

/// What is left to do of a frame that was decoded.
#[derive(Debug)]
pub(super) enum Decoded {
    /// It is a message.
    Message(Envelope),
    /// It is about a session, or a mark.
    Word(Spoken),
}

/// What a turn of the machines left to whoever caused it.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Frames to be decoded.
    pub(super) received: Vec<Bytes>,
    /// For the sink, and for whoever answers.
    pub(super) deliveries: Vec<Delivery>,
    /// Who is there has changed.
    pub(super) peers_changed: bool,
    /// The membership's task is to be woken.
    pub(super) alarm: bool,
}

/// What a mesh has counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    /// Of connections and members.
    pub(crate) mesh: mesh::Stats,
    /// Of messages. Those that could not be read are counted beside it.
    pub(crate) node: node::Stats,
    /// Members that are here.
    pub(crate) members: usize,
    /// Members that were cut off because they read too slowly.
    pub(crate) overflows: u64,
    /// Messages that waited for a member when its connection ended: it has not got them.
    pub(crate) dropped: u64,
    /// Events of others that are known not to have come here; known only where sessions are kept.
    pub(crate) lost: u64,
    /// Frames that were no message; each was skipped.
    pub(crate) malformed: u64,
    /// Messages that were not sent to a member, for nobody is there whom they concern.
    pub(crate) spared: u64,
}

/// What has not got through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// So many messages of this member were not taken by that one.
    There(Tag, u64),
    /// So many events of that member have not come here.
    Here(Tag, u64),
    /// So many frames were no message.
    Malformed(u64),
}
