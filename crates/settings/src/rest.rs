//! `[admin]`, `[access_log]`, `[limits]` and `[cluster]`.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use sockeye_edge::config::{AccessLog, Config, Endpoint, LogFormat};

use crate::address;
use crate::desk::{Desk, Sheet, words};
use crate::facts::{Facts, Thing, is_path};
use crate::keys::{ACCESS_LOG, ADMIN, CLUSTER, LIMITS};
use crate::tree::{Node, Table, Value};

/// Where an operator is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// None: a Unix socket in the runtime directory.
    pub address: Option<Endpoint>,
    /// What requests have to bear.
    pub token: Option<Token>,
}

/// What requests of an operator have to bear. It is not printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Token {
    /// This.
    Text(String),
    /// What this file holds.
    File(PathBuf),
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(…)"),
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

/// What this machine's workers share with other machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The backplane.
    pub adapter: Option<String>,
    /// Where nodes of other machines come in.
    pub node_link: Option<SocketAddr>,
    /// By what these machines know each other, in place of a secret.
    pub node_link_files: Option<NodeLinkFiles>,
}

/// The files by which machines know each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLinkFiles {
    /// This machine's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authority that signs those of all machines.
    pub ca: PathBuf,
}

/// The shortest token: what is shorter can be guessed.
pub const TOKEN_CHARACTERS_MIN: usize = 16;

pub(crate) fn admin(desk: &mut Desk<'_>, root: &Table, facts: &Facts<'_>) -> Admin {
    let Some(entry) = root.get("admin") else { return Admin::default() };
    let node = &entry.node;
    if !matches!(node.value, Value::Table(_)) {
        let at = words(node).and_then(|text| address::listen(&text));
        if at.is_none() {
            desk.refuse("admin", node, format!("expected {}, or a table", address::LISTEN_EXPECTED));
        }
        if let Some(Err(message)) = at.as_ref().map(|at| facts.takes(at)) {
            desk.refuse("admin", node, message);
        }
        let admin = Admin { address: at, token: None };
        return guarded(desk, node, admin);
    }
    let Some(sheet) = desk.open("admin", node, &ADMIN) else { return Admin::default() };
    let long = |text: &str| {
        (text.len() >= TOKEN_CHARACTERS_MIN && text.bytes().all(|byte| byte.is_ascii_graphic()))
            .then(|| text.to_owned())
    };
    let token = sheet.node("token").and_then(|node| {
        let token = words(node).and_then(|text| long(&text));
        if token.is_none() {
            // The value is a secret: it is not repeated.
            let message = format!("expected at least {TOKEN_CHARACTERS_MIN} characters without blanks");
            desk.refuse_at(&node.place, "admin.token", message);
        }
        token
    });
    let file = sheet.read(desk, "token_file", "the path of a file that holds the token", is_path);
    if let (Some(_), Some(node)) = (&token, sheet.node("token_file")) {
        desk.refuse("admin.token_file", node, "there is a token already: keep one of the two");
    }
    let token = token.map(Token::Text).or_else(|| file.map(|path| Token::File(facts.path(&path))));
    if let Some(Token::File(path)) = &token
        && let Err(fault) = (facts.look)(&Thing::Token(path))
    {
        desk.blame(&sheet, "token_file", fault.message);
    }
    let address = sheet.read(desk, "address", address::LISTEN_EXPECTED, address::listen);
    if let Some(Err(message)) = address.as_ref().map(|at| facts.takes(at)) {
        desk.blame(&sheet, "address", message);
    }
    guarded(desk, node, Admin { address, token })
}

/// Who can reach a TCP port is nobody's secret.
fn guarded(desk: &mut Desk<'_>, node: &Node, admin: Admin) -> Admin {
    let says = |key: &str| matches!(&node.value, Value::Table(table) if table.contains_key(key));
    // One that is wrong has been told already.
    let says_token = says("token") || says("token_file");
    if matches!(admin.address, Some(Endpoint::Tcp(_))) && admin.token.is_none() && !says_token {
        desk.refuse(
            "admin",
            node,
            "a TCP address needs a token: set admin.token_file, or listen on a Unix socket, which only this user can open",
        );
    }
    admin
}

pub(crate) fn access_log(desk: &mut Desk<'_>, root: &Table, facts: &Facts<'_>) -> Option<AccessLog> {
    let node = &root.get("access_log")?.node;
    let to = |path: String| (path != "-").then(|| facts.path(&path));
    if !matches!(node.value, Value::Table(_)) {
        let path = words(node).and_then(|text| is_path(&text));
        if path.is_none() {
            desk.refuse("access_log", node, "expected a path, \"-\" for standard output, or a table");
        }
        let path = to(path?);
        if let Some(Err(fault)) = path.as_deref().map(|path| (facts.look)(&Thing::Log(path))) {
            desk.refuse("access_log", node, fault.message);
        }
        return Some(AccessLog { path, format: LogFormat::default() });
    }
    let sheet = desk.open("access_log", node, &ACCESS_LOG)?;
    let path = sheet.read(desk, "path", "a path, or \"-\" for standard output", is_path);
    let formats = [("combined", LogFormat::Combined), ("json", LogFormat::Json)];
    let path = to(path.unwrap_or_else(|| "-".to_owned()));
    if let Some(Err(fault)) = path.as_deref().map(|path| (facts.look)(&Thing::Log(path))) {
        desk.blame(&sheet, "path", fault.message);
    }
    Some(AccessLog { path, format: sheet.choice(desk, "format", &formats).unwrap_or_default() })
}

