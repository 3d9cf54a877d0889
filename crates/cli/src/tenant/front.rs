//! Who serves an app, told to the edge; and the public addresses that the app itself asks for.
//!
//! A worker that cannot let its clients go by itself is drained here: the edge moves them, and when nobody is left that is told.
//! Where what was written leads to the app, clients come in there; else at the address that a person named, else at what the app asks for: our library
//! over its link, others over the plain link. Absent: routing (the edge's), the edge itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use sockeye_edge::config::{
    BindError, Check, ConfigError, Drain, Endpoint, Group, Health, Http, Listener, Members, Server,
    ServerState, Serves, Site,
};
use sockeye_proto::Tag;
use sockeye_supervisor::{Asking, Event, Launch, Protocol};
use tracing::warn;

use crate::board::{Board, Part};

/// The pause between two looks whether somebody is left at a worker that drains; nobody has to be there twice.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// The share of the time of a drain in which the edge moves its sessions: the last ones are to have gone before it ends.
const PACE_SHARE: f64 = 0.9;

/// What the edge was told of one app.
pub(super) struct Front {
    board: Arc<Board>,
    /// The name of its group.
    group: String,
    /// Whether what was written leads clients to it.
    led: bool,
    /// The address that a person named.
    named: Option<SocketAddr>,
    host: Option<IpAddr>,
    /// Whether the app is a Node.js app that asks for its addresses itself.
    preloaded: bool,
    listening: Vec<SocketAddr>,
    /// Public ports that the app has asked for, in this order: what leads to the app leads to the first.
    ports: Vec<u16>,
    /// Workers that take connections.
    tags: BTreeMap<u32, Tag>,
    /// Workers that take requests alone, by the names of their servers.
    plain: BTreeMap<String, Plain>,
    /// Whether the program is not ours, as far as its workers have said.
    foreign: bool,
    /// Those of them that drain, until nobody is left there.
    draining: BTreeMap<u32, Drained>,
    /// How many sessions a second the edge moves off those that drain.
    pace: u32,
    /// While a reload is under way: workers with lower numbers are still to be replaced, and new clients go to others.
    fresh_from: Option<u32>,
}

/// A worker that drains.
struct Drained {
    /// When it is looked whether somebody is left.
    look_at: Instant,
    /// Whether nobody was at the last look: a request may have been on its way.
    was_empty: bool,
}

/// One place where a worker takes requests.
struct Plain {
    instance: u32,
    /// The public port that it asked for; absent where it was given a private one.
    port: Option<u16>,
    /// Whether it has a plain link: it tells how many sessions it has, and lets them go itself.
    linked: bool,
    server: Server,
}

impl Front {
    /// Opens the address that a person named, if so.
    pub(super) fn open(board: Arc<Board>, group: &str, launch: &Launch, led: bool) -> anyhow::Result<Self> {
        let mut front = Self {
            board,
            group: group.to_owned(),
            led,
            named: None,
            host: launch.spec.host,
            preloaded: false,
            listening: Vec::new(),
            ports: Vec::new(),
            tags: BTreeMap::new(),
            plain: BTreeMap::new(),
            foreign: false,
            draining: BTreeMap::new(),
            pace: 0,
            fresh_from: None,
        };
        front.change(launch, led)?;
        Ok(front)
    }

    /// Another address may be named from here on: it is opened before the last one is closed.
    pub(super) fn change(&mut self, launch: &Launch, led: bool) -> anyhow::Result<()> {
        let host = launch.spec.host.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let named = launch.port().filter(|_| !led).map(|port| SocketAddr::new(host, port));
        if let Some(named) = named.filter(|_| named != self.named) {
            self.listen(named, Serves::Http(Http::default())).map_err(|error| anyhow!("{error}"))?;
        }
        self.host = launch.spec.host;
        self.preloaded = launch.is_preloaded();
        self.led = led;
        let last = self.named.filter(|_| named != self.named);
        self.named = named;
        if let Some(last) = last {
            self.listening.retain(|address| *address != last);
            self.post();
            let _ = self.board.control().unlisten(&last.to_string());
        }
        Ok(())
    }

