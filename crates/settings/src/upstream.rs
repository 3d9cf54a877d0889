//! `[upstream.NAME]`: groups of servers.

use std::num::NonZero;
use std::time::Duration;

use sockeye_edge::config::{
    Affinity, Algorithm, DnsRecord, Drain, Endpoint, Group, Members, Queue, Server, ServerState, Timeouts,
};

use crate::address::{self, Remote};
use crate::cookie;
use crate::desk::{Desk, Sheet, elements, one_of, words};
use crate::facts::{Facts, Thing, is_path};
use crate::health;
use crate::keys::{SERVER, UPSTREAM};
use crate::listen::PROXY_VERSIONS;
use crate::place::Place;
use crate::tree::{Node, Table, Value};
use crate::units::{SPAN_MAX, say};

/// A group and where it is written.
pub(crate) struct Written {
    pub(crate) group: Group,
    pub(crate) place: Place,
    /// Where `sticky`, or the cookie that stands for it, is written; `None` where nothing is said.
    pub(crate) sticky: Option<Place>,
}

/// All groups.
pub(crate) fn groups(
    desk: &mut Desk<'_>,
    root: &Table,
    adapter: Option<&str>,
    facts: &Facts<'_>,
) -> Vec<Written> {
    let Some(entry) = root.get("upstream") else { return Vec::new() };
    let Value::Table(tables) = &entry.node.value else {
        // `upstream = ["app01:3000"]`: a group that needs no name.
        return vec![Written {
            group: short(desk, "upstream", &entry.node, "upstream", facts),
            place: entry.key.clone(),
            sticky: None,
        }];
    };
    tables
        .iter()
        .filter_map(|(name, entry)| {
            let key = format!("upstream.{name}");
            if !is_name(name) {
                desk.refuse_at(&entry.key, &key, NAME_EXPECTED);
            }
            let group = if matches!(entry.node.value, Value::Table(_)) {
                group(desk, &key, &entry.node, name, adapter, facts)?
            } else {
                short(desk, &key, &entry.node, name, facts)
            };
            let said = |table: &Table| {
                let entry = table.get("sticky").or_else(|| table.get("cookie"))?;
                Some(entry.node.place.clone())
            };
            let sticky = if let Value::Table(table) = &entry.node.value { said(table) } else { None };
            Some(Written { group, place: entry.key.clone(), sticky })
        })
        .collect()
}

/// A group of which nothing is said but its servers.
fn short(desk: &mut Desk<'_>, key: &str, node: &Node, name: &str, facts: &Facts<'_>) -> Group {
    Group::new(name, Members::Static(servers(desk, key, node, facts)))
}

fn group(
    desk: &mut Desk<'_>,
    key: &str,
    node: &Node,
    name: &str,
    adapter: Option<&str>,
    facts: &Facts<'_>,
) -> Option<Group> {
    let sheet = desk.open(key, node, &UPSTREAM)?;
    let members = members(desk, &sheet, adapter, facts);
    let mut group = Group::new(name, members.unwrap_or(Members::Static(Vec::new())));
    let path = |text: &str| text.starts_with('/').then(|| format!("{}/", text.trim_end_matches('/')));
    if let Some(path) =
        sheet.read(desk, "path", "a path that begins with a slash, such as \"/socket.io/\"", path)
    {
        group.engine_path = path;
    }
    group.affinity = affinity(desk, &sheet);
    if let Some(algorithm) = sheet.choice(desk, "balance", &ALGORITHMS) {
        group.algorithm = algorithm;
    }
    group.health = health::health(desk, &sheet, group.health.clone());
    group.drain = Drain {
        pace: sheet.number(desk, "drain_pace", 0..=100_000).unwrap_or_default(),
        rebalance: sheet.flag(desk, "rebalance").unwrap_or_default(),
    };
    if group.drain.rebalance
        && group.drain.pace == 0
        && let Some(node) = sheet.node("rebalance")
    {
        desk.refuse(
            &sheet.key("rebalance"),
            node,
            "this needs a pace: set drain_pace to the sessions a second that may be moved",
        );
    }
    let queue = Queue::default();
    group.queue = Queue {
        wait_max: sheet
            .span(desk, "queue_wait", Duration::ZERO..=Duration::from_secs(600))
            .unwrap_or(queue.wait_max),
        waiters_max: sheet.number(desk, "queue_max", 0..=1_000_000).unwrap_or(queue.waiters_max),
    };
    group.timeouts = timeouts(desk, &sheet);
    group.send_proxy = sheet.choice(desk, "send_proxy", &PROXY_VERSIONS);
    // All was read: one error hides no other. And whoever names the group is not told that there is none.
    Some(group)
}

