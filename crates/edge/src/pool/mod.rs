//! Which member of a group gets a request: a machine that counts sessions at assignment.
//!
//! What a member has is known late. So its load is what it reported, or was seen to have, plus what was assigned to it and has not reached it yet; a hundred
//! clients that come at once are spread evenly before the first report.
//!
//! Not known here: addresses, descriptors, sids, whether a member answers. A member that is not here does not live.

mod choice;
mod count;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub(crate) use choice::Key;
use count::Count;

use crate::config::Algorithm;
use crate::member::MemberId;

/// The members of one group, and whose turn it is.
#[derive(Debug)]
pub(crate) struct Pool {
    members: BTreeMap<MemberId, Member>,
    algorithm: Algorithm,
    /// How long a member that came to others gets less than its share.
    slow_start: Duration,
    /// How many must be ready before the pool counts as started.
    asked: usize,
    started: bool,
    /// Grows at each choice; ties go to the member whose last choice is the longest ago.
    turn: u64,
}

/// A member's part of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Sessions it has: as it reported last, or as seen.
    pub sessions: u32,
    /// Handshakes assigned to it that had not reached it then.
    pub on_the_way: u64,
    /// Sessions that others gave it, by its own word.
    pub elsewhere: u64,
    /// Whether it takes no new sessions.
    pub draining: bool,
}

/// What a member is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It takes sessions.
    Up,
    /// It keeps those it has.
    Draining,
    /// It gets nothing.
    Out,
}

/// On what terms a member takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Its share beside the others, at least 1.
    pub(crate) weight: u16,
    /// How many sessions it may have.
    pub(crate) sessions_max: Option<u32>,
    /// A number of its name, by which keys choose it.
    pub(crate) name: u64,
    /// Whether it is about to be replaced: others take new sessions first.
    pub(crate) waning: bool,
}

/// What is wanted of a choice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// These have been tried in vain.
    pub(crate) except: &'a [MemberId],
    /// Any number, another at each choice.
    pub(crate) dice: u64,
    pub(crate) now: Instant,
}

#[derive(Debug)]
struct Member {
    standing: Standing,
    terms: Terms,
    count: Count,
    turn: u64,
    /// What it is ahead or behind in taking turns by weight.
    credit: i64,
    /// Since when it is up, where it came to others.
    up_since: Option<Instant>,
}

impl Pool {
    /// A pool without a member, that counts as started once `asked` are up.
    pub(crate) const fn new(asked: usize, algorithm: Algorithm, slow_start: Duration) -> Self {
        Self { members: BTreeMap::new(), algorithm, slow_start, asked, started: false, turn: 0 }
    }

    /// The way of choosing is another from here on.
    pub(crate) fn handle_ways(&mut self, asked: usize, algorithm: Algorithm, slow_start: Duration) {
        (self.asked, self.algorithm, self.slow_start) = (asked, algorithm, slow_start);
    }

    /// A member is there. Its counts start anew.
    pub(crate) fn handle_joined(&mut self, id: MemberId, terms: Terms, standing: Standing, now: Instant) {
        let member = Member {
            standing: Standing::Out,
            terms,
            count: Count::default(),
            turn: 0,
            credit: 0,
            up_since: None,
        };
        self.members.insert(id, member);
        self.handle_standing(id, standing, now);
    }

    /// A member takes part on other terms.
    pub(crate) fn handle_terms(&mut self, id: MemberId, terms: Terms) {
        if let Some(member) = self.members.get_mut(&id) {
            member.terms = terms;
        }
    }

    /// A member is good for something else.
    pub(crate) fn handle_standing(&mut self, id: MemberId, standing: Standing, now: Instant) {
        let beside =
            self.members.iter().any(|(other, member)| *other != id && member.standing == Standing::Up);
        let Some(member) = self.members.get_mut(&id) else { return };
        if standing == Standing::Up && member.standing == Standing::Out {
            // The first of all has nobody to leave a share to.
            member.up_since = beside.then_some(now);
            member.credit = 0;
        }
        member.standing = standing;
        let up = self.members.values().filter(|member| member.standing == Standing::Up).count();
        self.started |= up >= self.asked;
    }