pub(crate) fn limits(desk: &mut Desk<'_>, root: &Table, config: &mut Config) {
    let Some(entry) = root.get("limits") else { return };
    let Some(sheet) = desk.open("limits", &entry.node, &LIMITS) else { return };
    let (limits, relay) = (&mut config.limits, &mut config.relay);
    let times = Duration::from_millis(10)..=Duration::from_secs(86_400);
    if let Some(most) = sheet.number(desk, "connections", 1..=10_000_000).and_then(NonZero::new) {
        limits.connections_max = most;
    }
    if let Some(most) = sheet.size(desk, "head_size", 8 << 10..=60 << 10).and_then(NonZero::new) {
        limits.head_bytes_max = most;
    }
    if let Some(most) = sheet.number(desk, "returned", 1..=1_000_000).and_then(NonZero::new) {
        limits.returned_max = most;
    }
    if let Some(most) = sheet.number(desk, "sessions_per_second", 0..=1_000_000) {
        limits.sessions_per_second = most;
    }
    if let Some(most) = sheet.number(desk, "idle_per_server", 1..=65_535).and_then(NonZero::new) {
        relay.idle_per_address_max = most;
    }
    if let Some(most) = sheet.size(desk, "buffer_size", 8 << 10..=16 << 20) {
        relay.buffer_bytes_max = most;
    }
    for (key, time) in [
        ("head_timeout", &mut limits.head_time_max),
        ("idle_timeout", &mut limits.idle_time_max),
        ("drain_timeout", &mut limits.drain_time_max),
        ("connect_timeout", &mut relay.connect_time_max),
        ("answer_timeout", &mut relay.answer_time_max),
        ("idle_server_timeout", &mut relay.idle_lifetime),
    ] {
        if let Some(written) = sheet.span(desk, key, times.clone()) {
            *time = written;
        }
    }
}

pub(crate) fn cluster(desk: &mut Desk<'_>, root: &Table, facts: &Facts<'_>) -> Cluster {
    let Some(entry) = root.get("cluster") else { return Cluster::default() };
    let Some(sheet) = desk.open("cluster", &entry.node, &CLUSTER) else { return Cluster::default() };
    let adapter = sheet.node("adapter").and_then(|node| {
        let address = words(node).filter(|text| SCHEMES.iter().any(|scheme| text.starts_with(scheme)));
        if address.is_none() {
            // The value may hold a password: it is not repeated.
            desk.refuse_at(
                &node.place,
                "cluster.adapter",
                format!("expected an address that begins with {}", SCHEMES.join(", ")),
            );
        }
        address
    });
    let tcp = |text: &str| match address::listen(text)? {
        Endpoint::Tcp(address) if !address.ip().is_unspecified() => Some(address),
        Endpoint::Tcp(_) | Endpoint::Unix(_) => None,
    };
    let expected = "the address by which other machines reach this one, such as \"10.0.0.7:4000\"";
    let node_link = sheet.read(desk, "node_link", expected, tcp);
    if let (Some(_), None, Some(node)) = (node_link, sheet.node("adapter"), sheet.node("node_link")) {
        desk.refuse(
            "cluster.node_link",
            node,
            "this needs cluster.adapter: machines find each other on a backplane",
        );
    }
    let node_link_files = node_link_files(desk, &sheet, facts);
    Cluster { adapter, node_link, node_link_files }
}

/// All three of them, or none.
fn node_link_files(desk: &mut Desk<'_>, sheet: &Sheet<'_>, facts: &Facts<'_>) -> Option<NodeLinkFiles> {
    const KEYS: [&str; 3] = ["node_link_cert", "node_link_key", "node_link_ca"];
    let paths = KEYS
        .map(|key| sheet.read(desk, key, "the path of a PEM file", is_path).map(|text| facts.path(&text)));
    let [Some(certificate), Some(key), Some(ca)] = paths else {
        let there = KEYS.iter().find_map(|key| sheet.node(key));
        for key in KEYS.iter().filter(|key| there.is_some() && sheet.node(key).is_none()) {
            let message = format!("expected the path of a PEM file: {} belong together", KEYS.join(", "));
            desk.refuse_at(&sheet.place, &sheet.key(key), message);
        }
        return None;
    };
    if let (None, Some(node)) = (sheet.node("node_link"), sheet.node("node_link_cert")) {
        desk.refuse(
            "cluster.node_link_cert",
            node,
            "this needs cluster.node_link: it is for what machines say to each other",
        );
    }
    Some(NodeLinkFiles { certificate, key, ca })
}

const SCHEMES: [&str; 9] = [
    "redis://",
    "rediss://",
    "nats://",
    "tls://",
    "postgres://",
    "postgresql://",
    "mongodb://",
    "mongodb+srv://",
    "mesh:",
];
