//! HAProxy: `frontend`, `listen` and `backend` sections.

mod condition;
mod front;

use super::draft::{Draft, Server, quoted, server_address};
use front::Front;

pub(super) fn read(text: &str) -> Draft {
    let mut draft = Draft::default();
    let mut reading = Reading::default();
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        match &words[..] {
            [] => {}
            [kind @ ("frontend" | "listen" | "backend"), name, ..] => {
                reading.open(&mut draft, kind, name);
                if *kind == "listen" {
                    reading.front.default = Some((*name).to_owned());
                }
            }
            [kind @ ("global" | "defaults" | "resolvers" | "userlist" | "peers"), ..] => {
                reading.open(&mut draft, kind, "");
            }
            _ => reading.line(&mut draft, line_number, &words),
        }
    }
    reading.open(&mut draft, "", "");
    let beside = std::mem::take(&mut draft.beside);
    draft.merge(&|name| beside.iter().any(|other| other == name));
    draft
}

/// The section that is read.
#[derive(Default)]
struct Reading {
    kind: String,
    name: String,
    front: Front,
    /// `mode tcp` of `defaults`.
    tcp: bool,
    /// `default-server` of `defaults`, and of this section before it.
    common: Vec<String>,
    own: Vec<String>,
}

impl Reading {
    /// Ends a section, and begins another.
    fn open(&mut self, draft: &mut Draft, kind: &str, name: &str) {
        std::mem::take(&mut self.front).finish(draft);
        kind.clone_into(&mut self.kind);
        name.clone_into(&mut self.name);
        self.front.tcp = self.tcp;
        self.own.clone_from(&self.common);
    }

    fn line(&mut self, draft: &mut Draft, line: usize, words: &[&str]) {
        match (self.kind.as_str(), words) {
            (_, ["default-server", options @ ..]) => {
                note_options(draft, line, options);
                let options = options.iter().map(|option| (*option).to_owned());
                self.own = options.chain(std::mem::take(&mut self.own)).collect();
                if self.kind == "defaults" {
                    self.common.clone_from(&self.own);
                }
            }
            ("global", ["maxconn", number]) => match number.parse::<u32>() {
                Ok(number) => draft.connections = Some(number),
                Err(_) => draft.note(line, format!("maxconn {number}: expected a number")),
            },
            ("defaults", ["mode", mode]) => self.tcp = *mode == "tcp",
            ("global" | "defaults", words) => default(draft, line, words),
            (_, ["server", name, at, options @ ..]) => {
                note_options(draft, line, options);
                let options: Vec<&str> =
                    options.iter().copied().chain(self.own.iter().map(String::as_str)).collect();
                server(draft, line, &self.name, (name, at), &options);
            }
            (_, words) => {
                if !self.front.take(draft, line, words) {
                    backend(draft, line, &self.name, words);
                }
            }
        }
    }
}

fn default(draft: &mut Draft, line: usize, words: &[&str]) {
    match words {
        ["log" | "daemon" | "option" | "retries" | "user" | "group" | "nbthread" | "stats", ..] => {}
        ["maxconn", number] => draft.note(line, format!("maxconn {number} of defaults is left out: limits.connections counts for all listeners, max_sessions for a server")),
        ["timeout", ..] => draft.note(line, format!("{} is left out: the edge's own times are in [limits], and a WebSocket outlives the heartbeat by itself", words.join(" "))),
        other => draft.note(line, format!("{} has no counterpart", other.join(" "))),
    }
}

