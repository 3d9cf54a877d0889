//! The ways to choose among those who take sessions: by load, in turn, by dice, by a key.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Member, Pool, Standing, Wanted};
use crate::config::Algorithm;
use crate::hash::{self, IpHash};
use crate::member::MemberId;

/// What a member is chosen by, where the same client is to come to the same member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The highest of one number a member and key (rendezvous): when a member goes, only its clients move.
    Hashed {
        /// The key's number.
        key: u64,
        /// No member gets more than this share of the mean, in percent; what is beyond goes to the next. 0: no bound.
        bound_percent: u16,
    },
    /// As nginx's `ip_hash` does.
    IpHash(IpAddr),
}

impl Pool {
    /// Chooses in turn, by weight, for a request that makes no session.
    pub(crate) fn rotate(&mut self, except: &[MemberId], now: Instant) -> Option<MemberId> {
        let slow_start = self.slow_start;
        let mut total = 0;
        let mut best: Option<(MemberId, i64, u64)> = None;
        for (id, member) in &mut self.members {
            // One that is full takes a request that makes no session.
            if member.standing != Standing::Up || except.contains(id) {
                continue;
            }
            let weight = i64::try_from(member.weight(slow_start, now)).unwrap_or(i64::MAX >> 16);
            member.credit += weight;
            total += weight;
            let ahead = best.is_none_or(|(_, credit, turn)| {
                member.credit > credit || (member.credit == credit && member.turn < turn)
            });
            if ahead {
                best = Some((*id, member.credit, member.turn));
            }
        }
        let (id, ..) = best?;
        let turn = self.next_turn();
        let member = self.members.get_mut(&id)?;
        member.credit -= total;
        member.turn = turn;
        Some(id)
    }

    pub(super) fn choose(&mut self, wanted: Wanted<'_>) -> Option<MemberId> {
        for member in self.members.values_mut() {
            member.count.settle(wanted.now);
        }
        match self.algorithm {
            Algorithm::LeastConnections => self.least(wanted),
            Algorithm::RoundRobin => self.in_turn(wanted),
            Algorithm::Random => self.by_dice(wanted.dice, wanted),
            Algorithm::TwoChoices => self.better_of_two(wanted),
        }
    }

    pub(super) fn by_key(&mut self, key: Key, session: bool, wanted: Wanted<'_>) -> Option<MemberId> {
        for member in self.members.values_mut() {
            member.count.settle(wanted.now);
        }
        match key {
            Key::Hashed { key, bound_percent } => self.rendezvous(key, bound_percent, session, wanted),
            Key::IpHash(address) => self.ip_hash(address, session, wanted),
        }
    }

    fn least(&self, wanted: Wanted<'_>) -> Option<MemberId> {
        let fullness = |member: &Member| member.fullness(self.slow_start, wanted.now);
        self.takers(wanted).min_by_key(|(_, member)| (fullness(member), member.turn)).map(|(id, _)| id)
    }

    /// Turns among those who take sessions: one that is full is passed over.
    fn in_turn(&mut self, wanted: Wanted<'_>) -> Option<MemberId> {
        let takers: Vec<MemberId> = self.takers(wanted).map(|(id, _)| id).collect();
        let others: Vec<MemberId> = self.members.keys().filter(|id| !takers.contains(id)).copied().collect();
        self.rotate(&others, wanted.now)
    }

    fn by_dice(&self, dice: u64, wanted: Wanted<'_>) -> Option<MemberId> {
        let weight = |member: &Member| member.weight(self.slow_start, wanted.now);
        let total: u64 = self.takers(wanted).map(|(_, member)| weight(member)).sum();
        let mut left = dice.checked_rem(total)?;
        for (id, member) in self.takers(wanted) {
            match left.checked_sub(weight(member)) {
                Some(rest) => left = rest,
                None => return Some(id),
            }
        }
        None
    }

    fn better_of_two(&self, wanted: Wanted<'_>) -> Option<MemberId> {
        let one = self.by_dice(wanted.dice, wanted)?;
        let except = [wanted.except, &[one]].concat();
        let others = Wanted { except: &except, ..wanted };
        let Some(other) = self.by_dice(hash::pair(wanted.dice, 1), others) else { return Some(one) };
        let rank = |id: MemberId| {
            let member = &self.members[&id];
            // Without the first one, whoever is about to be replaced may be all that is left.
            (member.terms.waning, member.fullness(self.slow_start, wanted.now))
        };
        Some(if rank(other) < rank(one) { other } else { one })
    }

