//! The machines of one group, and who is there: told of what happened, asked whose turn it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sockeye_proto::Tag;
use sockeye_proto::engine::Opened;
use tracing::{info, warn};

use super::intent::{Intent, Suggestion};
use super::opening::Opening;
use crate::config::{Group, HEARTBEAT, Members, Server, ServerState};
use crate::door::Door;
use crate::hash;
use crate::health::Health;
use crate::learnt::Learnt;
use crate::leases::{Leases, TooMany};
use crate::member::MemberId;
use crate::pool::{Pool, Standing, Terms, Wanted};
use crate::roster::{Change, Listed, Roster};
use crate::shedding::{Load, Shedding};
use crate::stats::{GroupStats, ServerCondition, ServerStats, WorkerStats};

pub(super) struct State {
    pub(super) group: Group,
    pub(super) pool: Pool,
    roster: Roster,
    pub(super) learnt: Learnt,
    pub(super) shedding: Shedding,
    pub(super) members: BTreeMap<MemberId, Member>,
    pub(super) leases: Leases,
    opening: Opening,
    /// The longest that a handshake told.
    heartbeat: Option<Duration>,
    /// Sessions that were moved so far, and tunnels that were too silent.
    pub(super) moved: u64,
    pub(super) silent: u64,
}

/// One server.
pub(super) struct Member {
    pub(super) door: Arc<Door>,
    pub(super) health: Health,
    wanted: ServerState,
    terms: Terms,
    /// No list names it any more.
    left: bool,
    /// When it is asked again whether it serves; never while an answer is awaited.
    pub(super) check_at: Option<Instant>,
}

impl State {
    pub(super) fn new(group: &Group) -> Self {
        Self {
            pool: Pool::new(ready_min(group), group.algorithm, group.health.slow_start),
            roster: Roster::default(),
            learnt: Learnt::new(SIDS_MAX),
            shedding: Shedding::new(&group.drain),
            members: BTreeMap::new(),
            leases: Leases::default(),
            opening: Opening::default(),
            heartbeat: None,
            moved: 0,
            silent: 0,
            group: group.clone(),
        }
    }

    pub(super) fn settle(&mut self, group: &Group) {
        self.pool.handle_ways(ready_min(group), group.algorithm, group.health.slow_start);
        self.shedding.handle_config(&group.drain);
        for member in self.members.values_mut() {
            member.health.handle_config(&group.health);
        }
        self.group = group.clone();
    }

    pub(super) const fn draw(&mut self) -> MemberId {
        self.roster.draw()
    }

    pub(super) fn add_worker(&mut self, door: Door, now: Instant) {
        // A tag is one worker's: who comes with it again has lost what it had.
        if let Some(before) = door.tag.and_then(|tag| self.by_tag(tag)) {
            self.remove(before.id);
        }
        let name = hash::of(door.name.as_bytes());
        let terms = Terms { weight: 1, sessions_max: None, name, waning: false };
        let health = Health::new(&crate::config::Health {
            check: crate::config::Check::Off,
            ..self.group.health.clone()
        });
        self.add(door, terms, ServerState::Up, health, now);
    }

    fn add(&mut self, door: Door, terms: Terms, wanted: ServerState, health: Health, now: Instant) {
        let id = door.id;
        let check_at = (!door.is_worker()).then_some(now);
        let member = Member { door: Arc::new(door), health, wanted, terms, left: false, check_at };
        self.pool.handle_joined(id, terms, member.standing(), now);
        if member.standing() == Standing::Up
            && self.members.values().any(|other| other.standing() == Standing::Up)
        {
            self.shedding.handle_joined();
        }
        self.members.insert(id, member);
    }

    /// A list replaces the last one.
    pub(super) fn handle_list(
        &mut self,
        list: Vec<Listed>,
        now: Instant,
        mut open: impl FnMut(MemberId, &Listed) -> Door,
    ) {
        for change in self.roster.handle_list(list) {
            match change {
                Change::Joined(id, listed) => {
                    let door = open(id, &listed);
                    info!(group = self.group.name, server = door.name, at = %listed.server.at, "server joined");
                    let health = Health::new(&self.group.health);
                    self.add(door, terms(&listed.server), listed.server.state, health, now);
                }
                Change::Altered(id, server) => {
                    let terms = terms(&server);
                    self.pool.handle_terms(id, terms);
                    if let Some(member) = self.members.get_mut(&id) {
                        (member.terms, member.wanted) = (terms, server.state);
                    }
                    self.stand(id, now);
                }
                Change::Left(id) => {
                    if let Some(member) = self.members.get_mut(&id) {
                        member.left = true;
                        info!(group = self.group.name, server = member.door.name, "server left");
                    }
                    self.stand(id, now);
                }
            }
        }
        let silent = self.members.iter().filter(|(_, member)| member.is_awaited()).map(|(id, _)| *id);
        self.opening.handle_list(silent, self.group.queue.wait_max, now);
        self.forget_left();
    }

