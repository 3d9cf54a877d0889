//! Requests that this server has put to the cluster, until each has ended: who owes an answer, what has come, when it is over.
//!
//! A request ends when everybody who was asked has answered or is gone, or when its time is up; then there is an [`Outcome`],
//! whatever is missing. Sends nothing and asks nobody: that is [`Node`](crate::Node)'s.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::message::Packet;
use crate::name::{Nsp, RequestId, Uid};
use crate::request::{ANSWERERS_MAX, ANSWERS_BYTES_MAX, Answer, Missing, Outcome, UNKNOWN, Why};

/// What became of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It counts.
    Counted,
    /// It counts, but what it says was too long to keep.
    Dropped,
    /// Nobody waits for it: the request has ended, or was never made, or has had this answer.
    Stray,
}

/// What one answer of a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As many acks as it said that it has clients.
    Acks {
        /// The first ack of any server is enough.
        single: bool,
    },
    /// An array of sockets.
    Sockets,
    /// A value.
    Value,
}

/// What a server answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The ack of one client.
    Ack,
    /// An array of sockets.
    Sockets,
    /// A value.
    Value,
}

/// The requests under way.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    pending: BTreeMap<RequestId, Pending>,
    deadlines: BTreeSet<(Instant, RequestId)>,
}

/// Servers that are waited for without being known: the backplane has counted them.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    /// How many.
    pub(crate) count: u64,
    /// Names that they may have.
    pub(crate) names: BTreeSet<Uid>,
}

#[derive(Debug)]
struct Pending {
    nsp: Nsp,
    kind: Kind,
    deadline: Instant,
    parts: BTreeMap<Uid, Part>,
    /// How many of the parts are unsettled.
    open: usize,
    /// Who has said nothing yet, of those that are not known.
    strangers: Strangers,
    /// Nobody could be asked but this server.
    nobody_else: bool,
    /// How many have answered that did not say who they are.
    nameless: u64,
    answers: Vec<Answer>,
    bytes: usize,
}

/// What one server owes.
#[derive(Debug, Default)]
struct Part {
    /// How many clients it has reached, as it said.
    clients: Option<u64>,
    /// How often it has answered, and how many of these are kept.
    answered: u64,
    kept: u64,
    gone: bool,
    unasked: bool,
}

/// The uid of whoever does not say who it is.
const NAMELESS: &str = "";

impl Requests {
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Spells an id that none of the requests has.
    pub(crate) fn fresh_id(&self, mut random: u64) -> RequestId {
        loop {
            let id = RequestId::from(format!("{random:016x}"));
            if !self.pending.contains_key(&id) {
                return id;
            }
            random = random.wrapping_add(1);
        }
    }

    /// Notes a request to these servers; without any it is over at once.
    pub(crate) fn begin(
        &mut self,
        id: &RequestId,
        nsp: Nsp,
        kind: Kind,
        asked: impl IntoIterator<Item = Uid>,
        strangers: Strangers,
        deadline: Instant,
    ) -> Option<Outcome> {
        let parts: BTreeMap<_, _> = asked.into_iter().map(|uid| (uid, Part::default())).collect();
        let open = parts.len();
        let mut pending = Pending {
            nsp,
            kind,
            deadline,
            parts,
            open,
            strangers,
            nobody_else: false,
            nameless: 0,
            answers: Vec::new(),
            bytes: 0,
        };
        pending.strangers.names.retain(|uid| !pending.parts.contains_key(uid));
        self.deadlines.insert((deadline, id.clone()));
        self.pending.insert(id.clone(), pending);
        self.end_if_over(id)
    }

    /// Takes how many clients a server will have acks of. Said twice, the first counts.
    pub(crate) fn count(&mut self, id: &RequestId, uid: &Uid, clients: u64) -> (Taken, Option<Outcome>) {
        let Some(pending) = self.pending.get_mut(id).filter(|p| matches!(p.kind, Kind::Acks { .. })) else {
            return (Taken::Stray, None);
        };
        let taken = if uid.is_nameless() {
            pending.count_nameless(uid, clients)
        } else {
            pending.change(uid, |part, _| {
                if part.clients.is_some() {
                    return Taken::Stray;
                }
                part.clients = Some(clients);
                Taken::Counted
            })
        };
        pending.drop_surplus(uid);
        (taken, self.end_if_over(id))
    }

