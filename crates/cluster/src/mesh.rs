//! Who of this machine is in the mesh: whom to dial, whom to dial back, what a broken connection means.
//!
//! Connections have one direction: a member writes on those it dialled and reads on those it accepted. A member is
//! in the mesh from its hello until the connection that brought it ends. The specification is `docs/mesh.md`; here are its
//! decisions, without a socket or a clock. What the frames after the hello mean is [`Node`](crate::node::Node)'s business.
//!
//! A driver listens on `<directory>/<tag>.sock`, lists the directory once, and then does what it is told. It gives each
//! member a bounded queue of frames; where that overflows it drops the connection and reports it as lost.
//!
//! ```
//! use std::time::Instant;
//!
//! use bytes::Bytes;
//! use sockeye_cluster::mesh::{DialError, Hello, Mesh, Output, tag_of_socket};
//!
//! let now = Instant::now();
//! let hello = Hello { tag: "Ab3dE_".parse()?, uid: "a34a292dd6b7d25a".into(), http: Some("/run/http/Ab3dE_.sock".parse()?), guest: false, seen: None, board: None };
//! let mut mesh = Mesh::new(hello);
//!
//! // Bound and listening? Then tell it the directory, once. It ignores its own socket.
//! mesh.handle_listing(["Zz9-00.sock", "Ab3dE_.sock", "x.new"].into_iter().filter_map(tag_of_socket), now);
//! // Tell it what happens:
//! //  accept():              let conn = mesh.handle_accepted(now);   then each frame: mesh.handle_frame(conn, payload, now)
//! //  end or error there:    mesh.handle_incoming_lost(conn, now)
//! //  connect() succeeded:   mesh.handle_dialled(tag, now)           failed: mesh.handle_dial_failed(tag, (&io_error).into(), now)
//! //  end or error there:    mesh.handle_outgoing_lost(tag, now)     (read it too: a member writes nothing on it)
//! //  the clock:             mesh.handle_timeout(now) at mesh.poll_timeout()
//!
//! // Do what it says.
//! while let Some(output) = mesh.poll_output() {
//!     match output {
//!         Output::Dial(tag) => {
//!             /* connect to <directory>/<tag>.sock */
//!             mesh.handle_dial_failed(tag, DialError::NoSocket, now);
//!         }
//!         Output::Write { to, payload } => { /* frame_header(payload.len()), payload: on the connection dialled to `to` */ }
//!         Output::HangUp(tag) => { /* drop the connection dialled to `tag` */ }
//!         Output::Close(conn) => { /* drop the accepted connection */ }
//!         Output::Unlink(tag) => { /* remove <directory>/<tag>.sock */ }
//!         Output::Seen { tag, uid, seen } => { /* sightings.handle_hello(tag, &seen, now), where sessions are kept */ }
//!         Output::Hears { tag, hears } => { /* ears.handle_hello(tag, hears) */ }
//!         Output::Joined(peer) => { /* node.handle_joined(peer) */ }
//!         Output::Left(tag) => { /* node.handle_left(tag) */ }
//!         Output::Received { from, payload } => { /* node.handle_frame(&payload) */ }
//!         Output::Settled => { /* everyone who was here knows us: report ready */ }
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod board;
mod ears;
mod fetches;
mod frame;
mod hello;
mod word;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sockeye_proto::sid::Tag;

pub use board::{BOARD_BYTES, BOARD_BYTES_MAX, Mark, Tally, place};
pub use ears::{Ears, Hears, LOOKS_MAX};
pub use fetches::{FETCH_TIMEOUT, Fetched, Fetches, Help};
pub use frame::{FRAME_BYTES_MAX, FrameDecoder, FrameTooLong, frame_header};
pub use hello::{HELLO_BYTES_MAX, Hello, MESH_VERSION, NoHello};
pub use word::{Spoken, WORD_TYPES, Word};

use crate::name::Uid;
use crate::peers::Peer;
use crate::places::Places;

/// How many members a mesh may have, and how many accepted connections a member holds; more are closed at once.
pub const MEMBERS_MAX: usize = 1024;

/// How long an accepted connection may take to say hello; then it is closed.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a newcomer waits for the members it found to dial back; then it counts itself as settled without them.
pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// The pause before a member is dialled again; it doubles up to [`REDIAL_MAX`] and starts over with a hello.
pub const REDIAL_MIN: Duration = Duration::from_millis(50);