    pub(super) fn register(
        &mut self,
        server: Server,
        lease: Option<Duration>,
        now: Instant,
    ) -> Result<bool, TooMany> {
        let lease = lease.unwrap_or(match self.group.members {
            Members::Registered { lease } => lease,
            Members::Workers { .. }
            | Members::Static(_)
            | Members::Dns { .. }
            | Members::File(_)
            | Members::Directory { .. } => LEASE,
        });
        self.leases.handle_registered(server, lease, now)
    }

    /// What an operator, or the worker itself, wants of some. Tells whether there are any.
    pub(super) fn want(&mut self, which: impl Fn(&Door) -> bool, wanted: ServerState, now: Instant) -> bool {
        let ids: Vec<MemberId> =
            self.members.iter().filter(|(_, member)| which(&member.door)).map(|(id, _)| *id).collect();
        for id in &ids {
            if let Some(member) = self.members.get_mut(id) {
                member.wanted = wanted;
                member.terms.waning = wanted == ServerState::Waning;
                self.pool.handle_terms(*id, member.terms);
            }
            self.stand(*id, now);
        }
        !ids.is_empty()
    }

    /// A worker is about to be replaced, or is not any more. One that drains goes on to.
    pub(super) fn wane(&mut self, tag: Tag, waning: bool, now: Instant) {
        let wanted = self.by_tag(tag).and_then(|door| self.members.get(&door.id)).map(|member| member.wanted);
        if matches!(wanted, Some(ServerState::Up | ServerState::Waning)) {
            let wanted = if waning { ServerState::Waning } else { ServerState::Up };
            self.want(|door| door.tag == Some(tag), wanted, now);
        }
    }

    pub(super) fn remove(&mut self, id: MemberId) -> Option<Arc<Door>> {
        self.pool.handle_gone(id);
        self.learnt.handle_gone(id);
        self.opening.handle_heard(id);
        self.members.remove(&id).map(|member| member.door)
    }

    /// Forgets those that no list names and who have nothing left to do.
    pub(super) fn forget_left(&mut self) {
        let done: Vec<MemberId> = self
            .members
            .iter()
            .filter(|(id, member)| {
                member.left
                    && (!member.health.is_up() || (self.pool.load(**id) == 0 && member.door.tunnels() == 0))
            })
            .map(|(id, _)| *id)
            .collect();
        for id in done {
            self.remove(id);
        }
    }

    pub(super) fn handle_load(&mut self, tag: Tag, sessions: u32, arrived: u64) {
        if let Some(door) = self.by_tag(tag) {
            self.pool.handle_load(door.id, sessions, arrived);
        }
    }

    pub(super) fn handle_told(&mut self, name: &str, sessions: u32, arrived: u64) -> bool {
        let Some(id) = self.by_name(name) else { return false };
        self.pool.handle_told(id, sessions, arrived);
        true
    }

    /// What came of a question. Tells whether somebody may be given more than before.
    pub(super) fn handle_checked(&mut self, id: MemberId, good: bool, now: Instant) -> bool {
        let interval = self.group.health.interval;
        let Some(member) = self.members.get_mut(&id) else { return false };
        member.check_at = Some(now + interval);
        let turned = if good { member.health.handle_good() } else { member.health.handle_bad() };
        let opened = self.opening.handle_heard(id);
        let Some(up) = turned else { return opened };
        let server = &member.door.name;
        if up {
            info!(group = self.group.name, server, "server is up");
        } else if member.left {
            info!(group = self.group.name, server, "server that left is gone");
        } else {
            warn!(group = self.group.name, server, "server is down: it failed its checks");
        }
        self.stand(id, now);
        up || opened
    }

    /// A client's request found nobody listening. Tells whether that was news.
    pub(super) fn handle_refused(&mut self, id: MemberId, now: Instant) -> bool {
        let Some(member) = self.members.get_mut(&id) else { return false };
        if member.door.is_worker() || member.health.handle_refused().is_none() {
            return false;
        }
        warn!(group = self.group.name, server = member.door.name, "server is down: it refused a connection");
        member.check_at = Some(now + self.group.health.interval);
        self.stand(id, now);
        true
    }

