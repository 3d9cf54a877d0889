//! What was understood of a foreign configuration, and how it is written as ours.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::imported::{Imported, Note};
use crate::address;
use crate::upstream::is_name;

/// What was understood so far.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) listens: Vec<Listen>,
    pub(super) upstreams: BTreeMap<String, Upstream>,
    pub(super) sites: Vec<Site>,
    pub(super) notes: Vec<Note>,
    /// How many clients there may be.
    pub(super) connections: Option<u32>,
    /// Groups that get the WebSockets of others' sessions.
    pub(super) beside: Vec<String>,
}

/// A listener.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Listen {
    pub(super) address: String,
    pub(super) certificate: Option<(String, String)>,
    pub(super) http2: bool,
    /// The value of `redirect`, and its status.
    pub(super) redirect: Option<(String, u16)>,
    pub(super) server_names: Vec<String>,
    /// The group that everything goes to.
    pub(super) upstream: Option<String>,
    pub(super) tcp: bool,
}

/// A group; its keys are lines of TOML.
#[derive(Clone, Default)]
pub(super) struct Upstream {
    pub(super) servers: Vec<Server>,
    pub(super) lines: Vec<String>,
}

/// A server.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Server {
    pub(super) name: Option<String>,
    pub(super) address: String,
    pub(super) weight: Option<u32>,
    pub(super) max_sessions: Option<u32>,
    pub(super) state: Option<&'static str>,
}

/// A site.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Site {
    pub(super) hosts: Vec<String>,
    pub(super) path: String,
    /// Only upgrades to a WebSocket, or only what is none.
    pub(super) upgrade: Option<bool>,
    /// The addresses where it comes in; none for all.
    pub(super) listens: Vec<String>,
    pub(super) answer: Answer,
}

/// Who answers.
#[derive(Clone, PartialEq)]
pub(super) enum Answer {
    Upstream(String),
    Files(String),
    /// Where it sends everybody, with which status, and the hosts that are known.
    Redirect(String, u16, Vec<String>),
}

impl Default for Answer {
    fn default() -> Self {
        Self::Upstream(String::new())
    }
}

impl Draft {
    pub(super) fn note(&mut self, line: usize, text: impl Into<String>) {
        self.notes.push(Note { line, text: text.into() });
    }

    /// Sets a key of a group, as a line of TOML; what was said of it before gives way.
    pub(super) fn set(&mut self, group: &str, line: impl Into<String>) {
        set_key(&mut self.upstreams.entry(group.to_owned()).or_default().lines, line.into());
    }

    /// Groups of the same servers, one for polling and one for WebSockets, are one here, with one state of health: the
    /// one that `is_beside` holds for goes into the other. Says who was renamed to what.
    pub(super) fn merge(&mut self, is_beside: &dyn Fn(&str) -> bool) -> Vec<(String, String)> {
        let mut renamed: Vec<(String, String)> = Vec::new();
        let names: Vec<String> = self.upstreams.keys().cloned().collect();
        for name in names.iter().filter(|name| is_beside(name)) {
            let addresses = |name: &str| {
                let group = self.upstreams.get(name)?;
                Some(group.servers.iter().map(|server| &server.address).collect::<Vec<_>>())
            };
            let own = addresses(name).filter(|own| !own.is_empty());
            let is_same = |other: &&String| {
                (*other < name || !is_beside(other)) && *other != name && addresses(other) == own
            };
            let Some(first) = names.iter().find(is_same).filter(|_| own.is_some()).cloned() else { continue };
            self.upstreams.remove(name);
            self.note(
                1,
                format!(
                    "{first} and {name} are one upstream here, with one state of health for both transports"
                ),
            );
            renamed.push((name.clone(), first));
        }
        let now = |name: &mut String| {
            if let Some((_, to)) = renamed.iter().find(|(from, _)| from == name) {
                name.clone_from(to);
            }
        };
        self.listens.iter_mut().filter_map(|listen| listen.upstream.as_mut()).for_each(now);
        for site in &mut self.sites {
            match &mut site.answer {
                Answer::Upstream(group) => now(group),
                Answer::Files(_) | Answer::Redirect(..) => {}
            }
        }
        let mut kept: Vec<Site> = Vec::new();
        for site in std::mem::take(&mut self.sites) {
            if !kept.contains(&site) {
                kept.push(site);
            }
        }
        self.sites = kept;
        renamed
    }

    /// Writes the file.
    pub(super) fn finish(mut self) -> Imported {
        self.upstreams.retain(|_, upstream| !upstream.servers.is_empty());
        let known: Vec<String> = self.upstreams.keys().cloned().collect();
        let mut out = String::new();
        for listen in &self.listens {
            write_listen(&mut out, listen, &known);
        }
        for (name, upstream) in &self.upstreams {
            write_upstream(&mut out, name, upstream);
        }
        for site in &self.sites {
            write_site(&mut out, site, &self.listens, &known);
        }
        if let Some(connections) = self.connections {
            let _ = writeln!(out, "\n[limits]\nconnections = {}", connections.clamp(1, CONNECTIONS_MAX));
        }
        self.notes.sort();
        self.notes.dedup();
        Imported { text: out.trim_start().to_owned(), notes: self.notes }
    }
}

/// Puts `key = value` among others, each key once.
pub(super) fn set_key(lines: &mut Vec<String>, line: String) {
    let key = |line: &str| line.split_once(" = ").map(|(key, _)| key.to_owned());
    match lines.iter_mut().find(|other| key(other) == key(&line)) {
        Some(other) => *other = line,
        None => lines.push(line),
    }
}

