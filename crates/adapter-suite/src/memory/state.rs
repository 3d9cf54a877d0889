//! Who is on a bus, and what it keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bytes::Bytes;
use sockeye_cluster::adapter::{
    AdapterError, Arrival, ChannelStats, Inbox, Missed, Opening, Position, Returned, Session,
};
use sockeye_cluster::{Envelope, Message, Nsp, Pid, Room, Uid, wire};

use super::kind::Kind;

/// Who is on a bus, and what it keeps. Inboxes are called under its lock: that is its order.
#[derive(Default)]
pub(super) struct State {
    seats: BTreeMap<u64, Taken>,
    opened: u64,
    pub(super) refuses: bool,
    /// The number of the last event that was kept.
    last: u64,
    /// All events, ever: a test is short.
    log: Vec<Kept>,
    sessions: BTreeMap<(Nsp, Pid), (Session, Instant)>,
}

/// A server in a namespace.
struct Taken {
    nsp: Nsp,
    uid: Uid,
    inbox: Inbox,
    rooms: BTreeSet<Room>,
    /// Cut off, and up to here it has heard what is kept.
    cut: Option<u64>,
    stats: ChannelStats,
}

/// An event that a client may miss.
struct Kept {
    nsp: Nsp,
    number: u64,
    frame: Bytes,
}

impl State {
    pub(super) fn open(&mut self, opening: &Opening) -> Result<(u64, u64), AdapterError> {
        if self.refuses {
            return Err(AdapterError::Unreachable("the bus is told to refuse".into()));
        }
        self.opened += 1;
        let taken = Taken {
            nsp: opening.nsp.clone(),
            uid: opening.uid.clone(),
            inbox: opening.inbox.clone(),
            rooms: BTreeSet::new(),
            cut: None,
            stats: ChannelStats::default(),
        };
        self.seats.insert(self.opened, taken);
        Ok((self.opened, self.last))
    }

    pub(super) fn close(&mut self, seat: u64) {
        self.seats.remove(&seat);
    }

    pub(super) fn may_publish(&self, seat: u64) -> Result<(), AdapterError> {
        match self.seats.get(&seat) {
            Some(seat) if seat.cut.is_none() => Ok(()),
            Some(_) => Err(AdapterError::Unreachable("the bus is cut".into())),
            None => Err(AdapterError::Unreachable("the channel is closed".into())),
        }
    }

    /// Has a message heard by one or all; its place, if it is kept.
    pub(super) fn carry(
        &mut self,
        kind: Kind,
        envelope: &Envelope,
        to: Option<&Uid>,
        frame: &Bytes,
    ) -> Option<Position> {
        let number = (kind == Kind::Keeping && may_be_missed(&envelope.message)).then(|| {
            self.last += 1;
            self.log.push(Kept { nsp: envelope.nsp.clone(), number: self.last, frame: frame.clone() });
            self.last
        });
        let room = only_room(&envelope.message).filter(|_| kind == Kind::Selecting);
        for seat in self.seats.values_mut().filter(|seat| seat.nsp == envelope.nsp && seat.cut.is_none()) {
            let own = seat.uid == envelope.uid;
            seat.stats.published += u64::from(own);
            let meant = to.is_none_or(|uid| *uid == seat.uid);
            let listens = room.is_none_or(|room| seat.rooms.contains(room));
            if meant && listens && (!own || number.is_some()) {
                seat.hear(frame, number);
            }
        }
        number.map(place)
    }

    pub(super) fn scribble(&mut self, nsp: &Nsp) {
        for seat in self.seats.values_mut().filter(|seat| seat.nsp == *nsp && seat.cut.is_none()) {
            seat.hear(&Bytes::from_static(b"{\"scribble\":"), None);
        }
    }

    pub(super) fn cut_all(&mut self) {
        let last = self.last;
        self.seats.values_mut().for_each(|seat| seat.cut_at(last));
    }

    pub(super) fn cut_off(&mut self, uid: &Uid) {
        let last = self.last;
        self.seats.values_mut().filter(|seat| seat.uid == *uid).for_each(|seat| seat.cut_at(last));
    }

