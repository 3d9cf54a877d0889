//! The edge before the workers of one app: which addresses it holds, and who serves there.
//!
//! The public address is what a person named, else what the app asks for: our library over its link, others over the plain link. Absent: routing (the edge's).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use sockeye_edge::config::{
    BindError, Config, ConfigError, Endpoint, Group, Listener, Members, Server, ServerState, Site,
};
use sockeye_edge::{Control, Proxy};
use sockeye_proto::Tag;
use sockeye_supervisor::{Asking, Event, Launch, Protocol};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::warn;

/// How long answers under way may take once the last worker is gone.
const END_WAIT: Duration = Duration::from_millis(500);

/// The edge and what it was told.
pub(super) struct Front {
    control: Control,
    edge: JoinHandle<()>,
    /// Dropping it ends the edge.
    close: oneshot::Sender<()>,
    /// The address that a person named.
    named: Option<SocketAddr>,
    host: Option<IpAddr>,
    /// Whether the app is a Node.js app that asks for its addresses itself.
    preloaded: bool,
    listening: Vec<SocketAddr>,
    /// Public ports that somebody has asked for.
    ports: BTreeSet<u16>,
    /// Workers that take connections.
    tags: BTreeMap<u32, Tag>,
    /// Workers that take requests alone, by the names of their servers.
    plain: BTreeMap<String, Plain>,
    config: Config,
}

/// One place where a worker takes requests.
struct Plain {
    instance: u32,
    /// The public port that it asked for; absent where it was given a private one.
    port: Option<u16>,
    server: Server,
}

impl Front {
    /// Opens the address that a person named, if so.
    pub(super) async fn open(launch: &Launch) -> anyhow::Result<Self> {
        let mut config = Config::default();
        config.listeners.clear();
        config.groups = vec![Group::workers()];
        let proxy = Proxy::bind(config.clone())?;
        let (close, closed) = oneshot::channel::<()>();
        let mut front = Self {
            control: proxy.control(),
            // Ends with `close`, which is this value's.
            edge: tokio::spawn(proxy.run(async {
                let _ = closed.await;
            })),
            close,
            named: None,
            host: launch.spec.host,
            preloaded: false,
            listening: Vec::new(),
            ports: BTreeSet::new(),
            tags: BTreeMap::new(),
            plain: BTreeMap::new(),
            config,
        };
        front.change(launch)?;
        tokio::task::yield_now().await;
        Ok(front)
    }

    /// Another address may be named from here on: it is opened before the last one is closed.
    pub(super) fn change(&mut self, launch: &Launch) -> anyhow::Result<()> {
        self.host = launch.spec.host;
        self.preloaded = launch.is_preloaded();
        let host = launch.spec.host.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let named = launch.port().map(|port| SocketAddr::new(host, port));
        if named == self.named {
            return Ok(());
        }
        if let Some(named) = named {
            self.listen(named).map_err(|error| anyhow!("{error}"))?;
        }
        if let Some(last) = self.named.take() {
            let _ = self.control.unlisten(&last.to_string());
            self.listening.retain(|address| *address != last);
        }
        self.named = named;
        Ok(())
    }