    /// Takes an answer.
    pub(crate) fn answer(
        &mut self,
        id: &RequestId,
        uid: &Uid,
        reply: Reply,
        packet: Packet,
    ) -> (Taken, Option<Outcome>) {
        let Some(pending) = self.pending.get_mut(id).filter(|pending| pending.kind.takes(reply)) else {
            return (Taken::Stray, None);
        };
        let bytes = packet.bytes() + size_of::<Answer>();
        let fits = pending.bytes + bytes <= ANSWERS_BYTES_MAX;
        // Of the acks of servers without names nobody knows whose they are, until all have said how many there will be.
        let open_end = uid.is_nameless() && pending.strangers.count > 0;
        let part_of = pending.part_of(uid);
        let taken = pending.change(&part_of, |part, kind| {
            let clients = part.clients.filter(|_| !open_end);
            if clients.unwrap_or(u64::MAX).min(kind.answers_max()) <= part.answered {
                return Taken::Stray;
            }
            part.answered += 1;
            part.kept += u64::from(fits);
            if fits { Taken::Counted } else { Taken::Dropped }
        });
        if taken == Taken::Counted {
            pending.bytes += bytes;
            pending.answers.push(Answer { uid: uid.clone(), packet });
        }
        (taken, self.end_if_over(id))
    }

    /// Takes note that nobody but this server was asked.
    pub(crate) fn unasked(&mut self, id: &RequestId, own: &Uid) -> Option<Outcome> {
        let pending = self.pending.get_mut(id)?;
        let others: Vec<_> = pending.parts.keys().filter(|uid| *uid != own).cloned().collect();
        for uid in others {
            pending.change(&uid, |part, _| {
                part.unasked = true;
                Taken::Counted
            });
        }
        pending.nobody_else = true;
        self.end_if_over(id)
    }

    /// Takes note that nothing more comes from a server. Returns what is over by that.
    pub(crate) fn leave(&mut self, uid: &Uid) -> Vec<Outcome> {
        for pending in self.pending.values_mut().filter(|pending| pending.parts.contains_key(uid)) {
            pending.change(uid, |part, _| {
                part.gone = true;
                Taken::Counted
            });
        }
        let over: Vec<_> =
            self.pending.iter().filter(|(_, p)| p.is_over()).map(|(id, _)| id.clone()).collect();
        over.iter().filter_map(|id| self.end(id, Why::Late)).collect()
    }

    /// Ends what is overdue.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while let Some((deadline, id)) = self.deadlines.first().cloned()
            && deadline <= now
        {
            outcomes.extend(self.end(&id, Why::Late));
        }
        outcomes
    }

    /// Ends all.
    pub(crate) fn close(&mut self) -> Vec<Outcome> {
        let ids: Vec<_> = self.pending.keys().cloned().collect();
        ids.iter().filter_map(|id| self.end(id, Why::Closed)).collect()
    }

    /// When the next one is overdue.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    fn end_if_over(&mut self, id: &RequestId) -> Option<Outcome> {
        if self.pending.get(id)?.is_over() { self.end(id, Why::Late) } else { None }
    }

    fn end(&mut self, id: &RequestId, why: Why) -> Option<Outcome> {
        let pending = self.pending.remove(id)?;
        self.deadlines.remove(&(pending.deadline, id.clone()));
        let enough = pending.has_enough();
        let why_stranger = if pending.nobody_else { Why::Unasked } else { why };
        let strangers = pending.strangers.spelled().into_iter().filter(|_| !enough);
        let strangers = strangers.map(|uid| Missing { uid, why: why_stranger, clients: None });
        let parts = pending.parts.into_iter().filter(|_| !enough);
        let parts = parts.filter_map(|(uid, part)| part.missing(uid, pending.kind, why));
        let mut missing: Vec<_> = parts.chain(strangers).collect();
        missing.sort_by(|one, other| one.uid.cmp(&other.uid));
        Some(Outcome { request_id: id.clone(), nsp: pending.nsp, answers: pending.answers, missing })
    }
}

impl Strangers {
    /// By their names, where there is no doubt who they are.
    fn spelled(self) -> Vec<Uid> {
        let count = usize::try_from(self.count).unwrap_or(usize::MAX).min(ANSWERERS_MAX);
        let names = Some(self.names).filter(|names| names.len() <= count).unwrap_or_default();
        names.into_iter().chain(std::iter::repeat(UNKNOWN.into())).take(count).collect()
    }
}

