//! A node on a backplane: it publishes letters, and knows of the others by what they say or by their number.
//!
//! Like the official adapters: with heartbeats every message is a sign of life, whoever comes asks who is there, and whoever is silent for too long
//! is gone. Where the backplane counts, a request waits for as many others as there are, whoever they may be.

use std::time::Instant;

use super::roll::Roll;
use super::{EMITTER, Node};
use crate::adapter::Presence;
use crate::message::{Envelope, Message};
use crate::name::{Nsp, RequestId, Uid};
use crate::peers::Peer;
use crate::requests::Strangers;
use crate::to::To;

/// How the uids of Sockeye's servers begin. Of sixteen million official ones, which are random, one begins like this.
const SOCKEYE: &str = "50c4e7";

impl Node {
    /// Makes a node that speaks by an adapter, in one namespace: it gives out [`Output::Publish`](super::Output::Publish). The first letter,
    /// where presence goes by heartbeats, asks who is there.
    pub fn on_backplane(uid: Uid, presence: Presence, now: Instant) -> Self {
        let mut node = Self { roll: Roll::new(presence, now), ..Self::new(uid) };
        if matches!(node.roll, Roll::Heard(_)) {
            node.letter(To::All, Message::InitialHeartbeat);
        }
        node
    }

    /// A uid by which a server of Sockeye's is known to the others: 16 hex digits, of which the first six are always the same.
    pub fn uid_of_sockeye(random: u64) -> Uid {
        Uid::from(format!("{SOCKEYE}{:010x}", random & 0xff_ffff_ffff))
    }

    /// Whether every other server is known by name and is one of Sockeye's, by its uid. Only these answer what the official ones
    /// have no message for.
    pub fn is_among_its_own(&self) -> bool {
        match &self.roll {
            Roll::Told => true,
            Roll::Heard(_) => self.peers.iter().all(|peer| peer.uid.starts_with(SOCKEYE)),
            Roll::Counted(counted) => {
                counted.names().len() as u64 >= counted.others()
                    && counted.names().iter().all(|uid| uid.starts_with(SOCKEYE))
            }
        }
    }

    /// Takes what the channel of an adapter heard; for a node [on a backplane](Self::on_backplane).
    pub fn handle_arrival(&mut self, envelope: Envelope, now: Instant) {
        let uid = &envelope.uid;
        let leaves = matches!(envelope.message, Message::AdapterClose);
        if !leaves && *uid != self.uid && *uid != EMITTER && !uid.is_nameless() {
            self.heard_of(&uid.clone(), now);
        }
        if matches!(envelope.message, Message::InitialHeartbeat) && envelope.uid != self.uid {
            self.letter(To::All, Message::Heartbeat);
        }
        self.handle_envelope(envelope);
    }

    /// Takes how many servers the backplane counts, this one included. To be told before each request where it counts
    /// ([`Presence::Counted`]): the request waits for that many.
    pub const fn handle_servers(&mut self, servers: u64) {
        if let Roll::Counted(counted) = &mut self.roll {
            counted.set(servers);
        }
    }

    /// Takes note that something was published: a sign of life.
    pub fn handle_published(&mut self, now: Instant) {
        if let Roll::Heard(heard) = &mut self.roll {
            heard.spoken(now);
        }
    }

    /// Takes note that a message could not be published. A request that nobody got ends with what is here.
    pub fn handle_unpublished(&mut self, request_id: Option<&RequestId>) {
        self.stats.unsendable += 1;
        if let Some(id) = request_id {
            let own = self.uid.clone();
            let over = self.requests.unasked(id, &own);
            self.finish(over);
        }
    }

    /// Says a heartbeat when it is time for one, and gives up who was silent for too long.
    pub(super) fn call_roll(&mut self, now: Instant) {
        let Roll::Heard(heard) = &mut self.roll else { return };
        let speak = heard.has_to_speak(now) && !self.closed;
        for uid in heard.silent(now) {
            self.handle_lost(&uid);
        }
        if speak {
            self.letter(To::All, Message::Heartbeat);
        }
    }

    /// Whether a message to all has to be sent: on a backplane somebody may always be there who was not heard of.
    pub(super) fn has_hearers(&self) -> bool {
        match &self.roll {
            Roll::Told => !self.peers.is_empty(),
            Roll::Heard(_) | Roll::Counted(_) => true,
        }
    }

    /// Whether the backplane has counted nobody else.
    pub(super) fn is_alone(&self) -> bool {
        matches!(&self.roll, Roll::Counted(counted) if counted.others() == 0)
    }

    /// Whom a request waits for without knowing them.
    pub(super) fn strangers(&self) -> Strangers {
        match &self.roll {
            Roll::Told | Roll::Heard(_) => Strangers::default(),
            Roll::Counted(counted) => Strangers { count: counted.others(), names: counted.names().clone() },
        }
    }

    pub(super) fn strike_off(&mut self, uid: &Uid) {
        match &mut self.roll {
            Roll::Told => {}
            Roll::Heard(heard) => heard.forget(uid),
            Roll::Counted(counted) => counted.forget(uid),
        }
    }

    fn heard_of(&mut self, uid: &Uid, now: Instant) {
        let is_new = match &mut self.roll {
            Roll::Told => false,
            Roll::Heard(heard) => heard.note(uid, now),
            Roll::Counted(counted) => {
                counted.note(uid);
                false
            }
        };
        if is_new {
            self.handle_joined(Peer { uid: uid.clone(), tag: None, http: None, guest: false });
        }
    }

    fn letter(&mut self, to: To, message: Message) {
        self.send(to, &Nsp::new("/"), message);
    }
}