/// The longest pause before a member is dialled again.
pub const REDIAL_MAX: Duration = Duration::from_secs(5);

/// How often in a row a socket must refuse before it is removed: a member may stand between its bind and its listen.
pub const REFUSALS_MAX: u8 = 2;

/// An accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conn(u64);

/// Why a member could not be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialError {
    /// There is no socket of that name (ENOENT): it has left.
    NoSocket,
    /// Nobody listens (ECONNREFUSED): it has died, or is about to listen.
    Refused,
    /// Anything else, such as a full backlog: it may be alive.
    Other,
}

impl From<&io::Error> for DialError {
    fn from(error: &io::Error) -> Self {
        let kind = error.kind();
        if kind == io::ErrorKind::NotFound {
            Self::NoSocket
        } else if kind == io::ErrorKind::ConnectionRefused {
            Self::Refused
        } else {
            Self::Other
        }
    }
}

/// What the driver has to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Connect to this member's socket and report how it went.
    Dial(Tag),
    /// Write a frame on the connection that was dialled to this member.
    Write {
        /// The member.
        to: Tag,
        /// The frame without its header.
        payload: Bytes,
    },
    /// Drop the connection that was dialled to this member, and report nothing more of it.
    HangUp(Tag),
    /// Drop an accepted connection; what is still reported of it is ignored.
    Close(Conn),
    /// Remove this member's socket file: nobody listens there.
    Unlink(Tag),
    /// A member that keeps sessions has said hello, by each of its connections.
    Seen {
        /// The member.
        tag: Tag,
        /// How it signs.
        uid: Uid,
        /// What it has seen.
        seen: Places,
    },
    /// A member has said that it needs not hear everything, by each of its connections.
    Hears {
        /// The member.
        tag: Tag,
        /// What it hears.
        hears: Hears,
    },
    /// A member has come.
    Joined(Peer),
    /// A member has gone.
    Left(Tag),
    /// A member has sent a frame.
    Received {
        /// The member.
        from: Tag,
        /// The frame without its header.
        payload: Bytes,
    },
    /// Every member that the listing showed is connected both ways, or gone, or too slow. Said once.
    Settled,
}

/// What a mesh has counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Members that have come, each time they came.
    pub joined: u64,
    /// Members that have gone.
    pub left: u64,
    /// Connections that opened with anything but a hello for us, or with none in time.
    pub strangers: u64,
    /// Connections and members beyond [`MEMBERS_MAX`].
    pub refused: u64,
}

/// The members of the mesh, seen from one of them.
#[derive(Debug)]
pub struct Mesh {
    hello: Hello,
    members: BTreeMap<Tag, Member>,
    arrivals: BTreeMap<Conn, Arrival>,
    next_conn: u64,
    settling: Settling,
    outputs: VecDeque<Output>,
    stats: Stats,
}