    /// Passes on to the edge what concerns it; what a person should hear of it is returned.
    pub(super) fn handle_event(&mut self, event: Event) -> Option<String> {
        match event {
            Event::Ready { instance, tag, http, asked, handover, .. } => {
                let Ok(tag) = tag.parse() else {
                    return Some(format!("a worker has the tag {tag}, which is none"));
                };
                self.tags.insert(instance, tag);
                self.control.add(tag, instance, http, handover);
                return self.open_asked(asked);
            }
            Event::Serving { instance, port: Some(port) } if self.named.is_some() => {
                // Who has told us of its sockets is reached there.
                if !self.plain.values().any(|plain| plain.instance == instance) {
                    let at = Endpoint::Tcp((Ipv4Addr::LOCALHOST, port).into());
                    self.add(instance, None, format!("w{instance}"), at);
                }
            }
            Event::Asks { asking, .. } => return self.answer(asking),
            Event::PlainReady { instance, port, path, .. } => {
                self.add(instance, Some(port), name_of(&path), Endpoint::Unix(path));
            }
            Event::PlainGone { path, .. } => self.remove(&name_of(&path)),
            Event::Load { instance, load } => {
                if let Some(tag) = self.tags.get(&instance) {
                    self.control.load(*tag, load.sessions, load.arrived);
                }
            }
            Event::Draining { instance } => self.drain(instance),
            Event::Returned(connection) => self.control.returned(connection),
            Event::Died { instance, .. } => {
                if let Some(tag) = self.tags.remove(&instance) {
                    self.control.remove(tag);
                }
                self.remove(&format!("w{instance}"));
            }
            Event::Unfit { reason, .. } => {
                return Some(format!("the app cannot run several times: {reason}; start it without -i"));
            }
            Event::Serving { .. }
            | Event::PlainLoad { .. }
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

    /// The public addresses that are open.
    pub(super) fn listening(&self) -> Vec<SocketAddr> {
        self.listening.clone()
    }

    /// Clients whose connections run through the edge at this moment.
    pub(super) fn open_connections(&self) -> u64 {
        self.control.stats().open
    }

    /// No worker is left: what is under way can only be the edge's own answers.
    pub(super) async fn close(self) {
        let Self { mut edge, close, .. } = self;
        drop(close);
        if tokio::time::timeout(END_WAIT, &mut edge).await.is_err() {
            edge.abort();
        }
    }

    fn open_asked(&mut self, asked: Option<SocketAddr>) -> Option<String> {
        if self.named.is_some() {
            return None;
        }
        let asked = asked?;
        let address = self.host.map_or(asked, |host| SocketAddr::new(host, asked.port()));
        self.listen(address).err().map(|error| format!("the app asks for a public address: {error}"))
    }

    fn answer(&mut self, asking: Asking) -> Option<String> {
        let port = asking.port;
        if asking.protocol == Protocol::Tcp {
            let why = "only HTTP can be shared among several copies of an app";
            asking.refuse(Some("ENOTSUP"), why);
            return Some(format!("the app asks for port {port} to speak something else than HTTP: {why}"));
        }
        // A person named the address for this port, or for the one that a foreign program was given.
        if self.named.is_some_and(|named| named.port() == asking.port || !self.preloaded) {
            asking.accept();
            return None;
        }
        let host = self.host.or(asking.host).unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        let mut outcome = self.listen(SocketAddr::new(host, asking.port));
        if outcome.is_err() && host == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            // A machine without IPv6.
            outcome = self.listen(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), asking.port));
        }
        match outcome {
            Ok(()) => {
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

    fn listen(&mut self, address: SocketAddr) -> Result<(), ConfigError> {
        if self.listening.contains(&address) {
            return Ok(());
        }
        let listener =
            Listener { name: address.to_string(), at: Endpoint::Tcp(address), ..Listener::default() };
        self.control.listen(listener)?;
        self.listening.push(address);
        Ok(())
    }

    fn add(&mut self, instance: u32, port: Option<u16>, name: String, at: Endpoint) {
        let server = Server {
            name: name.clone(),
            at,
            weight: NonZero::<u16>::MIN,
            sessions_max: None,
            state: ServerState::Up,
        };
        self.plain.insert(name, Plain { instance, port, server });
        self.apply();
    }

    fn remove(&mut self, name: &str) {
        if self.plain.remove(name).is_some() {
            self.apply();
        }
    }

    fn drain(&mut self, instance: u32) {
        if let Some(tag) = self.tags.get(&instance) {
            self.control.drain(*tag);
        }
        let mut changed = false;
        for plain in self.plain.values_mut().filter(|plain| plain.instance == instance) {
            plain.server.state = ServerState::Drain;
            changed = true;
        }
        if changed {
            self.apply();
        }
    }

    /// Tells the edge who serves at which address: each public port has a group of its own, and what nobody asked for goes to the rest.
    fn apply(&mut self) {
        let mut ports: BTreeMap<u16, Vec<Server>> =
            self.ports.iter().map(|port| (*port, Vec::new())).collect();
        let mut rest = Vec::new();
        for Plain { port, server, .. } in self.plain.values() {
            match port {
                Some(port) => ports.entry(*port).or_default().push(server.clone()),
                None => rest.push(server.clone()),
            }
        }
        // A port stays known: its workers may be about to come back.
        self.ports = ports.keys().copied().collect();
        let mut groups = vec![match self.tags.is_empty() {
            true => group(Group::WORKERS, rest),
            false => Group::workers(),
        }];
        let mut sites = Vec::new();
        for address in &self.listening {
            // The address that a person named, for an app that has asked for another port, is the first one's.
            let named = (self.named == Some(*address)).then(|| self.ports.first()).flatten();
            if let Some(port) = self.ports.get(&address.port()).or(named) {
                let everything = Site::everything(&port.to_string());
                sites.push(Site { listeners: vec![address.to_string()], ..everything });
            }
        }
        sites.push(Site::everything(Group::WORKERS));
        groups.extend(ports.into_iter().map(|(port, servers)| group(&port.to_string(), servers)));
        (self.config.groups, self.config.sites) = (groups, sites);
        if let Err(error) = self.control.apply(self.config.clone()) {
            warn!(%error, "the edge does not know of its workers");
        }
    }
}

/// Programs that are not ours choose their path of Socket.IO themselves.
fn group(name: &str, servers: Vec<Server>) -> Group {
    Group { engine_path: String::new(), ..Group::new(name, Members::Static(servers)) }
}

/// A server's name is that of its socket: `Ab3dE_-1.sock`.
fn name_of(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}