    /// Passes on to the edge what concerns it; what a person should hear of it is returned.
    pub(super) fn handle_event(&mut self, event: Event) -> Option<String> {
        match event {
            Event::Ready { instance, tag, http, asked, handover, .. } => {
                let Ok(tag) = tag.parse() else {
                    return Some(format!("a worker has the tag {tag}, which is none"));
                };
                self.board.control().add(&self.group, tag, instance, http, handover);
                self.board.control().wane(tag, self.wanes(instance));
                self.tags.insert(instance, tag);
                if std::mem::take(&mut self.foreign) || self.tags.len() == 1 {
                    self.post();
                }
                return self.open_asked(asked);
            }
            Event::Serving { instance, port: Some(port) } if self.named.is_some() || self.led => {
                // Who has told us of its sockets is reached there.
                if !self.plain.values().any(|plain| plain.instance == instance) {
                    let at = Endpoint::Tcp((Ipv4Addr::LOCALHOST, port).into());
                    self.add(Plain {
                        instance,
                        port: None,
                        linked: false,
                        server: server(format!("w{instance}"), at),
                    });
                }
            }
            Event::Asks { asking, .. } => return self.answer(asking),
            Event::PlainReady { instance, port, path, tag, tagged, .. } => {
                let tag = tag.parse().ok().filter(|_| tagged);
                // What was given a private port serves in the place of it.
                let port = (!self.is_given()).then_some(port);
                let server = Server { tag, ..server(name_of(&path), Endpoint::Unix(path)) };
                self.add(Plain { instance, port, linked: true, server });
            }
            Event::PlainLoad { instance, sessions, arrived: Some(arrived), tag } => {
                self.load(instance, &tag, sessions, arrived);
            }
            Event::PlainGone { path, .. } => self.remove(&name_of(&path)),
            Event::Load { instance, load } => {
                if let Some(tag) = self.tags.get(&instance) {
                    self.board.control().load(*tag, load.sessions, load.arrived);
                }
            }
            Event::Draining { instance, within } => self.drain(instance, within),
            Event::Returned(connection) => self.board.control().returned(connection),
            Event::Died { instance, .. } => {
                if let Some(tag) = self.tags.remove(&instance) {
                    self.board.control().remove(tag);
                }
                self.draining.remove(&instance);
                self.remove(&format!("w{instance}"));
            }
            Event::Unfit { reason, .. } => {
                return Some(format!(
                    "the app cannot run several times: {reason}; start it without -i (instances)"
                ));
            }
            Event::Serving { .. }
            | Event::PlainLoad { arrived: None, .. }
            | Event::Started { .. }
            | Event::NotStarted { .. }
            | Event::AllReady
            | Event::GaveUp { .. }
            | Event::Gone { .. }
            | Event::Reloaded { .. }
            | Event::Killed { .. }
            | Event::RestartingIn { .. }
            | Event::Stopped => {}
        }
        None
    }