#[derive(Debug)]
struct Member {
    outgoing: Outgoing,
    incoming: Option<(Conn, Peer)>,
    pause: Duration,
    refusals: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outgoing {
    Dialling,
    Up,
    Waiting { until: Instant },
}

#[derive(Debug)]
enum Arrival {
    Stranger { until: Instant },
    Greeted(Tag),
}

#[derive(Debug)]
enum Settling {
    Unlisted,
    Awaiting { tags: BTreeSet<Tag>, until: Instant },
    Settled,
}

impl Mesh {
    /// Makes the mesh of a member that is about to come.
    pub fn new(hello: Hello) -> Self {
        Self {
            hello,
            members: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            next_conn: 0,
            settling: Settling::Unlisted,
            outputs: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// Takes the sockets that stood in the directory once this member listened.
    pub fn handle_listing(&mut self, tags: impl IntoIterator<Item = Tag>, now: Instant) {
        let mut listed = BTreeSet::new();
        for tag in tags {
            if tag != self.hello.tag && self.meet(tag) {
                listed.insert(tag);
            }
        }
        if matches!(self.settling, Settling::Unlisted) {
            self.settling = Settling::Awaiting { tags: listed, until: now + SETTLE_TIMEOUT };
        }
        self.settle(now);
    }

    /// Takes an accepted connection and names it.
    pub fn handle_accepted(&mut self, now: Instant) -> Conn {
        let conn = Conn(self.next_conn);
        self.next_conn += 1;
        if self.arrivals.len() < MEMBERS_MAX {
            self.arrivals.insert(conn, Arrival::Stranger { until: now + HELLO_TIMEOUT });
        } else {
            self.stats.refused += 1;
            self.outputs.push_back(Output::Close(conn));
        }
        conn
    }

    /// Takes the payload of a frame from an accepted connection; the first one is the hello.
    pub fn handle_frame(&mut self, conn: Conn, payload: Bytes, now: Instant) {
        match self.arrivals.get(&conn) {
            Some(Arrival::Greeted(tag)) => {
                self.outputs.push_back(Output::Received { from: *tag, payload });
            }
            Some(Arrival::Stranger { .. }) => match Hello::decode(&payload) {
                Ok(hello) if hello.tag != self.hello.tag && hello.uid != self.hello.uid => {
                    self.greet(conn, &hello, now);
                }
                Ok(_) | Err(_) => self.turn_away(conn),
            },
            // Closed a moment ago; the driver had read on.
            None => {}
        }
    }

    /// Takes the end of an accepted connection: the member that dialled it is gone.
    pub fn handle_incoming_lost(&mut self, conn: Conn, now: Instant) {
        let Some(Arrival::Greeted(tag)) = self.arrivals.remove(&conn) else { return };
        let Some(member) = self.members.get_mut(&tag) else { return };
        if member.incoming.as_ref().is_none_or(|(current, _)| *current != conn) {
            return;
        }
        member.incoming = None;
        self.stats.left += 1;
        self.outputs.push_back(Output::Left(tag));
        // It may live on, having cut us off for reading too slowly; its socket tells.
        if member.outgoing == Outgoing::Up {
            self.outputs.push_back(Output::HangUp(tag));
            member.wait(now);
        }
        self.settle(now);
    }

    /// Sets what the next hello says that was seen here.
    pub fn set_seen(&mut self, seen: Places) {
        self.hello.seen = Some(seen);
    }

    /// Takes the success of a dial.
    pub fn handle_dialled(&mut self, tag: Tag, now: Instant) {
        let Some(member) = self.members.get_mut(&tag) else { return };
        member.outgoing = Outgoing::Up;
        member.refusals = 0;
        self.outputs.push_back(Output::Write { to: tag, payload: self.hello.encode().into() });
        self.settle(now);
    }

    /// Takes the failure of a dial.
    pub fn handle_dial_failed(&mut self, tag: Tag, error: DialError, now: Instant) {
        let Some(member) = self.members.get_mut(&tag) else { return };
        let heard = member.incoming.is_some();
        match error {
            DialError::NoSocket if !heard => {
                self.members.remove(&tag);
            }
            DialError::Refused if !heard && member.refusals + 1 >= REFUSALS_MAX => {
                self.members.remove(&tag);
                self.outputs.push_back(Output::Unlink(tag));
            }
            DialError::Refused => {
                member.refusals = member.refusals.saturating_add(1);
                member.wait(now);
            }
            DialError::NoSocket | DialError::Other => member.wait(now),
        }
        self.settle(now);
    }

    /// Takes the end of a connection that was dialled: nothing can be sent until it is dialled again.
    pub fn handle_outgoing_lost(&mut self, tag: Tag, now: Instant) {
        if let Some(member) = self.members.get_mut(&tag)
            && member.outgoing == Outgoing::Up
        {
            member.wait(now);
        }
    }

    /// Does what was due by now.
    pub fn handle_timeout(&mut self, now: Instant) {
        let silent = |(conn, arrival): (&Conn, &Arrival)| match arrival {
            Arrival::Stranger { until } if *until <= now => Some(*conn),
            Arrival::Stranger { .. } | Arrival::Greeted(_) => None,
        };
        for conn in self.arrivals.iter().filter_map(silent).collect::<Vec<_>>() {
            self.turn_away(conn);
        }
        for (tag, member) in &mut self.members {
            if matches!(member.outgoing, Outgoing::Waiting { until } if until <= now) {
                member.outgoing = Outgoing::Dialling;
                self.outputs.push_back(Output::Dial(*tag));
            }
        }
        self.settle(now);
    }

    /// When [`Mesh::handle_timeout`] is due; `None`: nothing waits.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let hellos = self.arrivals.values().filter_map(|arrival| match arrival {
            Arrival::Stranger { until } => Some(*until),
            Arrival::Greeted(_) => None,
        });
        let dials = self.members.values().filter_map(|member| match member.outgoing {
            Outgoing::Waiting { until } => Some(until),
            Outgoing::Dialling | Outgoing::Up => None,
        });
        let settle = match &self.settling {
            Settling::Awaiting { until, .. } => Some(*until),
            Settling::Unlisted | Settling::Settled => None,
        };
        hellos.chain(dials).chain(settle).min()
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether [`Output::Settled`] has been said.
    pub const fn is_settled(&self) -> bool {
        matches!(self.settling, Settling::Settled)
    }