    pub(super) fn heal(&mut self, keeps: bool) {
        for seat in self.seats.values_mut() {
            let Some(heard) = seat.cut.take() else { continue };
            let nsp = seat.nsp.clone();
            for kept in self.log.iter().filter(|kept| kept.number > heard && kept.nsp == nsp) {
                seat.hear(&kept.frame, Some(kept.number));
            }
            seat.stats.gaps += u64::from(!keeps);
            (seat.inbox)(Arrival::Resumed { whole: keeps });
        }
    }

    pub(super) fn uids(&self, nsp: &Nsp) -> Vec<Uid> {
        self.seats.values().filter(|seat| seat.nsp == *nsp).map(|seat| seat.uid.clone()).collect()
    }

    pub(super) fn rooms(&self, uid: &Uid) -> Vec<Room> {
        let seats = self.seats.values().filter(|seat| seat.uid == *uid);
        seats.flat_map(|seat| seat.rooms.iter().cloned()).collect()
    }

    pub(super) fn listen(&mut self, seat: u64, room: Room) {
        if let Some(seat) = self.seats.get_mut(&seat) {
            seat.rooms.insert(room);
        }
    }

    pub(super) fn unlisten(&mut self, seat: u64, room: &Room) {
        if let Some(seat) = self.seats.get_mut(&seat) {
            seat.rooms.remove(room);
        }
    }

    pub(super) fn stats(&self, seat: u64) -> ChannelStats {
        self.seats.get(&seat).map(|seat| seat.stats).unwrap_or_default()
    }

    pub(super) fn save(&mut self, nsp: &Nsp, session: Session, until: Instant) {
        self.sessions.insert((nsp.clone(), session.pid.clone()), (session, until));
    }

    pub(super) fn forget(&mut self, nsp: &Nsp, pid: &Pid) {
        self.sessions.remove(&(nsp.clone(), pid.clone()));
    }

    pub(super) fn take(
        &mut self,
        nsp: &Nsp,
        pid: &Pid,
        offset: Option<&str>,
        now: Instant,
    ) -> Option<Returned> {
        let (session, until) = self.sessions.remove(&(nsp.clone(), pid.clone()))?;
        let start = session.start.as_ref().map(|start| &*start.0);
        let met: u64 = offset.or(start)?.parse().ok().filter(|met| *met <= self.last && until > now)?;
        let mut missed = Vec::new();
        for kept in self.log.iter().filter(|kept| kept.number > met && kept.nsp == *nsp) {
            if let Ok(envelope) = wire::decode(&kept.frame)
                && let Message::Broadcast { selector, flags, packet, request_id: None } = envelope.message
                && selector.selects(|room| session.rooms.contains(room))
            {
                missed.push(Missed { offset: place(kept.number), selector, flags, packet });
            }
        }
        Some(Returned { session, missed })
    }
}

impl Taken {
    fn hear(&mut self, frame: &Bytes, number: Option<u64>) {
        match wire::decode(frame) {
            Ok(envelope) => {
                self.stats.received += 1;
                (self.inbox)(Arrival::Message { envelope, offset: number.map(place) });
            }
            Err(_) => {
                self.stats.malformed += 1;
                (self.inbox)(Arrival::Malformed);
            }
        }
    }

    fn cut_at(&mut self, last: u64) {
        if self.cut.is_none() {
            self.cut = Some(last);
            self.stats.disconnects += 1;
        }
    }
}

/// Whether a client may miss it.
fn may_be_missed(message: &Message) -> bool {
    matches!(message, Message::Broadcast { flags, request_id: None, .. } if !flags.volatile)
}

/// The room that an event is for, if it is one.
fn only_room(message: &Message) -> Option<&Room> {
    let Message::Broadcast { selector, request_id: None, .. } = message else { return None };
    selector.rooms.first().filter(|_| selector.rooms.len() == 1)
}

fn place(number: u64) -> Position {
    Position(number.to_string().into())
}