    /// When to call [`Self::handle_timeout`].
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.draining.values().map(|drained| drained.look_at).min()
    }

    /// Workers that drain and with whom nobody is left.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<u32> {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return Vec::new();
        }
        let busy: BTreeSet<u32> = self.busy().into_iter().map(|(instance, _)| instance).collect();
        let mut alone = Vec::new();
        for (instance, drained) in self.draining.iter_mut().filter(|(_, drained)| drained.look_at <= now) {
            let is_empty = !busy.contains(instance);
            if is_empty && drained.was_empty {
                alone.push(*instance);
            }
            *drained = Drained { look_at: now + LOOK_PAUSE, was_empty: is_empty };
        }
        alone
    }

    /// Workers without a link for connections at whom somebody is, and how many: sessions, tunnels, requests under way.
    fn busy(&self) -> Vec<(u32, u64)> {
        let groups = self.board.control().stats().groups;
        let mut busy = Vec::new();
        for (name, plain) in &self.plain {
            let group = groups.iter().find(|group| group.name == self.group_of(plain.port));
            let Some(server) = group.and_then(|group| group.servers.iter().find(|one| one.name == *name))
            else {
                continue;
            };
            // Whoever has a plain link tells its sessions itself, and sooner than a poll that never comes is missed.
            let sessions = if plain.linked { 0 } else { server.sessions + server.on_the_way };
            let some = sessions.max(server.tunnels).max(server.requests);
            if some > 0 {
                busy.push((plain.instance, some));
            }
        }
        busy
    }

    /// Of those who drain and cannot let their sessions go themselves.
    fn sessions_to_move(&self) -> u64 {
        let is_linked =
            |instance: u32| self.plain.values().any(|plain| plain.instance == instance && plain.linked);
        let is_asked = |instance: u32| self.draining.contains_key(&instance) && !is_linked(instance);
        self.busy().iter().filter(|(instance, _)| is_asked(*instance)).map(|(_, some)| some).sum()
    }

    /// A reload is under way, of the workers with lower numbers than this, or none is any more. A client that is moved would have to move again from a worker that is still to be replaced.
    pub(super) fn handle_reload(&mut self, fresh_from: Option<u32>) {
        if self.fresh_from == fresh_from {
            return;
        }
        self.fresh_from = fresh_from;
        self.tags.iter().for_each(|(instance, tag)| self.board.control().wane(*tag, self.wanes(*instance)));
        for plain in self.plain.values_mut().filter(|plain| plain.server.state != ServerState::Drain) {
            let wanes = fresh_from.is_some_and(|first| plain.instance < first);
            plain.server.state = if wanes { ServerState::Waning } else { ServerState::Up };
        }
        self.post();
    }

    fn wanes(&self, instance: u32) -> bool {
        self.fresh_from.is_some_and(|first| instance < first)
    }

    /// Gives no new client to anybody.
    pub(super) fn drain_all(&mut self) {
        self.tags.values().for_each(|tag| self.board.control().drain(*tag));
        self.plain.values_mut().for_each(|plain| plain.server.state = ServerState::Drain);
        self.post();
    }

    /// The public addresses that the app or a person asked for, and are open.
    pub(super) fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// Closes what was opened for this app alone.
    pub(super) fn close(&mut self) {
        let open = std::mem::take(&mut self.listening);
        self.plain.clear();
        self.post();
        for address in open {
            let _ = self.board.control().unlisten(&address.to_string());
        }
    }

    fn open_asked(&mut self, asked: Option<SocketAddr>) -> Option<String> {
        if self.named.is_some() || self.led {
            return None;
        }
        let asked = asked?;
        let address = self.host.map_or(asked, |host| SocketAddr::new(host, asked.port()));
        self.listen(address, Serves::Http(Http::default()))
            .err()
            .map(|error| format!("the app asks for a public address: {error}"))
    }

    fn answer(&mut self, asking: Asking) -> Option<String> {
        let port = asking.port;
        // A Node.js child of a program that serves by itself, or at the port that it was given, is not the app.
        if !self.tags.is_empty() || (self.is_given() && asking.given != Some(port)) {
            asking.leave();
            return None;
        }
        let is_led = self.is_led_to(port);
        if is_led && asking.protocol == Protocol::Tcp {
            let why = "an address that is named is for HTTP: start the app without --port and PORT";
            asking.refuse(Some("ENOTSUP"), why);
            return Some(format!("the app speaks something else than HTTP at port {port}: {why}"));
        }
        if is_led {
            if !self.is_given() {
                self.note_port(port);
            }
            asking.accept();
            return None;
        }
        let serves = match asking.protocol {
            Protocol::Http => Serves::Http(Http::default()),
            Protocol::Tcp => {
                // The listener names the group of this port, which has to be there.
                self.note_port(port);
                self.foreign = true;
                self.post();
                Serves::Tcp { group: self.group_of(Some(port)), send_proxy: None }
            }
        };
        let host = self.host.or(asking.host).unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        let mut outcome = self.listen(SocketAddr::new(host, port), serves.clone());
        if outcome.is_err() && host == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            // A machine without IPv6.
            outcome = self.listen(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port), serves);
        }
        match outcome {
            Ok(()) => {
                self.note_port(port);
                asking.accept();
                None
            }
            Err(error) => {
                let why = error.to_string();
                let is = |matches: bool, code| matches.then_some(code);
                let denied = is(matches!(error, ConfigError::Bind(BindError::Denied(_))), "EACCES");
                let nowhere = matches!(error, ConfigError::Bind(BindError::NoSuchAddress(_)));
                let code = denied.or(is(nowhere, "EADDRNOTAVAIL")).unwrap_or("EADDRINUSE");
                asking.refuse(Some(code), &why);
                Some(format!("the app asks for a public address: {why}"))
            }
        }
    }

    /// Whether clients for this port of the app come in elsewhere: at the address that a person named for it, or for the port that a foreign program was
    /// given; or where what was written leads them.
    fn is_led_to(&self, port: u16) -> bool {
        let named = self.named.is_some_and(|named| named.port() == port || !self.preloaded);
        let first = self.ports.first().is_none_or(|first| *first == port);
        named || self.led && (first || !self.preloaded)
    }

    /// Whether each process was given a private port at which it has to listen.
    fn is_given(&self) -> bool {
        !self.preloaded && (self.named.is_some() || self.led)
    }

    /// A port stays known: its workers may be about to come back.
    fn note_port(&mut self, port: u16) {
        if !self.ports.contains(&port) {
            self.ports.push(port);
        }
    }

    fn listen(&mut self, address: SocketAddr, serves: Serves) -> Result<(), ConfigError> {
        if self.listening.contains(&address) {
            return Ok(());
        }
        let listener =
            Listener { name: address.to_string(), at: Endpoint::Tcp(address), serves, ..Listener::default() };
        self.board.control().listen(listener)?;
        self.listening.push(address);
        self.post();
        Ok(())
    }

    fn add(&mut self, mut plain: Plain) {
        if self.wanes(plain.instance) {
            plain.server.state = ServerState::Waning;
        }
        if let Some(port) = plain.port {
            self.note_port(port);
        }
        self.plain.insert(plain.server.name.clone(), plain);
        self.foreign = self.tags.is_empty();
        self.post();
    }

    fn remove(&mut self, name: &str) {
        if self.plain.remove(name).is_some() {
            self.post();
        }
    }

    /// A process told how many sessions it has. One that listens at several addresses says it of all together: there what is seen has to do.
    fn load(&self, instance: u32, tag: &str, sessions: u32, arrived: u64) {
        let is_its =
            |name: &str| name.strip_prefix(tag).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        let mut its = self.plain.iter().filter(|(name, plain)| plain.instance == instance && is_its(name));
        if let (Some((name, plain)), None) = (its.next(), its.next()) {
            // Where it has just gone there is nobody to count for.
            let _ = self.board.control().report(&self.group_of(plain.port), name, sessions, arrived);
        }
    }

    fn drain(&mut self, instance: u32, within: Option<Duration>) {
        if let Some(tag) = self.tags.get(&instance) {
            self.board.control().drain(*tag);
        }
        if let Some(within) = within {
            self.draining
                .insert(instance, Drained { look_at: Instant::now() + LOOK_PAUSE, was_empty: false });
            let sessions = self.sessions_to_move();
            self.pace = if sessions > 0 { pace(sessions, within) } else { 0 };
        }
        let mut changed = false;
        for plain in self.plain.values_mut().filter(|plain| plain.instance == instance) {
            plain.server.state = ServerState::Drain;
            changed = true;
        }
        if changed {
            self.post();
        }
    }

    /// The group of whoever serves for a public port: the app's own, but for ports after the first.
    fn group_of(&self, port: Option<u16>) -> String {
        match port {
            Some(port) if self.ports.first().is_some_and(|first| *first != port) => {
                format!("{}:{port}", self.group)
            }
            Some(_) | None => self.group.clone(),
        }
    }

    /// Tells the edge who serves at which address: the app's group has those of its first port, each other port a group of its own.
    fn post(&self) {
        let servers = |mine: &dyn Fn(Option<u16>) -> bool| -> Vec<Server> {
            let mine = self.plain.values().filter(|plain| mine(plain.port));
            mine.map(|plain| plain.server.clone()).collect()
        };
        let (first, others) = match self.ports.split_first() {
            Some((first, others)) => (Some(*first), others),
            None => (None, &[][..]),
        };
        let main = servers(&|port| port.is_none() || port == first);
        let own = match self.foreign {
            true => {
                // Those who have a link let their sessions go themselves.
                Group { drain: Drain { pace: self.pace, rebalance: false }, ..group(&self.group, main) }
            }
            // Whoever says nothing of itself is waited for, and our own workers are there by their tags.
            false => self.board.group(&self.group).unwrap_or_else(Group::workers),
        };
        let mut part = Part { groups: vec![own], sites: Vec::new() };
        let name = |port: u16| self.group_of(Some(port));
        part.groups.extend(others.iter().map(|port| group(&name(*port), servers(&|own| own == Some(*port)))));
        part.sites.extend(self.listening.iter().map(|address| {
            let own = others.contains(&address.port()) && self.named != Some(*address);
            let everything = Site::everything(&if own { name(address.port()) } else { self.group.clone() });
            Site { listeners: vec![address.to_string()], ..everything }
        }));
        if let Err(error) = self.board.post(&self.group, part) {
            warn!(%error, app = self.group, "the edge does not know of the app's workers");
        }
    }
}