fn backend(draft: &mut Draft, line: usize, group: &str, words: &[&str]) {
    match words {
        ["balance", "source"] => draft.set(group, "sticky = [\"sid\", \"ip\"]"),
        ["balance", "url_param", "sid", ..] => draft.set(group, "sticky = \"sid\""),
        ["balance", header, ..] if header.starts_with("hdr(") => {
            let name = header.trim_start_matches("hdr(").trim_end_matches(')').to_ascii_lowercase();
            let sticky = if name == "x-forwarded-for" { "xff".to_owned() } else { format!("header:{name}") };
            draft.set(group, format!("sticky = [\"sid\", {}]", quoted(&sticky)));
        }
        ["balance", algorithm @ ("roundrobin" | "leastconn" | "random"), ..] => {
            draft.set(group, format!("balance = \"{algorithm}\""))
        }
        ["balance", "static-rr"] => draft.set(group, "balance = \"roundrobin\""),
        ["option", "httpchk", method, path, ..] => {
            draft.set(group, format!("health.check = {}", quoted(&format!("{method} {path}"))))
        }
        ["option", "httpchk", path] => {
            draft.set(group, format!("health.check = {}", quoted(&format!("OPTIONS {path}"))))
        }
        ["http-check", "expect", "status", status] => {
            draft.set(group, format!("health.status = {}", quoted(status)))
        }
        ["cookie", name, options @ ..] => cookie(draft, line, group, name, options),
        ["option", "forwardfor" | "httpclose" | "http-server-close" | "redispatch", ..] => {}
        ["timeout", "tunnel", ..] | ["timeout", ..] => {
            draft.note(
                line,
                format!("{} is left out: a WebSocket outlives the heartbeat by itself", words.join(" ")),
            );
        }
        other => draft.note(line, format!("{} has no counterpart", other.join(" "))),
    }
}

/// A server; what was said of all servers stands at the end of its options.
fn server(draft: &mut Draft, line: usize, group: &str, (name, at): (&str, &str), options: &[&str]) {
    let after = |key: &str| options.iter().skip_while(|option| **option != key).nth(1).copied();
    // What the cookie says of a server is its name.
    let name = after("cookie").unwrap_or(name);
    for (key, ours) in [("inter", "health.interval"), ("rise", "health.rise"), ("fall", "health.fall")] {
        let Some(value) = after(key) else { continue };
        let unit = if value.bytes().all(|byte| byte.is_ascii_digit()) && key == "inter" { "ms" } else { "" };
        match (key, value.parse::<u32>()) {
            ("inter", _) => {
                draft.set(group, format!("{ours} = {}", quoted(&format!("{value}{unit}"))));
            }
            (_, Ok(number)) => draft.set(group, format!("{ours} = {number}")),
            (_, Err(_)) => draft.note(line, format!("{key} {value}: expected a number")),
        }
    }
    if options.contains(&"send-proxy") {
        draft.set(group, "send_proxy = \"v1\"");
    } else if options.contains(&"send-proxy-v2") {
        draft.set(group, "send_proxy = \"v2\"");
    }
    let sessions = after("maxconn").map(|value| (value, value.parse::<u32>()));
    if let Some((value, Err(_))) = &sessions {
        draft.note(line, format!("maxconn {value}: expected a number"));
    }
    let one = Server {
        name: Some(name.to_owned()),
        address: server_address(at),
        weight: after("weight").and_then(|weight| weight.parse().ok()),
        // 0 is no limit.
        max_sessions: sessions.and_then(|(_, number)| number.ok()).filter(|number| *number > 0),
        state: options.contains(&"disabled").then_some("maintenance"),
    };
    draft.upstreams.entry(group.to_owned()).or_default().servers.push(one);
}

/// Says which options of a server have no counterpart.
fn note_options(draft: &mut Draft, line: usize, options: &[&str]) {
    let mut rest = options.iter();
    let mut strange = Vec::new();
    while let Some(option) = rest.next() {
        match *option {
            "cookie" | "weight" | "inter" | "rise" | "fall" | "maxconn" => {
                rest.next();
            }
            "check" | "send-proxy" | "send-proxy-v2" | "disabled" => {}
            other => strange.push(other),
        }
    }
    if !strange.is_empty() {
        draft.note(line, format!("{} has no counterpart", strange.join(" ")));
    }
}

fn cookie(draft: &mut Draft, line: usize, group: &str, name: &str, options: &[&str]) {
    let mode =
        ["prefix", "rewrite", "insert"].into_iter().find(|mode| options.contains(mode)).unwrap_or("insert");
    draft.set(group, "sticky = [\"sid\", \"cookie\"]");
    let secure = if options.contains(&"secure") { ", secure = true" } else { "" };
    draft.set(group, format!("cookie = {{ name = {}, mode = \"{mode}\"{secure} }}", quoted(name)));
    if mode != "insert" {
        draft.note(line, format!("the servers have to set the cookie {name} themselves: those of Socket.IO 4 do it only with the option cookie"));
    }
    if mode == "prefix" && options.contains(&"indirect") {
        draft.note(
            line,
            "prefix with indirect hides what the servers change in the cookie; here it is passed on",
        );
    }
}