    /// A handshake was answered: with a session, or not.
    pub(super) fn handle_answer(&mut self, id: MemberId, opened: Option<Opened<'_>>, now: Instant) {
        let Some(opened) = opened else { return self.pool.unassign(id) };
        self.pool.handle_begun(id);
        if let Some(told) = opened.heartbeat {
            if self.group.timeouts.tunnel.is_some_and(|tunnel| tunnel <= told) && self.heartbeat < Some(told)
            {
                warn!(
                    group = self.group.name,
                    heartbeat = ?told,
                    "timeouts.tunnel is not longer than the heartbeat that a handshake told: the heartbeat counts"
                );
            }
            self.heartbeat = self.heartbeat.max(Some(told.min(HEARTBEAT_MAX)));
        }
        if let Some(forgotten) = self.learnt.handle_handshake(opened.sid, id, now) {
            self.pool.handle_ended(forgotten);
        }
    }

    /// A learnt session is over.
    pub(super) fn handle_over(&mut self, sid: &str) {
        if let Some(id) = self.learnt.handle_ended(sid) {
            self.pool.handle_ended(id);
        }
    }

    /// Forgets sessions that nobody asks for any more.
    pub(super) fn sweep(&mut self, now: Instant) {
        for id in self.learnt.handle_timeout(now, self.silence_max()) {
            self.pool.handle_ended(id);
        }
        self.forget_left();
    }

    /// For how long a session, or a tunnel of one, may be silent before it is dead: longer than its heartbeat, whatever was configured.
    pub(super) fn silence_max(&self) -> Duration {
        let told = self.heartbeat.or(self.group.timeouts.heartbeat).unwrap_or(HEARTBEAT);
        let least = told + HEARTBEAT_MARGIN;
        self.group.timeouts.tunnel.filter(|tunnel| *tunnel > told).unwrap_or(least)
    }

    /// Lets so many sessions of a server go, those in tunnels first: tells the door, and how many tunnels are to be ended there, or sessions for a worker to choose.
    pub(super) fn shed(&mut self, id: MemberId, sessions: u32) -> Option<(Arc<Door>, u32)> {
        let door = Arc::clone(&self.members.get(&id)?.door);
        if door.is_worker() {
            self.moved += u64::from(sessions);
            return Some((door, sessions));
        }
        let in_tunnels = u32::try_from(door.tunnels()).unwrap_or(u32::MAX).min(sessions);
        let others = self.learnt.of(id, (sessions - in_tunnels) as usize);
        self.moved += others.len() as u64;
        for sid in others {
            self.handle_over(&sid);
        }
        Some((door, in_tunnels))
    }

    pub(super) fn loads(&self) -> Vec<Load> {
        let loads = self.pool.loads();
        let load = |(id, standing, weight, sessions): (_, _, _, u64)| {
            // Tunnels that are no sessions, as those of an application's own WebSockets, leave a server that drains as well.
            let tunnels = match (standing, self.members.get(&id)) {
                (Standing::Draining, Some(member)) if !member.door.is_worker() => member.door.tunnels(),
                (Standing::Draining | Standing::Up | Standing::Out, _) => 0,
            };
            Load { id, standing, weight, sessions: sessions.max(tunnels as u64) }
        };
        loads.map(load).collect()
    }

    /// Whose turn it is. Who takes nothing comes last: its clients would hang.
    pub(super) fn choose(
        &mut self,
        intent: &Intent,
        tried: &[MemberId],
        dice: u64,
        now: Instant,
    ) -> Option<Arc<Door>> {
        if self.opening.is_under_way(now) {
            return None;
        }
        let mut except = tried.to_vec();
        except.extend(
            self.members.values().filter(|member| member.door.is_deaf(now)).map(|member| member.door.id),
        );
        let id = self.choose_except(intent, Wanted { except: &except, dice, now });
        let id = if except.len() > tried.len() {
            id.or_else(|| self.choose_except(intent, Wanted { except: tried, dice, now }))
        } else {
            id
        };
        self.members.get(&id?).map(|member| Arc::clone(&member.door))
    }

    fn choose_except(&mut self, intent: &Intent, wanted: Wanted<'_>) -> Option<MemberId> {
        for hint in &intent.hints {
            match *hint {
                Suggestion::Server(id) => {
                    let fits = !wanted.except.contains(&id)
                        && match (intent.session, intent.of_session) {
                            (true, _) => self.pool.assign_to(id, wanted.now),
                            (false, true) => self.pool.standing(id) != Standing::Out,
                            (false, false) => self.pool.standing(id) == Standing::Up,
                        };
                    if fits {
                        return Some(id);
                    }
                }
                Suggestion::Key(key) => {
                    if let Some(id) = self.pool.assign_by(key, intent.session, wanted) {
                        return Some(id);
                    }
                }
            }
        }
        if intent.session { self.pool.assign(wanted) } else { self.pool.rotate(wanted.except, wanted.now) }
    }

    pub(super) fn by_tag(&self, tag: Tag) -> Option<Arc<Door>> {
        let mut doors = self.members.values().map(|member| &member.door);
        doors.find(|door| door.tag == Some(tag)).cloned()
    }