impl Kind {
    const fn takes(self, reply: Reply) -> bool {
        matches!(
            (self, reply),
            (Self::Acks { .. }, Reply::Ack) | (Self::Sockets, Reply::Sockets) | (Self::Value, Reply::Value)
        )
    }

    /// How often one server may answer.
    const fn answers_max(self) -> u64 {
        match self {
            Self::Acks { .. } => u64::MAX,
            Self::Sockets | Self::Value => 1,
        }
    }
}

impl Pending {
    /// Changes what a server owes; one that was not asked may have come since, and counts from its first word.
    fn change(&mut self, uid: &Uid, change: impl FnOnce(&mut Part, Kind) -> Taken) -> Taken {
        if !self.parts.contains_key(uid) {
            if self.parts.len() >= ANSWERERS_MAX {
                return Taken::Stray;
            }
            self.parts.insert(uid.clone(), Part::default());
            self.open += 1;
            self.strangers.names.remove(uid);
            if *uid != NAMELESS {
                self.strangers.count = self.strangers.count.saturating_sub(1);
            }
        }
        let Some(part) = self.parts.get_mut(uid) else { return Taken::Stray };
        let before = part.is_settled(self.kind);
        let taken = change(part, self.kind);
        match (before, part.is_settled(self.kind)) {
            (false, true) => self.open -= 1,
            (true, false) => self.open += 1,
            (true, true) | (false, false) => {}
        }
        taken
    }

    /// Notes how many clients a server has that does not say who it is; all of them are one part.
    fn count_nameless(&mut self, uid: &Uid, clients: u64) -> Taken {
        let taken = self.change(uid, |part, _| {
            part.clients = Some(part.clients.unwrap_or(0).saturating_add(clients));
            Taken::Counted
        });
        self.strangers.count = self.strangers.count.saturating_sub(1);
        taken
    }

    /// Whose part an answer is: each that says no name is somebody else's, but for acks, which are all one part.
    fn part_of(&mut self, uid: &Uid) -> Uid {
        match self.kind {
            Kind::Sockets | Kind::Value if uid.is_nameless() => {
                self.nameless += 1;
                Uid::from(format!("{UNKNOWN} {}", self.nameless))
            }
            Kind::Sockets | Kind::Value | Kind::Acks { .. } => uid.clone(),
        }
    }

    /// Forgets acks that came before their count and are more than it: the bus has repeated some.
    fn drop_surplus(&mut self, uid: &Uid) {
        let Some(part) = self.parts.get_mut(uid) else { return };
        let Some(clients) = part.clients.filter(|_| !uid.is_nameless() || self.strangers.count == 0) else {
            return;
        };
        while part.kept > clients
            && let Some(at) = self.answers.iter().rposition(|answer| answer.uid == *uid)
        {
            self.answers.remove(at);
            part.kept -= 1;
        }
    }

    fn is_over(&self) -> bool {
        let strangers = self.strangers.count > 0 && !self.nobody_else;
        self.open == 0 && !strangers || self.has_enough()
    }

    fn has_enough(&self) -> bool {
        self.kind == Kind::Acks { single: true } && !self.answers.is_empty()
    }
}

impl Part {
    fn is_settled(&self, kind: Kind) -> bool {
        self.gone || self.unasked || self.is_answered(kind)
    }

    fn is_answered(&self, kind: Kind) -> bool {
        match kind {
            Kind::Acks { .. } => self.clients.is_some_and(|clients| self.answered >= clients),
            Kind::Sockets | Kind::Value => self.answered > 0,
        }
    }

    fn missing(&self, uid: Uid, kind: Kind, why: Why) -> Option<Missing> {
        let answered = self.is_answered(kind);
        let whole = answered && self.kept >= self.clients.unwrap_or(1);
        let why = match (answered, self.gone) {
            (true, _) => Why::TooLong,
            (false, _) if self.unasked => Why::Unasked,
            (false, true) => Why::Gone,
            (false, false) => why,
        };
        let clients = self.clients.map(|clients| clients.saturating_sub(self.kept));
        let uid = if uid.is_nameless() { UNKNOWN.into() } else { uid };
        (!whole).then_some(Missing { uid, why, clients })
    }
}