    /// What was counted so far.
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Takes note of a member and dials it, unless it is known or there are too many.
    fn meet(&mut self, tag: Tag) -> bool {
        if self.members.contains_key(&tag) {
            return true;
        }
        if self.members.len() >= MEMBERS_MAX {
            self.stats.refused += 1;
            return false;
        }
        self.members.insert(tag, Member::new());
        self.outputs.push_back(Output::Dial(tag));
        true
    }

    /// A hello has come: the member is here, and is dialled back where that is still to do.
    fn greet(&mut self, conn: Conn, hello: &Hello, now: Instant) {
        if !self.meet(hello.tag) {
            self.arrivals.remove(&conn);
            self.outputs.push_back(Output::Close(conn));
            return;
        }
        let member = self.members.get_mut(&hello.tag).expect("meet has just noted it");
        self.arrivals.insert(conn, Arrival::Greeted(hello.tag));
        let peer = hello.peer();
        let before = member.incoming.replace((conn, peer.clone()));
        member.pause = REDIAL_MIN;
        if let Outgoing::Waiting { .. } = member.outgoing {
            member.outgoing = Outgoing::Dialling;
            self.outputs.push_back(Output::Dial(hello.tag));
        }
        // The newer connection counts: the older one's end may not have been heard yet.
        let same = before.as_ref().is_some_and(|(_, known)| *known == peer);
        if let Some((older, _)) = before {
            self.arrivals.remove(&older);
            self.outputs.push_back(Output::Close(older));
            if !same {
                self.stats.left += 1;
                self.outputs.push_back(Output::Left(hello.tag));
            }
        }
        if let Some(seen) = &hello.seen {
            self.outputs.push_back(Output::Seen {
                tag: hello.tag,
                uid: hello.uid.clone(),
                seen: seen.clone(),
            });
        }
        if hello.guest || hello.board.is_some() {
            let hears = Hears { guest: hello.guest, keeps: hello.seen.is_some(), board: hello.board };
            self.outputs.push_back(Output::Hears { tag: hello.tag, hears });
        }
        if !same {
            self.stats.joined += 1;
            self.outputs.push_back(Output::Joined(peer));
        }
        self.settle(now);
    }

    fn turn_away(&mut self, conn: Conn) {
        self.arrivals.remove(&conn);
        self.stats.strangers += 1;
        self.outputs.push_back(Output::Close(conn));
    }

    fn settle(&mut self, now: Instant) {
        let Settling::Awaiting { tags, until } = &mut self.settling else { return };
        tags.retain(|tag| {
            self.members.get(tag).is_some_and(|member| !member.is_met() && member.refusals == 0)
        });
        if tags.is_empty() || *until <= now {
            self.settling = Settling::Settled;
            self.outputs.push_back(Output::Settled);
        }
    }
}

impl Member {
    const fn new() -> Self {
        Self { outgoing: Outgoing::Dialling, incoming: None, pause: REDIAL_MIN, refusals: 0 }
    }

    /// Lets a pause go by before the next dial, and makes the one after it longer.
    fn wait(&mut self, now: Instant) {
        self.outgoing = Outgoing::Waiting { until: now + self.pause };
        self.pause = (self.pause * 2).min(REDIAL_MAX);
    }

    fn is_met(&self) -> bool {
        self.incoming.is_some() && self.outgoing == Outgoing::Up
    }
}

/// The name of the file in the mesh's directory that is a member's board.
pub fn board_name(tag: Tag) -> String {
    format!("{tag}.board")
}

/// The tag in the name of a member's socket, `<tag>.sock`; other files are nobody's.
pub fn tag_of_socket(name: &str) -> Option<Tag> {
    name.strip_suffix(".sock")?.parse().ok()
}