fn write_listen(out: &mut String, listen: &Listen, known: &[String]) {
    let _ = writeln!(out, "\n[[listen]]\naddress = {}", quoted(&listen.address));
    if let Some((certificate, key)) = &listen.certificate {
        let _ = writeln!(out, "certificate = {}\nkey = {}", quoted(certificate), quoted(key));
    }
    if listen.http2 && !listen.tcp {
        let _ = writeln!(out, "http2 = true");
    }
    if let Some((to, status)) = &listen.redirect {
        let _ = writeln!(out, "redirect = {}\nredirect_status = {status}", quoted(to));
        let names: Vec<&String> = listen.server_names.iter().filter(|name| address::is_host(name)).collect();
        if !names.is_empty() {
            let _ = writeln!(out, "server_names = {}", list(&names));
        }
        return;
    }
    if let Some(group) = listen.upstream.as_ref().filter(|group| known.contains(group)) {
        let _ =
            writeln!(out, "{}upstream = {}", if listen.tcp { "mode = \"tcp\"\n" } else { "" }, quoted(group));
    }
}

fn write_upstream(out: &mut String, name: &str, upstream: &Upstream) {
    let _ = writeln!(out, "\n[upstream.{}]\nservers = [", quoted_key(name));
    for server in &upstream.servers {
        let mut parts = Vec::new();
        if let Some(name) = server.name.as_ref().filter(|name| is_name(name)) {
            parts.push(format!("name = {}", quoted(name)));
        }
        parts.push(format!("address = {}", quoted(&server.address)));
        parts.extend(server.weight.map(|weight| format!("weight = {}", weight.clamp(1, 65_535))));
        parts.extend(server.max_sessions.map(|sessions| format!("max_sessions = {sessions}")));
        parts.extend(server.state.map(|state| format!("state = {}", quoted(state))));
        let _ = match &parts[..] {
            [_] => writeln!(out, "  {},", quoted(&server.address)),
            parts => writeln!(out, "  {{ {} }},", parts.join(", ")),
        };
    }
    let _ = writeln!(out, "]");
    for line in &upstream.lines {
        let _ = writeln!(out, "{line}");
    }
}

fn write_site(out: &mut String, site: &Site, listens: &[Listen], known: &[String]) {
    let answer = match &site.answer {
        Answer::Upstream(group) if known.contains(group) => format!("upstream = {}", quoted(group)),
        Answer::Upstream(_) => return,
        Answer::Files(root) => format!("files = {}", quoted(root)),
        Answer::Redirect(to, status, names) => {
            let names: Vec<&String> = names.iter().filter(|name| address::is_host(name)).collect();
            let names =
                if names.is_empty() { String::new() } else { format!("\nserver_names = {}", list(&names)) };
            format!("redirect = {}\nredirect_status = {status}{names}", quoted(to))
        }
    };
    let here = listener_names(site, listens);
    if here.as_ref().is_some_and(Vec::is_empty) {
        return;
    }
    let _ = writeln!(out, "\n[[site]]");
    let hosts: Vec<&String> = site.hosts.iter().filter(|host| address::is_pattern(host)).collect();
    if !hosts.is_empty() {
        let _ = writeln!(out, "host = {}", list(&hosts));
    }
    if site.path != "/" {
        let _ = writeln!(out, "path = {}", quoted(&site.path));
    }
    if let Some(upgrade) = site.upgrade {
        let _ = writeln!(out, "websocket = {upgrade}");
    }
    if let Some(here) = here {
        let _ = writeln!(out, "listen = {}", list(&here.iter().collect::<Vec<_>>()));
    }
    let _ = writeln!(out, "{answer}");
}

/// Where a site comes in, as `sockeye.toml` names listeners that have no name; none for everywhere.
fn listener_names(site: &Site, listens: &[Listen]) -> Option<Vec<String>> {
    let is_here = |listen: &Listen| site.listens.contains(&listen.address);
    // Whoever redirects everybody asks no site.
    let answering = listens.iter().enumerate().filter(|(_, listen)| listen.redirect.is_none() && !listen.tcp);
    let (here, elsewhere): (Vec<_>, Vec<_>) = answering.partition(|(_, listen)| is_here(listen));
    let name = |index: usize| if index == 0 { "main".to_owned() } else { format!("listen-{index}") };
    let is_everywhere = site.listens.is_empty() || elsewhere.is_empty();
    (!is_everywhere).then(|| here.into_iter().map(|(index, _)| name(index)).collect())
}

/// A text of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn quoted_key(name: &str) -> String {
    let bare =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if bare { name.to_owned() } else { quoted(name) }
}

fn list(texts: &[&String]) -> String {
    format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
}

/// A server's address; without a port it is 80.
pub(super) fn server_address(text: &str) -> String {
    let plain = ["http://", "https://", "ws://", "wss://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme))
        .unwrap_or(text);
    let plain = plain.trim_end_matches('/');
    if plain.starts_with("unix:")
        || plain.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    {
        return plain.to_owned();
    }
    format!("{plain}:80")
}

/// An address to listen on.
pub(super) fn listen_address(text: &str) -> String {
    match text.parse::<u16>() {
        Ok(port) => format!(":{port}"),
        Err(_) => text.replace("*:", ":"),
    }
}

/// The most that `limits.connections` takes.
const CONNECTIONS_MAX: u32 = 10_000_000;