    pub(super) fn by_name(&self, name: &str) -> Option<MemberId> {
        self.members
            .values()
            .find(|member| member.door.name == name && !member.left)
            .map(|member| member.door.id)
    }

    /// The door of a server that gets the requests of its sessions.
    pub(super) fn reachable(&self, id: MemberId) -> Option<Arc<Door>> {
        let member = self.members.get(&id)?;
        (member.standing() != Standing::Out).then(|| Arc::clone(&member.door))
    }

    pub(super) fn only(&self) -> Option<Arc<Door>> {
        let mut all = self.members.values();
        let only = all.next().filter(|member| member.standing() != Standing::Out)?;
        all.next().is_none().then(|| Arc::clone(&only.door))
    }

    pub(super) fn worker_stats(&self) -> Vec<WorkerStats> {
        let workers = self.members.values().filter(|member| member.door.is_worker());
        let mut stats: Vec<WorkerStats> = workers
            .filter_map(|member| {
                let (tag, share) = (member.door.tag?, self.pool.share(member.door.id)?);
                Some(WorkerStats { tag, instance: member.door.instance, share })
            })
            .collect();
        stats.sort_unstable_by_key(|worker| worker.tag);
        stats
    }

    pub(super) fn stats(&self, name: &str) -> GroupStats {
        let servers = self.members.iter().filter_map(|(id, member)| {
            let share = self.pool.share(*id)?;
            Some(ServerStats {
                name: member.door.name.clone(),
                at: member.door.upstream.address().to_string(),
                condition: member.condition(),
                weight: member.terms.weight,
                sessions: share.sessions.into(),
                elsewhere: share.elsewhere,
                on_the_way: share.on_the_way,
                tunnels: member.door.tunnels() as u64,
                requests: member.door.upstream.under_way(),
                drain_began_with: self.shedding.begun(*id),
                to_move: self.shedding.left(*id),
            })
        });
        GroupStats {
            name: name.to_owned(),
            servers: servers.collect(),
            sids: self.learnt.len() as u64,
            moved: self.moved,
            silent: self.silent,
            silence_max: self.silence_max(),
        }
    }

    /// A server may be good for something else from here on.
    fn stand(&mut self, id: MemberId, now: Instant) {
        let Some(member) = self.members.get(&id) else { return };
        let (standing, before) = (member.standing(), self.pool.standing(id));
        if standing == before {
            return;
        }
        self.pool.handle_standing(id, standing, now);
        if standing == Standing::Up && before == Standing::Out {
            self.shedding.handle_joined();
        }
    }
}

impl Member {
    fn standing(&self) -> Standing {
        match self.condition() {
            ServerCondition::Up => Standing::Up,
            ServerCondition::Draining | ServerCondition::Leaving => Standing::Draining,
            ServerCondition::Down | ServerCondition::Maintenance => Standing::Out,
        }
    }

    /// Whether it was to serve, and nobody knows yet whether it does.
    fn is_awaited(&self) -> bool {
        self.wanted == ServerState::Up && !self.health.is_up() && !self.left
    }

    fn condition(&self) -> ServerCondition {
        match self.wanted {
            ServerState::Maintenance => ServerCondition::Maintenance,
            ServerState::Up | ServerState::Waning | ServerState::Drain if !self.health.is_up() => {
                ServerCondition::Down
            }
            ServerState::Up | ServerState::Waning | ServerState::Drain if self.left => {
                ServerCondition::Leaving
            }
            ServerState::Drain => ServerCondition::Draining,
            ServerState::Up | ServerState::Waning => ServerCondition::Up,
        }
    }
}

fn terms(server: &Server) -> Terms {
    Terms {
        weight: server.weight.get(),
        sessions_max: server.sessions_max.map(std::num::NonZero::get),
        name: hash::of(server.name.as_bytes()),
        waning: server.state == ServerState::Waning,
    }
}

fn ready_min(group: &Group) -> usize {
    match &group.members {
        Members::Workers { ready_min } => ready_min.get() as usize,
        Members::Static(_) | Members::Dns { .. } | Members::File(_) => 1,
        Members::Registered { .. } | Members::Directory { .. } => 1,
    }
}

/// How many sessions' servers are remembered; some 150 bytes each. The one not asked for longest is forgotten then, and its client begins anew.
const SIDS_MAX: usize = 1 << 20;
/// What a handshake may tell at most.
const HEARTBEAT_MAX: Duration = Duration::from_hours(1);
/// By how much silence may outlast the heartbeat: the next ping may be late.
const HEARTBEAT_MARGIN: Duration = Duration::from_secs(15);
/// How long a registration lasts in a group that says nothing of it.
const LEASE: Duration = Duration::from_secs(15);