/// How many sessions have to go a second so that all have gone a little before the time is over.
fn pace(sessions: u64, within: Duration) -> u32 {
    let seconds = within.as_secs_f64().max(0.1) * PACE_SHARE;
    let pace = (sessions as f64 / seconds).ceil();
    // A float becomes the nearest number that there is.
    (pace as u32).max(1)
}

/// Programs that are not ours choose their path of Socket.IO themselves.
/// Whether they serve is known by the supervisor: nobody connects to ask, which a server of bytes may take for a client.
fn group(name: &str, servers: Vec<Server>) -> Group {
    let group = Group::new(name, Members::Static(servers));
    let health = Health { check: Check::Off, ..group.health };
    Group { engine_path: String::new(), health, ..group }
}

fn server(name: String, at: Endpoint) -> Server {
    Server { name, at, weight: NonZero::<u16>::MIN, sessions_max: None, tag: None, state: ServerState::Up }
}

/// A server's name is that of its socket: `Ab3dE_-1.sock`.
fn name_of(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sessions_have_gone_before_the_time_is_over() {
        for (sessions, within, expected) in [
            (4, 3600.0, 1),
            (9, 10.0, 1),
            (10, 10.0, 2),
            (9000, 10.0, 1000),
            (5, 0.0, 56),
            (u64::MAX, 1.0, u32::MAX),
        ] {
            assert_eq!(pace(sessions, Duration::from_secs_f64(within)), expected, "{sessions} {within}");
        }
    }
}