    fn rendezvous(
        &self,
        key: u64,
        bound_percent: u16,
        session: bool,
        wanted: Wanted<'_>,
    ) -> Option<MemberId> {
        let score = |member: &Member| score(key, member.terms.name, member.terms.weight);
        // What makes no session goes to one that is full, too.
        let lasts = self.somebody_lasts(wanted);
        let fit = || self.up(wanted).filter(move |(_, member)| !session || member.suits(lasts));
        let total: u64 = fit().map(|(_, member)| member.count.load()).sum();
        let weights: u64 = fit().map(|(_, member)| u64::from(member.terms.weight)).sum();
        // Bounded loads (Mirrokni, Thorup, Zadimoghaddam): nobody is ahead of the mean by more than this.
        let has_room = |member: &Member| {
            let mean = u128::from(total + 1) * u128::from(member.terms.weight) * u128::from(bound_percent);
            u128::from(member.count.load()) * 100 * u128::from(weights) < mean.max(1)
        };
        let bounded = session && bound_percent > 0;
        let best = |among: &dyn Fn(&Member) -> bool| {
            fit()
                .filter(|(_, member)| among(member))
                .max_by(|(_, one), (_, other)| score(one).total_cmp(&score(other)))
                .map(|(id, _)| id)
        };
        if bounded { best(&has_room).or_else(|| best(&|_| true)) } else { best(&|_| true) }
    }

    /// As nginx does: among all members, those out included, so that the others' clients stay where they are.
    fn ip_hash(&mut self, address: IpAddr, session: bool, wanted: Wanted<'_>) -> Option<MemberId> {
        let total: u32 = self.members.values().map(|member| u32::from(member.terms.weight)).sum();
        let lasts = self.somebody_lasts(wanted);
        let mut hash = IpHash::new(address);
        for _ in 0..IP_HASH_TRIES {
            let mut left = hash.step().checked_rem(total)?;
            let hit = self.members.iter().find(|(_, member)| {
                let weight = u32::from(member.terms.weight);
                let inside = left < weight;
                left = left.saturating_sub(weight);
                inside
            });
            if let Some((id, member)) = hit
                && member.standing == Standing::Up
                && (!session || member.suits(lasts))
                && !wanted.except.contains(id)
            {
                return Some(*id);
            }
        }
        if session { self.in_turn(wanted) } else { self.rotate(wanted.except, wanted.now) }
    }

    fn takers<'a>(&'a self, wanted: Wanted<'a>) -> impl Iterator<Item = (MemberId, &'a Member)> {
        let lasts = self.somebody_lasts(wanted);
        self.up(wanted).filter(move |(_, member)| member.suits(lasts))
    }

    /// Whether somebody takes a session who is not about to be replaced: who is would soon have to let it go again.
    fn somebody_lasts(&self, wanted: Wanted<'_>) -> bool {
        self.up(wanted).any(|(_, member)| member.takes() && !member.terms.waning)
    }

    fn up<'a>(&'a self, wanted: Wanted<'a>) -> impl Iterator<Item = (MemberId, &'a Member)> {
        self.members
            .iter()
            .filter(move |(id, member)| member.standing == Standing::Up && !wanted.except.contains(id))
            .map(|(id, member)| (*id, member))
    }
}

impl Member {
    /// Whether a new session goes there.
    fn suits(&self, somebody_lasts: bool) -> bool {
        self.takes() && !(somebody_lasts && self.terms.waning)
    }

    /// Its weight, in parts of [`WHOLE`]; less while it starts slowly.
    fn weight(&self, slow_start: Duration, now: Instant) -> u64 {
        let whole = u64::from(self.terms.weight) * WHOLE;
        let Some(since) = self.up_since else { return whole };
        let up = now.saturating_duration_since(since);
        if up >= slow_start {
            return whole;
        }
        let part = u128::from(whole) * up.as_millis() / slow_start.as_millis().max(1);
        u64::try_from(part).unwrap_or(whole).max(1)
    }

    /// Its load once it has one more, for its weight.
    fn fullness(&self, slow_start: Duration, now: Instant) -> u128 {
        (u128::from(self.count.load() + 1) << 32) / u128::from(self.weight(slow_start, now))
    }
}

/// A member's number for a key: the higher, the better; by weight, each key goes to a member as often as its weight is of all.
fn score(key: u64, name: u64, weight: u16) -> f64 {
    // 53 bits, in (0, 1).
    #[expect(clippy::cast_precision_loss, reason = "shifted so that it fits")]
    let even = ((hash::pair(key, name) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(weight) / even.ln()
}

/// A weight of 1.
const WHOLE: u64 = 256;
/// As in nginx.
const IP_HASH_TRIES: u32 = 20;