/// Where the servers come from: exactly one of the ways.
fn members(
    desk: &mut Desk<'_>,
    sheet: &Sheet<'_>,
    adapter: Option<&str>,
    facts: &Facts<'_>,
) -> Option<Members> {
    let ways: Vec<&str> = WAYS.into_iter().filter(|way| sheet.node(way).is_some()).collect();
    if ways.len() != 1 {
        let message = format!(
            "expected one of {}, got {}",
            WAYS.join(", "),
            if ways.is_empty() { "none" } else { "several" }
        );
        desk.refuse_at(&sheet.place, &sheet.path, message);
        return None;
    }
    let node = sheet.node(ways[0])?;
    let key = sheet.key(ways[0]);
    Some(match ways[0] {
        "servers" => Members::Static(servers(desk, &key, node, facts)),
        "dns" => {
            let text = sheet.text(
                desk,
                "dns",
                "a name and a port such as \"app.internal:3000\", or the name of an SRV record",
            )?;
            let service = sheet.choice(desk, "dns_record", &[("a", false), ("srv", true)]);
            let (name, record) = match (address::named(&text), service) {
                (Some((name, port)), None | Some(false)) => (name, DnsRecord::Address(port)),
                (None, None | Some(true)) if address::is_host(&text) => (text, DnsRecord::Service),
                (Some(_), Some(true)) => {
                    desk.refuse(
                        &key,
                        node,
                        "SRV records have ports of their own: expected a name without one",
                    );
                    return None;
                }
                (None, _) => {
                    desk.refuse(&key, node, "expected a name and a port, such as \"app.internal:3000\"");
                    return None;
                }
            };
            let every =
                sheet.span(desk, "dns_every", Duration::from_millis(100)..=Duration::from_secs(86_400));
            Members::Dns { name, record, every: every.unwrap_or(Duration::from_secs(10)) }
        }
        "watch" => {
            let text = sheet.read(desk, "watch", "the path of a file with a server a line", is_path)?;
            let path = facts.path(&text);
            if let Err(fault) = (facts.look)(&Thing::Watched(&path)) {
                desk.warn(&node.place, (&key, true), fault.message);
            }
            Members::File(path)
        }
        "register" => {
            if !sheet.flag(desk, "register")? {
                desk.refuse(&key, node, "expected true, or servers, dns, watch or directory instead");
                return None;
            }
            let lease = sheet.span(desk, "lease", Duration::from_secs(1)..=Duration::from_secs(86_400));
            Members::Registered { lease: lease.unwrap_or(Duration::from_secs(15)) }
        }
        _ => {
            let adapter = match (words(node), &node.value, adapter) {
                (Some(address), _, _) if address.contains("://") => address,
                (_, Value::Flag(true), Some(adapter)) => adapter.to_owned(),
                (Some(word), _, Some(adapter)) if word == "true" => adapter.to_owned(),
                _ => {
                    desk.refuse(&key, node, "expected the address of a backplane such as \"redis://10.0.0.9:6379\", or true with cluster.adapter set");
                    return None;
                }
            };
            Members::Directory { adapter }
        }
    })
}