    /// A member told its counts.
    pub(crate) fn handle_load(&mut self, id: MemberId, sessions: u32, arrived: u64) {
        if let Some(member) = self.members.get_mut(&id) {
            member.count.handle_load(sessions, arrived);
        }
    }

    /// The same of a member whose sessions are seen to begin and to end: its own word is better.
    pub(crate) fn handle_told(&mut self, id: MemberId, sessions: u32, arrived: u64) {
        if let Some(member) = self.members.get_mut(&id) {
            member.count.handle_told(sessions, arrived);
        }
    }

    /// A member said how many sessions it has in all, those that other edges gave it too.
    pub(crate) fn handle_whole(&mut self, id: MemberId, sessions: u32) {
        if let Some(member) = self.members.get_mut(&id) {
            member.count.handle_whole(sessions);
        }
    }

    /// A session that was assigned was seen to begin.
    pub(crate) fn handle_begun(&mut self, id: MemberId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.count.handle_begun();
        }
    }

    /// A session was seen to end.
    pub(crate) fn handle_ended(&mut self, id: MemberId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.count.handle_ended();
        }
    }

    /// A member is gone, and its sessions with it.
    pub(crate) fn handle_gone(&mut self, id: MemberId) {
        self.members.remove(&id);
    }

    /// Chooses a member for a new session by the pool's algorithm, and counts it there.
    pub(crate) fn assign(&mut self, wanted: Wanted<'_>) -> Option<MemberId> {
        let id = self.choose(wanted)?;
        self.count(id, wanted.now);
        Some(id)
    }

    /// Chooses by a key, and counts it there where it makes a session.
    pub(crate) fn assign_by(&mut self, key: Key, session: bool, wanted: Wanted<'_>) -> Option<MemberId> {
        let id = self.by_key(key, session, wanted)?;
        if session {
            self.count(id, wanted.now);
        }
        Some(id)
    }

    /// Assigns a session to this very member, if it takes one more.
    pub(crate) fn assign_to(&mut self, id: MemberId, now: Instant) -> bool {
        let takes = self.members.get(&id).is_some_and(Member::takes);
        if takes {
            self.count(id, now);
        }
        takes
    }

    /// Takes an assignment back that did not reach its member.
    pub(crate) fn unassign(&mut self, id: MemberId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.count.unassign();
        }
    }

    /// What a member is good for; nothing where it is unknown.
    pub(crate) fn standing(&self, id: MemberId) -> Standing {
        self.members.get(&id).map_or(Standing::Out, |member| member.standing)
    }

    /// Whether somebody takes new sessions, and everybody asked for has been there once.
    pub(crate) fn is_ready(&self) -> bool {
        self.started && self.members.values().any(Member::takes)
    }

    /// The sessions of a member, and those on their way to it.
    pub(crate) fn load(&self, id: MemberId) -> u64 {
        self.members.get(&id).map_or(0, |member| member.count.own())
    }

    /// A member's part.
    pub(crate) fn share(&self, id: MemberId) -> Option<Share> {
        self.members.get(&id).map(|member| Share {
            sessions: member.count.sessions(),
            on_the_way: member.count.on_the_way(),
            elsewhere: member.count.elsewhere(),
            draining: member.standing != Standing::Up,
        })
    }

    /// Who is there: what each is good for, its weight, its sessions.
    pub(crate) fn loads(&self) -> impl Iterator<Item = (MemberId, Standing, u16, u64)> {
        self.members
            .iter()
            .map(|(id, member)| (*id, member.standing, member.terms.weight, member.count.own()))
    }

    fn count(&mut self, id: MemberId, now: Instant) {
        let turn = self.next_turn();
        if let Some(member) = self.members.get_mut(&id) {
            member.turn = turn;
            member.count.assign(now);
        }
    }

    const fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }
}

impl Member {
    /// Whether it takes one more session.
    fn takes(&self) -> bool {
        let full = self.terms.sessions_max.is_some_and(|max| self.count.load() >= u64::from(max));
        self.standing == Standing::Up && !full
    }
}