/// Servers by address, or by tables.
fn servers(desk: &mut Desk<'_>, key: &str, node: &Node, facts: &Facts<'_>) -> Vec<Server> {
    let nodes = elements(node);
    if nodes.is_empty() {
        desk.refuse(key, node, "expected at least one server, such as \"app01:3000\"");
    }
    if nodes.len() > SERVERS_MAX {
        desk.refuse_at(
            &node.place,
            key,
            format!("expected at most {SERVERS_MAX} servers, got {}", nodes.len()),
        );
        return Vec::new();
    }
    let mut found: Vec<Server> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        for server in server(desk, &format!("{key}.{index}"), node, facts) {
            if found.iter().any(|other| other.name == server.name) {
                desk.refuse(
                    key,
                    node,
                    format!(
                        "there is another server with the name {}: give each a name of its own",
                        server.name
                    ),
                );
                continue;
            }
            found.push(server);
        }
    }
    found
}

/// One server; of a name that resolves to several addresses, each.
fn server(desk: &mut Desk<'_>, key: &str, node: &Node, facts: &Facts<'_>) -> Vec<Server> {
    let plain = Server {
        name: String::new(),
        at: Endpoint::Unix(std::path::PathBuf::new()),
        weight: NonZero::<u16>::MIN,
        sessions_max: None,
        tag: None,
        state: ServerState::Up,
    };
    let (text, named, plain) = if matches!(node.value, Value::Table(_)) {
        let Some(sheet) = desk.open(key, node, &SERVER) else { return Vec::new() };
        let text = sheet.text(desk, "address", address::SERVER_EXPECTED);
        if sheet.node("address").is_none() {
            desk.refuse_at(
                &sheet.place,
                &sheet.key("address"),
                format!("expected {}", address::SERVER_EXPECTED),
            );
        }
        let server_name = |text: &str| is_name(text).then(|| text.to_owned());
        let states = [
            ("up", ServerState::Up),
            ("drain", ServerState::Drain),
            ("maintenance", ServerState::Maintenance),
        ];
        let plain = Server {
            weight: sheet.number(desk, "weight", 1..=u16::MAX).and_then(NonZero::new).unwrap_or(plain.weight),
            sessions_max: sheet.number(desk, "max_sessions", 1..=u32::MAX).and_then(NonZero::new),
            state: sheet.choice(desk, "state", &states).unwrap_or_default(),
            ..plain
        };
        (text, sheet.read(desk, "name", NAME_EXPECTED_BARE, server_name), plain)
    } else {
        (words(node), None, plain)
    };
    let Some(remote) = text.as_deref().and_then(address::server) else {
        if text.is_some() || !matches!(node.value, Value::Table(_)) {
            desk.refuse(key, node, format!("expected {}", address::SERVER_EXPECTED));
        }
        return Vec::new();
    };
    let (host, port) = match remote {
        Remote::At(at) => {
            let name = named.unwrap_or_else(|| at.to_string());
            return vec![Server { name, at, ..plain }];
        }
        Remote::Named(host, port) => (host, port),
    };
    match (facts.resolve)(&host, port) {
        Ok(addresses) if !addresses.is_empty() => {
            let several = addresses.len() > 1;
            let name = |at: &std::net::SocketAddr| match (&named, several) {
                (Some(name), false) => name.clone(),
                (Some(name), true) => format!("{name}-{at}"),
                (None, false) => format!("{host}:{port}"),
                (None, true) => at.to_string(),
            };
            addresses
                .iter()
                .map(|at| Server { name: name(at), at: Endpoint::Tcp(*at), ..plain.clone() })
                .collect()
        }
        Ok(_) => {
            desk.refuse(key, node, format!("{host} has no address: check the name, or write its IP address"));
            Vec::new()
        }
        Err(why) => {
            desk.refuse(key, node, format!("{host} cannot be resolved ({why}): check the name, or write its IP address; with dns = the edge asks again and again"));
            Vec::new()
        }
    }
}

fn affinity(desk: &mut Desk<'_>, sheet: &Sheet<'_>) -> Vec<Affinity> {
    let bound = sheet.number(desk, "hash_bound", 0..=10_000u16).unwrap_or(125);
    if (1..100).contains(&bound)
        && let Some(node) = sheet.node("hash_bound")
    {
        desk.refuse(
            &sheet.key("hash_bound"),
            node,
            "expected 0 for no bound, or a percentage of the mean from 100 to 10000",
        );
    }
    let cookie = cookie::cookie(desk, sheet);
    let Some(node) = sheet.node("sticky") else {
        // Whoever describes a cookie wants it.
        return match sheet.node("cookie") {
            Some(_) => vec![Affinity::Sid, Affinity::Cookie(cookie)],
            None => vec![Affinity::Sid],
        };
    };
    let mut found = Vec::new();
    for node in elements(node) {
        let word = words(&node).unwrap_or_default();
        match word.as_str() {
            "sid" => found.push(Affinity::Sid),
            "cookie" => found.push(Affinity::Cookie(cookie.clone())),
            "ip" | "ip_hash" => {
                found.push(Affinity::Address { three_octets: word == "ip_hash", bound_percent: bound });
            }
            "xff" => found.push(Affinity::ForwardedFor),
            "none" => {}
            word => match word.strip_prefix("header:") {
                Some(name) if is_header(name) => found.push(Affinity::Header(name.to_ascii_lowercase())),
                _ => desk.refuse(&sheet.key("sticky"), &node, one_of(word, STICKY.into_iter())),
            },
        }
    }
    found
}

fn timeouts(desk: &mut Desk<'_>, sheet: &Sheet<'_>) -> Timeouts {
    let heartbeat = sheet.span(desk, "heartbeat", Duration::from_millis(100)..=SPAN_MAX);
    let tunnel = sheet.span(desk, "tunnel_timeout", Duration::from_millis(100)..=SPAN_MAX);
    let longest = heartbeat.unwrap_or(HEARTBEAT);
    if let (Some(tunnel), Some(node)) = (tunnel, sheet.node("tunnel_timeout"))
        && tunnel <= longest
    {
        let message = format!(
            "a WebSocket is silent for up to {} between two heartbeats (pingInterval + pingTimeout): expected more, or set heartbeat to what the servers use",
            say(longest)
        );
        desk.refuse(&sheet.key("tunnel_timeout"), node, message);
    }
    Timeouts { tunnel, heartbeat }
}

/// Whether a text names a group, an app or a server in cookies and metrics.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':'))
}

fn is_header(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

const WAYS: [&str; 5] = ["servers", "dns", "watch", "register", "directory"];
const STICKY: [&str; 7] = ["sid", "cookie", "ip", "ip_hash", "xff", "header:NAME", "none"];
const NAME_EXPECTED_BARE: &str = "a name of up to 64 letters, digits, -, _, . and :";
/// What a table's name has to be.
pub(crate) const NAME_EXPECTED: &str = "expected a name of up to 64 letters, digits, -, _, . and :";

/// The official defaults: a ping each 25 s, and 20 s for its answer.
const HEARTBEAT: Duration = Duration::from_secs(45);

/// The most servers that a list names.
const SERVERS_MAX: usize = 4096;

/// The words for the algorithms, those of HAProxy and nginx among them.
const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("leastconn", Algorithm::LeastConnections),
    ("roundrobin", Algorithm::RoundRobin),
    ("random", Algorithm::Random),
    ("p2c", Algorithm::TwoChoices),
    ("least_conn", Algorithm::LeastConnections),
    ("least-connection", Algorithm::LeastConnections),
    ("round_robin", Algorithm::RoundRobin),
    ("round-robin", Algorithm::RoundRobin),
    ("two_choices", Algorithm::TwoChoices),
];
